"""The probes: each bug of the clinic is found by the right one, and what is right is left in peace."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_runs import small_run, write_text
from torch import nn

from tinyllm import GPT, train
from tinyllm.course import clinic
from tinyllm.probes.instruments import AttentionListener
from tinyllm.probes.model_probes import attention, causality, first_loss, head, shift
from tinyllm.probes.step_probes import gradients, one_batch
from tinyllm.probes.subject import diagnose
from tinyllm.probes.text_probes import floor, leak
from tinyllm.text import tinywiki

# Each bug, the probes that must find it, and those that may: a leak can push the loss below the floor, and layers
# that no module knows of are not reached by model.eval() either.
FOUND_BY = {
    "leaky mask": ({"causality"}, {"floor"}),
    "targets not shifted": ({"targets"}, {"floor"}),
    "leaking split": ({"leak"}, {"floor"}),
    "rate too high": ({"one batch"}, set()),
    "no zero_grad": ({"old gradients"}, {"one batch"}),
    "attention not scaled": ({"attention"}, set()),
    "frozen layers": ({"gradient flow"}, {"dropout"}),
    "head copied": ({"head"}, set()),
    "dropout at evaluation": ({"dropout"}, set()),
    "mean of means": ({"average"}, set()),
    "weights drawn too large": ({"first loss"}, set()),
    "wrong positions in the cache": ({"cache"}, set()),
}
STEPS = 60  # enough for a trained model; the chapter makes more


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("training", [clinic.HEALTHY, clinic.healed(10)], ids=["one piece", "two pieces"])
def test_a_healthy_training_is_left_in_peace(training, seed):
    found = training.train(STEPS, seed).diagnose()
    assert found.problems == []
    assert all(finding.ok for finding in found.findings), found


def test_every_bug_has_a_probe():
    assert list(FOUND_BY) == list(clinic.BUGS)
    assert clinic.patient(1) is clinic.BUGS["leaky mask"]
    with pytest.raises(ValueError, match="patients 1 to 12, not 13"):
        clinic.patient(13)


@pytest.mark.parametrize(("number", "bug"), list(enumerate(FOUND_BY, start=1)))
def test_a_bug_is_found_by_the_right_probe(number, bug):
    must, may = FOUND_BY[bug]
    found = clinic.patient(number).train(STEPS, seed=number).diagnose()
    assert must <= set(found.problems) <= must | may, found


@pytest.mark.parametrize("number", range(1, 13))
def test_a_patient_without_its_bug_is_healthy(number):
    """What `healed` gives back differs from the patient in one piece only."""
    ill, well = clinic.patient(number), clinic.healed(number)
    changed = [field.name for field in dataclasses.fields(ill) if getattr(ill, field.name) != getattr(well, field.name)]
    assert len(set(changed) - {"complaint"}) == 1


def test_a_cache_with_the_right_positions_samples_what_the_model_learned():
    record = clinic.HEALTHY.train(20)
    ids = record.of.batch(0)[0][0][:, :20]
    record.model.eval()
    torch.testing.assert_close(clinic.stepwise(record.model, ids), record.model(ids), atol=1e-4, rtol=1e-4)


# A run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    text = write_text(folder / "words.txt", 4000)
    return train(small_run(text, folder / "run", dropout=0.1, max_learning_rate=1e-2), progress=False)


def test_a_run_of_any_text_is_diagnosed_and_not_changed(run):
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    state = torch.get_rng_state()
    found = run.diagnose()
    assert found.problems == []
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    lines = str(found).splitlines()
    assert repr(found) == str(found)  # what Jupyter shows
    assert len(lines) == len(found.findings) + 1
    assert lines[-1] == "No probe found a problem."
    assert [finding.probe for finding in found.findings if finding.ok is None] == ["floor"]


def test_a_run_on_tinywiki_knows_its_floor(tmp_path, monkeypatch):
    monkeypatch.setattr(tinywiki, "SPLITS", {"train": 120, "validation": 5, "test": 7})
    tinywiki.articles.cache_clear()
    try:
        found = train(small_run("tinywiki", tmp_path / "run", context_length=64), progress=False)
        report, measured = found.diagnose(), found.evaluate()
    finally:
        tinywiki.articles.cache_clear()
    assert report.problems == []
    told = next(finding for finding in report.findings if finding.probe == "floor")
    assert told.ok
    assert f"is {measured.nats_per_token:.3f}; the lowest possible on that text is {measured.floor:.3f}." in told.found


def test_a_low_rate_is_no_bug_and_one_that_does_nothing_is():
    ids = torch.arange(8)[None]

    def step(model, optimizer, batches):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batches[0][0])[0], batches[0][1][0])
        loss.backward()
        optimizer.step()
        return loss.item()

    def build(rate):
        torch.manual_seed(0)
        model = nn.Embedding(8, 8)
        return model, torch.optim.Adam(model.parameters(), rate)

    batches = [(ids, ids.roll(1, 1))]
    for rate in (0.1, 0.01):
        assert one_batch(lambda rate=rate: build(rate), step, batches).ok
    assert one_batch(lambda: build(1e-5), step, batches).ok is False
    assert one_batch(lambda: build(0.0), step, batches).ok is False


def test_a_problem_is_told_in_one_line_with_what_to_do(run):
    subject = run._subject()
    broken = dataclasses.replace(subject, texts=(subject.texts[0], subject.texts[0][:500]))
    found = diagnose(broken)
    assert found.problems == ["leak"]
    line = str(found.findings[-1])
    assert line.startswith("PROBLEM  leak: 64 of 64 pieces of the held-out text stand in the training text.")
    assert line.endswith("remove doubles before you split.")
    assert str(found).endswith("1 of 13 probes found one.")


# Single probes, where what they should say follows from a formula


def test_the_spread_of_attention_is_the_same_fused_and_by_hand():
    q, k, v = torch.randn(3, 2, 3, 7, 5)
    with AttentionListener() as seen:
        F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mask = torch.ones(7, 7, dtype=torch.bool).tril()
        F.scaled_dot_product_attention(q, k, v, mask)
        scores = (q @ k.transpose(-2, -1) / math.sqrt(5)).masked_fill(~mask, -torch.inf)
        scores.softmax(-1)
        F.scaled_dot_product_attention(0 * q, k, v, is_causal=True)  # all even
    p = torch.distributions.Categorical(logits=scores)
    expected = (torch.arange(1.0, 8).log() - p.entropy()).mean().item()
    assert seen.lost == pytest.approx([expected, expected, expected, 0], abs=1e-5)


def test_grouped_heads_spread_as_if_each_had_its_own_keys():
    q, k, v = torch.randn(2, 4, 7, 5), torch.randn(2, 2, 7, 5), torch.randn(2, 2, 7, 5)
    with AttentionListener() as seen:
        F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        F.scaled_dot_product_attention(q, *(t.repeat_interleave(2, dim=1) for t in (k, v)), is_causal=True)
    assert seen.lost[0] == pytest.approx(seen.lost[1])


def test_no_attention_is_no_problem(tiny_config):
    assert attention(nn.Embedding(9, 9), torch.zeros(1, 4, dtype=torch.long)).ok is None
    assert attention(GPT(tiny_config), torch.zeros(1, 4, dtype=torch.long)).ok


def test_an_untied_head_is_a_choice_and_a_copy_is_not():
    model = nn.ModuleList([nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)])
    assert head(model).ok
    model[1].weight.data.copy_(model[0].weight.data)
    assert not head(model).ok
    model[1].weight.data = model[0].weight.data  # two names for one piece of memory
    assert head(model).ok
    model[1].weight = model[0].weight
    assert head(model).ok


def test_a_leak_is_a_piece_of_text_not_a_byte_pattern():
    training = np.arange(5000, dtype=np.uint16)
    assert leak((training, training[1000:1200])).ok is False
    assert leak((training, training[::-1])).ok
    shifted = np.frombuffer(training.tobytes()[1:-1], np.uint16)  # the same bytes, cut elsewhere
    assert leak((training, shifted)).ok
    assert leak((training, training[:3])).ok is None
    assert leak(None).ok is None


@pytest.mark.parametrize(("pieces", "ok"), [(1, True), (32, False)])
def test_few_pieces_may_stand_in_both_texts_by_chance(pieces, ok):
    training, held_out = np.arange(10_000), np.arange(20_000, 30_000)
    places = np.linspace(0, len(held_out) - 48, 64).astype(int)[:pieces]
    for place in places:
        training[place : place + 48] = held_out[place : place + 48]
    assert leak((training, held_out)).ok is ok


@pytest.mark.parametrize("place", [1, 8, 15])
def test_one_place_that_is_seen_from_the_place_before_it_is_enough(place):
    class Leaks(nn.Module):
        def forward(self, ids):
            logits = torch.zeros(*ids.shape, 20)
            logits[:, place - 1, 7] = ids[:, place]
            return logits

    assert causality(Leaks(), torch.arange(16)[None]).ok is False


def test_the_floor_has_a_margin():
    assert floor(None).ok is None
    assert floor((0.30, 0.31, 0.01)).ok
    assert floor((0.20, 0.31, 0.01)).ok is False


def test_a_step_that_ends_in_no_number_is_no_success():
    def step(*_):
        raise FloatingPointError("nan")

    def build():
        model = nn.Linear(2, 2)
        return model, torch.optim.SGD(model.parameters(), 0.1)

    assert one_batch(build, step, []).ok is False


class _Says(nn.Module):
    """Logits that find the token at t + place likely, by so many nats more than the others."""

    def __init__(self, place, nats):
        super().__init__()
        self.place, self.nats = place, nats

    def forward(self, ids):
        return self.nats * F.one_hot(ids.roll(-self.place, 1), 50).float()


def test_targets_are_judged_by_what_training_taught_not_by_what_a_tied_head_says_anyway():
    ids = torch.randint(50, (2, 64), generator=torch.Generator().manual_seed(0))
    even, copies, both = _Says(0, 0.0), _Says(0, 4.0), nn.Module()
    both.forward = lambda ids: 4.1 * F.one_hot(ids, 50).float() + 4.0 * F.one_hot(ids.roll(-1, 1), 50).float()
    assert shift(both, copies, ids).ok  # says the token it reads a little louder, as it did before
    assert shift(_Says(1, 5.0), even, ids).ok
    assert shift(copies, copies, ids).ok is None
    assert shift(copies, even, ids).ok is False
    found = shift(_Says(2, 5.0), even, ids)
    assert found.ok is False
    assert "has taught the model the next token but one: from 3.91 to" in found.found
    assert shift(_Says(1, 0.2), even, ids).ok is None


def test_a_first_loss_may_be_too_high_too_low_or_written_down_wrongly():
    ids, even = torch.arange(48)[None].repeat(2, 1), _Says(0, 0.0)
    uniform = math.log(50)
    assert first_loss(even, ids, ids).ok
    assert first_loss(even, ids, ids, 1.1 * uniform).ok
    for wrong in (0.8 * uniform, 1.2 * uniform, 2 * uniform):
        found = first_loss(even, ids, ids, wrong)
        assert found.ok is False
        assert "how the run averages" in found.advice
    assert "the very tokens" in first_loss(_Says(0, 4.0), ids, ids).advice
    assert "too large" in first_loss(_Says(1, 4.0), ids, ids).advice


MODERN = {
    "norm": "rmsnorm", "positions": "rotary", "qk_norm": True, "bias": False, "zero_init": True, "logit_softcap": 30.0,
    "num_kv_heads": 1, "optimizer": "muon", "schedule": "warmup_stable_decay", "decay_fraction": 0.5,
    "min_learning_rate": 0.0, "max_learning_rate": 1e-2,
}  # fmt: skip


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"max_iterations": 1},
        {"precision": "bfloat16", "dropout": 0.1},
        {"dropout": 0.5, "activation": "swiglu", "gradient_accumulation_steps": 3},
        {"optimizer": "adamw", "activation": "relu_squared", "max_learning_rate": 1e-3},
    ],
    ids=lambda choices: ", ".join(choices) or "all",
)
def test_a_healthy_modern_run_is_left_in_peace(tmp_path, choices):
    text = write_text(tmp_path / "words.txt", 4000)
    found = train(small_run(text, tmp_path / "run", **(MODERN | choices)), progress=False).diagnose()
    assert found.problems == [], found


class _Line(nn.Module):
    """Logits of a token by itself; `spare` is multiplied by `weight_of_spare` before it is added, or not used."""

    def __init__(self, weight_of_spare=None):
        super().__init__()
        self.table = nn.Embedding(9, 9)
        self.spare = nn.Parameter(torch.ones(9))
        self.weight_of_spare = weight_of_spare

    def forward(self, ids):
        logits = self.table(ids)
        return logits if self.weight_of_spare is None else logits + self.weight_of_spare * self.spare


def examined(weight_of_spare=1.0, longer=1.0, told=1.0) -> dict[str, bool]:
    """The probes of a step whose gradient is so much longer than the mean's, and which tells so much of its loss."""

    def build():
        torch.manual_seed(0)
        model = _Line(weight_of_spare)
        return model, torch.optim.SGD(model.parameters(), 0.1)

    def step(model, optimizer, batches):
        optimizer.zero_grad()
        losses = [F.cross_entropy(model(ids).flatten(0, 1), targets.flatten()) for ids, targets in batches]
        (longer * sum(losses) / len(losses)).backward()
        optimizer.step()
        return told * sum(losses).item() / len(losses)

    def batch(number):
        ids = torch.randint(9, (2, 3, 6), generator=torch.Generator().manual_seed(number))
        return [(part, part.roll(-1, 1)) for part in ids]

    return {finding.probe: finding.ok for finding in gradients(build, step, batch)}


def test_a_step_that_sums_or_tells_another_loss_is_no_mean():
    assert all(examined().values())
    assert examined(longer=0.3)["average"]  # clipped
    assert not examined(longer=2.0)["average"]
    assert not examined(told=2.0)["average"]


def test_a_weight_that_is_listed_and_not_used_or_used_with_a_zero_learns_nothing():
    assert not examined(weight_of_spare=None)["gradient flow"]
    assert not examined(weight_of_spare=0.0)["gradient flow"]
