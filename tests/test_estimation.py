"""What a run will need, against models that are really built and arithmetic that is really counted."""

import dataclasses
from typing import get_args

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from tinyllm import GPT, PRESETS, ModelConfig, RunConfig, TrainingConfig, estimation
from tinyllm.config import Activation, Norm, Positions
from tinyllm.estimation import count_parameters, estimate, flops_per_token, measure_flops, memory_bytes, optimizer_flops
from tinyllm.model.attention import qkv_sizes
from tinyllm.training.optimizers import make_optimizer

sizes = st.integers(1, 40)


choices = {
    "activation": st.sampled_from(get_args(Activation)), "norm": st.sampled_from(get_args(Norm)),
    "positions": st.sampled_from(get_args(Positions)), "qk_norm": st.booleans(), "bias": st.booleans(),
    "zero_init": st.booleans(), "logit_softcap": st.none() | st.just(30.0),
}  # fmt: skip
SOME_CHOICES = [
    {}, {"activation": "relu_squared"}, {"activation": "swiglu"}, {"norm": "rmsnorm"}, {"positions": "rotary"},
    {"qk_norm": True}, {"num_kv_heads": 2}, {"bias": False}, {"logit_softcap": 30.0},
    {"norm": "rmsnorm", "positions": "rotary", "activation": "swiglu", "num_kv_heads": 1, "bias": False},
    {"norm": "rmsnorm", "positions": "rotary", "activation": "relu_squared", "qk_norm": True, "bias": False},
]  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(
    sizes, sizes, st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), sizes,
    st.fixed_dictionaries(choices),
)  # fmt: skip
def test_parameters_are_exact(
    vocab_size, context_length, head_dim, num_kv_heads, shared_by, num_layers, feedforward_dim, chosen
):
    num_heads = num_kv_heads * shared_by
    assume(chosen["positions"] == "learned" or head_dim % 2 == 0)
    config = ModelConfig(
        vocab_size=vocab_size,
        context_length=context_length,
        embedding_dim=head_dim * num_heads,
        num_layers=num_layers,
        num_heads=num_heads,
        feedforward_dim=feedforward_dim,
        num_kv_heads=num_kv_heads,
        **chosen,
    )
    with torch.device("meta"):
        model = GPT(config)
    assert count_parameters(config) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_of_presets_are_exact(name):
    with torch.device("meta"):
        model = GPT(PRESETS[name].model)
    assert count_parameters(PRESETS[name].model) == sum(parameter.numel() for parameter in model.parameters())


def test_the_reference_model_is_counted_by_hand():
    assert count_parameters(ModelConfig()) == 51_213_824


def test_the_modern_model_is_no_larger_than_the_reference_by_more_than_a_hundredth():
    modern, classic = PRESETS["wikitext103-modern"], PRESETS["wikitext103"]
    assert count_parameters(modern.model) <= 1.01 * count_parameters(classic.model)
    assert modern.dataset == classic.dataset


@pytest.mark.parametrize("chosen", SOME_CHOICES)
@pytest.mark.parametrize("context_length", [16, 256])
def test_flops_are_three_times_the_forward_pass_that_torch_counts(context_length, chosen):
    """torch counts the matrix products; the plain attention kernel shows it those of the full square of scores."""
    sizes = {"embedding_dim": 32, "num_layers": 3, "num_heads": 4, "feedforward_dim": 80}
    config = ModelConfig(vocab_size=321, context_length=context_length, **sizes, **chosen)
    model = GPT(config).eval()
    ids = torch.zeros(2, context_length, dtype=torch.long)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(ids)
    assert flops_per_token(config) * ids.numel() == 3 * counter.get_total_flops()


@pytest.mark.parametrize("chosen", SOME_CHOICES)
def test_with_lora_the_flops_are_those_that_torch_counts_forward_and_backward(chosen):
    """But for the first layer's input, which needs no gradient: its queries, keys and values cost less by a product."""
    sizes = {"embedding_dim": 32, "num_layers": 3, "num_heads": 4, "feedforward_dim": 80}
    config = ModelConfig(vocab_size=321, context_length=16, lora=2, **sizes, **chosen)
    model, ids = GPT(config).eval(), torch.zeros(2, 16, dtype=torch.long)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(ids, ids).backward()
    of_the_first = 2 * 32 * (sum(qkv_sizes(config)) + 2)
    assert (flops_per_token(config) - of_the_first) * ids.numel() == counter.get_total_flops()


@pytest.mark.parametrize("chosen", SOME_CHOICES)
def test_an_optimizer_step_has_the_products_that_torch_counts(chosen):
    sizes = {"embedding_dim": 32, "num_layers": 3, "num_heads": 4, "feedforward_dim": 80}
    run = RunConfig(model=ModelConfig(vocab_size=97, context_length=16, **sizes, **chosen))
    for config in (run, run.replace(optimizer="muon")):
        model = GPT(config.model)
        optimizer = make_optimizer(model, config.training)
        model(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long)).backward()
        with FlopCounterMode(display=False) as counter:
            optimizer.step()
        assert optimizer_flops(config) == counter.get_total_flops()
    assert optimizer_flops(run) == 0 < optimizer_flops(config)


def test_muons_products_are_part_of_the_predicted_time(monkeypatch):
    monkeypatch.setattr("tinyllm.estimation.measure_flops", lambda *_: 1e9)
    config = RunConfig().replace(max_iterations=10, device="cpu")
    longer = estimate(config.replace(optimizer="muon")).seconds - estimate(config).seconds
    assert longer == pytest.approx(10 * optimizer_flops(config.replace(optimizer="muon")) / 0.7e9)


def test_the_whole_estimate_fits_together():
    config = RunConfig().replace(
        vocab_size=300, context_length=32, embedding_dim=16, num_layers=2, num_heads=2, feedforward_dim=64,
        max_iterations=10, batch_size=3, gradient_accumulation_steps=5, device="cpu",
    )  # fmt: skip
    result = estimate(config)
    assert result.parameters == count_parameters(config.model)
    assert result.tokens == 10 * 3 * 5 * 32
    assert result.flops_per_token == flops_per_token(config.model)
    assert result.memory_bytes == memory_bytes(config)
    assert result.device == "cpu"
    assert result.seconds == pytest.approx(result.tokens * result.flops_per_token / result.flops_per_second / 0.7)
    assert 0 < result.seconds < 60
    assert set(result.seconds_elsewhere.values()) == {10 * estimation.LAUNCHING}  # so small a model is launch-bound


def test_a_large_run_takes_longer_on_a_slower_card(monkeypatch):
    monkeypatch.setattr("tinyllm.estimation.measure_flops", lambda *_: 1e9)
    result = estimate(RunConfig().replace(device="cpu"))
    assert result.seconds_elsewhere.keys() >= {"T4", "A100"}
    assert result.seconds_elsewhere["T4"] > result.seconds_elsewhere["A100"] > 0


@pytest.mark.parametrize("chosen", SOME_CHOICES)
def test_memory_covers_what_a_training_step_needs_without_being_far_above(chosen):
    """Counted: weights, gradients, AdamW's averages, and what autograd keeps; temporary tensors come on top."""
    sizes = {"embedding_dim": 64, "num_layers": 4, "num_heads": 4, "feedforward_dim": 256, "dropout": 0.0}
    model = ModelConfig(vocab_size=64, context_length=64, **sizes, **chosen)
    config = RunConfig(model=model).replace(batch_size=16)
    kept: dict[int, int] = {}
    network = GPT(model)
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.zeros(16, 64, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(ids, ids)
    needed = sum(kept.values()) + 16 * count_parameters(model)
    assert loss.requires_grad
    assert needed <= memory_bytes(config) <= 1.5 * needed


def test_memory_counts_the_averages_that_each_optimizer_really_has():
    """Their bytes, after a step; AdamW's step counters aside."""
    model = ModelConfig(97, 16, 24, num_layers=2, num_heads=3, feedforward_dim=48, num_kv_heads=1, activation="swiglu")
    sizes = {}
    for name in ("adamw", "muon"):
        network = GPT(model)
        optimizer = make_optimizer(network, TrainingConfig(optimizer=name))
        network(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long)).backward()
        optimizer.step()
        tensors = []
        tree_map_only(torch.Tensor, tensors.append, optimizer.state_dict())
        sizes[name] = sum(tensor.nbytes for tensor in tensors if tensor.dim() > 0)
    config = RunConfig(model=model)
    saved = memory_bytes(config) - memory_bytes(config.replace(optimizer="muon"))
    assert sizes["adamw"] == 8 * count_parameters(model)
    assert sizes["adamw"] - sizes["muon"] == saved > 0


def test_memory_with_lora_is_without_gradients_and_averages_of_what_is_frozen():
    """The bytes of weights, gradients and averages, after a step; AdamW's step counters aside."""
    config = RunConfig(model=ModelConfig(97, 16, 24, num_layers=2, num_heads=3, feedforward_dim=48))
    needed, estimated = {}, {}
    for lora in (0, 2):
        run = config.replace(lora=lora, init_from="anything")
        network = GPT(run.model)
        optimizer = make_optimizer(network, run.training)
        network(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long)).backward()
        optimizer.step()
        tensors = [weight.detach() for weight in network.parameters()]
        tensors += [weight.grad for weight in network.parameters() if weight.grad is not None]
        tree_map_only(torch.Tensor, tensors.append, optimizer.state_dict())
        needed[lora] = sum(tensor.nbytes for tensor in tensors if tensor.dim() > 0)
        estimated[lora] = memory_bytes(run)
    needed[0] += 4 * 97 * 24  # the head's gradient, while the loss is computed and it is not added to the other
    assert needed[0] - needed[2] == estimated[0] - estimated[2] > 0


def test_memory_grows_with_the_batch_but_not_with_accumulation_or_length_of_the_run():
    config = RunConfig()
    assert memory_bytes(config.replace(batch_size=16)) > 1.5 * memory_bytes(config)
    assert memory_bytes(config.replace(gradient_accumulation_steps=64, max_iterations=7)) == memory_bytes(config)
    assert memory_bytes(config, bytes_per_activation=2) < memory_bytes(config, bytes_per_activation=4)


def test_memory_is_that_of_the_forward_pass_asked_for():
    """`batch_size` blocks unless given, whatever makes up a step."""
    config = RunConfig().replace(batch_size=8, gradient_accumulation_steps=4)
    assert memory_bytes(config) == memory_bytes(config, micro_batch=8)
    for blocks in (1, 32):
        same = config.replace(batch_size=blocks, gradient_accumulation_steps=1)
        assert memory_bytes(config, micro_batch=blocks) == memory_bytes(same)


@pytest.mark.parametrize(
    ("preset", "recompute", "measured"),
    [("wikitext103", False, 4.4e9), ("wikitext103-modern", False, 4.5e9), ("wikitext103", True, 2.0e9)],
)
def test_memory_on_a_gpu_covers_what_an_h200_needed_without_being_far_above(monkeypatch, preset, recompute, measured):
    """With 32 blocks in a pass, in bfloat16, compiled: the peaks of tests/benchmarks/README.md."""
    monkeypatch.setattr(estimation, "pick_compile", lambda _device, wanted: wanted is not False)
    config = PRESETS[preset].replace(recompute=recompute)
    assert measured <= memory_bytes(config, "cuda", 2, 32) <= 1.35 * measured
    assert memory_bytes(config.replace(compile=False), "cuda", 2, 32) > memory_bytes(config, "cuda", 2, 32)


@pytest.mark.parametrize("chosen", SOME_CHOICES)
def test_memory_with_recompute_covers_the_inputs_of_all_layers_and_the_inside_of_one(chosen):
    """Counted: what autograd keeps with layers recomputed, and what one layer keeps while it is computed again."""
    sizes = {"embedding_dim": 64, "num_heads": 4, "feedforward_dim": 256, "dropout": 0.0}
    model = ModelConfig(vocab_size=64, context_length=64, num_layers=6, **sizes, **chosen)
    ids = torch.zeros(16, 64, dtype=torch.long)

    def kept(layers: int, recompute: bool) -> int:
        network = GPT(dataclasses.replace(model, num_layers=layers))
        network.recompute = recompute
        ours = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
        found: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in ours:
                found[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = network(ids, ids)
        assert loss.requires_grad
        return sum(found.values())

    config = RunConfig(model=model).replace(batch_size=16, recompute=True)
    activations = kept(6, True) + kept(1, False) - kept(1, True)
    needed = activations + 16 * count_parameters(model)
    assert activations < 0.5 * kept(6, False)
    assert needed <= memory_bytes(config) <= 1.5 * needed
    assert memory_bytes(config) < memory_bytes(config.replace(recompute=False))


def test_the_measured_speed_is_that_of_a_matrix_product():
    config = ModelConfig(context_length=64, embedding_dim=64, feedforward_dim=256)
    speed = measure_flops(config, 4, torch.device("cpu"), torch.float32, seconds=0.1)
    assert 1e7 < speed < 1e15


def test_the_speed_with_a_batch_larger_than_any_memory_is_measured_with_a_part_of_it():
    config = ModelConfig(context_length=64, embedding_dim=64, feedforward_dim=256)
    assert measure_flops(config, 10**12, torch.device("cpu"), torch.float32, seconds=0.1) > 1e7


@pytest.mark.parametrize(
    ("device", "share_of_peak", "word"),
    [("NVIDIA H200", 0.3, "measured"), ("NVIDIA H100 80GB HBM3", 0.3, "guess"), ("Tesla T4", 0.3, "guess")],
)
def test_a_known_card_is_estimated_from_its_peak(device, share_of_peak, word):
    seconds, basis = estimation._step_seconds(device, 1e15, 1e9)
    peak = next(peak for card, peak in estimation.PEAKS.items() if card in device)
    assert seconds == pytest.approx(1e15 / (share_of_peak * peak))
    assert word in basis


@pytest.mark.parametrize(
    ("device", "word"), [("NVIDIA H200", "measured"), ("Tesla T4", "guess"), ("NVIDIA L4", "guess")]
)
def test_on_any_gpu_a_step_takes_as_long_as_launching_its_kernels(device, word):
    seconds, basis = estimation._step_seconds(device, 1e6, 1e13)
    assert seconds == 0.004
    assert "4 ms a step" in basis
    assert word in basis


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_any_other_device_is_estimated_from_its_own_products(device):
    seconds, basis = estimation._step_seconds(device, 1e6, 1e9)
    assert seconds == pytest.approx(1e-3 / estimation.STEP_SHARE)
    assert "that speed" in basis


@pytest.mark.parametrize(
    ("preset", "measured"),
    [
        ("wikitext103", (946_700, 926_600, 935_900, 953_800)),
        ("wikitext103-modern", (816_200, 774_900, 799_000, 839_600)),
        ("quickstart", (326_300,)), ("laptop", (869_800,)),
    ],
)  # fmt: skip
def test_the_measured_speeds_on_an_h200_are_within_a_third_of_the_estimate(preset, measured):
    """In tokens a second: tests/benchmarks/README.md, which also says how they were measured."""
    config = PRESETS[preset]
    tokens = config.training.global_batch * config.model.context_length
    flops = flops_per_token(config.model) * tokens + optimizer_flops(config)
    predicted = tokens / estimation._step_seconds("NVIDIA H200", flops, 1.0)[0]
    for speed in measured:
        assert 0.7 < predicted / speed < 1.3
