"""The runs of chapter 12: one recipe for models of any width, on any number of tokens.

Two layers with five of chapter 09's six changes (GELU stays), and a cosine schedule that ends with the run: a loss read
off in the middle of a longer schedule is no measurement of the shorter run (Hoffmann et al., 2022).

Shape letters: B batch, T time (tokens).
"""

from typing import Literal

import numpy as np
import torch

from tinyllm.config import ModelConfig, TrainingConfig
from tinyllm.course.ladder import Batch, CourseText
from tinyllm.course.run_bar import watched
from tinyllm.model.gpt import GPT
from tinyllm.presets import get_preset
from tinyllm.training.optimizers import make_optimizer
from tinyllm.training.schedule import learning_rate


def small_model(text: CourseText, width: int, seed: int = 0) -> GPT:
    """A GPT of two layers and heads of 8, `width` wide: a multiple of 8. The seed draws its weights."""
    torch.manual_seed(seed)
    return GPT(
        ModelConfig(
            vocab_size=text.vocab_size,
            context_length=get_preset("quickstart").model.context_length,
            embedding_dim=width,
            num_layers=2,
            num_heads=width // 8,
            feedforward_dim=4 * width,
            norm="rmsnorm",
            positions="rotary",
            qk_norm=True,
            bias=False,
            zero_init=True,
            dropout=0.0,
        )
    )


def read(text: CourseText, first: int, count: int, seed: int = 0) -> Batch:
    """Ids and targets, each (B, T), of `count` blocks of the text from block `first` on.

    Seed s reads in the order of epoch s. So a run of up to an epoch reads no block twice.
    """
    ids, targets = text.blocks.batch(seed * len(text.blocks.starts) + first, count)
    return torch.from_numpy(ids), torch.from_numpy(np.ascontiguousarray(targets))


def short_run(
    model: GPT,
    text: CourseText,
    blocks: int,
    batch: int,
    rate: float,
    optimizer_name: Literal["adamw", "muon"] = "muon",
    seed: int = 0,
) -> dict[str, float]:
    """Train on so many blocks, `batch` at a time, with warm-up and a cosine to 0; returns the model's `text.score`.

    Raises Interrupted at Ctrl-C.
    """
    steps = blocks // batch
    settings = TrainingConfig(
        max_iterations=steps,
        max_learning_rate=rate,
        min_learning_rate=0.0,
        warmup_iterations=steps // 10,
        optimizer=optimizer_name,
    )
    optimizer = make_optimizer(model, settings)
    with watched(steps) as step:
        for iteration in range(steps):
            model(*read(text, iteration * batch, batch, seed)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(iteration, settings)
            optimizer.step()
            optimizer.zero_grad()
            step()
        return text.score(model)
