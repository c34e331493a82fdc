"""The course's ladder: small models, each with one idea more than the last, trained alike and compared.

Chapters 02 to 06 each end with `short_run`, a `sample` of what the model writes, and one or two more bars in one chart.
The runs are short on purpose: they show what an idea gains in the same 400 steps, not how far it gets. Each model has
its own learning rate, the one that suits it best. `measured` has the results of five seeds, `remembered` those of the
one run on this machine.

Shape letters: B batch, T time (tokens), C embedding_dim, V vocab_size, N tokens of all test articles.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from tinyllm.config import TrainingConfig
from tinyllm.course.run_bar import watched
from tinyllm.evaluation import label_tokens
from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.plots.picture import figures_folder
from tinyllm.presets import get_preset
from tinyllm.system.cache import home
from tinyllm.system.files import read_json, replace_text
from tinyllm.text.articles import LABELS, Article
from tinyllm.text.batches import Blocks
from tinyllm.text.holdout import HELD_OUT
from tinyllm.text.prepared import prepare
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.training.optimizers import make_optimizer

Batch = tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]  # ids and targets
ITERATIONS, BATCH_SIZE = 400, 8
ARTICLES = 64  # test articles that score a model
LONGEST_STEP = 1.0  # seconds of computing; a short run of 400 steps then takes some minutes


@dataclass(frozen=True)
class CourseText:
    """A text as blocks to train on, and a way to score a model on text it has not seen."""

    name: str
    tokenizer: Tokenizer
    blocks: Blocks
    held_out: Blocks
    articles: Sequence[Article]
    """Test articles of known entropy; empty for other text."""

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    def batch(self, iteration: int) -> Batch:
        """The ids and targets of one step."""
        ids, targets = self.blocks.batch(iteration * BATCH_SIZE, BATCH_SIZE)
        return torch.from_numpy(ids), torch.from_numpy(np.ascontiguousarray(targets))

    @torch.no_grad()
    def score(self, model: nn.Module) -> dict[str, float]:
        """Nats per token: "all"; for articles of known entropy also by kind of token.

        Such an article is read from its start, other text in blocks.
        """
        with evaluation_mode(model):
            if not self.articles:
                ids, targets = map(torch.from_numpy, self.held_out.fixed(ARTICLES))
                return {"all": F.cross_entropy(model(ids).flatten(0, 1), targets.flatten()).item()}
            kinds, nats = self._surprises(model)
        return {"all": float(nats.mean())} | {kind: float(nats[kinds == kind].mean()) for kind in LABELS}

    def _surprises(self, model: nn.Module) -> tuple[Shaped[np.ndarray, " N"], Float[np.ndarray, " N"]]:
        """The kind and the surprise (-log p, in nats) of each token of the test articles."""
        kinds: list[str] = []
        nats: list[float] = []
        for stream, labels in self.labelled():
            ids = torch.tensor(stream)
            nats += F.cross_entropy(model(ids[None, :-1])[0], ids[1:], reduction="none").tolist()
            kinds += labels
        return np.array(kinds), np.array(nats)

    def labelled(self) -> list[tuple[list[int], list[str]]]:
        """Each test article with a separator before and after it: its T ids, and the kinds of the T - 1 to predict."""
        assert isinstance(self.tokenizer, SubWordTokenizer)  # as the quickstart has: others cannot label tokens
        end = self.tokenizer.end_of_text_id
        result = []
        for article in self.articles:
            ids = self.tokenizer.encode(article.text)
            result.append(([end, *ids, end], [*label_tokens(article, self.tokenizer, ids), "grammar"]))
        return result


def course_text(data: str = "tinywiki") -> CourseText:
    """TinyWiki as the quickstart prepares it, or your own text: a file or folder, as `train`'s `data`."""
    preset = get_preset("quickstart").replace(data=data)
    prepared = prepare(preset.dataset, preset.model.vocab_size, progress=False)
    T, begin = preset.model.context_length, preset.dataset.block_begin
    blocks = {split: Blocks(prepared.splits[split], T, begin=begin) for split in ("train", HELD_OUT)}
    articles = prepared.articles("test")[:ARTICLES]
    return CourseText(data, prepared.tokenizer, blocks["train"], blocks[HELD_OUT], articles)


class SmallModel(nn.Module):
    """A token embedding, one piece that keeps the shape (B, T, C), and a head."""

    def __init__(self, vocab_size: int, embedding_dim: int, piece: nn.Module):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, embedding_dim)
        nn.init.normal_(self.token_embedding.weight, std=0.5)
        self.piece = piece
        self.head = nn.Linear(embedding_dim, vocab_size)

    def forward(self, token_ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """The logits."""
        logits: Tensor = self.head(self.piece(self.token_embedding(token_ids)))
        return logits


@torch.no_grad()
def sample(model: nn.Module, text: CourseText, seed: int = 0, max_tokens: int = 120) -> str:
    """What a model writes by itself, from the start of a document to its end, or to `max_tokens`.

    Each token is drawn from the model's probabilities as they are: at temperature 1, with nothing cut off. `model` maps
    ids (1, T) to logits (1, T, V), and `max_tokens` must fit its context.
    """
    generator = torch.Generator().manual_seed(seed)
    end = text.tokenizer.end_of_text_id
    ids = [end]
    with evaluation_mode(model):
        while len(ids) <= max_tokens:
            probabilities = model(torch.tensor([ids]))[0, -1].softmax(dim=0)
            token = int(torch.multinomial(probabilities, 1, generator=generator))
            if token == end:
                break
            ids.append(token)
    return text.tokenizer.decode(ids[1:])


def fast_enough(own: nn.Module, proven: nn.Module, embedding_dim: int) -> nn.Module:
    """A layer for a short run: `own`, or where its steps would take seconds, `proven` with the same weights.

    For a layer on a learner's functions, which may be right and slow, and the package's layer that was proven equal.
    """
    context_length = get_preset("quickstart").model.context_length
    x = torch.linspace(-1, 1, context_length * embedding_dim).view(1, context_length, embedding_dim)
    seconds = []
    with torch.random.fork_rng(devices=[]):  # what comes after must not depend on what dropout draws here
        for _ in range(2):  # the first time it may also have to warm up
            began = time.process_time()  # of this process: other programs may keep the computer busy
            own(x).sum().backward()
            seconds.append(BATCH_SIZE * (time.process_time() - began))
    own.zero_grad()
    if min(seconds) < LONGEST_STEP:
        return own
    print(f"A step with your functions would take {min(seconds):.1f} s: the package's layer, proven equal, is trained.")
    proven.load_state_dict(own.state_dict())
    return proven


def plain(model: nn.Module, batches: list[Batch], learning_rate: float) -> None:
    """One step of AdamW for each batch, in the plainest way: the rate is constant, and nothing is clipped."""
    optimizer = make_optimizer(model, TrainingConfig(max_learning_rate=learning_rate, min_learning_rate=0))
    for ids, targets in batches:
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        optimizer.step()
        optimizer.zero_grad()


class _Watched(list[Batch]):
    """Batches that call `step` as each is done with: whatever a recipe does, it goes through them."""

    def __init__(self, batches: Iterable[Batch], step: Callable[[], None]):
        super().__init__(batches)
        self._step = step

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            yield batch
            self._step()


def short_run(
    model: nn.Module,
    text: CourseText,
    max_learning_rate: float,
    name: str = "",
    recipe: Callable[[nn.Module, list[Batch], float], object] = plain,
) -> dict[str, float]:
    """Train any model that maps ids (B, T) to logits (B, T, V) for 400 steps; returns its `text.score`.

    `recipe` trains it: a function of the model, the 400 batches and the rate. With a `name`, a result on TinyWiki is
    saved for later chapters, under TINYLLM_HOME. Raises Interrupted at Ctrl-C.
    """
    model.train()
    with watched(ITERATIONS) as step:
        recipe(model, _Watched(map(text.batch, range(ITERATIONS)), step), max_learning_rate)
        result = text.score(model)
    if name and text.name == "tinywiki":
        _remember(name, result)
    return result


def reference_lines(text: CourseText) -> dict[str, dict[str, float]]:
    """Lines to compare with, in nats per token by kind, as `text.score` has them; none for text of unknown entropy.

    The floor, where every choice costs what its draw costs, and the forgetful writer, who draws each recalled fact
    again.
    """
    if not text.articles:
        return {}
    kinds = Counter(kind for _, labels in text.labelled() for kind in labels)
    spans = [span for article in text.articles for span in article.spans]
    floor = dict.fromkeys(LABELS, 0.0) | {"choice": sum(span.nats for span in spans)}
    forgetful = floor | {"recall": sum(span.forgotten for span in spans)}
    return {
        name: {"all": sum(nats.values()) / kinds.total()} | {kind: nats[kind] / kinds[kind] for kind in LABELS}
        for name, nats in (("forgetful writer", forgetful), ("floor", floor))
    }


def measured(latest: str) -> dict[str, dict[str, list[float]]]:
    """What the rungs up to `latest` score on TinyWiki, each with five seeds: {rung: {kind: nats per token by seed}}.

    Written by `pytest --claims`, as each claim's runs are made (tests/claims).
    """
    results: dict[str, Any] = read_json(figures_folder() / "ladder.json")
    rungs = list(results)[: list(results).index(latest) + 1]
    return {rung: results[rung]["nats"] for rung in rungs}


def remembered() -> dict[str, dict[str, float]]:
    """The results of the chapters run on this machine, oldest first."""
    try:
        results: dict[str, dict[str, float]] = read_json(home() / "ladder.json")
    except (OSError, ValueError):  # none yet, or not readable: then the chart has fewer bars
        return {}
    return results


def _remember(name: str, result: dict[str, float]) -> None:
    with contextlib.suppress(OSError):  # a full or read-only disk must not keep a learner from the result
        replace_text(home() / "ladder.json", json.dumps(remembered() | {name: result}))
