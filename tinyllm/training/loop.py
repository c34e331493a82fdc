"""The training loop.

Everything random is drawn from (seed, iteration, rank): the blocks, and the dropout, whose generator is seeded anew
at each step. So a run that was cut off and resumed makes the same numbers as one that never was.
"""

import math
import time
from pathlib import Path

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
from tinyllm.training.history import History, OnStep
from tinyllm.training.interruption import stop_signals
from tinyllm.training.micro_batches import micro_batches
from tinyllm.training.monitoring import make_monitor
from tinyllm.training.optimizers import make_optimizer
from tinyllm.training.resume import check_same_text, restore
from tinyllm.training.run_folder import last_good, not_finite, out_of_memory
from tinyllm.training.schedule import learning_rate

CHECKPOINT_SECONDS = 15 * 60


class Trainer:
    """One run under way: its data, its model and optimizer, and how many steps are done."""

    def __init__(self, config: RunConfig, checkpoint: Checkpoint | None, processes: Processes, progress: bool):
        _check_vocab_size(config)
        training, device = config.training, processes.device
        self.config, self.processes = config, processes
        self.progress = progress and processes.first
        self.data = prepare(config.dataset, config.model.vocab_size, self.progress)
        self.model = _new_model(config, self.data).to(device)
        self.optimizer = make_optimizer(self.model, training)
        self.precision = pick_precision(device, training.precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.iteration = 0
        if checkpoint is not None:
            check_same_text(config, checkpoint, self.data.tokenizer)
            restore(checkpoint, self.model, self.optimizer, self.scaler)
            self.iteration = checkpoint.iteration
        train_split, length = self.data.splits["train"], config.model.context_length
        self.blocks = Blocks(train_split, length, training.seed, config.dataset.block_begin)
        self.monitor = make_monitor(config, self.data, self.precision)
        self.wrapped: nn.Module = self.model
        if pick_compile(device, training.compile):
            self.wrapped = torch.compile(self.model)
        if processes.world_size > 1:
            self.wrapped = DistributedDataParallel(self.wrapped)

    def run(self, on_step: OnStep | None) -> History:
        """Train until the last iteration, Ctrl-C, or `on_step`'s wish; saves on the way and at the end."""
        total, first = self.config.training.max_iterations, self.processes.first
        bar = tqdm(total=total, initial=self.iteration, disable=not self.progress, unit="it")
        folder = Path(self.config.run_folder)
        with bar, stop_signals() as stop, History(folder, self.iteration, first, on_step, stop) as history:
            if self.iteration == 0:
                self.measure(history)
            saved, stopped = time.monotonic(), False
            while self.iteration < total and not stopped:
                self.step(history, bar)
                validation_loss = self.measure(history) if self.due("evaluation_interval") else None
                stopped = self.processes.any(stop.is_set())
                waited = self.processes.any(time.monotonic() - saved > CHECKPOINT_SECONDS)
                if stopped or waited or self.due("checkpoint_interval"):
                    self.save(validation_loss, must_succeed=stopped or self.iteration == total)
                    saved = time.monotonic()
            if self.iteration < total and first:
                bar.write(f"stopped after {self.iteration} iterations and saved; the same call goes on from there")
        return history

    def due(self, interval: str) -> bool:
        """Whether an interval of the configuration ends with the step just done; the last step ends all of them."""
        training = self.config.training
        return self.iteration == training.max_iterations or self.iteration % getattr(training, interval) == 0

    def step(self, history: History, bar: tqdm) -> None:
        """One optimizer step. Raises RuntimeError if its loss is not finite or the GPU's memory does not suffice."""
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
        speed = history.add_step(self.iteration, self.config, loss, norm, rate, time.perf_counter() - began)
        self.iteration += 1
        bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} tokens/s", refresh=False)
        bar.update()

    def measure(self, history: History) -> float | None:
        """Score the held-out text and write it down, in the first process. Raises RuntimeError if it is not finite."""
        if not self.processes.first:
            return None
        measured = self.monitor(self.model)
        loss = measured["validation_loss"]
        if not math.isfinite(loss):
            raise not_finite(self.config, self.iteration, loss)
        history.add({"iteration": self.iteration} | measured)
        return loss

    def save(self, validation_loss: float | None, must_succeed: bool) -> None:
        """Write a checkpoint, in the first process. A full disk ends the run only if `must_succeed`."""
        if not self.processes.first:
            return
        state = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        try:
            save_checkpoint(self.iteration, validation_loss, self.config, self.model, self.data.tokenizer, state)
        except OSError as error:
            failed = f"iteration {self.iteration} could not be saved ({error}); {last_good(self.config)}"
            if must_succeed:
                raise OSError(f"{failed}. Mend that, and the same call goes on from there") from error
            tqdm.write(f"{failed}; training goes on")


def _check_vocab_size(config: RunConfig) -> None:
    asked = config.model.vocab_size
    if config.dataset.tokenizer == "gpt2" and asked != GPT2_VOCAB_SIZE:
        raise ValueError(f"vocab_size is {asked}, but the gpt2 tokenizer needs vocab_size={GPT2_VOCAB_SIZE}")


def _new_model(config: RunConfig, data: PreparedData) -> GPT:
    """The untrained model, with as many tokens as the tokenizer has: a short text teaches it fewer than asked for."""
    torch.manual_seed(config.training.seed)
    return GPT(config.replace(vocab_size=data.tokenizer.vocab_size).model)


def _seed_step(seed: int, iteration: int, rank: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence([seed, iteration, rank]).generate_state(1, np.uint64)[0]))
