"""The training loop.

Everything random is drawn from (seed, iteration, rank): the blocks, and the dropout, whose generator is seeded anew at
each step. So a run that was cut off and resumed computes the same numbers as one that never was (on a GPU with
`deterministic=True`).
"""

import contextlib
import gc
import math
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinyllm.config import RunConfig
from tinyllm.model.gpt import GPT
from tinyllm.system.distributed import Processes, Votes
from tinyllm.system.paths import shown
from tinyllm.system.precision import matrix_products, pick_precision
from tinyllm.text.batches import Blocks
from tinyllm.text.dialogues import ROLES
from tinyllm.text.gpt2_vocabulary import GPT2_VOCAB_SIZE
from tinyllm.text.prepared import PreparedData, prepare
from tinyllm.training.checkpoint import Checkpoint, save_checkpoint
from tinyllm.training.early_stopping import best_measurement, measurements, out_of_patience
from tinyllm.training.gradient_step import accumulate_gradients, apply_gradients, require_finite
from tinyllm.training.history import History
from tinyllm.training.initial_weights import Start
from tinyllm.training.interruption import stop_on_signals
from tinyllm.training.logs import check_logs
from tinyllm.training.micro_batches import advice_without_memory, largest_cut, micro_batches, smaller_cut
from tinyllm.training.monitoring import make_monitor
from tinyllm.training.optimizers import make_optimizer
from tinyllm.training.reading import Clock, Reading
from tinyllm.training.resume import check_same_text, longer, restore, resumed_cut
from tinyllm.training.run_folder import last_good, not_finite
from tinyllm.training.schedule import learning_rate
from tinyllm.training.watchers import OnStep, Watchers
from tinyllm.training.wrapping import wrap

CHECKPOINT_SECONDS = 15 * 60


class Trainer:
    """A run in progress. `train` prepares what surrounds it: the run folder, the processes, the checkpoint."""

    def __init__(
        self,
        config: RunConfig,
        checkpoint: Checkpoint | None,
        processes: Processes,
        progress: bool = True,
        on_step: OnStep | None = None,
        start: Start | None = None,
    ):
        _check_vocab_size(config)
        check_logs(config.training)
        training, device = config.training, processes.device
        progress = progress and processes.first
        self.config, self.processes, self.news = config, processes, ""
        start = start or Start(config)
        self.data = prepare(config.dataset, config.model.vocab_size, progress, start.tokenizer)
        _check_answers(self.data)
        self.summary = shown(self.data.summary()) if progress else ""
        self.model = (start.model or _new_model(config, self.data)).to(device)
        self.optimizer = make_optimizer(self.model, training)
        self.precision = pick_precision(device, training.precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.iteration = 0  # optimizer steps done
        self.cut = largest_cut(config, processes, self.precision)
        if checkpoint is not None:
            check_same_text(config, checkpoint, self.data)
            saved = restore(checkpoint, self.model, self.optimizer, self.scaler)
            self.cut = resumed_cut(saved, self.cut, checkpoint.config, processes)
            self.iteration, self.news = checkpoint.iteration, longer(config, checkpoint)
        self.wrapped = wrap(self.model, config, processes, self.cut)
        self.untried = 2 if processes.world_size > 1 else 0  # see `gradients`
        context_length, begin = config.model.context_length, config.dataset.block_begin
        self.blocks = Blocks(self.data.splits["train"], context_length, training.seed, begin, self.data.turns)
        self.monitor = make_monitor(config, self.data, self.precision)
        self.history = History(Path(config.run_folder), self.iteration, processes.first, self.say)
        self.measured, self.out_of_patience = measurements(self.history.points), False
        on_step = on_step if processes.first else None
        self.watchers = Watchers(config, self.history, self.iteration, progress, on_step)
        self.readings: deque[Reading] = deque()
        self.clock = Clock()

    def run(self) -> None:
        """Train to the end, or until Ctrl-C or a watcher stops it. Saves on the way, at each new best, and at the end.

        Raises what a watcher raised, once the run is saved; RuntimeError if a GPU's memory does not suffice.
        """
        training, watchers = self.config.training, self.watchers
        numerics = matrix_products(self.processes.device, training.deterministic)
        with (
            advice_without_memory(), self.history, watchers, stop_on_signals(watchers.stop), numerics,
            self.among_others(),
        ):  # fmt: skip
            self.begin()
            saved_at, stopped, votes = time.monotonic(), False, Votes(self.processes)
            while not (self.finished or stopped):
                self.step()
                loss = self.measure() if self.due(training.evaluation_interval) else None
                overdue = time.monotonic() - saved_at > CHECKPOINT_SECONDS
                stopped, overdue = votes.cast(watchers.stop.is_set(), overdue)
                best = loss is not None and self.best == self.measured[-1]
                due = best or overdue or self.finished or self.due(training.checkpoint_interval)
                if due or stopped:
                    self.save(loss, final=stopped or self.finished, stopped=not due)
                    saved_at = time.monotonic()
                    votes.forget()
            self.say(self.last_words())
        if watchers.failure is not None:
            watchers.failure.add_note(f"{last_good(self.config)}; the same call resumes from there")
            raise watchers.failure

    def begin(self) -> None:
        """What comes before the next step."""
        self.say(self.summary)
        self.say(self.news)
        self.clock.restart()
        if self.iteration == 0:
            self.measure()

    @property
    def finished(self) -> bool:
        """Whether no step is left, or no patience."""
        return self.out_of_patience or self.iteration >= self.config.training.max_iterations

    @property
    def best(self) -> dict[str, Any] | None:
        """The measurement with the lowest held-out loss so far."""
        return best_measurement(self.measured)

    def last_words(self) -> str:
        """The line about a run that ends before its last iteration, or nothing."""
        if self.iteration >= self.config.training.max_iterations:
            return ""
        if self.out_of_patience and self.best is not None:
            return (
                f"stopped early after {self.iteration} iterations: no held-out loss since was lower than "
                f"{self.best['validation_loss']:.4f}, after {self.best['iteration']} iterations"
            )
        return f"stopped after {self.iteration} iterations and saved; the same call resumes from there"

    def say(self, line: str) -> None:
        """Print a line, in the first process."""
        if line and self.processes.first:
            self.watchers.say(line)

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
        """The gradients of one step, in smaller forward passes if memory runs out; returns the loss.

        If it ran out in one of several processes while they exchange gradients, the others would wait for it. So they
        first try two steps without an exchange, until all have room: at the second the optimizer's averages are there.
        """
        if self.untried:
            self.untried -= 1
            while self.processes.any(self.accumulate(exchange=False) is None):
                self.shrink(together=True)
            self.optimizer.zero_grad()
        while (loss := self.accumulate()) is None:
            self.shrink()
        return loss

    def accumulate(self, exchange: bool = True) -> Tensor | None:
        """Add the gradients of one step to the weights; returns the loss, or None if memory ran out."""
        batches = micro_batches(self.blocks, self.config, self.iteration, self.processes, self.cut.blocks)
        _seed_step(self.config.training.seed, self.iteration, self.processes.rank)
        try:
            return accumulate_gradients(self.wrapped, batches, self.scaler, self.precision, exchange)
        except torch.OutOfMemoryError:
            return None  # which lets go of the traceback, and so of what the failed pass had in memory

    def shrink(self, together: bool = False) -> None:
        """Begin the step again in smaller forward passes. Raises RuntimeError if there are none."""
        self.cut = smaller_cut(self.cut, self.config, self.processes, together)
        self.optimizer.zero_grad()
        gc.collect()  # a compiled model and its graph of gradients hold each other, and so what the failed pass made
        torch.cuda.empty_cache()
        self.wrapped = wrap(self.model, self.config, self.processes, self.cut)

    def note(self, keep: int = 0) -> None:
        """Write down the steps done, all but the last `keep`. Raises RuntimeError if a loss is not finite."""
        while len(self.readings) > keep:
            reading = self.readings.popleft()
            try:
                require_finite(*reading.loss_and_norm(), self.scaler.is_enabled())
            except FloatingPointError as error:
                raise not_finite(self.config, reading.iteration, error) from None
            self.record(self.clock.point(reading, self.config))

    def measure(self) -> float:
        """Score the held-out text, in the first process for all. Raises RuntimeError if the loss is not finite."""
        self.note()
        measured = self.processes.from_first(lambda: self.monitor(self.model))
        loss: float = measured["validation_loss"]
        if not math.isfinite(loss):
            raise not_finite(self.config, self.iteration, loss)
        self.record(point := {"iteration": self.iteration} | measured)
        self.measured += measurements([point])
        self.out_of_patience = out_of_patience(self.measured, self.config.training.patience)
        self.clock.restart()  # the next step's seconds are its own
        return loss

    def record(self, point: dict[str, Any]) -> None:
        """Add a point to the history and show it to those who watch."""
        self.history.add(point)
        self.watchers.show(point)

    def save(self, validation_loss: float | None, final: bool, stopped: bool) -> None:
        """Write a checkpoint, in the first process. Only if this is the `final` one does a full disk end the run.

        It is `stopped` if it would not have been due here.
        """
        self.note()  # what is not finite is never saved
        if not self.processes.first:
            return
        state = {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "cut": self.cut._asdict(),
        }
        try:
            save_checkpoint(
                self.iteration, validation_loss, self.config, self.model, self.data.tokenizer, state,
                self.data.text_checksum, stopped,
            )  # fmt: skip
        except OSError as error:
            failed = f"iteration {self.iteration} could not be saved ({error}); {last_good(self.config)}"
            if final:
                raise OSError(f"{failed}. Fix that, and the same call resumes from there") from error
            self.say(f"{failed}; training goes on")
        self.clock.restart()


def _check_vocab_size(config: RunConfig) -> None:
    asked = config.model.vocab_size
    needed = GPT2_VOCAB_SIZE + (len(ROLES) if config.dataset.dialogues else 0)
    if config.dataset.tokenizer == "gpt2" and asked != needed:
        raise ValueError(f"vocab_size is {asked}, but the gpt2 tokenizer needs vocab_size={needed}")


def _check_answers(data: PreparedData) -> None:
    turns = data.turns
    if data.config.dialogues and (turns is None or turns.assistant not in data.splits["train"].tokens):
        raise ValueError(
            f"{data.config.data} has no answers to learn: with dialogues=True (--dialogues) the column "
            f"{data.config.text_field!r} of a table holds lists of messages, some with the role 'assistant'"
        )


def _new_model(config: RunConfig, data: PreparedData) -> GPT:
    """The untrained model, sized for the tokenizer: from a short text it learns fewer tokens than asked for."""
    torch.manual_seed(config.training.seed)
    return GPT(config.replace(vocab_size=data.tokenizer.vocab_size).model)


def _seed_step(seed: int, iteration: int, rank: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence([seed, iteration, rank]).generate_state(1, np.uint64)[0]))
