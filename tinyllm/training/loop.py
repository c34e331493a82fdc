"""The training loop.

Everything random is drawn from (seed, iteration, rank): the blocks, and the dropout, whose generator is seeded anew at
each step. So a run that was cut off and resumed computes the same numbers as one that never was.
"""

import contextlib
import gc
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from tinyllm.config import RunConfig
from tinyllm.estimation import flops_per_token
from tinyllm.model.gpt import GPT
from tinyllm.system.device import pick_compile
from tinyllm.system.distributed import Processes
from tinyllm.system.paths import shown
from tinyllm.system.precision import matrix_products, pick_precision
from tinyllm.text.batches import Blocks
from tinyllm.text.gpt2_vocabulary import GPT2_VOCAB_SIZE
from tinyllm.text.prepared import PreparedData, prepare
from tinyllm.training.checkpoint import Checkpoint, save_checkpoint
from tinyllm.training.gradient_step import accumulate_gradients, apply_gradients, require_finite
from tinyllm.training.history import History
from tinyllm.training.interruption import stop_on_signals
from tinyllm.training.micro_batches import Cut, largest_cut, micro_batches, smaller_cut
from tinyllm.training.monitoring import make_monitor
from tinyllm.training.optimizers import make_optimizer
from tinyllm.training.reading import Clock, Reading
from tinyllm.training.resume import check_same_text, restore, resumed_cut
from tinyllm.training.run_folder import last_good, not_finite
from tinyllm.training.schedule import learning_rate

CHECKPOINT_SECONDS = 15 * 60
LAUNCH_BOUND = 5e11  # FLOPs of a forward and backward pass; below it, an H200 was 2.4 times as fast with CUDA graphs

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
        self.cut = largest_cut(config, processes, self.precision)
        if checkpoint is not None:
            check_same_text(config, checkpoint, self.data.tokenizer)
            saved = restore(checkpoint, self.model, self.optimizer, self.scaler)
            self.cut = resumed_cut(saved, self.cut, checkpoint.config, processes)
            self.iteration = checkpoint.iteration
        self.wrapped = _wrap(self.model, config, processes, self.cut)
        context_length, begin = config.model.context_length, config.dataset.block_begin
        self.blocks = Blocks(self.data.splits["train"], context_length, training.seed, begin)
        self.monitor = make_monitor(config, self.data, self.precision)
        self.history = History(Path(config.run_folder), self.iteration, processes.first)
        self.bar = tqdm(total=training.max_iterations, initial=self.iteration, disable=not progress, unit="it")
        if progress:
            tqdm.write(shown(self.data.summary()))
        self.stop = threading.Event()
        self.readings: deque[Reading] = deque()
        self.clock = Clock()

    def run(self) -> None:
        """Train to the last iteration, or until Ctrl-C or `on_step` stops it. Saves along the way and at the end."""
        training = self.config.training
        numerics = matrix_products(self.processes.device, training.deterministic)
        with self.bar, stop_on_signals(self.stop), self.history, numerics, self.among_others():
            self.clock.restart()
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

    @contextlib.contextmanager
    def among_others(self) -> Iterator[None]:
        """Afterwards the model exchanges no gradients any more.

        What exchanges them must be gone before the process group is left: as the group's last owner it would wait for a
        thread of gloo's, which waits for Python's lock (torch 2.13).
        """
        try:
            yield
        finally:
            self.wrapped = self.model
            if self.processes.world_size > 1:
                gc.collect()

    def due(self, interval: int) -> bool:
        """Whether an interval of this many steps ends with the step just done; the last step ends all of them."""
        return self.iteration % interval == 0 or self.iteration == self.config.training.max_iterations

    def step(self) -> None:
        """Launch one optimizer step. Raises RuntimeError if a GPU's memory does not suffice for a single block."""
        training = self.config.training
        rate = learning_rate(self.iteration, training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.gradients()
        try:
            norm = apply_gradients(self.wrapped, loss, self.optimizer, self.scaler, training.max_gradient_norm)
        except FloatingPointError as error:
            raise not_finite(self.config, self.iteration, error) from None
        self.readings.append(Reading(self.iteration, rate, loss, norm))
        self.iteration += 1
        self.note(keep=1 if loss.is_cuda else 0)

    def gradients(self) -> Tensor:
        """The gradients of one step, in smaller forward passes if memory runs out; returns the loss."""
        while True:
            batches = micro_batches(self.blocks, self.config, self.iteration, self.processes, self.cut.blocks)
            _seed_step(self.config.training.seed, self.iteration, self.processes.rank)
            try:
                return accumulate_gradients(self.wrapped, batches, self.scaler, self.precision)
            except torch.OutOfMemoryError:
                self.cut = smaller_cut(self.cut, self.config, self.processes)
            self.optimizer.zero_grad()  # after the error, whose traceback keeps the failed pass in memory
            torch.cuda.empty_cache()
            self.wrapped = _wrap(self.model, self.config, self.processes, self.cut)

    def note(self, keep: int = 0) -> None:
        """Write down the steps done, all but the last `keep`. Raises RuntimeError if a loss is not finite."""
        while len(self.readings) > keep:
            reading = self.readings.popleft()
            try:
                require_finite(*reading.loss_and_norm(), self.scaler.is_enabled())
            except FloatingPointError as error:
                raise not_finite(self.config, reading.iteration, error) from None
            point = self.clock.point(reading, self.config)
            self.record(point)
            shown = f"loss {point['training_loss']:.3f}, {point['tokens_per_second']:,.0f} tokens/s"
            self.bar.set_postfix_str(shown, refresh=False)
            self.bar.update()

    def measure(self) -> float | None:
        """Score the held-out text, in the first process. Raises RuntimeError if the loss is not finite."""
        self.note()
        if not self.processes.first:
            return None
        measured = self.monitor(self.model)
        loss: float = measured["validation_loss"]
        if not math.isfinite(loss):
            raise not_finite(self.config, self.iteration, loss)
        self.record({"iteration": self.iteration} | measured)
        self.clock.restart()  # the next step's seconds are its own
        return loss

    def record(self, point: dict[str, Any]) -> None:
        """Add a point to the history and, in the first process, show it to `on_step`."""
        self.history.add(point)
        if self.processes.first and self.on_step is not None and self.on_step(point):
            self.stop.set()

    def save(self, validation_loss: float | None, final: bool) -> None:
        """Write a checkpoint, in the first process. Only if this is the `final` one does a full disk end the run."""
        self.note()  # what is not finite is never saved
        if not self.processes.first:
            return
        state = {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "cut": self.cut._asdict(),
        }
        try:
            save_checkpoint(self.iteration, validation_loss, self.config, self.model, self.data.tokenizer, state)
        except OSError as error:
            failed = f"iteration {self.iteration} could not be saved ({error}); {last_good(self.config)}"
            if final:
                raise OSError(f"{failed}. Fix that, and the same call resumes from there") from error
            tqdm.write(f"{failed}; training goes on")
        self.clock.restart()


def _check_vocab_size(config: RunConfig) -> None:
    asked = config.model.vocab_size
    if config.dataset.tokenizer == "gpt2" and asked != GPT2_VOCAB_SIZE:
        raise ValueError(f"vocab_size is {asked}, but the gpt2 tokenizer needs vocab_size={GPT2_VOCAB_SIZE}")


def _new_model(config: RunConfig, data: PreparedData) -> GPT:
    """The untrained model, sized for the tokenizer: from a short text it learns fewer tokens than asked for."""
    torch.manual_seed(config.training.seed)
    return GPT(config.replace(vocab_size=data.tokenizer.vocab_size).model)


def _wrap(model: GPT, config: RunConfig, processes: Processes, cut: Cut) -> nn.Module:
    """The same weights as a training step calls them: compiled, and exchanging gradients with other processes.

    Where a step is so small that launching its kernels takes longer than running them, CUDA graphs launch all at once.
    """
    model.recompute = config.training.recompute
    wrapped: nn.Module = model
    if pick_compile(processes.device, config.training.compile):
        whole = cut.blocks * processes.world_size == config.training.global_batch
        small = flops_per_token(config.model) * cut.blocks * config.model.context_length < LAUNCH_BOUND
        main = threading.current_thread() is threading.main_thread()  # CUDA graphs of torch.compile know only this one
        mode = "reduce-overhead" if whole and small and main and processes.device.type == "cuda" else None
        wrapped = torch.compile(model, mode=mode, dynamic=False)  # type: ignore[assignment]  # of a module: a module
    if processes.world_size > 1:
        wrapped = DistributedDataParallel(wrapped)
    return wrapped


def _seed_step(seed: int, iteration: int, rank: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence([seed, iteration, rank]).generate_state(1, np.uint64)[0]))
