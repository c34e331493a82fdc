"""Exercises of notebook 11: twelve broken trainings to name, and two to mend."""

import random
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyllm.course.checking.checking import exercise, mistake
from tinyllm.course.checking.comparing import Unusable, kind_of

# Each suspect, and what a training that has it would show.
SUSPECTS = {
    "leaky mask": "another token at place t would move the logits before t.",
    "targets not shifted": "the model would predict the token it has just read, with hardly any loss.",
    "leaking split": "pieces of the held-out text would stand in the training text.",
    "rate too high": "a tenth of the rate would learn one batch far better.",
    "no zero_grad": "the second step's gradient would also hold the first batch's.",
    "attention not scaled": "attention would be narrow before the first step.",
    "frozen layers": "some weights would be the same after a step, or missing in the optimizer.",
    "head copied": "embedding and head would be equal at first, at two places in memory.",
    "dropout at evaluation": "two passes after model.eval() would differ, with every weight in training.",
    "mean of means": "the step's gradient would not be that of the mean over all tokens.",
    "weights drawn too large": "the first loss would be far above ln V.",
    "wrong positions in the cache": "token by token, the logits would differ from those of one pass.",
}


def _named(function: Callable, patient: int) -> str:
    """What is compared: a right name. A wrong one is answered with what it would have shown."""
    name = function(patient)
    if not isinstance(name, str):
        raise Unusable(f"for patient {patient} you return {kind_of(name)}; the name of a suspect is wanted.")
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
    hint="Three ways to be too good: the answer stands in what a token may see, in the question, or in the text "
    "learned before. Which probe moved?",
    why="A loss below the floor is never luck. Where the answer comes in differs: through the mask, through the "
    "targets, or through the split.",
)
def too_good(patient: int) -> str:
    """The name of the bug of patient 1, 2 or 3."""
    return {1: "leaky mask", 2: "targets not shifted", 3: "leaking split"}[patient]


@mistake(too_good, "The split is honest: none of the held-out text was found. Look at which logits move.")
def first_takes_it_for_a_leaking_split(patient: int) -> str:
    return {1: "leaking split", 2: "targets not shifted", 3: "leaking split"}[patient]


@mistake(too_good, "Nothing before t moves, so the mask is right. Which token does the model predict best?")
def second_takes_it_for_a_leaky_mask(patient: int) -> str:
    return {1: "leaky mask", 2: "leaky mask", 3: "leaking split"}[patient]


@mistake(too_good, "Nothing before t moves, so the mask is right. Look at the texts that it is trained and scored on.")
def third_takes_it_for_a_leaky_mask(patient: int) -> str:
    return {1: "leaky mask", 2: "targets not shifted", 3: "leaky mask"}[patient]


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


@mistake(hardly_learns, "Its second gradient is that of its own batch. What does a tenth of the rate do?")
def fourth_takes_it_for_no_zero_grad(patient: int) -> str:
    return {4: "no zero_grad", 5: "no zero_grad", 6: "attention not scaled"}[patient]


@mistake(hardly_learns, "Its rate is that of the healthy training. Look at what its second gradient is made of.")
def fifth_takes_it_for_the_rate(patient: int) -> str:
    return {4: "rate too high", 5: "rate too high", 6: "attention not scaled"}[patient]


@mistake(hardly_learns, "Its rate is that of the healthy training. Look at the model before its first step.")
def sixth_takes_it_for_the_rate(patient: int) -> str:
    return {4: "rate too high", 5: "no zero_grad", 6: "rate too high"}[patient]


@exercise(
    cases=lambda: [(7,), (8,), (9,)],
    observe=_named,
    hint="Count the weights: how many are there, how many are trained, how many should be one? Then ask the same "
    "question twice.",
    why="Weights can be lost, doubled or shaken without any sign in the curve. Counting them, and asking twice, "
    "costs a second.",
)
def looks_healthy(patient: int) -> str:
    """The name of the bug of patient 7, 8 or 9."""
    return {7: "frozen layers", 8: "head copied", 9: "dropout at evaluation"}[patient]


@mistake(
    looks_healthy,
    "Its passes do differ, and that is a symptom: model.eval() does not reach all layers. What else does not reach "
    "them?",
)
def seventh_takes_it_for_dropout(patient: int) -> str:
    return {7: "dropout at evaluation", 8: "head copied", 9: "dropout at evaluation"}[patient]


@mistake(looks_healthy, "All its weights are trained. There are more of them than there should be: which are doubled?")
def eighth_takes_it_for_frozen_layers(patient: int) -> str:
    return {7: "frozen layers", 8: "frozen layers", 9: "dropout at evaluation"}[patient]


@mistake(looks_healthy, "All its weights are trained. Why then does it answer the same question in two ways?")
def ninth_takes_it_for_frozen_layers(patient: int) -> str:
    return {7: "frozen layers", 8: "head copied", 9: "frozen layers"}[patient]


@exercise(
    cases=lambda: [(10,), (11,), (12,)],
    observe=_named,
    hint="One shows it in its first number, one only in small pieces of a batch, one only when it writes.",
    why="Each breaks another part of the way: how losses are averaged, how weights begin, how a text is written.",
)
def odd_numbers(patient: int) -> str:
    """The name of the bug of patient 10, 11 or 12."""
    return {10: "mean of means", 11: "weights drawn too large", 12: "wrong positions in the cache"}[patient]


@mistake(
    odd_numbers, "A first step on a batch cannot hold older gradients, and it is wrong already. How is it averaged?"
)
def tenth_takes_it_for_no_zero_grad(patient: int) -> str:
    return {10: "no zero_grad", 11: "weights drawn too large", 12: "wrong positions in the cache"}[patient]


@mistake(odd_numbers, "Before the first step no rate has done anything, and the loss is wrong already.")
def eleventh_takes_it_for_the_rate(patient: int) -> str:
    return {10: "mean of means", 11: "rate too high", 12: "wrong positions in the cache"}[patient]


@mistake(odd_numbers, "Two passes over the same ids are alike, so nothing is random. Compare one pass with many steps.")
def twelfth_takes_it_for_dropout(patient: int) -> str:
    return {10: "mean of means", 11: "weights drawn too large", 12: "dropout at evaluation"}[patient]


# Two to mend


def _weights_after(function: Callable, weights: list[list[float]], batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """What three steps make of a linear model."""
    model = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(weights))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for ids, targets in batches:
        function(model, optimizer, ids, targets)
    return model.weight.detach()


def _step_case() -> tuple:
    batches = [(torch.randn(4, 3), torch.randint(2, (4,))) for _ in range(3)]
    return torch.randn(2, 3).tolist(), batches


@exercise(
    cases=lambda: [_step_case() for _ in range(3)],
    observe=_weights_after,
    hint="`backward` adds to .grad. What must be there before it, and what must be there when the optimizer steps?",
    why="Three calls in this order: empty the gradients, fill them, use them. Any other order uses none, old ones or "
    "too many.",
)
def one_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, targets: Tensor) -> None:
    """One optimizer step on the mean cross-entropy of model(x), with the gradient of this batch alone."""
    optimizer.zero_grad()
    F.cross_entropy(model(x), targets).backward()
    optimizer.step()


@mistake(one_step, "The gradients of earlier batches are still in .grad. Call optimizer.zero_grad() before `backward`.")
def never_zeroes(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, targets: Tensor) -> None:
    F.cross_entropy(model(x), targets).backward()
    optimizer.step()


@mistake(
    one_step,
    "The weights do not move. You need `backward`, then the optimizer's step, and nothing that empties the gradients "
    "between the two.",
)
def zeroes_before_the_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, targets: Tensor) -> None:
    F.cross_entropy(model(x), targets).backward()
    optimizer.zero_grad()
    optimizer.step()


@mistake(one_step, "The step comes before `backward`, so it follows the gradient of the batch before.")
def steps_too_early(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, targets: Tensor) -> None:
    optimizer.step()
    optimizer.zero_grad()
    F.cross_entropy(model(x), targets).backward()


@mistake(one_step, "The losses are added up, not averaged: the step grows with the batch. Keep F.cross_entropy's mean.")
def adds_up(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, targets: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), targets, reduction="sum").backward()
    optimizer.step()


@mistake(one_step, "F.cross_entropy takes the softmax itself. Give it model(x) as it is, not its softmax.")
def softmax_twice(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, targets: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x).softmax(dim=-1), targets).backward()
    optimizer.step()


def _losses_case() -> tuple[list[list[float]]]:
    return ([[random.uniform(0.5, 7) for _ in range(size)] for size in random.sample(range(1, 9), 3)],)


@exercise(
    cases=lambda: [_losses_case() for _ in range(3)],
    hint="Each token counts once, in whichever micro-batch it stands. What do you add up, and what do you divide by?",
    why="A mean of means gives a token in a small micro-batch more weight than one in a large one.",
)
def mean_loss(losses: Sequence[Sequence[float]]) -> float:
    """The mean loss per token of several micro-batches, given the losses of each one's tokens."""
    total = sum(sum(part) for part in losses)
    return total / sum(len(part) for part in losses)


@mistake(mean_loss, "That is the mean of the micro-batches' means: tokens in a small micro-batch count for more.")
def mean_of_means(losses: Sequence[Sequence[float]]) -> float:
    return sum(sum(part) / len(part) for part in losses) / len(losses)


@mistake(mean_loss, "You divide by the number of micro-batches. Divide by the number of tokens in all of them.")
def divides_by_micro_batches(losses: Sequence[Sequence[float]]) -> float:
    return sum(sum(part) for part in losses) / len(losses)


@mistake(mean_loss, "The means are added up: with more micro-batches the loss grows.")
def sum_of_means(losses: Sequence[Sequence[float]]) -> float:
    return sum(sum(part) / len(part) for part in losses)


@mistake(mean_loss, "Only the last micro-batch counts. Add up over all of them.")
def only_the_last(losses: Sequence[Sequence[float]]) -> float:
    return sum(losses[-1]) / len(losses[-1])
