"""Runs: `train` makes one, `load_run` loads one; a `Run` evaluates, generates, plots and diagnoses."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tinyllm.config import GenerationConfig, Precision, RunConfig
from tinyllm.evaluation import Evaluation, FloorEvaluation, evaluate, evaluate_split
from tinyllm.generation.writing import generate_text, stream_text
from tinyllm.model.gpt import GPT
from tinyllm.presets import get_preset
from tinyllm.probes.report import Report
from tinyllm.probes.runs import subject_of_run
from tinyllm.probes.subject import diagnose
from tinyllm.system.distributed import join_processes
from tinyllm.system.paths import user_path
from tinyllm.system.precision import pick_precision
from tinyllm.text.holdout import HELD_OUT
from tinyllm.text.prepared import PreparedData, prepare
from tinyllm.text.sources import load_corpus
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.training.checkpoint import (
    Checkpoint,
    Which,
    find_checkpoint,
    load_checkpoint_tokenizer,
    load_model,
    resolve_checkpoint,
)
from tinyllm.training.history import read_history
from tinyllm.training.loop import OnStep, Trainer
from tinyllm.training.resume import check_same_run
from tinyllm.training.run_folder import hold

if TYPE_CHECKING:
    from tinyllm.plots import Picture


@dataclass(frozen=True)
class Run:
    """A training run and what can be done with it: `train` and `load_run` return one."""

    config: RunConfig
    model: GPT
    tokenizer: Tokenizer
    history: list[dict[str, Any]]
    """One entry per optimizer step or measurement; see `read_history`."""
    iteration: int
    """Optimizer steps that led to this model's weights."""

    @property
    def folder(self) -> Path:
        """Where the run's checkpoints and history are."""
        return Path(self.config.run_folder)

    @property
    def finished(self) -> bool:
        """Whether this model has had all its steps."""
        return self.iteration >= self.config.training.max_iterations

    def generate(self, prompt: str = "", **settings: Any) -> str:
        """Continue `prompt`; settings are `GenerationConfig`'s fields."""
        return generate_text(self.model, self.tokenizer, prompt, GenerationConfig(**settings))

    def stream(self, prompt: str = "", **settings: Any) -> Iterator[str]:
        """What `generate` adds to the prompt, piece by piece as it is drawn."""
        return stream_text(self.model, self.tokenizer, prompt, GenerationConfig(**settings))

    def evaluate(
        self, split: str = "validation", data: str | None = None, precision: Precision = "float32"
    ) -> Evaluation:
        """Score a whole split: "validation" or "test" where the corpus has them, else the held-out articles.

        Text of known entropy gives a `FloorEvaluation`. `data` names another text to score: a corpus, or a file, all
        of which is scored. Products are exact float32; with `precision` "auto" they are what training uses, which is
        faster on a GPU. Raises ValueError for an unknown split.
        """
        dtype = pick_precision(self.model.device, precision)
        source = data or self.config.dataset.data
        corpus = load_corpus(source)
        if data is not None and len(corpus.splits) == 1:
            split = next(iter(corpus.splits))
        if data is not None or corpus.articles(split):
            return evaluate(self.model, self.tokenizer, corpus, split, precision=dtype)
        splits = self.data.splits
        if split == "validation" and split not in splits:
            split = HELD_OUT
        if split not in splits:
            raise ValueError(f"{source} has no split {split!r}, only {', '.join(splits)}")
        return evaluate_split(self.model, splits[split], precision=dtype)

    def plot(self, path: str | Path | None = None) -> "Picture":
        """Draw the loss curve; with `path`, also save it as a picture."""
        from tinyllm.plots import loss_curve

        return loss_curve(self.history, path=path)

    def diagnose(self) -> Report:
        """Is my loss right? Probe this run for the usual bugs; the report prints as one line for each probe.

        Works on the CPU with copies, on two short blocks of the run's text: nothing of the run changes.
        """
        return diagnose(subject_of_run(self.config, self.model, self.data, self.history, self._floor()))

    def _floor(self) -> FloorEvaluation | None:
        """The held-out loss beside its floor, where the corpus knows it."""
        if not self.data.articles("validation"):
            return None
        result = self.evaluate()
        return result if isinstance(result, FloorEvaluation) else None

    @cached_property
    def data(self) -> PreparedData:
        """The run's corpus as ids, prepared again if need be. Raises ValueError if the text has changed since."""
        data = prepare(self.config.dataset, self.config.model.vocab_size)
        if data.tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise ValueError(f"{self.config.dataset.data} has changed since this run began; name a text with data=")
        return data


def train(config: str | RunConfig, *, on_step: OnStep | None = None, progress: bool = True, **overrides: Any) -> Run:
    """Train a model, or resume where an earlier call with the same configuration stopped.

    Args:
        config: a preset's name ("quickstart", "laptop", "wikitext103", "wikitext103-modern"), or a `RunConfig`.
        on_step: called with each point of the history as it is made; returns True to stop the run.
        progress: show a bar.
        overrides: any field of the configuration by name, as in `train("laptop", data="my.txt")`.

    A run folder belongs to one configuration: a finished run is loaded and returned at once, and another
    configuration is refused. Ctrl-C (Jupyter's stop button) and SIGTERM save, and return the run so far.

    Raises ValueError for settings that cannot work, ConnectionError for data that cannot be reached, OSError for a
    disk that is full or cannot be written, RuntimeError for a run folder in use, a loss that is not finite, or a GPU
    out of memory.
    """
    config = (get_preset(config) if isinstance(config, str) else config).replace(**overrides)
    folder = Path(config.run_folder)
    with join_processes(config.training.device) as processes, hold(folder, processes):
        checkpoint = find_checkpoint(folder)
        if checkpoint is not None:
            check_same_run(config, checkpoint.config)
            if checkpoint.iteration >= config.training.max_iterations:
                return _run_at(checkpoint, config, str(processes.device))
        gpus = [processes.device] if processes.device.type == "cuda" else []
        with torch.random.fork_rng(gpus):  # the caller's random numbers go on as if none had been drawn
            trainer = Trainer(config, checkpoint, processes, progress, on_step)
            trainer.run()
    return Run(config, trainer.model.eval(), trainer.data.tokenizer, trainer.history.points, trainer.iteration)


def load_run(folder: str | Path, which: Which = "best", device: str = "auto") -> Run:
    """Load a run from its folder: the checkpoint with the best validation loss, or the latest.

    Raises FileNotFoundError if there is none, ValueError if none can be used.
    """
    folder = user_path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder at {folder}")
    checkpoint = resolve_checkpoint(folder, which)
    return _run_at(checkpoint, dataclasses.replace(checkpoint.config, run_folder=str(folder)), device)


def _run_at(checkpoint: Checkpoint, config: RunConfig, device: str) -> Run:
    """The run as it was at a checkpoint. `config` says where its folder is now."""
    model = load_model(checkpoint.folder, device)
    history = read_history(Path(config.run_folder))
    return Run(config, model, load_checkpoint_tokenizer(checkpoint), history, checkpoint.iteration)
