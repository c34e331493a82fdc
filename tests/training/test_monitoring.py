"""The held-out loss: of the same text each time, and beside the floor where that is known."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from small_runs import quietly, small_run

from tinyllm import GPT, RunConfig, SubWordTokenizer, load_run
from tinyllm.system.precision import matrix_products
from tinyllm.text import tinywiki
from tinyllm.text.prepared import prepare
from tinyllm.training import monitoring


def test_held_out_text_is_measured_on_the_same_blocks_each_time(text, tmp_path, monkeypatch):
    seen = []
    original = monitoring.mean_loss

    def spy(model, ids, targets, *rest):
        seen.append((ids.copy(), targets.copy()))
        return original(model, ids, targets, *rest)

    monkeypatch.setattr(monitoring, "mean_loss", spy)
    config = small_run(text, tmp_path)
    run = quietly(config)
    measured = [point for point in run.history if "validation_loss" in point]
    assert [point["iteration"] for point in measured] == [0, 4, 8, 10]
    assert len(seen) == 4
    assert all(np.array_equal(ids, seen[0][0]) and np.array_equal(t, seen[0][1]) for ids, t in seen)
    held_out = prepare(config.dataset, 300, progress=False).splits["held_out"].tokens
    stream = " ".join(map(str, held_out))
    assert all(" ".join(map(str, [*row, last[-1]])) in stream for row, last in zip(*seen[0], strict=True))
    ids, targets = (torch.tensor(part) for part in seen[0])
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(run.model(ids).flatten(0, 1), targets.flatten()).item()
    assert measured[-1]["validation_loss"] == pytest.approx(expected, abs=1e-6)


def test_tinywiki_is_watched_beside_its_floor(tmp_path, monkeypatch):
    monkeypatch.setattr(tinywiki, "SPLITS", {"train": 150, "validation": 3, "test": 3})
    tinywiki.articles.cache_clear()
    try:
        config = small_run("tinywiki", tmp_path, max_iterations=1, block_begin="document")
        points = [point for point in quietly(config).history if "validation_loss" in point]
        held_out = [a for a in tinywiki.articles("train") if a.text not in _training_texts(config)]
    finally:
        tinywiki.articles.cache_clear()
    assert len(held_out) == 2  # 1% of 150
    tokenizer = load_run(tmp_path).tokenizer
    tokens = sum(len(tokenizer.encode(article.text)) + 1 for article in held_out)
    floor = sum(article.nats for article in held_out) / tokens
    assert [point["entropy_floor"] for point in points] == [pytest.approx(floor)] * 2
    assert set(points[0]["by_label"]) == {"grammar", "choice", "recall", "world"}
    assert points[0]["by_label"]["grammar"] == pytest.approx(math.log(tokenizer.vocab_size), rel=0.05)


def test_articles_are_scored_exactly_though_training_on_cuda_uses_tf32(tiny_config):
    """`Trainer.run` measures inside `matrix_products`."""
    articles = tinywiki.articles("validation")[:2]
    tokenizer = SubWordTokenizer.train([article.text for article in articles], 300)
    model, seen = GPT(dataclasses.replace(tiny_config, vocab_size=300)), []
    model.token_embedding.register_forward_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    outside = torch.get_float32_matmul_precision()
    with matrix_products(torch.device("cuda")):
        monitoring.FloorMonitor(articles, tokenizer)(model)
        assert torch.get_float32_matmul_precision() == "high"
    assert set(seen) == {"highest"}
    assert torch.get_float32_matmul_precision() == outside


def _training_texts(config: RunConfig) -> set[str]:
    data = prepare(config.dataset, config.model.vocab_size, progress=False)
    split = data.splits["train"]
    ends = [*split.starts[1:], len(split.tokens)]
    return {data.tokenizer.decode(split.tokens[a + 1 : b].tolist()) for a, b in zip(split.starts, ends, strict=True)}


@pytest.mark.parametrize("rows", [1, 3, 5, 8])
def test_the_mean_loss_is_the_same_however_many_blocks_are_scored_at_a_time(tiny_config, rows):
    torch.manual_seed(0)
    model = GPT(dataclasses.replace(tiny_config, dropout=0.5)).train()
    ids = np.random.default_rng(0).integers(97, size=(5, 17))
    found = monitoring.mean_loss(model, ids[:, :-1], ids[:, 1:], torch.float32, rows)
    assert model.training  # as it was
    model.eval()
    logits = model(torch.tensor(ids[:, :-1]))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(ids[:, 1:]).flatten())
    assert found == pytest.approx(expected.item(), abs=1e-6)


def test_a_held_out_text_shorter_than_the_context_is_scored_whole(tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("a cat and a dog\n\n" * 30)
    config = small_run(own, tmp_path / "run", context_length=256)
    data = prepare(config.dataset, 300, progress=False)
    tokens = data.splits["held_out"].tokens
    assert len(tokens) <= 256
    monitor = monitoring.make_monitor(config, data, torch.float32)
    assert monitor.ids.tolist() == [tokens[:-1].tolist()]
    assert monitor.targets.tolist() == [tokens[1:].tolist()]
