"""The training loop.

Everything random is drawn from (seed, iteration, rank): the blocks, and the dropout, whose generator is seeded anew at
each step. So a run that was cut off and resumed computes the same numbers as one that never was.
"""

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from tinyllm.config import RunConfig
from tinyllm.model.gpt import GPT
from tinyllm.system.device import pick_compile
from tinyllm.system.distributed import Processes
from tinyllm.system.precision import pick_precision
from tinyllm.text.batches import Blocks
from tinyllm.text.gpt2_vocabulary import GPT2_VOCAB_SIZE
from tinyllm.text.prepared import PreparedData, prepare
from tinyllm.training.checkpoint import Checkpoint, save_checkpoint
from tinyllm.training.gradient_step import train_step
from tinyllm.training.history import History, step_point
from tinyllm.training.interruption import stop_on_signals
from tinyllm.training.micro_batches import micro_batches
from tinyllm.training.monitoring import make_monitor
from tinyllm.training.optimizers import make_optimizer
from tinyllm.training.resume import check_same_text, restore
from tinyllm.training.run_folder import last_good, not_finite, out_of_memory
from tinyllm.training.schedule import learning_rate

CHECKPOINT_SECONDS = 15 * 60

OnStep = Callable[[dict[str, Any]], bool | None]
"""Called with each point of the history as it is made; returns True to stop the run."""


class Trainer:
    """A run in progress. `train` prepares what surrounds it: the run folder, the processes, the checkpoint."""

    def __init__(
        self,
        config: RunConfig,
        checkpoint: Checkpoint | None,
        processes: Processes,
        progress: bool = True,
        on_step: OnStep | None = None,
    ):
        _check_vocab_size(config)
        training, device = config.training, processes.device
        progress = progress and processes.first
        self.config, self.processes, self.on_step = config, processes, on_step
        self.data = prepare(config.dataset, config.model.vocab_size, progress)
        self.model = _new_model(config, self.data).to(device)
        self.optimizer = make_optimizer(self.model, training)
        self.precision = pick_precision(device, training.precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.iteration = 0  # optimizer steps done
        if checkpoint is not None:
            check_same_text(config, checkpoint, self.data.tokenizer)
            restore(checkpoint, self.model, self.optimizer, self.scaler)
            self.iteration = checkpoint.iteration
        self.wrapped = _wrap(self.model, config, processes)
        context_length, begin = config.model.context_length, config.dataset.block_begin
        self.blocks = Blocks(self.data.splits["train"], context_length, training.seed, begin)
        self.monitor = make_monitor(config, self.data, self.precision)
        self.history = History(Path(config.run_folder), self.iteration, processes.first)
        self.bar = tqdm(total=training.max_iterations, initial=self.iteration, disable=not progress, unit="it")
        self.stop = threading.Event()

    def run(self) -> None:
        """Train to the last iteration, or until Ctrl-C or `on_step` stops it. Saves along the way and at the end."""
        training = self.config.training
        with self.bar, stop_on_signals(self.stop), self.history:
            if self.iteration == 0:
                self.measure()
            saved_at, stopped = time.monotonic(), False
            while self.iteration < training.max_iterations and not stopped:
                self.step()
                validation_loss = self.measure() if self.due(training.evaluation_interval) else None
                stopped = self.processes.any(self.stop.is_set())
                overdue = self.processes.any(time.monotonic() - saved_at > CHECKPOINT_SECONDS)
                if stopped or overdue or self.due(training.checkpoint_interval):
                    self.save(validation_loss, final=stopped or self.iteration == training.max_iterations)
                    saved_at = time.monotonic()
            if self.iteration < training.max_iterations and self.processes.first:
                tqdm.write(f"stopped after {self.iteration} iterations and saved; the same call resumes from there")

    def due(self, interval: int) -> bool:
        """Whether an interval of this many steps ends with the step just done; the last step ends all of them."""
        return self.iteration % interval == 0 or self.iteration == self.config.training.max_iterations

    def step(self) -> None:
        """One optimizer step. Raises RuntimeError if its loss is not finite or the GPU runs out of memory."""
        began, training = time.perf_counter(), self.config.training
        rate = learning_rate(self.iteration, training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batches = micro_batches(self.blocks, self.config, self.iteration, self.processes)
        _seed_step(training.seed, self.iteration, self.processes.rank)
        limit = training.max_gradient_norm
        try:
            loss, norm = train_step(self.wrapped, batches, self.optimizer, self.scaler, limit, self.precision)
        except FloatingPointError as error:
            raise not_finite(self.config, self.iteration, error) from None
        except torch.OutOfMemoryError:
            raise out_of_memory(self.config) from None
        point = step_point(self.iteration, self.config, loss, norm, rate, time.perf_counter() - began)
        self.record(point)
        self.iteration += 1
        self.bar.set_postfix_str(f"loss {loss:.3f}, {point['tokens_per_second']:,.0f} tokens/s", refresh=False)
        self.bar.update()

    def measure(self) -> float | None:
        """Score the held-out text, in the first process. Raises RuntimeError if the loss is not finite."""
        if not self.processes.first:
            return None
        measured = self.monitor(self.model)
        loss: float = measured["validation_loss"]
        if not math.isfinite(loss):
            raise not_finite(self.config, self.iteration, loss)
        self.record({"iteration": self.iteration} | measured)
        return loss

    def record(self, point: dict[str, Any]) -> None:
        """Add a point to the history and, in the first process, show it to `on_step`."""
        self.history.add(point)
        if self.processes.first and self.on_step is not None and self.on_step(point):
            self.stop.set()

    def save(self, validation_loss: float | None, final: bool) -> None:
        """Write a checkpoint, in the first process. Only if this is the `final` one does a full disk end the run."""
        if not self.processes.first:
            return
        state = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        try:
            save_checkpoint(self.iteration, validation_loss, self.config, self.model, self.data.tokenizer, state)
        except OSError as error:
            failed = f"iteration {self.iteration} could not be saved ({error}); {last_good(self.config)}"
            if final:
                raise OSError(f"{failed}. Fix that, and the same call resumes from there") from error
            tqdm.write(f"{failed}; training goes on")


def _check_vocab_size(config: RunConfig) -> None:
    asked = config.model.vocab_size
    if config.dataset.tokenizer == "gpt2" and asked != GPT2_VOCAB_SIZE:
        raise ValueError(f"vocab_size is {asked}, but the gpt2 tokenizer needs vocab_size={GPT2_VOCAB_SIZE}")


def _new_model(config: RunConfig, data: PreparedData) -> GPT:
    """The untrained model, sized for the tokenizer: from a short text it learns fewer tokens than asked for."""
    torch.manual_seed(config.training.seed)
    return GPT(config.replace(vocab_size=data.tokenizer.vocab_size).model)


def _wrap(model: GPT, config: RunConfig, processes: Processes) -> nn.Module:
    """The same weights as a training step calls them: compiled, and exchanging gradients with other processes."""
    wrapped: nn.Module = model
    if pick_compile(processes.device, config.training.compile):
        wrapped = torch.compile(model)  # type: ignore[assignment]  # typed as a function; of a module it is a module
    if processes.world_size > 1:
        wrapped = DistributedDataParallel(wrapped)
    return wrapped


def _seed_step(seed: int, iteration: int, rank: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence([seed, iteration, rank]).generate_state(1, np.uint64)[0]))
