"""Training in half precision and with torch.compile, checked on the CPU."""

import copy
import dataclasses
import math

import jaxtyping
import pytest
import torch
from small_runs import assert_same_end, equal, losses, small_run, stop_after, write_text

from tinyllm import GPT, train
from tinyllm.training import loop as training
from tinyllm.training.checkpoint import find_checkpoint, load_training_state
from tinyllm.training.gradient_step import train_step
from tinyllm.training.optimizers import make_optimizer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "words.txt")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_training_in_half_precision_follows_float32(text, tmp_path, precision):
    """On the CPU, through the whole of `train`: the loss falls, near float32's, and weights stay float32."""
    overrides = {"max_iterations": 60, "dropout": 0.0}
    expected = losses(train(small_run(text, tmp_path / "float32", **overrides), progress=False))
    products = set()
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, _, out: products.add(out.dtype) if isinstance(module, torch.nn.Linear) else None
    )
    try:
        run = train(small_run(text, tmp_path / precision, precision=precision, **overrides), progress=False)
    finally:
        hook.remove()
    found = losses(run)
    assert products == {getattr(torch, precision)}
    assert {tensor.dtype for tensor in run.model.state_dict().values()} == {torch.float32}
    assert found[0] == pytest.approx(expected[0], rel=2e-3)
    assert found[0] != expected[0]
    assert found[-1] < 0.7 * found[0]
    assert found[-1] == pytest.approx(expected[-1], rel=0.1)
    scaler = load_training_state(find_checkpoint(tmp_path / precision))["scaler"]
    assert bool(scaler) == (precision == "float16")


@pytest.mark.filterwarnings("error:Mismatch dtype:UserWarning")  # then the norm would not be one kernel
def test_attention_stays_in_half_precision_with_norms_and_angles_in_float32(modern_config):
    """With dropout a float32 query would take another path than its bfloat16 values, and fail backward."""
    torch.manual_seed(0)
    model = GPT(dataclasses.replace(modern_config, dropout=0.1, zero_init=False))
    ids = torch.arange(32).view(2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        parts = model.blocks[0].attention.queries_keys_values(torch.randn(2, 16, 32))
        loss = model(ids, ids + 1)
    assert {part.dtype for part in parts} == {torch.bfloat16}
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def one_step(model: GPT, scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    ids = torch.arange(32).view(2, 16)
    loss, norm = train_step(model, [(ids, ids + 1)], optimizer, scaler, 1.0, torch.float16)
    return loss.item(), norm.item()


@pytest.fixture(params=["adamw", "muon"])
def stepper(tiny_config, request):
    torch.manual_seed(0)
    model = GPT(tiny_config)
    optimizer = make_optimizer(model, small_run("text", "folder", optimizer=request.param).training)
    return model, torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2), optimizer


def test_an_overflow_skips_the_step_and_halves_the_scale(stepper):
    model, scaler, optimizer = stepper
    one_step(model, scaler, optimizer)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    moments = copy.deepcopy(optimizer.state_dict())
    hook = model.final_norm.weight.register_hook(lambda grad: grad * math.inf)
    loss, norm = one_step(model, scaler, optimizer)
    hook.remove()
    assert math.isfinite(loss)
    assert not math.isfinite(norm)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert equal(optimizer.state_dict(), moments)
    assert scaler.get_scale() == 512.0
    one_step(model, scaler, optimizer)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    one_step(model, scaler, optimizer)
    assert scaler.get_scale() == 1024.0  # it grows again after two good steps


def test_the_scaled_gradient_is_clipped_at_its_true_size(stepper):
    """Clipping before unscaling would compare 1,024 times the gradient with the limit."""
    model, scaler, optimizer = stepper
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _, norm = one_step(model, scaler, optimizer)
    plain = GPT(model.config)
    plain.load_state_dict(state)
    ids = torch.arange(32).view(2, 16)
    plain(ids, ids + 1).backward()
    expected = math.sqrt(sum(p.grad.double().square().sum().item() for p in plain.parameters()))
    assert norm == pytest.approx(expected, rel=0.01)


def test_a_loss_that_is_not_finite_is_an_error_with_a_scaler_too(stepper, monkeypatch):
    model, scaler, optimizer = stepper
    monkeypatch.setattr(GPT, "forward", lambda self, *_: self.final_norm.weight.sum() * math.nan)
    with pytest.raises(FloatingPointError):
        one_step(model, scaler, optimizer)


def overflowing(monkeypatch, iteration: int) -> None:
    """The gradient of one step of `train` overflows, whichever call gets there."""
    apply = training.apply_gradients

    def apply_gradients(model, loss, optimizer, *rest):
        at = round(optimizer.param_groups[0]["lr"] * 1e9)
        if at == round(training.learning_rate(iteration, small_run("text", "folder").training) * 1e9):
            model.final_norm.weight.grad *= math.inf
        return apply(model, loss, optimizer, *rest)

    monkeypatch.setattr(training, "apply_gradients", apply_gradients)


def test_the_scale_survives_a_resume(text, tmp_path, monkeypatch):
    """A run whose scale was halved before it stopped goes on with that scale, bit for bit."""
    overflowing(monkeypatch, iteration=3)
    whole = small_run(text, tmp_path / "whole", precision="float16")
    train(whole, progress=False)
    parts = dataclasses.replace(whole, run_folder=str(tmp_path / "parts"))
    train(parts, progress=False, on_step=stop_after(6))
    scale = load_training_state(find_checkpoint(tmp_path / "parts"))["scaler"]["scale"]
    assert scale == torch.amp.GradScaler("cpu").get_scale() / 2
    train(parts, progress=False)
    assert_same_end(tmp_path / "whole", tmp_path / "parts")
    assert load_training_state(find_checkpoint(tmp_path / "parts"))["scaler"]["scale"] == scale


def test_a_compiled_model_gives_the_same_losses(text, tmp_path, monkeypatch):
    """On the CPU with the C compiler; checkpoints hold the names of the plain model."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as in production: beartype cannot be compiled
    overrides = {"max_iterations": 4, "dropout": 0.0, "num_layers": 1}
    plain = train(small_run(text, tmp_path / "plain", **overrides), progress=False)
    compile_, accumulate, made, stepped = torch.compile, training.accumulate_gradients, [], []
    monkeypatch.setattr(torch, "compile", lambda model, **options: made.append(compile_(model, **options)) or made[-1])
    monkeypatch.setattr(
        training, "accumulate_gradients", lambda model, *rest: stepped.append(model) or accumulate(model, *rest)
    )
    compiled = train(small_run(text, tmp_path / "compiled", compile=True, **overrides), progress=False)
    assert len(made) == 1
    assert len(stepped) == 4
    assert all(model is made[0] for model in stepped)
    assert losses(compiled) == pytest.approx(losses(plain), abs=1e-4)
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
    assert type(compiled.model) is GPT
    assert find_checkpoint(tmp_path / "compiled").iteration == 4
