"""Exercises of notebook 11: twelve broken trainings to name, and two exercises to repair."""

# mypy: allow-untyped-calls
# torch gives `backward` no types, and a comment at each call would be in the way of the reader of a solution.

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tinyllm.course.checking.comparing import Unusable
from tinyllm.course.checking.registry import Function, exercise
from tinyllm.course.checking.showing import kind_of

# Each suspect, and what a training that has it would show.
SUSPECTS = {
    "leaky mask": "another token at position t would move the logits before t.",
    "targets not shifted": "the model would predict the token it has just read, with hardly any loss.",
    "leaking split": "pieces of the held-out text would be in the training text.",
    "rate too high": "a tenth of the rate would learn one batch far better.",
    "no zero_grad": "the second step's gradient would also contain the first batch's.",
    "attention not scaled": "attention would be narrow before the first step.",
    "frozen layers": "some weights would be the same after a step, or missing from the optimizer.",
    "head copied": "embedding and head would be equal at first, but separate in memory.",
    "dropout at evaluation": "two passes after model.eval() would differ, with every weight in training.",
    "mean of means": "the step's gradient would not be that of the mean over all tokens.",
    "weights drawn too large": "the first loss would be far above ln V.",
    "wrong positions in the cache": "token by token, the logits would differ from those of one pass.",
}


def _named(function: Function, patient: int) -> str:
    """What is compared: a correct name. A wrong one is answered with what it would have shown."""
    name = function(patient)
    if not isinstance(name, str):
        raise Unusable(f"for patient {patient} you return {kind_of(name)}; it should be the name of a suspect.")
    if name not in SUSPECTS:
        raise Unusable(f"your name for patient {patient} is not on the list of suspects.")
    if name != _truth(patient):
        raise Unusable(f"patient {patient} has no {name!r}: {SUSPECTS[name]}")
    return name


def _truth(patient: int) -> str:
    return (too_good, hardly_learns, looks_healthy, odd_numbers)[(patient - 1) // 3](patient)


@exercise(
    cases=lambda: [(1,), (2,), (3,)],
    observe=_named,
    hint="Three ways to be too good: the answer is in what a token may see, in the question, or in the text learned "
    "before. Which probe moved?",
    why="A loss below the floor is never luck. What differs is how the answer gets in: through the mask, the targets "
    "or the split.",
)
def too_good(patient: int) -> str:
    """The name of the bug of patient 1, 2 or 3."""
    return {1: "leaky mask", 2: "targets not shifted", 3: "leaking split"}[patient]


@exercise(
    cases=lambda: [(4,), (5,), (6,)],
    observe=_named,
    hint="Ask each one: can it learn one batch at a lower rate? Is its gradient that of its own batch? Is its "
    "attention wide at the start?",
    why="All three learn something, so the curve alone names none. One batch, one gradient and one look at the "
    "untrained attention tell them apart.",
)
def hardly_learns(patient: int) -> str:
    """The name of the bug of patient 4, 5 or 6."""
    return {4: "rate too high", 5: "no zero_grad", 6: "attention not scaled"}[patient]


@exercise(
    cases=lambda: [(7,), (8,), (9,)],
    observe=_named,
    hint="Count the weights: how many are there, how many are trained, how many should be one? Then ask the same "
    "question twice.",
    why="Weights can be lost, doubled or disturbed without any sign in the curve. Counting them, and asking twice, "
    "costs a second.",
)
def looks_healthy(patient: int) -> str:
    """The name of the bug of patient 7, 8 or 9."""
    return {7: "frozen layers", 8: "head copied", 9: "dropout at evaluation"}[patient]


@exercise(
    cases=lambda: [(10,), (11,), (12,)],
    observe=_named,
    hint="One shows it in its first number, one only in small pieces of a batch, one only when it writes.",
    why="Each breaks a different part: how losses are averaged, how weights are initialised, how a text is written.",
)
def odd_numbers(patient: int) -> str:
    """The name of the bug of patient 10, 11 or 12."""
    return {10: "mean of means", 11: "weights drawn too large", 12: "wrong positions in the cache"}[patient]


# Two to repair


def _weights_after(
    function: Function, weights: list[list[float]], batches: list[tuple[Tensor, Tensor]]
) -> Float[Tensor, "2 3"]:
    """What three steps make of a linear model."""
    model = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(weights))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for ids, targets in batches:
        function(model, optimizer, ids, targets)
    return model.weight.detach()


def _step_case() -> tuple[list[list[float]], list[tuple[Tensor, Tensor]]]:
    batches = [(torch.randn(4, 3), torch.randint(2, (4,))) for _ in range(3)]
    return torch.randn(2, 3).tolist(), batches


@exercise(
    cases=lambda: [_step_case() for _ in range(3)],
    observe=_weights_after,
    hint="`backward` adds to .grad. What must be there before it, and what must be there when the optimizer steps?",
    why="Three calls in this order: empty the gradients, fill them, use them. Any other order uses none, old ones or "
    "too many.",
)
def one_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Float[Tensor, "N C"], targets: Int[Tensor, " N"]
) -> None:
    """One optimizer step on the mean cross-entropy of model(x), with the gradient of this batch only."""
    optimizer.zero_grad()
    F.cross_entropy(model(x), targets).backward()
    optimizer.step()


def _losses_case() -> tuple[list[list[float]]]:
    return ([[random.uniform(0.5, 7) for _ in range(size)] for size in random.sample(range(1, 9), 3)],)


@exercise(
    cases=lambda: [_losses_case() for _ in range(3)],
    hint="Each token counts once, whichever micro-batch it is in. What do you add up, and what do you divide by?",
    why="A mean of means gives a token in a small micro-batch more weight than one in a large one.",
)
def mean_loss(losses: Sequence[Sequence[float]]) -> float:
    """The mean loss per token of several micro-batches, given the losses of each one's tokens."""
    total = sum(sum(part) for part in losses)
    return total / sum(len(part) for part in losses)
