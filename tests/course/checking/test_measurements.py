"""What `predict` measures, beside closed forms and slow counts."""

import math
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import pytest

from tinyllm.course.checking import measurements, predictions
from tinyllm.course.ladder import ARTICLES, course_text, reference_lines
from tinyllm.text import tinywiki
from tinyllm.text.entropy import article_entropy


@pytest.fixture(scope="module")
def prepared():
    return measurements._prepared()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("02.uniform_loss", math.log(256 + 50_000 + 1)),
        ("03.zero_queries", 1 / 4),
        ("04.feedforward_share", 2),
        ("06.loss_times_1000", 1),
        ("07.commonest_town", 1 / sum(1 / rank**2 for rank in range(1, 17))),
        ("09.cache_factor", 4),
        ("10.perfect_copy", math.log(64) / 4),
        ("A2.paths", 2**20),
        ("12.attention_share", 100 * 2 * 8 * 512 / (14 * 8 * 512 + 50_257)),
    ],
)
def test_what_has_a_closed_form_is_measured_so(name, expected):
    assert predictions.PREDICTIONS[name].measure() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("02.half_rate", 2),
        ("03.spread", 4),
        ("04.dropout_scatter", 1),
        ("05.double_spread", 4),
        ("06.noise_left", 1 / 2),
        ("07.unspoilt", 0.99**100),
        ("09.gate_growth", 4),
        ("10.score_by_chance", sum(1 / t for t in range(11, 41)) / 30),
        ("11.leaked_share", 0.9),
        ("12.agreement", math.sqrt(0.5)),
        ("A2.stuck_rows", 0.427),
        ("13.lora_share", 100 * 4 * 6144 / (1_117_440 + 4 * 6144)),
        ("14.baseline", 1 / 13),
    ],
)
def test_what_is_drawn_or_counted_in_steps_is_near_its_closed_form(name, expected):
    assert predictions.PREDICTIONS[name].measure() == pytest.approx(expected, rel=0.1)


def test_the_first_loss_is_near_that_of_the_uniform_guess():
    assert measurements.first_loss() == pytest.approx(math.log(1024), rel=0.02)


def test_few_directions_hold_most_of_a_gradient():
    assert 1 <= measurements.strongest_directions() <= 24


def test_tokens_pass_a_matrix_faster_together():
    assert measurements.batched_speed() > 1


def test_the_bigram_loss_is_counted_on_training_and_scored_on_test_articles(prepared):
    tokenizer, stream = prepared.tokenizer, prepared.splits["train"].tokens.tolist()
    pairs, firsts = Counter(pairwise(stream)), Counter(stream[:-1])
    text = "<|endoftext|>".join(["", *(article.text for article in tinywiki.articles("test")[:ARTICLES]), ""])
    ids = tokenizer.encode(text, allowed_special=["<|endoftext|>"])
    nats = [-math.log((pairs[pair] + 1) / (firsts[pair[0]] + 1024)) for pair in pairwise(ids)]
    assert measurements.bigram_loss() == pytest.approx(sum(nats) / len(nats), rel=1e-9)


def test_the_draws_of_an_article_cost_its_entropy(prepared):
    assert measurements.draws() == pytest.approx(article_entropy(), rel=0.03)
    text = course_text()
    tokens = sum(len(labels) for _, labels in text.labelled())
    assert measurements.draws() * ARTICLES / tokens == pytest.approx(reference_lines(text)["floor"]["all"])


def test_the_surname_that_is_asked_for_is_the_first_articles(prepared):
    title = tinywiki.articles("train")[0].text.split("=")[1]
    surname = title.split()[1]
    assert surname in predictions.PREDICTIONS["01.surname_tokens"].question
    ids = prepared.tokenizer.encode(title)
    pieces = [prepared.tokenizer.decode([token]) for token in ids]
    number = int(measurements.surname_tokens())
    assert "".join(pieces[-1 - number : -1]) == f" {surname}"


def test_the_hours_are_those_of_the_estimate(monkeypatch):
    monkeypatch.setattr(
        measurements, "estimate", lambda config: SimpleNamespace(seconds=7200 * config.training.batch_size)
    )
    assert measurements.hours() == 16
