"""Runs: `train` makes one, `load_run` loads one; a `Run` evaluates, generates, plots and diagnoses."""

import contextlib
import dataclasses
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tinyllm.config import Precision, RunConfig
from tinyllm.estimation import count_parameters
from tinyllm.evaluation import Evaluation, FloorEvaluation, evaluate, evaluate_split
from tinyllm.huggingface.export import export_model
from tinyllm.huggingface.model_card import Facts
from tinyllm.huggingface.model_files import is_huggingface
from tinyllm.model.gpt import GPT
from tinyllm.presets import get_preset
from tinyllm.pretrained import TrainedModel, load_pretrained
from tinyllm.probes.report import Report
from tinyllm.probes.runs import subject_of_run
from tinyllm.probes.subject import diagnose
from tinyllm.system.distributed import join_processes
from tinyllm.system.paths import full_path, user_path
from tinyllm.system.precision import pick_precision
from tinyllm.text.holdout import HELD_OUT
from tinyllm.text.prepared import PreparedData, prepare
from tinyllm.text.sources import load_corpus, path_from_anywhere
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.training.adapter import save_adapter
from tinyllm.training.checkpoint import (
    Checkpoint,
    Which,
    find_checkpoint,
    load_checkpoint_tokenizer,
    load_model,
    resolve_checkpoint,
)
from tinyllm.training.early_stopping import is_finished
from tinyllm.training.history import read_history
from tinyllm.training.initial_weights import Start, starting_point
from tinyllm.training.loop import Trainer
from tinyllm.training.resume import check_same_text, is_same_text
from tinyllm.training.run_folder import hold
from tinyllm.training.watchers import OnStep

if TYPE_CHECKING:
    from tinyllm.plots import Picture


@dataclass(frozen=True)
class Run(TrainedModel):
    """A training run and what can be done with it: `train` and `load_run` return one."""

    config: RunConfig
    model: GPT
    tokenizer: Tokenizer
    history: list[dict[str, Any]]
    """One entry per optimizer step or measurement; see `read_history`."""
    iteration: int
    """Optimizer steps that led to this model's weights."""
    text_checksum: str | None = None
    """Of the text trained on; None from a checkpoint of version 0.1.0, which does not know it."""

    @property
    def folder(self) -> Path:
        """Where the run's checkpoints and history are."""
        return Path(self.config.run_folder)

    @property
    def finished(self) -> bool:
        """Whether this model has had all its steps, or those that `patience` left it."""
        return is_finished(self.config.training, self.history, self.iteration)

    def evaluate(
        self,
        split: str = "validation",
        data: str | None = None,
        precision: Precision = "float32",
        text_field: str | None = None,
    ) -> Evaluation:
        """Score a whole split: "validation" or "test" where the corpus has them, else the held-out text.

        Text of known entropy gives a `FloorEvaluation`. `data` names another text to score: a corpus, or a file, all
        of which is scored; of a table, the column `text_field`, by default that of the run's own text. Products are
        exact float32; with `precision` "auto" they are what training uses by default, faster on a GPU. Of dialogues
        every token is scored, questions too, while the held-out loss in the history is that of the answers.

        Raises ValueError for an unknown split.
        """
        if data is not None:
            return super().evaluate(split, data, precision, text_field or self.config.dataset.text_field)
        if text_field is not None:
            raise ValueError("text_field is a column of the text that data= (--data) names: give both, or neither")
        dtype = pick_precision(self.model.device, precision)
        source = self.config.dataset.data
        corpus = load_corpus(source, self.config.dataset.text_field)
        if corpus.articles(split):
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

    def export(self, folder: str | Path) -> Path:
        """Write the model, its tokenizer and a model card into a new folder, in Hugging Face's layout.

        Raises ValueError for a choice that neither GPT-2 nor Llama has there, OSError if the folder is not empty.
        """
        return export_model(self.model, self.tokenizer, user_path(folder), self._facts())

    def save_adapter(self, path: str | Path) -> None:
        """Write what LoRA learned as one small file, which `load_pretrained(model, adapter=path)` puts back.

        Raises ValueError for a run without `lora`, OSError if the file cannot be written.
        """
        save_adapter(self.model, self.tokenizer, path)

    def _facts(self) -> Facts:
        """What a model card says of this run."""
        measured = {
            point["iteration"]: point["validation_loss"] for point in self.history if "validation_loss" in point
        }
        training = self.config.training
        return Facts(
            parameters=count_parameters(dataclasses.replace(self.model.config, lora=0)),  # merged in what is exported
            data=self.config.dataset.data,
            iterations=self.iteration,
            tokens=self.iteration * training.global_batch * self.config.model.context_length,
            held_out_loss=measured.get(self.iteration),
            init_from=training.init_from,
            answers=self.config.dataset.dialogues,
        )

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
        """The run's corpus as ids, prepared again if need be. Raises ValueError if the text has changed since.

        That is known by the text's checksum; of a run of version 0.1.0, only by the vocabulary learned from it.
        """
        given = self.tokenizer if self.config.training.init_from else None
        data = prepare(self.config.dataset, self.config.model.vocab_size, tokenizer=given)
        if not is_same_text(data, self.text_checksum, self.tokenizer):
            raise ValueError(f"{self.config.dataset.data} has changed since this run began; name a text with data=")
        return data


def train(config: str | RunConfig, *, on_step: OnStep | None = None, progress: bool = True, **overrides: Any) -> Run:
    """Train a model, or resume where an earlier call with the same configuration stopped.

    Args:
        config: a preset's name ("quickstart", "laptop", "wikitext103", "wikitext103-modern"), or a `RunConfig`.
        on_step: called with each point of the history as it is made; returns True to stop the run. If it raises, the
            run is saved, and then the exception goes on.
        progress: show a bar.
        overrides: any field of the configuration by name, as in `train("laptop", data="my.txt")`.

    A run folder belongs to one run: a finished run is loaded and returned at once; other settings, or another text, are
    refused. The text may have moved, its content may not have changed. What may change is the machine's part (device,
    precision, compile, how a batch is cut), the intervals, patience and logs, and max_iterations to a larger number,
    also of a finished run: the steps to come then take the learning rate, and the default warm-up, that a run of the
    new length has there, mostly a higher one than the run ended with.

    The checkpoints kept are the newest two and the one with the lowest held-out loss measured in training, which
    `load_run` loads; the run returned has the weights of the last step. Ctrl-C (Jupyter's stop button) and SIGTERM
    save, and return the run so far.

    Raises ValueError for settings that cannot work, ConnectionError for data that cannot be reached, OSError for a
    disk that is full or cannot be written, RuntimeError for a run folder in use, a loss that is not finite, or a GPU
    out of memory.
    """
    config = (get_preset(config) if isinstance(config, str) else config).replace(**overrides)
    config = _from_anywhere(config)
    folder = Path(config.run_folder)
    with join_processes(config.training.device) as processes, hold(folder, processes):
        checkpoint = find_checkpoint(folder)
        start = starting_point(config, overrides, checkpoint)
        config = start.config
        if checkpoint is not None and is_finished(config.training, read_history(folder), checkpoint.iteration):
            _check_text_if_there(start, checkpoint, progress and processes.first)
            return _run_at(checkpoint, config, str(processes.device))
        gpus = [processes.device] if processes.device.type == "cuda" else []
        with torch.random.fork_rng(gpus):  # the caller's random numbers go on as if none had been drawn
            trainer = Trainer(config, checkpoint, processes, progress, on_step, start)
            trainer.run()
    data, model = trainer.data, trainer.model.eval()
    return Run(config, model, data.tokenizer, trainer.history.points, trainer.iteration, data.text_checksum)


def _from_anywhere(config: RunConfig) -> RunConfig:
    """With the text, and the weights to start from, named such that they are found from any folder."""
    source = config.training.init_from
    return config.replace(data=path_from_anywhere(config.dataset.data), init_from=source and path_from_anywhere(source))


def _check_text_if_there(start: Start, checkpoint: Checkpoint, progress: bool) -> None:
    """Raise ValueError if a finished run is asked for with another text. It needs none: its own may be gone."""
    config = start.config
    path, before = full_path(config.dataset.data), checkpoint.config.dataset.data
    if path.exists() or before not in (config.dataset.data, str(path)):
        check_same_text(config, checkpoint, prepare(config.dataset, config.model.vocab_size, progress, start.tokenizer))


def load_run(folder: str | Path, which: Which = "best", device: str = "auto") -> Run:
    """Load a run from its folder: the checkpoint with the best validation loss, or the latest.

    Raises FileNotFoundError if there is none, ValueError if none can be used.
    """
    folder = user_path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder at {folder}")
    if is_huggingface(folder):
        raise ValueError(f"{folder} is not a run but a model in Hugging Face's layout: load_pretrained loads it")
    checkpoint = resolve_checkpoint(folder, which)
    return _run_at(checkpoint, checkpoint.config.replace(run_folder=folder, data=_text_of(checkpoint, folder)), device)


def _text_of(checkpoint: Checkpoint, folder: Path) -> str:
    """Where the text of a run is: if it is gone from there, perhaps it has moved together with the run folder."""
    text, before = Path(checkpoint.config.dataset.data), Path(checkpoint.config.run_folder)
    if text.is_absolute() and before.is_absolute() and not text.exists():
        with contextlib.suppress(ValueError):  # on another drive
            moved = Path(os.path.normpath(folder.absolute() / os.path.relpath(text, before)))
            if moved.exists():
                return str(moved)
    return str(text)


def load_trained(source: str | Path, device: str = "auto") -> TrainedModel:
    """Load a run, or a model of any kind without one: see `load_run` and `load_pretrained`."""
    folder = user_path(source)
    if folder.is_dir() and not is_huggingface(folder):
        return load_run(folder, device=device)
    return load_pretrained(source, device)


def _run_at(checkpoint: Checkpoint, config: RunConfig, device: str) -> Run:
    """The run as it was at a checkpoint. `config` says where its folder is now."""
    model = load_model(checkpoint.folder, device)
    history = read_history(Path(config.run_folder))
    tokenizer = load_checkpoint_tokenizer(checkpoint)
    return Run(config, model, tokenizer, history, checkpoint.iteration, checkpoint.text_checksum)
