"""Muon's part of a training step on a CPU: stacks of matrices beside one at a time, and beside the whole step."""

from collections.abc import Callable, Iterator

import torch
from measuring import Contestant, Row, alternate, compare

from tinyllm import GPT, PRESETS, RunConfig
from tinyllm.training import muon
from tinyllm.training.gradient_step import train_step
from tinyllm.training.optimizers import MuonAndAdamW, make_optimizer

MODERN = PRESETS["wikitext103-modern"].replace(device="cpu", precision="float32")
SMALL = MODERN.replace(  # the quickstart's size
    vocab_size=1024, context_length=160, embedding_dim=192, num_layers=2, num_heads=6, feedforward_dim=768,
    batch_size=8, gradient_accumulation_steps=1,
)  # fmt: skip


def muon_rows(rounds: int) -> Iterator[Row]:
    """At the quickstart's size with the whole step, and at that of `wikitext103-modern`, whose step takes a minute."""
    contestants = [Contestant(make, SMALL) for make in (_stacks, _one_by_one, _whole_step)]
    stacks, one_by_one, step = alternate(contestants, rounds)
    yield compare("Muon, quickstart's size (peer: one matrix at a time)", "s", stacks, one_by_one, most=1)
    yield compare("Muon, quickstart's size (peer: the whole step)", "s", stacks, step)
    contestants += [Contestant(make, MODERN) for make in (_stacks, _one_by_one)]
    yield compare("Muon, full size (peer: one matrix at a time)", "s", *alternate(contestants[-2:], rounds), most=1)
    for contestant in contestants:
        contestant.end()


def _optimizer(config: RunConfig) -> tuple[GPT, MuonAndAdamW]:
    """A model with gradients, and its optimizer."""
    model = GPT(config.model)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model, make_optimizer(model, config.training)


def _stacks(config: RunConfig) -> Callable[[], None]:
    _, optimizer = _optimizer(config)
    return lambda: optimizer.parts["muon"].step() and None


def _one_by_one(config: RunConfig) -> Callable[[], None]:
    muon.orthogonalise_stack = lambda matrices: torch.stack([muon.orthogonalise(matrix) for matrix in matrices])
    return _stacks(config)


def _whole_step(config: RunConfig) -> Callable[[], None]:
    model, optimizer = _optimizer(config)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    ids = torch.randint(config.model.vocab_size, (config.training.global_batch, config.model.context_length + 1))
    return lambda: train_step(model, [(ids[:, :-1], ids[:, 1:])], optimizer, scaler, 1.0) and None
