"""How good is a model? Its surprise at every token of a text, summed, and the measures that follow from the sum."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.model.gpt import GPT
from tinyllm.system.precision import autocast, exact_products
from tinyllm.text.articles import LABELS, Article
from tinyllm.text.corpus import Corpus
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenized import TokenizedSplit, text_size, tokenize
from tinyllm.text.tokenizer import Tokenizer

_BATCH_TOKENS = {"cpu": 8192, "cuda": 32768}  # positions in one forward pass; a GPU is idle with fewer


@dataclass(frozen=True)
class Evaluation:
    """A model's summed surprise at a text, and the text's size. Perplexities come from the sum, never from averages."""

    nats: float
    """The sum of -log p over all tokens."""
    tokens: int
    """Tokens scored, document separators included."""
    words: int
    """Separated by white space, plus one per line end: the count used in papers on WikiText."""
    bytes: int
    """Of the text in UTF-8."""

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.tokens

    @property
    def perplexity_per_token(self) -> float:
        """exp(nats / tokens): comparable only between models with the same tokenizer."""
        return _exp(self.nats_per_token)

    @property
    def perplexity_per_word(self) -> float:
        """exp(nats / words): comparable between tokenizers, and with the literature."""
        return _exp(self.nats / max(1, self.words))

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes


def _exp(nats: float) -> float:
    """e^nats; infinite above the largest float, as when a whole text is one "word" (Chinese without line ends)."""
    return math.exp(nats) if nats < 709 else math.inf


class _Window(NamedTuple):
    """A stretch of one sequence that the model reads in one pass."""

    sequence: int
    """Its index."""
    start: int
    """Index of the window's first token in the sequence."""
    scored: int
    """Index of the first target that this window scores, counted from the sequence's second token."""


@torch.no_grad()
def surprises(
    model: GPT,
    sequences: Sequence[Integer[np.ndarray, " _"]],
    stride: int | None = None,
    precision: torch.dtype = torch.float32,
) -> list[Float[np.ndarray, " _"]]:
    """-log p, in nats, of every token of each sequence except its first: N tokens give N - 1 values.

    A sequence longer than the context is read through a window that moves by `stride` tokens (by default half the
    context), and each token is scored once, in the first window that reaches it: with at least
    context_length - stride tokens before it, except at the start of the sequence. Matrix products are exact float32
    unless `precision` says otherwise. Raises ValueError for a stride outside 1 to context_length.
    """
    context_length = model.config.context_length
    stride = context_length // 2 or 1 if stride is None else stride
    if not 1 <= stride <= context_length:
        raise ValueError(f"stride must be from 1 to the context_length of {context_length}, not {stride}")
    windows = _windows([len(sequence) for sequence in sequences], context_length, stride)
    results = [np.zeros(max(0, len(sequence) - 1), np.float32) for sequence in sequences]
    rows = max(1, _BATCH_TOKENS.get(model.device.type, _BATCH_TOKENS["cpu"]) // context_length)
    with evaluation_mode(model), exact_products(), autocast(model.device, precision):
        for first in range(0, len(windows), rows):
            batch = windows[first : first + rows]
            for window, losses in zip(batch, _window_losses(model, sequences, batch), strict=True):
                results[window.sequence][window.scored : window.scored + len(losses)] = losses.numpy()
    return results


def _windows(lengths: Sequence[int], context_length: int, stride: int) -> list[_Window]:
    """The windows over sequences of these lengths, so that each target is scored in exactly one."""
    windows = []
    for index, length in enumerate(lengths):
        scored = 0
        while scored < length - 1:
            start = 0 if scored == 0 else scored + stride - context_length
            windows.append(_Window(index, start, scored))
            scored = min(start + context_length, length - 1)
    return windows


def _window_losses(
    model: GPT, sequences: Sequence[Integer[np.ndarray, " _"]], windows: Sequence[_Window]
) -> tuple[Float[Tensor, " _"], ...]:
    """For each window, -log p of the targets it scores; the model reads all windows in one pass."""
    context_length = model.config.context_length
    parts = [
        np.asarray(sequences[window.sequence][window.start : window.start + context_length + 1], np.int64)
        for window in windows
    ]
    width = max(map(len, parts)) - 1
    ids = torch.from_numpy(np.stack([np.pad(part, (0, width + 1 - len(part))) for part in parts])).to(model.device)
    hidden = model.hidden(ids[:, :-1])  # padding comes last, so no scored token attends to it
    targeted = torch.zeros(len(windows), width, dtype=torch.bool)  # only these go through the head's large matrix
    for row, part, window in zip(targeted, parts, windows, strict=True):
        row[window.scored - window.start : len(part) - 1] = True
    counts = targeted.sum(1).tolist()
    targeted = targeted.to(model.device)
    losses = model.token_losses(hidden[targeted], ids[:, 1:][targeted])
    return torch.split(losses.cpu(), counts)


def evaluate(
    model: GPT,
    tokenizer: Tokenizer,
    corpus: Corpus,
    split: str = "validation",
    precision: torch.dtype = torch.float32,
) -> Evaluation:
    """Score every token of a corpus's split once, in exact float32 or in a faster `precision`.

    Where the corpus knows its entropy, the result is a `FloorEvaluation`; only a `SubWordTokenizer` can give that,
    because labels belong to bytes. Raises ValueError if there is no such split.
    """
    articles = corpus.articles(split)
    if articles and isinstance(tokenizer, SubWordTokenizer):
        return evaluate_articles(model, tokenizer, articles, precision)
    tokenizer.check_vocabulary(model.config.vocab_size)
    return evaluate_split(model, tokenize(corpus.documents(split), tokenizer), precision)


def evaluate_split(model: GPT, split: TokenizedSplit, precision: torch.dtype = torch.float32) -> Evaluation:
    """Score a split as one stream; only its first separator, which has nothing before it, is left out."""
    nats = surprises(model, [split.tokens], precision=precision)[0].sum(dtype=np.float64)
    return Evaluation(float(nats), len(split.tokens) - 1, split.words, split.size)


@dataclass(frozen=True)
class FloorEvaluation(Evaluation):
    """Articles of known entropy, each scored from its own start, next to the entropy itself."""

    floor_nats: float
    """-log p of these articles under their generator: no model can do better on average."""
    forgetful_nats: float
    """The same for a writer who draws each recalled fact again."""
    standard_error: float
    """Of (nats - floor_nats) / tokens, from the spread between articles; infinite for a single article."""
    by_label: dict[str, dict[str, float]]
    """For each kind of token: their count ("tokens"), the model's "nats", and the floor's ("floor_nats")."""

    @property
    def floor(self) -> float:
        """Nats per token."""
        return self.floor_nats / self.tokens

    @property
    def above_floor(self) -> float:
        """How far the loss is above the floor, as a share of the floor: 0.1 is ten per cent."""
        return self.nats / self.floor_nats - 1


def evaluate_articles(
    model: GPT, tokenizer: SubWordTokenizer, articles: Sequence[Article], precision: torch.dtype = torch.float32
) -> FloorEvaluation:
    """Score articles with a separator before and after each, and sort the nats by kind of token."""
    tokenizer.check_vocabulary(model.config.vocab_size)
    end = tokenizer.end_of_text_id
    encoded = tokenizer.encode_batch([article.text for article in articles])
    scores = surprises(model, [np.array([end, *ids, end]) for ids in encoded], precision=precision)
    by_label = {label: {"tokens": 0, "nats": 0.0, "floor_nats": 0.0} for label in LABELS}
    for article, ids, score in zip(articles, encoded, scores, strict=True):
        for label, nats in zip([*label_tokens(article, tokenizer, ids), "grammar"], score, strict=True):
            by_label[label]["tokens"] += 1
            by_label[label]["nats"] += float(nats)
        for span in article.spans:
            by_label[span.label]["floor_nats"] += span.nats
    nats_by_article = np.array([score.sum(dtype=np.float64) for score in scores])
    excess = nats_by_article - [article.nats for article in articles]
    several = len(articles) > 1
    tokens = sum(map(len, scores))
    words, size = text_size(article.text for article in articles)
    return FloorEvaluation(
        nats=float(nats_by_article.sum()),
        tokens=tokens,
        words=words,
        bytes=size,
        floor_nats=sum(article.nats for article in articles),
        forgetful_nats=sum(article.forgetful_nats for article in articles),
        standard_error=float(np.std(excess, ddof=1) * math.sqrt(len(articles)) / tokens) if several else math.inf,
        by_label=by_label,
    )


def label_tokens(article: Article, tokenizer: SubWordTokenizer, ids: Sequence[int]) -> list[str]:
    """The kind of each token: that of the span with its last byte, since a token may begin with the space before it."""
    labels: list[str] = []
    for span in article.spans:
        labels += [span.label] * len(span.text.encode("utf-8"))
    result, end = [], 0
    for token in ids:
        end += len(tokenizer.decode_bytes([token]))
        result.append(labels[end - 1])
    return result
