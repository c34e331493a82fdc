"""Each reference of notebook 13 beside an independent one."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import GPT, ModelConfig
from tinyllm.config import IGNORED
from tinyllm.course.checking.registry import EXERCISES
from tinyllm.course.exercises import ch13_finetuning as finetuning
from tinyllm.estimation import count_parameters
from tinyllm.model import lora
from tinyllm.model.loss import cross_entropy
from tinyllm.model.weights import adapt_model
from tinyllm.presets import get_preset
from tinyllm.text.turns import Turns

TURNS = Turns(document=4, system=5, user=6, assistant=7)
ROLES = {"system": 5, "user": 6, "assistant": 7}


@given(st.lists(st.integers(0, 7), min_size=1, max_size=60))
def test_learned_targets_are_the_packages(ids):
    tokens = np.array(ids, dtype=int)
    expected = np.where(TURNS.learned(tokens), tokens, IGNORED)[1:]
    assert finetuning.learned_targets(ids, ROLES, 4) == expected.tolist()


def test_the_streams_of_the_exercise_have_what_decides_a_target():
    """Who speaks before which token, and whether anything was said. Text without a role and then a role no data has."""
    seen = set()
    for ids, roles, end_of_text_id in EXERCISES["finetuning.learned_targets"].cases():
        names = {end_of_text_id: "end"} | {mark: role for role, mark in roles.items()}
        speaker = "end"
        for token, following in pairwise(ids):
            speaker = names.get(token, speaker)
            seen.add((speaker, token not in names, names.get(following, "text")))
    assert not {("end", True, role) for role in ROLES} & seen
    answers = {("assistant", True, following) for following in ("text", "end", "user")} | {("assistant", False, "end")}
    documents = {("end", True, "text"), ("end", True, "end"), ("end", False, "user"), ("end", False, "system")}
    assert answers | documents | {("user", True, "assistant"), ("system", True, "user"), ("user", True, "end")} <= seen


@pytest.mark.parametrize("shape", [(1, 1, 2), (3, 5, 7)])
def test_masked_loss_is_the_packages_and_none_counts_for_nothing(shape):
    logits, targets = finetuning._masked(torch.randn(shape, requires_grad=True), *range(1, 1 + shape[0]))
    loss = finetuning.masked_loss(logits, targets)
    torch.testing.assert_close(loss, cross_entropy(logits.flatten(0, 1), torch.eye(shape[2]), targets.flatten()))
    assert (targets != IGNORED).sum(1).tolist() == [*range(1, 1 + shape[0])]
    nothing = finetuning.masked_loss(logits, torch.full_like(targets, IGNORED))
    nothing.backward()
    assert nothing.item() == 0
    assert not logits.grad.any()


def test_a_corrected_layer_and_its_merged_matrix_are_the_packages():
    rank = 3
    layer = lora.LoRALinear(5, 4, bias=False, rank=rank)
    for weight in layer.parameters():
        torch.nn.init.normal_(weight)
    x, parts = torch.randn(2, 6, 5), (layer.weight, layer.down, layer.up, lora.SCALE * rank)
    torch.testing.assert_close(finetuning.lora_forward(x, *parts), layer(x))
    torch.testing.assert_close(finetuning.merge(*parts), layer.merged())


def test_calibration_is_numpys_histogram():
    for bins in (1, 4, 12):
        confidences, right, edges = finetuning._answers(200, *finetuning._edges(bins))
        counts, sure, correct = (
            np.histogram(confidences, edges, weights=by)[0] for by in (None, confidences, 1.0 * np.array(right))
        )
        expected = np.stack([sure, correct, counts], axis=1)[counts > 0]
        expected[:, :2] /= expected[:, 2:]
        assert finetuning.calibration(confidences, right, edges) == pytest.approx(np.array(expected))


def test_the_mended_step_has_the_gradient_of_one_large_batch():
    """Beside a GPT's own loss of all rows at once."""
    model = GPT(ModelConfig(vocab_size=9, context_length=6, embedding_dim=8, num_layers=1, num_heads=2, dropout=0.0))
    ids, targets = torch.randint(9, (4, 6)), finetuning._masked(torch.zeros(4, 6, 9), 1, 6, 2, 0)[1]
    cuts = (slice(0, 1), slice(1, 3), slice(3, 4))
    mean = finetuning.mend_masked_step(model, [(ids[cut], targets[cut]) for cut in cuts])
    found = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    loss = model(ids, targets)
    loss.backward()
    assert mean == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(found, [weight.grad for weight in model.parameters()])


def test_the_exercises_model_is_called_as_a_gpt_is():
    model, ((ids, targets),) = finetuning._step_case(7, [2, 0, 3])
    losses = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    torch.testing.assert_close(model(ids, targets), losses)


def test_forgetting_is_told_by_name_and_may_be_negative():
    assert finetuning.measure_forgetting({"a": 1.0, "b": 2.0}, {"b": 2.25, "a": 1.125}) == ("b", 0.25)
    assert finetuning.measure_forgetting({"a": 1.0, "b": 2.0}, {"b": 1.5, "a": 0.75}) == ("a", -0.25)
    for _ in range(20):
        before, after = finetuning._rises(-1.0, 1.0, "grammar", "choice", "recall", "world")
        rises = sorted(after[kind] - before[kind] for kind in before)
        assert rises[-1] - rises[-2] > 0.03


@pytest.mark.parametrize("rank", [1, 4, 8])
def test_the_share_is_that_of_an_adapted_quickstart(rank):
    config = get_preset("quickstart").model
    model = adapt_model(GPT(config), lora=rank)
    assert count_parameters(model.config) == sum(weight.numel() for weight in model.parameters())
    thin = {name: weight.numel() for name, weight in model.named_parameters() if weight.requires_grad}
    share = finetuning.measure_share(rank)
    assert share == sum(thin.values()) / count_parameters(model.config)
    assert share == pytest.approx(sum(thin.values()) / count_parameters(config), rel=0.09)  # both are right
    parts = {
        "attention alone": lambda name: "attention" in name,
        "queries, keys and values alone": lambda name: "qkv" in name,
        "A alone": lambda name: name.endswith("down"),
        "B alone": lambda name: name.endswith("up"),
    }
    for part, belongs in parts.items():
        size = sum(size for name, size in thin.items() if belongs(name))
        assert finetuning.SHARES[part] == size / sum(thin.values())
    blocks = sum(weight.numel() for weight in model.blocks.parameters())
    assert finetuning.SHARES["beside the blocks"] * share == pytest.approx(sum(thin.values()) / blocks, rel=0.02)
