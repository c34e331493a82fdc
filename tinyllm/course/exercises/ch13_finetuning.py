"""Exercises of notebook 13: what is learned of a dialogue, a few weights beside many, and what is lost meanwhile."""

# mypy: allow-untyped-calls
# torch gives `backward` no types, and a comment at each call would be in the way of the reader of a solution.

import dataclasses
import random
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tinyllm.config import IGNORED
from tinyllm.course.checking.accumulating import left_behind
from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.generators import score_tensors
from tinyllm.course.checking.registry import Case, Function, exercise
from tinyllm.model.gpt import GPT
from tinyllm.presets import get_preset
from tinyllm.text.dialogues import ROLES


def _stream(*documents: str, begun: bool = True, ended: bool = True) -> tuple[list[int], dict[str, int], int]:
    """Documents in one stream of ids: "sua" has a message of each role, "" is text without roles.

    What is said is up to four tokens long.
    """
    end_of_text, *marks = random.sample(range(3000), 4)
    roles = dict(zip(ROLES, marks, strict=True))
    words = [token for token in range(3000) if token not in (end_of_text, *marks)]
    ids = []
    for document in documents:
        ids.append(end_of_text)
        for letter in document:
            ids.append(next(roles[role] for role in roles if role[0] == letter))
            ids += random.choices(words, k=random.randint(0, 4))
        ids += random.choices(words, k=0 if document else random.randint(1, 5))
    return ids[not begun :] + [end_of_text] * ended, roles, end_of_text


_FEW = {"system": 1, "user": 2, "assistant": 3}


@exercise(
    cases=lambda: [
        ([0, 2, 10, 11, 3, 12, 13, 0, 2, 14, 3, 15, 0], _FEW, 0),
        ([0, 10, 11, 0, 2, 12, 3, 13, 2, 14, 3, 15, 16], _FEW, 0),
        ([0, 1, 10, 2, 11, 3, 3, 0, 2, 12, 0, 13], _FEW, 0),
        *(([*ids], {"system": 7, "user": 5, "assistant": 9}, 8) for ids in ([], [5], [5, 9], [4, 6])),
        _stream("ua", "", "uaua", "sua"),
        _stream("", "suaua", "u", "", "ua", ended=False),
        _stream("suauaua", "", "", "ua", begun=False, ended=False),
        _stream("", "", "ua", "ua", begun=False),
        _stream("sa", "uuaa", "au", "asua", ""),
    ],
    hint="Go through the stream, and remember the latest special token: it says who speaks. Which token is asked for "
    "at each place, and who was speaking before it?",
    why="What ends an answer is part of it: a model that never learned to end one would never stop. The mark of the "
    "next role is as good an end as the end of the text.",
)
def learned_targets(ids: list[int], roles: dict[str, int], end_of_text_id: int) -> list[int]:
    """The next token at each place of a stream but its last, or IGNORED where it is not to be learned.

    Learned are the tokens of an answer and the one that ends it, and documents without roles, each with its end.
    Before the first mark there is such a document.
    """
    speaker, targets = end_of_text_id, []
    for token, following in pairwise(ids):
        if token == end_of_text_id or token in roles.values():
            speaker = token
        in_document = speaker == end_of_text_id and following not in roles.values()
        learned = speaker == roles["assistant"] or in_document
        targets.append(following if learned else IGNORED)
    return targets


def _masked(logits: Float[Tensor, "B T V"], *counted: int) -> Case:
    """Logits and targets: in each row so many count, at any places."""
    B, T, V = logits.shape
    ranks = torch.rand(B, T).argsort(dim=1).argsort(dim=1)
    return logits, torch.randint(V, (B, T)).masked_fill(ranks >= torch.tensor(counted)[:, None], IGNORED)


@exercise(
    cases=lambda: [
        _masked(torch.randn(1, 4, 5), 2),
        _masked(2 * torch.randn(2, 5, 3), 1, 4),
        _masked(torch.randn(2, 3, 4), 0, 0),
        *(_masked(logits, 5, 2, 1) for logits in score_tensors(3, 6, 7)[:4]),
        _masked(torch.randn(4, 2, 300), 2, 2, 2, 2),
        _masked(torch.randn(3, 7, 2), 6, 0, 3),
        _masked(torch.randn(1, 1, 9), 1),
    ],
    hint="Add up the losses of what counts, and divide by how many count. What is that for a batch in which nothing "
    "does?",
    why="An ignored position adds nothing above the line, so it must not be counted below it either. And a batch may "
    "well contain questions alone: 0 / 0 is NaN, and one NaN in a gradient spoils every weight.",
)
def masked_loss(logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    """The mean cross-entropy, in nats, over the targets that are not IGNORED; 0 if all are."""
    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (targets != IGNORED).sum().clamp(min=1)


def _thin(*sizes: int, alpha: float, fresh: bool = False) -> Case:
    """Inputs (..., I), weight (O, I), A (R, I), B (O, R) and alpha; `fresh`: before the first step, when B is zero."""
    *shape, inputs, outputs, rank = sizes
    B = torch.zeros(outputs, rank) if fresh else torch.randn(outputs, rank)
    return torch.randn(*shape, inputs), torch.randn(outputs, inputs), torch.randn(rank, inputs), B, alpha


def _beside_frozen(function: Function, x: Tensor, weight: Tensor, A: Tensor, B: Tensor, alpha: float) -> Any:
    """The large matrix gets no gradient in LoRA, so an answer may detach it."""
    return function(x, weight.detach(), A, B, alpha)


@exercise(
    observe=_beside_frozen,
    cases=lambda: [
        _thin(2, 3, 3, 3, alpha=6.0),  # all square, so that no shape forbids an exchange
        _thin(3, 5, 4, 2, alpha=1.0),
        _thin(6, 2, 1, alpha=16.0),
        _thin(2, 3, 4, 7, 2, alpha=random.uniform(3, 30)),
        _thin(2, 2, 2, 5, 3, 4, alpha=random.uniform(0.1, 0.9)),
        _thin(2, 4, 6, 5, 3, alpha=8.0, fresh=True),
    ],
    hint="x goes two ways: through the weight, and through A to R numbers and from there through B. Which of the two "
    "ways is scaled? nn.Linear stores its matrix as (out, in).",
    why="From the left, (x A) B costs in R + R out products per token; the matrix B A would cost R in out before the "
    "first of them. alpha / R keeps the correction's size where another rank is tried.",
)
def lora_forward(
    x: Float[Tensor, "*shape I"],
    weight: Float[Tensor, "O I"],
    A: Float[Tensor, "R I"],
    B: Float[Tensor, "O R"],
    alpha: float,
) -> Float[Tensor, "*shape O"]:
    """A linear layer with the correction of two thin matrices beside it, which is scaled by alpha / R."""
    return x @ weight.T + alpha / len(A) * (x @ A.T @ B.T)


@exercise(
    gradients=False,
    cases=lambda: [
        _thin(*sizes, alpha=alpha)[1:]
        for sizes, alpha in (
            ((3, 3, 3), 6.0),
            ((4, 2, 1), 16.0),
            ((2, 5, 3), random.uniform(4, 30)),
            ((4, 4, 2), random.uniform(0.1, 0.9)),
            ((7, 3, 5), 2.5),
            ((1, 1, 4), 8.0),
        )
    ],
    hint="Which product of the two thin matrices has the shape of the weight? And what becomes of the weight that you "
    "are given?",
    why="W x + s B (A x) = (W + s B A) x. So after training the correction costs nothing: no product more, and no "
    "second file to keep with the model.",
)
def merge(
    weight: Float[Tensor, "O I"], A: Float[Tensor, "R I"], B: Float[Tensor, "O R"], alpha: float
) -> Float[Tensor, "O I"]:
    """The one matrix that does what `lora_forward` does with three; these stay as they are."""
    return weight + alpha / len(A) * B @ A


def _answers(count: int, *edges: float) -> Case:
    """Confidences of three decimals from the first edge to the last, more often right where they are higher."""
    low, high = edges[0], edges[-1]
    confidences = [round(random.uniform(low, high), 3) for _ in range(count)]
    confidences += [*random.choices(edges, k=count // 4), *random.sample([low, high], min(count, 2))]
    random.shuffle(confidences)
    return confidences, [random.random() < confidence for confidence in confidences], list(edges)


def _edges(bins: int) -> list[float]:
    """From 0 to 1, in steps that are not equal."""
    return [0.0, *sorted(random.sample([step / 100 for step in range(1, 100)], bins - 1)), 1.0]


@exercise(
    cases=lambda: [
        ([0.9, 0.5, 0.6, 1.0], [True, False, True, True], [0.5, 0.75, 1.0]),
        ([0.0, 0.25, 0.25, 0.8], [False, True, False, True], [0.0, 0.25, 0.5, 0.75, 1.0]),
        ([], [], [0.0, 0.5, 1.0]),
        ([0.7], [True], [0.0, 0.3, 0.7, 0.9, 1.0]),
        _answers(9, 0.0, 1.0),
        _answers(40, *_edges(4)),
        _answers(5, *_edges(12)),
        _answers(30, 0.25, 0.4, 0.5, 0.9),
    ],
    hint="Take two neighbouring edges, and collect what lies between them: which answers are these, how sure were "
    "they, and how many were right? An answer at an edge belongs to one bin only.",
    why="A model is calibrated where both numbers agree: of the answers it is 80% sure of, 80% are right. The count "
    "says how far to trust a bin: a share of three answers says little.",
)
def calibration(confidences: list[float], right: list[bool], edges: list[float]) -> list[tuple[float, float, int]]:
    """The mean confidence, the share that is right and the number of answers of each bin that has any.

    A bin goes from one edge up to the next. The upper edge belongs to the next bin, but the last edge to the last bin.
    """
    bins = []
    for low, high in pairwise(edges):
        inside = [
            index
            for index, confidence in enumerate(confidences)
            if low <= confidence < high or confidence == high == edges[-1]
        ]
        count = len(inside)
        if count:
            sure, correct = (sum(values[index] for index in inside) for values in (confidences, right))
            bins.append((sure / count, correct / count, count))
    return bins


class Predictor(nn.Module):
    """A small model that is called as a GPT is: with targets too it returns the mean loss of those that count."""

    def __init__(self, V: int):
        super().__init__()
        self.embedding = nn.Embedding(V, 3)
        self.head = nn.Linear(3, V)

    def forward(
        self, token_ids: Int[Tensor, "B T"], targets: Int[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T V"] | Float[Tensor, ""]:
        """Logits, or a loss."""
        logits: Tensor = self.head(self.embedding(token_ids))
        return logits if targets is None else masked_loss(logits, targets)


def _step_case(V: int, *counted: list[int]) -> Case:
    """A micro-batch for each list, and in it a row for each number, of which so many targets count."""
    longest = max(map(max, counted))
    micro_batches = []
    for rows in counted:
        B, T = len(rows), longest + random.randint(0, 2)
        micro_batches.append((torch.randint(V, (B, T)), _masked(torch.zeros(B, T, V), *rows)[1]))
    return Predictor(V), micro_batches


@exercise(
    gradients=False,
    observe=left_behind,
    cases=lambda: [
        _step_case(5, [1], [4]),
        _step_case(6, [2, 3], [0, 1], [4, 4]),
        _step_case(4, [3]),
        _step_case(7, [5, 1, 2], [0, 0], [6]),  # a micro-batch of questions alone
        _step_case(9, [1, 2], [3, 3], [1, 1], [6, 2], [0, 7]),
    ],
    hint="Take one micro-batch with one target that counts, and one with four. What share of the gradient should each "
    "of the five have, and what share does the function give it?",
    why="`model(token_ids, targets)` has divided by this micro-batch's own count. Times that count it is a sum again, "
    "and sums can be added. With equal counts both are the same, so the bug shows only once targets are ignored.",
)
def mend_masked_step(model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]]) -> float:
    """Leave in .grad the gradient of the mean loss over all targets that count, and return that mean.

    Micro-batches are (token_ids, targets); `model(token_ids, targets)` is the mean loss of one, over those that count.
    """
    total = sum(int((targets != IGNORED).sum()) for _, targets in micro_batches)
    mean = 0.0
    for token_ids, targets in micro_batches:
        loss = model(token_ids, targets) * (targets != IGNORED).sum() / total
        loss.backward()
        mean += loss.item()
    return mean


def _before_and_after(**rises: float) -> Case:
    """Losses of kinds of tokens before, and after they rose so; the second in another order."""
    before = {kind: round(random.uniform(0.1, 3), 2) for kind in rises}
    after = {kind: round(before[kind] + rise, 2) for kind, rise in rises.items()}
    return before, dict(random.sample(list(after.items()), len(after)))


def _rises(low: float, high: float, *kinds: str) -> Case:
    """So that no two rise alike."""
    steps = random.sample(range(20), len(kinds))
    return _before_and_after(**{kind: low + (high - low) * step / 20 for kind, step in zip(kinds, steps, strict=True)})


@exercise(
    cases=lambda: [
        ({"grammar": 0.1, "recall": 0.5, "world": 2.0}, {"grammar": 0.3, "recall": 1.0, "world": 2.1}),
        ({"choice": 1.5, "grammar": 0.2}, {"grammar": 0.1, "choice": 0.9}),
        _before_and_after(grammar=0.05, choice=-2.0, recall=0.4, world=0.2),
        _rises(-0.08, -0.01, "grammar", "choice", "recall", "world"),
        _rises(-1.5, 1.5, "recall", "world", "choice"),
        _rises(0.1, 2.0, "world", "names", "grammar", "recall", "choice"),
        _before_and_after(world=round(random.uniform(0.2, 2), 2)),
    ],
    hint="Subtract kind by kind, by name: the two dictionaries need not have the same order. Then which is the "
    "largest, and whose is it?",
    why="A mean over all tokens hides which kind was lost, so each has to be measured by itself.",
)
def measure_forgetting(before: dict[str, float], after: dict[str, float]) -> tuple[str, float]:
    """The kind of token whose loss rose most, and by how many nats. If all fell, the one that fell least: below 0."""
    rises = {kind: after[kind] - before[kind] for kind in before}
    worst = max(rises, key=lambda kind: rises[kind])
    return worst, rises[worst]


def _judge_share(function: Function, rank: int) -> Any:
    """Whether the thin matrices count among the weights does not matter, nor do a few of a token for a role."""
    share = settle(function(rank), _right_share(rank))
    return settle(share, *(part * _right_share(rank) for part in SHARES.values()), band=0.05)


@cache
def _right_share(rank: int) -> float:
    return measure_share(rank)


# What a usual slip counts, as a part of the right share. Columns and rows of the matrices of a block of width C are
# 1 + 3, 1 + 1, 1 + 4 and 4 + 1 times C, so a rank has 16 C numbers: 6 C of attention, and 7 C in the matrices A.
SHARES = {
    "attention alone": 6 / 16,
    "queries, keys and values alone": 4 / 16,
    "A alone": 7 / 16,
    "B alone": 9 / 16,
    "beside the blocks": 1.25,  # without the embeddings, which are a fifth of this model
}


@exercise(
    draws=True,
    observe=_judge_share,
    cases=lambda: [(4,), (1,), (8,), (random.choice((2, 3, 6)),)],
    hint="`dataclasses.replace` makes of the preset's `model` a configuration with another `lora`. Which parameters of "
    "such a GPT have `requires_grad`?",
    why="A matrix of O rows and I columns has O I numbers, and its thin ones R (O + I). So the share grows with the "
    "rank, and shrinks as models get wider: at a width of 4,096 a rank of 4 is one in a thousand.",
)
def measure_share(rank: int) -> float:
    """The share of the quickstart model's weights that LoRA of this rank trains."""
    model = GPT(dataclasses.replace(get_preset("quickstart").model, lora=rank))
    learns = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return learns / sum(weight.numel() for weight in model.parameters())
