"""The questions that `predict` asks, by chapter, each with how its answer is measured."""

import dataclasses
import math
import random
import timeit
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tinyllm.config import ModelConfig
from tinyllm.course.checking.predictions import prediction
from tinyllm.course.ladder import ARTICLES
from tinyllm.estimation import estimate, flops_per_token
from tinyllm.model.gpt import GPT, TransformerBlock
from tinyllm.model.kv_cache import KVCache
from tinyllm.presets import PRESETS
from tinyllm.text.batches import Blocks
from tinyllm.text.prepared import PreparedData, prepare
from tinyllm.text.tinywiki import articles
from tinyllm.text.tinywiki_grammar import FIELDS


def _prepared() -> PreparedData:
    """TinyWiki as the quickstart reads it; after the first time it is read from the cache."""
    config = PRESETS["quickstart"]
    return prepare(config.dataset, config.model.vocab_size, progress=False)


@cache
def _test_articles() -> list[list[int]]:
    """The test articles that score the ladder, as ids, each with a separator before and after it."""
    tokenizer = _prepared().tokenizer
    end = tokenizer.end_of_text_id
    return [[end, *tokenizer.encode(article.text), end] for article in articles("test")[:ARTICLES]]


@prediction("01.surname_tokens", "tokens")
def surname_tokens() -> float:
    """The first article is about Percival Marlshaw: into how many tokens does TinyWiki's vocabulary cut the surname?"""
    surname = articles("train")[0].choices["surname"]
    return len(_prepared().tokenizer.encode(f" {surname}"))


@prediction("02.uniform_loss", "nats per token")
def uniform_loss() -> float:
    """What is the loss of a model that finds each of GPT-2's 50,257 tokens equally likely?"""
    return math.log(ModelConfig().vocab_size)


@prediction("02.bigram_loss", "nats per token")
def bigram_loss() -> float:
    """What is the loss on TinyWiki's test articles of counted bigrams, which know the token before and no more?"""
    prepared = _prepared()
    V = prepared.tokenizer.vocab_size
    stream = prepared.splits["train"].tokens.astype(np.int64)
    counts = np.bincount(stream[:-1] * V + stream[1:], minlength=V * V).reshape(V, V) + 1
    log_p = np.log(counts / counts.sum(axis=1, keepdims=True))
    nats = sum(-log_p[ids[:-1], ids[1:]].sum() for ids in _test_articles())
    return float(nats / sum(len(ids) - 1 for ids in _test_articles()))


@prediction("02.draws", "nats per article")
def draws() -> float:
    """What do all the draws of one of TinyWiki's test articles cost its writer, on average?"""
    return sum(article.nats for article in articles("test")[:ARTICLES]) / ARTICLES


@prediction("02.half_rate", "times as many")
def half_rate() -> float:
    """A table of bigrams learns with half the rate: how many times as many steps does it need to the same loss?"""
    from tinyllm.course.exercises.ch02_data import measure_steps

    ids = [0, 6, 2, 5, 0, 6, 3, 5, 4, 0, 1, 2]  # three tiny documents, seven words
    return measure_steps(ids, 7, 2.0, 0.6) / measure_steps(ids, 7, 4.0, 0.6)


@prediction("03.zero_queries", "a share of 1")
def zero_queries() -> float:
    """If all queries are zero, how much weight does the fourth token give to each token it may see?"""
    from tinyllm.course.exercises.ch03_attention import attention_weights, causal_mask, scores

    queries, keys = torch.zeros(1, 1, 6, 3), torch.randn(1, 1, 6, 3)
    return float(attention_weights(scores(queries, keys), causal_mask(6))[0, 0, 3, 0])


@prediction("03.spread", "times as large")
def spread() -> float:
    """Two random vectors have 16 times as many numbers: how many times as far do their dot products scatter?"""
    from tinyllm.course.exercises.ch03_attention import measure_spread

    return measure_spread(1024) / measure_spread(64)


@prediction("04.feedforward_share", "times as many weights")
def feedforward_share() -> float:
    """In one block, by what factor are the matrices of the feed-forward network larger than those of attention?"""
    block = TransformerBlock(PRESETS["quickstart"].model)

    def weights(layer: nn.Module) -> int:
        return sum(parameter.numel() for parameter in layer.parameters() if parameter.dim() == 2)

    return weights(block.feedforward) / weights(block.attention)


@prediction("04.dropout_scatter", "standard deviation")
def dropout_scatter() -> float:
    """Dropout with p = 0.5 makes of the number 1 now this, now that: what is the standard deviation of the results?"""
    from tinyllm.course.exercises.ch04_block import measure_scatter

    return measure_scatter(0.5)


@prediction("05.first_loss", "nats per token")
@torch.no_grad()
def first_loss() -> float:
    """What is the loss of a GPT with 1,024 tokens in its vocabulary before its first step of training?"""
    config = PRESETS["quickstart"].model
    inputs, targets = Blocks(_prepared().splits["held_out"], config.context_length).fixed(8)
    return float(GPT(config)(torch.from_numpy(inputs), torch.from_numpy(targets)))


@prediction("05.double_spread", "times as much")
def double_spread() -> float:
    """Logits that know nothing spread by 2, not by 1: how many times as far is their loss above ln V?"""
    logits, targets = torch.randn(4000, 1000), torch.randint(1000, (4000,))

    def extra(spread: float) -> float:
        return float(F.cross_entropy(spread * logits, targets)) - math.log(1000)

    return extra(2) / extra(1)


@prediction("06.loss_times_1000", "times as long")
def loss_times_1000() -> float:
    """If the loss is multiplied by 1,000, how many times as long is AdamW's first step?"""

    def first_step(factor: float) -> float:
        parameter = nn.Parameter(torch.zeros(8))
        optimizer = torch.optim.AdamW([parameter], lr=1e-3)
        loss = ((parameter - torch.linspace(1, 2, 8)) ** 2).mean()
        (factor * loss).backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        optimizer.step()
        return float(parameter.detach().norm())  # it began at zero

    return first_step(1000) / first_step(1)


@prediction("06.noise_left", "a share of 1")
def noise_left() -> float:
    """With four micro-batches instead of one, what share of the gradient's noise is left?"""
    inputs, targets = torch.randn(4096, 16), torch.randn(4096, 1)
    gradients = inputs * targets  # but for a factor those of squared errors, if all weights are zero

    def noise(count: int) -> float:
        return float(gradients.view(-1, count, 16).mean(dim=1).var(dim=0).sum().sqrt())

    return noise(4) / noise(1)


@prediction("07.commonest_town", "a share of 1")
def commonest_town() -> float:
    """How often would TinyWiki's commonest town be drawn at temperature 0.5?"""
    from tinyllm.course.exercises.ch07_sampling import temperature

    return float(temperature(torch.tensor(FIELDS["town"].probabilities()).log(), 0.5).max())


@prediction("07.unspoilt", "a share of 1")
def unspoilt() -> float:
    """One draw in a hundred is bad, and an article takes a hundred draws: what share of articles has no bad one?"""
    return float((torch.rand(10_000, 100) >= 0.01).all(dim=1).float().mean())


@prediction("08.hours", "hours")
def hours() -> float:
    """How long would the full run on WikiText-103 take on this machine?"""
    return estimate(PRESETS["wikitext103"]).seconds / 3600


@prediction("09.cache_factor", "times smaller")
def cache_factor() -> float:
    """How much smaller is the cache of the reference model with 2 heads of keys and values instead of 8?"""

    def elements(num_kv_heads: int) -> int:
        cache = KVCache(ModelConfig(num_kv_heads=num_kv_heads), 1, torch.device("meta"), torch.float32)
        return cache.keys.numel() + cache.values.numel()

    return elements(8) / elements(2)


@prediction("09.gate_growth", "times as large")
def gate_growth() -> float:
    """Small matrices `expand` and `gate` both become twice as large: how many times as large is SwiGLU's output?"""
    from tinyllm.course.exercises.ch09_modern import swiglu

    vectors, projection = torch.randn(8, 20, 64), torch.randn(171, 64)
    expand, gate = 0.01 * torch.randn(64, 171), 0.01 * torch.randn(64, 171)
    larger = swiglu(vectors, 2 * expand, 2 * gate, projection)
    return float(larger.std() / swiglu(vectors, expand, gate, projection).std())


@prediction("09.strongest_directions", "of 64 directions")
def strongest_directions() -> float:
    """How many of the 64 directions hold nine tenths of the square of a feed-forward matrix's first gradient?"""
    config = dataclasses.replace(PRESETS["quickstart"].model, embedding_dim=64, num_heads=4, feedforward_dim=256)
    inputs, targets = Blocks(_prepared().splits["train"], config.context_length).fixed(4)
    model = GPT(config)
    model(torch.from_numpy(inputs), torch.from_numpy(targets)).backward()
    gradient = model.get_parameter("blocks.0.feedforward.projection.weight").grad
    squares = torch.linalg.svdvals(gradient).square()
    return 1 + int((squares.cumsum(0) < 0.9 * squares.sum()).sum())


@prediction("10.perfect_copy", "nats per token")
def perfect_copy() -> float:
    """A perfect copier knows the period. Its mean loss on 40 tokens: 10 drawn from 64, then these three times more?"""
    tokens, period, drawn_from = 40, 10, 64
    return period * math.log(drawn_from) / tokens


@prediction("10.score_by_chance", "mean attention")
def score_by_chance() -> float:
    """A head knows nothing: what is its mean induction score on 40 tokens with a period of 10?"""
    from tinyllm.course.exercises.ch10_inside import induction_score

    future = torch.ones(40, 40, dtype=torch.bool).triu(1)
    heads = torch.randn(200, 40, 40).masked_fill(future, -torch.inf).softmax(dim=-1)
    return sum(float(induction_score(weights, 10)) for weights in heads) / len(heads)


@prediction("11.leaked_share", "a share of 1")
def leaked_share() -> float:
    """Each article is there twice, and a tenth is held out at random: what share of it is in the training text too?"""
    collection = list(range(20_000)) * 2
    random.shuffle(collection)
    held_out, trained = collection[:4000], set(collection[4000:])
    return sum(article in trained for article in held_out) / len(held_out)


@prediction("12.attention_share", "percent")
def attention_share() -> float:
    """In training the reference model, what share of the arithmetic are attention's own products, T by T?"""
    config = ModelConfig()
    attention = 3 * 2 * config.num_layers * 2 * config.embedding_dim * config.context_length
    return 100 * attention / flops_per_token(config)


@prediction("12.batched_speed", "times as many")
def batched_speed() -> float:
    """How many times as many tokens per second pass a matrix of 4096 x 4096, 64 together instead of one by one?"""
    matrix, tokens = torch.randn(4096, 4096), torch.randn(64, 4096)

    def seconds(rows: torch.Tensor) -> float:
        return min(timeit.repeat(lambda: rows @ matrix, number=1, repeat=9))

    return 64 * seconds(tokens[:1]) / seconds(tokens)


@prediction("12.agreement", "cosine")
def agreement() -> float:
    """A batch is as large as the noise scale: what is the cosine between its gradient and the true one?"""
    truth, noise = F.normalize(torch.randn(2, 10_000), dim=1)  # both of length 1
    return float(F.cosine_similarity(truth + noise, truth, dim=0))


@prediction("13.lora_share", "percent")
def lora_share() -> float:
    """What share of the quickstart model's weights does LoRA of rank 4 train?"""
    from tinyllm.course.exercises.ch13_finetuning import measure_share

    return 100 * measure_share(4)


@prediction("14.baseline", "a share of 1")
def baseline() -> float:
    """Three outcomes are equally likely, rewards 1, 2 and 3: what share of the variance does the mean leave?"""
    from tinyllm.course.exercises.ch14_reinforcement import measure_baseline

    return measure_baseline(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]))


@prediction("A2.paths", "paths")
def paths() -> float:
    """A number is added to itself, the result to itself, 20 times in all: how many paths lead back to the first one?"""
    reaching = 1  # paths from the last number to the one that is looked at
    for _ in range(20):
        reaching += reaching  # both of a number's inputs are the number before it
    return reaching


@prediction("A2.stuck_rows", "a share of 1")
def stuck_share() -> float:
    """Six scores, drawn with a spread of 8: to what share of such rows does softmax pass back hardly anything?"""
    from tinyllm.course.exercises.chA2_backprop import stuck_rows

    return stuck_rows(8.0)
