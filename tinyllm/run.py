"""A run: the model, its tokenizer, how training went, and what one does with them."""

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tinyllm import tinywiki
from tinyllm.checkpoint import Which, load_checkpoint_tokenizer, load_model, resolve_checkpoint
from tinyllm.config import GenerationConfig, RunConfig
from tinyllm.corpus import TINYWIKI_CORPORA, load_corpus
from tinyllm.data import HELD_OUT, Blocks, PreparedData, prepare
from tinyllm.diagnosis import Batch, Diagnosis, Subject, diagnose
from tinyllm.evaluation import Evaluation, FloorEvaluation, evaluate, evaluate_articles, evaluate_split
from tinyllm.generation import generate_text, stream_text
from tinyllm.history import read_history
from tinyllm.model import GPT, KVCache
from tinyllm.optim import make_optimizer
from tinyllm.step import train_step
from tinyllm.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tinyllm.plots import Picture


_PROBE_TOKENS = 128  # in each block that a diagnosis looks at


@dataclass(frozen=True)
class Run:
    """What `train` and `load_run` return."""

    config: RunConfig
    model: GPT
    tokenizer: Tokenizer
    history: list[dict[str, Any]]
    """One entry per optimizer step or measurement; see `read_history`."""
    iteration: int
    """Optimizer steps behind this model's weights."""

    @property
    def folder(self) -> Path:
        return Path(self.config.run_folder)

    @property
    def finished(self) -> bool:
        return self.iteration >= self.config.training.max_iterations

    def generate(self, prompt: str = "", **settings: Any) -> str:
        """Continue `prompt`; settings are `GenerationConfig`'s fields."""
        return generate_text(self.model, self.tokenizer, prompt, GenerationConfig(**settings))

    def stream(self, prompt: str = "", **settings: Any) -> Iterator[str]:
        """The same piece by piece, as it is drawn."""
        return stream_text(self.model, self.tokenizer, prompt, GenerationConfig(**settings))

    def evaluate(self, split: str = "validation", data: str | None = None) -> Evaluation:
        """Score a whole split: "validation" or "test" where the corpus has them, else the held-out articles.

        TinyWiki's splits come back as a `FloorEvaluation`. With `data`, another text: a corpus's name, or a file, of
        which everything is scored. Raises ValueError for a split that is not there.
        """
        source = data or self.config.dataset.data
        if source in TINYWIKI_CORPORA and split in tinywiki.SPLITS:
            articles = tinywiki.articles(split, source == "tinywiki-full")
            return evaluate_articles(self.model, self.tokenizer, articles)
        if data is not None:
            corpus = load_corpus(data)
            only_split = next(iter(corpus.splits)) if len(corpus.splits) == 1 else split
            return evaluate(self.model, self.tokenizer, corpus, only_split)
        splits = self.data.splits
        if split == "validation" and split not in splits:
            split = HELD_OUT
        if split not in splits:
            raise ValueError(f"{source} has no split {split!r}, only {', '.join(splits)}")
        return evaluate_split(self.model, splits[split])

    def plot(self, path: str | Path | None = None) -> "Picture":
        """Draw the loss curve; with `path`, also write it as a picture."""
        from tinyllm.plots import loss_curve

        return loss_curve(self.history, path=path)

    def diagnose(self) -> Diagnosis:
        """Is my loss right? Probe this run for the usual bugs; prints itself, one line for each probe.

        Works on the CPU with copies, on two short blocks of the run's text: nothing of the run changes.
        """
        return diagnose(self._subject())

    def _subject(self) -> Subject:
        """This run as the probes want it."""
        training, splits = self.config.training, self.data.splits
        length = min(self.model.config.context_length, _PROBE_TOKENS)
        blocks = Blocks(splits["train"], length, training.seed, self.config.dataset.block_begin)
        pieces = min(2, training.gradient_accumulation_steps)
        scaler = torch.amp.GradScaler("cpu", enabled=False)

        def build() -> tuple[GPT, torch.optim.Optimizer]:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(training.seed)
                model = GPT(self.model.config)
            return model, make_optimizer(model, training)

        def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> float:
            return train_step(model, batches, optimizer, scaler, training.max_gradient_norm)[0]

        def batch(number: int) -> list[Batch]:
            arrays = (blocks.batch(first, 2) for first in range(2 * pieces * number, 2 * pieces * (number + 1), 2))
            return [tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in pair) for pair in arrays]

        floor = None
        if self.config.dataset.data in TINYWIKI_CORPORA:
            result = self.evaluate()
            assert isinstance(result, FloorEvaluation)
            floor = result.nats_per_token, result.floor, result.standard_error
        losses = [point["training_loss"] for point in self.history if "training_loss" in point]
        return Subject(
            model=copy.deepcopy(self.model).cpu(),
            build=build,
            step=step,
            batch=batch,
            stepwise=_stepwise,
            first_loss=losses[0] if losses else None,
            texts=(splits["train"].tokens, splits[HELD_OUT].tokens),
            characters_per_token=splits["train"].size / len(splits["train"].tokens),
            floor=floor,
        )

    @cached_property
    def data(self) -> PreparedData:
        """The run's corpus as ids, prepared again if need be. Raises ValueError if it is not what was trained on."""
        data = prepare(self.config.dataset, self.config.model.vocab_size)
        if data.tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise ValueError(f"{self.config.dataset.data} has changed since this run began; name a text with data=")
        return data


def _stepwise(model: torch.nn.Module, ids: Tensor) -> Tensor:
    """The logits of (B, T) ids as sampling computes them: half of them in one pass, then token by token."""
    cache = KVCache(model.config, len(ids), ids.device, model.token_embedding.weight.dtype)
    half = ids.shape[1] // 2
    pieces = [ids[:, :half], *ids[:, half:].split(1, dim=1)]
    return torch.cat([model(piece, cache=cache) for piece in pieces if piece.shape[1]], dim=1)


def load_run(folder: str | Path, which: Which = "best", device: str = "auto") -> Run:
    """Load a run from its folder: the checkpoint with the best validation loss, or the latest.

    Raises FileNotFoundError if there is none, ValueError if none can be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder at {folder}")
    checkpoint = resolve_checkpoint(folder, which)
    config = dataclasses.replace(checkpoint.config, run_folder=str(folder))
    model = load_model(checkpoint.folder, device)
    tokenizer = load_checkpoint_tokenizer(checkpoint)
    return Run(config, model, tokenizer, read_history(folder), checkpoint.iteration)
