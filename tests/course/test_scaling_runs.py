"""The runs of chapter 12: the recipe, the blocks that a seed reads, and the measured sweep beside a run made here."""

import json

import pytest
import torch

from tinyllm.course import scaling_runs
from tinyllm.course.ladder import CourseText, course_text
from tinyllm.course.run_bar import Interrupted
from tinyllm.course.scaling_runs import read, short_run, small_model
from tinyllm.plots import figures_folder


@pytest.fixture(scope="module")
def text() -> CourseText:
    return course_text()


@pytest.fixture(scope="module")
def sweep() -> list[dict]:
    return json.loads((figures_folder() / "scaling.json").read_text(encoding="utf-8"))["runs"]


def weights(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_a_width_decides_the_shape_and_a_seed_the_weights(text):
    one, again, other = small_model(text, 24, 1), small_model(text, 24, 1), small_model(text, 24, 2)
    assert (one.config.num_heads, one.config.feedforward_dim, one.config.num_layers) == (3, 96, 2)
    assert weights(one) == 1024 * 24 + 2 * 12 * 24**2 + 5 * 24 + 2 * 2 * 8  # table, blocks, norms, norms of q and k
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(one.token_embedding.weight, other.token_embedding.weight)


def test_a_seed_reads_its_own_order_and_no_block_twice(text):
    ids, targets = read(text, 3, 2, seed=1)
    assert ids.shape == targets.shape == (2, 160)
    assert torch.equal(ids[:, 1:], targets[:, :-1])
    assert torch.equal(ids[1], read(text, 4, 1, seed=1)[0][0])
    assert not torch.equal(ids, read(text, 3, 2, seed=2)[0])
    count = len(text.blocks.starts)
    starts = [text.blocks._start(count + index) for index in range(count)]  # of seed 1
    assert len(set(starts)) == count


def test_a_short_run_learns_and_comes_out_the_same_each_time(text):
    untrained = text.score(small_model(text, 8, 1))["all"]
    one, again = (short_run(small_model(text, 8, 1), text, 16, 2, 0.1, seed=1)["all"] for _ in range(2))
    assert one == again < untrained - 0.3
    assert short_run(small_model(text, 8, 1), text, 16, 2, 0.01, "adamw", seed=1)["all"] < untrained


def test_a_stopped_run_says_how_far_it_was(text, monkeypatch):
    def no_more(text, first, count, seed):
        if first == 4:
            raise KeyboardInterrupt
        return read(text, first, count, seed)

    monkeypatch.setattr(scaling_runs, "read", no_more)
    with pytest.raises(Interrupted, match="Stopped after 2 of 8 steps"):
        short_run(small_model(text, 8), text, 16, 2, 0.1)


def test_the_sweep_on_file_is_whole_and_of_these_models(text, sweep):
    cells = {(run["width"], run["tokens"], run["seed"]) for run in sweep}
    assert len(cells) == len(sweep) == 5 * 5 * 5
    assert all(run["weights"] == weights(small_model(text, run["width"])) for run in sweep[:5])
    rates = {(run["width"], run["tokens"]): run["rate"] for run in sweep}
    assert all(run["rate"] == rates[run["width"], run["tokens"]] for run in sweep)  # one for all seeds


@pytest.mark.parametrize("index", [0, 2])
def test_a_run_made_here_is_the_one_on_file(text, sweep, index):
    run = sweep[index]
    model = small_model(text, run["width"], run["seed"])
    found = short_run(model, text, run["tokens"] // 160, 2, run["rate"], seed=run["seed"])
    assert found == pytest.approx(run["nats"], abs=0.1)
