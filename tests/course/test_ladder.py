"""The course's short runs: what they train on, how they are scored, and that chapters find each other's results."""

import json
import math
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rungs import RUNGS, WIDTH, Rung
from torch import nn

from tinyllm import GPT, evaluate_articles
from tinyllm.course import ladder
from tinyllm.course.ladder import (
    ARTICLES,
    SmallModel,
    course_text,
    fast_enough,
    measured,
    reference_lines,
    remembered,
    sample,
    short_run,
)
from tinyllm.course.run_bar import Interrupted
from tinyllm.plots import figures_folder
from tinyllm.presets import get_preset
from tinyllm.text import tinywiki
from tinyllm.text.articles import LABELS


@pytest.fixture(scope="module")
def text():
    return course_text()


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path))
    return tmp_path


class Slow(nn.Linear):
    """Right, and slow: it computes twice as long as is allowed."""

    def forward(self, x):
        end = time.process_time() + 2 * ladder.LONGEST_STEP / ladder.BATCH_SIZE
        while time.process_time() < end:
            pass
        return super().forward(x)


def test_a_short_run_takes_the_learners_layer_unless_it_is_slow(capsys):
    own, slow, proven = nn.Linear(8, 8), Slow(8, 8), nn.Linear(8, 8)
    assert fast_enough(own, proven, 8) is own
    assert own.weight.grad is None
    assert capsys.readouterr().out == ""
    assert fast_enough(slow, proven, 8) is proven
    assert torch.equal(proven.weight, slow.weight)
    assert re.fullmatch(r"A step with your functions would take 2\.\d s: .*\n", capsys.readouterr().out)


def test_scores_equal_those_of_the_packages_evaluation(text):
    """For a GPT, `evaluate_articles` scores the same articles by another way."""
    config = get_preset("quickstart").model
    torch.manual_seed(0)
    model = GPT(config)
    scores = text.score(model)
    result = evaluate_articles(model, text.tokenizer, tinywiki.articles("test")[:ARTICLES])
    assert scores["all"] == pytest.approx(result.nats_per_token, rel=1e-4)
    for kind, part in result.by_label.items():
        assert scores[kind] == pytest.approx(part["nats"] / part["tokens"], rel=1e-4)


def test_the_reference_lines_are_those_of_the_packages_evaluation(text):
    config = get_preset("quickstart").model
    result = evaluate_articles(GPT(config), text.tokenizer, tinywiki.articles("test")[:ARTICLES])
    lines = reference_lines(text)
    assert lines["floor"]["all"] == pytest.approx(result.floor)
    assert lines["forgetful writer"]["all"] == pytest.approx(result.forgetful_nats / result.tokens)
    for kind, part in result.by_label.items():
        assert lines["floor"][kind] == pytest.approx(part["floor_nats"] / part["tokens"])
    forgotten = result.forgetful_nats - result.floor_nats  # paid on recalls, and on nothing else
    assert lines["forgetful writer"]["recall"] == pytest.approx(forgotten / result.by_label["recall"]["tokens"])
    assert all(lines["forgetful writer"][kind] == lines["floor"][kind] for kind in ("grammar", "choice", "world"))


def test_a_uniform_model_scores_the_logarithm_of_the_vocabulary(text):
    table = nn.Embedding(text.vocab_size, text.vocab_size)
    nn.init.zeros_(table.weight)
    assert text.score(table) == {kind: pytest.approx(math.log(text.vocab_size), rel=1e-5) for kind in ("all", *LABELS)}


def test_the_plain_run_is_adamw_at_a_constant_rate(text, monkeypatch, own_home):
    monkeypatch.setattr(ladder, "ITERATIONS", 5)
    torch.manual_seed(0)
    model = SmallModel(text.vocab_size, 8, nn.Identity())
    twin = SmallModel(text.vocab_size, 8, nn.Identity())
    twin.load_state_dict(model.state_dict())
    matrices = [p for p in twin.parameters() if p.dim() > 1]
    vectors = [p for p in twin.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95))
    for iteration in range(5):
        ids, targets = text.blocks.batch(8 * iteration, 8)
        logits = twin(torch.from_numpy(ids))
        loss = F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(np.ascontiguousarray(targets)).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    short_run(model, text, 0.01)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert remembered() == {}


def test_a_recipe_of_ones_own_trains_on_the_same_batches(text, monkeypatch, own_home):
    monkeypatch.setattr(ladder, "ITERATIONS", 3)
    given = []
    model = SmallModel(text.vocab_size, 8, nn.Identity())
    before = text.score(model)
    result = short_run(model, text, 0.01, recipe=lambda *arguments: given.append(arguments))
    [(trained, batches, rate)] = given
    assert trained is model
    assert rate == 0.01
    assert len(batches) == 3
    assert all(torch.equal(one, other) for i in range(3) for one, other in zip(batches[i], text.batch(i), strict=True))
    assert result == before


def test_a_run_that_is_stopped_is_no_result(text, monkeypatch, own_home):
    """It would stand in later chapters' charts as if it had been trained to the end."""
    monkeypatch.setattr(ladder, "ITERATIONS", 5)

    def stopped(model, batches, rate):
        for number, _ in zip(range(3), batches, strict=False):
            if number == 2:
                raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="Stopped after 2 of 5 steps"):
        short_run(SmallModel(text.vocab_size, 8, nn.Identity()), text, 0.01, name="averaging", recipe=stopped)
    assert remembered() == {}


def test_results_are_remembered_for_later_chapters(text, monkeypatch, own_home):
    monkeypatch.setattr(ladder, "ITERATIONS", 1)
    model = SmallModel(text.vocab_size, 8, nn.Identity())
    first = short_run(model, text, 0.01, name="averaging")
    second = short_run(model, text, 0.01, name="attention")
    assert remembered() == {"averaging": first, "attention": second}
    assert json.loads((own_home / "ladder.json").read_text()) == remembered()


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("".join(f"the {n % 7} cats sat on {n % 5} mats .\n" for n in range(3000)))
    return course_text(str(path))


def test_a_text_of_ones_own_has_one_score_and_is_not_remembered(mine, monkeypatch, own_home):
    monkeypatch.setattr(ladder, "ITERATIONS", 1)
    result = short_run(SmallModel(mine.vocab_size, 8, nn.Identity()), mine, 0.01, name="averaging")
    assert set(result) == {"all"}
    assert reference_lines(mine) == {}
    assert 0 < result["all"] < 2 * math.log(mine.vocab_size)
    assert remembered() == {}


def gpt(text) -> GPT:
    return GPT(replace(WIDTH, vocab_size=text.vocab_size))


SMALL = ("bigram", "averaging", "attention", "block")


@pytest.mark.parametrize("rung", [*(RUNGS[name] for name in SMALL), Rung(gpt, 0.003)], ids=[*SMALL, "GPT"])
def test_each_chapters_model_learns_a_text_of_ones_own_and_writes(rung, mine, monkeypatch, own_home):
    """In this one each token but the two numbers follows from the last: even a bigram soon knows most of it."""
    monkeypatch.setattr(ladder, "ITERATIONS", 20)
    torch.manual_seed(0)
    model = rung.build(mine)
    before = mine.score(model)["all"]
    assert short_run(model, mine, rung.learning_rate)["all"] < before - 1
    assert sample(model, mine, max_tokens=20)


class Always(nn.Module):
    """After `length` tokens surely the separator, before that a token of probability 1/4 out of four."""

    def __init__(self, text, length):
        super().__init__()
        self.text, self.length = text, length

    def forward(self, ids):
        assert not self.training
        assert ids[0, 0] == self.text.tokenizer.end_of_text_id
        logits = torch.full((*ids.shape, self.text.vocab_size), -torch.inf)
        end = ids.shape[1] > self.length
        logits[:, -1, self.text.tokenizer.end_of_text_id if end else slice(300, 304)] = 0.0
        return logits


def test_a_sample_is_drawn_from_the_models_probabilities_up_to_the_separator(text):
    written = [sample(Always(text, 50), text, seed) for seed in (0, 0, 1)]
    assert written[0] == written[1] != written[2]
    four = {text.tokenizer.decode([token]) for token in range(300, 304)}
    assert all(piece in written[0] for piece in four)  # 50 draws: each is among them
    assert written[0] == sample(Always(text, 50), text, max_tokens=50)
    assert written[0].startswith(sample(Always(text, 50), text, max_tokens=7))
    assert sample(Always(text, 0), text) == ""


def test_the_measured_rungs_stand_in_their_order_each_with_five_seeds():
    results = measured("block")
    assert list(results) == ["bigram", "averaging", "attention", "block"]
    for nats in results.values():
        assert list(nats) == ["all", *LABELS]
        assert all(len(values) == 5 for values in nats.values())


def test_each_chapter_trains_its_rungs_at_the_rate_that_was_measured():
    lines = []
    for path in sorted((Path(__file__).parents[2] / "notebooks").glob("0[2-6]*.ipynb")):
        lines += [line for cell in json.loads(path.read_text())["cells"] for line in cell["source"]]
    for rung, kept in json.loads((figures_folder() / "ladder.json").read_text()).items():
        rate = re.escape(f"{kept['learning_rate']:g}")
        assert any(f'"{rung}"' in line and re.search(rf"(?<![\d.]){rate}(?!\d)", line) for line in lines), rung
