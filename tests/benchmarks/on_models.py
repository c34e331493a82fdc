"""A training step, sampling and evaluation of the full model beside `transformers` and beside bare matrix products."""

import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from measuring import Contestant, Row, alternate, compare
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from tinyllm import GPT, PRESETS, GenerationConfig, ModelConfig, estimate, generate
from tinyllm.evaluation import surprises
from tinyllm.huggingface.layouts import ACTIVATIONS
from tinyllm.model.linear import linear
from tinyllm.model.loss import chunk_rows, token_losses
from tinyllm.training.gradient_step import train_step
from tinyllm.training.optimizers import make_optimizer

FULL = PRESETS["wikitext103"].replace(device="cpu", precision="float32", batch_size=4)
TOKENS = FULL.training.batch_size * FULL.model.context_length  # in one micro-batch
SAMPLED = 200


def training_rows(rounds: int) -> Iterator[Row]:
    """One step on 4 x 512 tokens, dropout 0 and 0.1, and the memory it needs; both also with recompute=True."""
    for dropout in (0.0, 0.1):
        makers = (_our_step, _their_step, _matrix_products, _our_recomputed_step)
        contestants = [Contestant(make, dropout) for make in makers]
        turns = alternate(contestants, rounds)
        *speeds, again = [[TOKENS / seconds for seconds in times] for times in turns]
        what = f"training step, dropout {dropout:g}"
        yield compare(what, "tokens/s", *speeds, least=1.15)
        yield compare(f"{what}, with recompute (peer: without)", "tokens/s", again, speeds[0])
        ours, theirs, _, less = ([contestant.peak_memory() / 1e9] for contestant in contestants)
        yield compare(f"its peak memory, dropout {dropout:g}", "GB", ours, theirs, most=0.45)
        yield compare(f"its peak memory, dropout {dropout:g}, with recompute", "GB", less, theirs, most=0.45)
        if dropout == 0:
            predicted = estimate(FULL.replace(max_iterations=1, gradient_accumulation_steps=1)).seconds
            what = "a step as estimate() predicts it (peer: measured)"
            yield compare(what, "s", [predicted], [np.median(turns[0])], least=0.7, most=1.3)
        for contestant in contestants:
            contestant.end()


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(FULL.model.vocab_size, (FULL.training.batch_size, FULL.model.context_length + 1))
    return ids[:, :-1], ids[:, 1:]


def _our_step(dropout: float, recompute: bool = False) -> Callable[[], None]:
    model = GPT(FULL.replace(dropout=dropout).model)
    model.recompute = recompute
    optimizer = make_optimizer(model, FULL.training)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return lambda: train_step(model, [_batch()], optimizer, scaler, 1.0) and None


def _our_recomputed_step(dropout: float) -> Callable[[], None]:
    return _our_step(dropout, recompute=True)


def gpt2_of_transformers(config: ModelConfig) -> GPT2LMHeadModel:
    """The same model as transformers has it."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size, n_positions=config.context_length, n_embd=config.embedding_dim,
            n_layer=config.num_layers, n_head=config.num_heads, n_inner=config.feedforward_dim,
            activation_function=ACTIVATIONS[config.activation], resid_pdrop=config.dropout, embd_pdrop=config.dropout,
            attn_pdrop=config.dropout, attn_implementation="sdpa", bos_token_id=None, eos_token_id=None,
            pad_token_id=0,
        )
    )  # fmt: skip


def _their_step(dropout: float) -> Callable[[], None]:
    model = gpt2_of_transformers(FULL.replace(dropout=dropout).model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        ids, _ = _batch()
        model(input_ids=ids, labels=ids).loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _matrix_products(_dropout: float) -> Callable[[], None]:
    """The matrix products of a step and nothing else: forward, and two for each on the way back."""
    config, C = FULL.model, FULL.model.embedding_dim
    shapes = [(C, 3 * C), (C, C), (C, config.feedforward_dim), (config.feedforward_dim, C)]
    products = [(torch.randn(TOKENS, n), torch.randn(n, m), torch.randn(TOKENS, m)) for n, m in shapes]
    heads = FULL.training.batch_size * config.num_heads
    q, k, v = torch.randn(3, heads, config.context_length, config.head_dim)
    weights = torch.randn(heads, config.context_length, config.context_length)
    chunk = chunk_rows(config.vocab_size, "cpu")
    rows, table = torch.randn(chunk, C), torch.randn(C, config.vocab_size)
    logits = torch.randn(chunk, config.vocab_size)

    def three(x: torch.Tensor, weight: torch.Tensor, grad: torch.Tensor) -> None:
        x @ weight, grad @ weight.mT, x.mT @ grad

    def step() -> None:
        for _ in range(config.num_layers):
            for product in products:
                three(*product)
            three(q, k.mT, weights)
            three(weights, v, q)
        for _ in range(TOKENS // chunk):
            three(rows, table, logits)

    return step


def sampling_rows(rounds: int) -> Iterator[Row]:
    """Writing 200 tokens, one sequence and eight; and whether a token costs the same late in the context."""
    one, eight = Contestant(_our_sampling, 1), Contestant(_our_sampling, 8)
    contestants = [one, Contestant(_their_sampling, 1), Contestant(_pass_over_weights), eight]
    ours, theirs, limit, batch = ([SAMPLED / seconds for seconds in times] for times in alternate(contestants, rounds))
    batch = [8 * speed for speed in batch]
    yield compare(f"sampling {SAMPLED} tokens", "tokens/s", ours, theirs, limit, least=1.5, least_of_limit=0.75)
    yield compare("sampling 8 texts at once (peer: one text)", "tokens/s", batch, ours, least=4)
    late = Contestant(_late_tokens)
    flat = alternate([late], rounds)[0]
    for contestant in [*contestants, late]:
        contestant.end()
    yield compare("time of tokens 412 to 511 (peer: 12 to 111)", "ratio", flat, [1.0] * rounds, most=1.1)


def _our_sampling(number: int) -> Callable[[], None]:
    model = GPT(FULL.model).eval()
    config = GenerationConfig(maximum_length=SAMPLED, stop_tokens=(), top_k=50)
    return lambda: all(True for _ in generate(model, torch.zeros(number, 8, dtype=torch.long), config)) and None


def _their_sampling(number: int) -> Callable[[], None]:
    model = gpt2_of_transformers(FULL.model).eval()
    prompt = torch.zeros(number, 8, dtype=torch.long)

    def sample() -> None:
        model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=True, top_k=50, max_new_tokens=SAMPLED,
            min_new_tokens=SAMPLED, use_cache=True,
        )  # fmt: skip

    return sample


GPT2_SMALL = ModelConfig(context_length=1024, embedding_dim=768, num_layers=12, num_heads=12, feedforward_dim=3072,
                         activation="gelu_tanh")  # fmt: skip
WRITTEN = 64


def gpt2_rows(rounds: int) -> Iterator[Row]:
    """Writing 64 tokens, the likeliest each time, with the shape of GPT-2 small (random weights), on one thread."""
    contestants = [Contestant(_our_gpt2), Contestant(_their_gpt2)]
    ours, theirs = ([WRITTEN / seconds for seconds in times] for times in alternate(contestants, rounds))
    for contestant in contestants:
        contestant.end()
    yield compare(f"GPT-2 small, {WRITTEN} tokens, greedy, one thread", "tokens/s", ours, theirs, least=1)


def _our_gpt2() -> Callable[[], None]:
    torch.set_num_threads(1)
    model = GPT(GPT2_SMALL).eval()
    config = GenerationConfig(maximum_length=WRITTEN, stop_tokens=(), temperature=0)
    return lambda: all(True for _ in generate(model, torch.ones(1, 8, dtype=torch.long), config)) and None


def _their_gpt2() -> Callable[[], None]:
    torch.set_num_threads(1)
    model, prompt = gpt2_of_transformers(GPT2_SMALL).eval(), torch.ones(1, 8, dtype=torch.long)
    settings = {"attention_mask": torch.ones_like(prompt), "do_sample": False, "max_new_tokens": WRITTEN}

    def write() -> None:
        model.generate(prompt, **settings, min_new_tokens=WRITTEN)

    return write


def _pass_over_weights() -> Callable[[], None]:
    """Each weight multiplied once per token, as one token's matrix products must."""
    matrices = [parameter for parameter in GPT(FULL.model).parameters() if parameter.dim() == 2]
    inputs = [torch.randn(1, matrix.shape[1]) for matrix in matrices]

    @torch.no_grad()
    def passes() -> None:
        for _ in range(SAMPLED):
            for x, matrix in zip(inputs, matrices, strict=True):
                linear(x, matrix)

    return passes


def _late_tokens() -> Callable[[], float]:
    model = GPT(FULL.model).eval()
    config = GenerationConfig(maximum_length=FULL.model.context_length, stop_tokens=(), top_k=50)

    def ratio() -> float:
        times = []
        steps = generate(model, torch.zeros(1, 1, dtype=torch.long), config)
        for _ in range(FULL.model.context_length - 1):
            began = time.perf_counter()
            next(steps)
            times.append(time.perf_counter() - began)
        return float(np.median(times[411:511]) / np.median(times[11:111]))

    return ratio


EVALUATED = 250_000
SMALL = ModelConfig(vocab_size=4096, context_length=256, embedding_dim=256, num_layers=5, num_heads=8,
                    feedforward_dim=1024, dropout=0.0)  # fmt: skip


def evaluation_rows(rounds: int) -> list[Row]:
    """Scoring a text at half a context per window, beside the passes of the model that this needs."""
    contestants = [Contestant(make) for make in (_our_evaluation, _bare_evaluation)]
    speeds = [[EVALUATED / seconds for seconds in times] for times in alternate(contestants, rounds)]
    for contestant in contestants:
        contestant.end()
    return [compare("evaluate, stride of half a context", "tokens/s", speeds[0], limit=speeds[1], least_of_limit=0.9)]


def _our_evaluation() -> Callable[[], None]:
    model, stream = GPT(SMALL).eval(), np.random.default_rng(0).integers(SMALL.vocab_size, size=EVALUATED + 1)
    return lambda: surprises(model, [stream]) and None


def _bare_evaluation() -> Callable[[], None]:
    """Every window through the blocks, and the scored half of each through the head."""
    model, rows, half = GPT(SMALL).eval(), 32, SMALL.context_length // 2
    ids = torch.randint(SMALL.vocab_size, (rows, SMALL.context_length))

    @torch.no_grad()
    def passes() -> None:
        for _ in itertools.repeat(None, EVALUATED // half // rows):
            hidden = model.hidden(ids)[:, half:]
            token_losses(hidden.flatten(0, 1), model.token_embedding.weight, ids[:, half:].flatten())

    return passes
