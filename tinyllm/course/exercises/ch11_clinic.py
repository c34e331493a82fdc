"""Exercises of notebook 11: probes to write, twelve broken trainings to name, and some code to repair."""

# mypy: allow-untyped-calls
# torch gives `backward` no types, and a comment at each call would be in the way of the reader of a solution.

import math
import random
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.comparing import Unusable
from tinyllm.course.checking.registry import Case, Function, Observed, exercise
from tinyllm.course.checking.showing import kind_of

# Each suspect, and what a training that has it would show.
SUSPECTS = {
    "leaky mask": "another token at position t would move the logits before t.",
    "targets not shifted": "the model would predict the token it has just read, with hardly any loss.",
    "leaking split": "pieces of the held-out text would be in the training text.",
    "rate too high": "a tenth of the rate would learn one batch far better.",
    "no zero_grad": "the second step's gradient would also contain the first batch's.",
    "attention not scaled": "the scores would be sqrt(D) times too large, and attention narrower for it.",
    "frozen layers": "some weights would be the same after a step, or missing from the optimizer.",
    "head copied": "embedding and head would be equal at first, but separate in memory.",
    "dropout at evaluation": "two passes after model.eval() would differ, with every weight in training.",
    "mean of means": "the step's gradient would not be that of the mean over all tokens.",
    "weights drawn too large": "the first loss would be far above ln V.",
    "wrong positions in the cache": "token by token, the logits would differ from those of one pass.",
}

PROBES = {
    "attention": "what the scores are divided by, and how narrow attention begins",
    "average": "the gradient of a step beside that of the mean over all its tokens",
    "cache": "the logits of one pass beside those of one token at a time",
    "causality": "how far logits before t move when the token at t is changed",
    "dropout": "two passes over the same ids in evaluation mode",
    "first loss": "the loss before the first step beside ln V",
    "gradient flow": "which weights the optimizer holds, and which of them get a gradient",
    "head": "whether two equal matrices are one in memory",
    "leak": "which held-out text is in the training text too",
    "old gradients": "a step's gradient with and without another step before it",
    "one batch": "30 steps on one batch, at the run's rate and at a tenth of it",
    "targets": "the loss against the token just read, and against the next",
}


def _ordered(function: Function, suspect: str) -> str:
    """What is compared: a probe that shows this bug. Any other is answered with what it measures."""
    probe = function(suspect)
    if not isinstance(probe, str):
        raise Unusable(f"for {suspect!r} you return {kind_of(probe)}; it should be the name of a probe.")
    if probe not in PROBES:
        raise Unusable(f"your probe for {suspect!r} is not on the list of probes.")
    if probe != probe_for(suspect):
        raise Unusable(f"{probe!r} does not show {suspect!r}: it measures {PROBES[probe]}.")
    return probe


@exercise(
    cases=lambda: [(suspect,) for suspect in SUSPECTS],
    observe=_ordered,
    hint="Imagine the bug in your own code. Which number would be another one? Only one of the probes measures it.",
    why="A probe is a question with a number for an answer. A bug is found where that number is wrong.",
)
def probe_for(suspect: str) -> str:
    """The probe that shows this bug."""
    shows = {
        "causality": "leaky mask",
        "targets": "targets not shifted",
        "leak": "leaking split",
        "one batch": "rate too high",
        "old gradients": "no zero_grad",
        "attention": "attention not scaled",
        "gradient flow": "frozen layers",
        "head": "head copied",
        "dropout": "dropout at evaluation",
        "average": "mean of means",
        "first loss": "weights drawn too large",
        "cache": "wrong positions in the cache",
    }
    return next(probe for probe, bug in shows.items() if bug == suspect)


# Probes


class SteadyDropout(nn.Module):
    """Dropout with the same draw each time: in training it drops every second number, and doubles the others."""

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        """In evaluation `x` as it is."""
        kept = torch.arange(x.shape[-1]) % 2 == 0
        return 2 * x * kept if self.training else x


class LooksAhead(nn.Module):
    """Adds up the vectors of a token, of those before it and of `ahead` after it.

    A later row is larger, and each second one three times as large.
    """

    def __init__(self, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """One row of weights a token."""
        row = torch.arange(x.shape[1])
        sizes = (row + 1.0) * (1 + 2 * (row % 2))
        return sizes[:, None].expand(len(row), len(row)).tril(self.ahead) @ x


def _small_model(V: int, ahead: int, training: bool = True) -> nn.Module:
    return nn.Sequential(nn.Embedding(V, 6), LooksAhead(ahead), SteadyDropout(), nn.Linear(6, V)).train(training)


@exercise(
    gradients=False,
    cases=lambda: [
        (_small_model(V, ahead, training), torch.randint(V - 1, (B, T)), t, V - 1)
        for V, ahead, training, B, T, t in (
            (5, 1, True, 1, 4, 2),
            (7, 0, True, 2, 6, 3),
            (9, 2, False, 3, 8, 7),
            (6, 1, True, 2, 5, 1),
            (8, 9, True, 1, 9, 4),
        )
        for _ in range(3)  # whether the logit that moves farthest rises or falls is chance
    ],
    hint="Two passes in evaluation mode, over ids that differ at t alone. Which logits may not differ?",
    why="A causal model cannot know what comes at t, so nothing before t depends on it. This holds for any weights, "
    "trained or not: so it finds a leaky mask before the first step.",
)
def moved(model: nn.Module, ids: Int[Tensor, "B T"], t: int, token: int) -> float:
    """How far any logit before position t moves when the token at t becomes `token` in each row; without dropout."""
    changed = ids.clone()
    changed[:, t] = token
    model.eval()
    with torch.no_grad():
        change: Tensor = model(changed) - model(ids)
    return change[:, :t].abs().max().item()


@exercise(
    gradients=False,
    cases=lambda: [
        (_small_model(V, 0, training), torch.randint(V, (B, T)), ahead)
        for V, training, B, T, ahead in (
            (5, True, 1, 4, 1),
            (7, True, 2, 6, 0),
            (9, False, 3, 8, 2),
            (6, True, 2, 5, 3),
            (8, True, 4, 9, 1),
        )
    ],
    hint="The logits at position 0 are scored against the token at position `ahead`. How many positions have such a "
    "token?",
    why="The score tells which token the model has learned to predict. Nothing else about the run needs to be known, "
    "least of all how it made its targets.",
)
def loss_at(model: nn.Module, ids: Int[Tensor, "B T"], ahead: int) -> float:
    """The mean loss in nats against the token `ahead` positions later, where there is one; without dropout."""
    model.eval()
    with torch.no_grad():
        logits = model(ids)[:, : ids.shape[1] - ahead]
    return F.cross_entropy(logits.flatten(0, 1), ids[:, ahead:].flatten()).item()


def finite(result: Any) -> bool:
    """Whether what a module takes or returns has neither NaN nor infinity in it. Of a tuple its first part counts."""
    tensor = result[0] if isinstance(result, tuple) else result
    return not isinstance(tensor, Tensor) or bool(tensor.isfinite().all())


class Breaks(nn.Module):
    """Multiplies by `factor`, and gives the result to a layer of its own."""

    def __init__(self, width: int, factor: float) -> None:
        super().__init__()
        self.factor, self.layer = factor, nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        """NaN or infinity where the factor is."""
        mixed: Tensor = self.layer(x * self.factor)
        return mixed


def _chain(*factors: float) -> nn.Sequential:
    return nn.Sequential(nn.Embedding(9, 4), *(Breaks(4, factor) for factor in factors), nn.Linear(4, 9))


def _found_and_left(function: Function, model: nn.Module, ids: Tensor) -> dict[str, Any]:
    found = function(model, ids)
    return {"the name": found, "hooks left on": sum(len(module._forward_hooks) for module in model.modules())}


@exercise(
    gradients=False,
    observe=_found_and_left,
    cases=lambda: [
        (model, torch.randint(9, (2, 3)))
        for model in (
            _chain(1.0, math.nan, 1.0),
            _chain(1.0, 2.0),
            _chain(1.0, 2.0, 1.0, math.inf),
            nn.Sequential(nn.Embedding(9, 4), _chain(math.nan)[1:2], Breaks(4, 1.0)),
            nn.Sequential(nn.Embedding.from_pretrained(torch.full((9, 4), math.inf)), Breaks(4, 1.0)),
        )
    ],
    hint="A hook gets the module, its inputs and its output, each time the module has run. What is true of the culprit "
    "alone? The modules it calls have run before it.",
    why="Once there is a NaN, everything after it is NaN, so most modules return one. The culprit is the one that was "
    "given none. The others pass it on.",
)
def first_broken(model: nn.Module, ids: Int[Tensor, "B T"]) -> str | None:
    """The name of the first module to return a number that is not finite though it was given finite ones, or None.

    The model has no more hooks afterwards than before.
    """
    found, hooks = [], []
    for name, module in model.named_modules():

        def look(_: nn.Module, inputs: tuple[Any, ...], output: Any, name: str = name) -> None:
            if all(map(finite, inputs)) and not finite(output):
                found.append(name)

        hooks.append(module.register_forward_hook(look))
    with torch.no_grad():
        model(ids)
    for hook in hooks:
        hook.remove()
    return found[0] if found else None


# The patients


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
    why="A loss far below what others reach is seldom luck. What differs is how the answer gets in: through the mask, "
    "the targets or the split.",
)
def too_good(patient: int) -> str:
    """The name of the bug of patient 1, 2 or 3."""
    return {
        1: "leaky mask",  # each token sees one ahead, which is the one to predict; when it writes, nothing is ahead
        2: "targets not shifted",  # it has learned to repeat what it reads
        3: "leaking split",  # each article six times, shuffled, and only then split: its held-out loss measures memory
    }[patient]


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
    return {
        4: "rate too high",  # fifty times
        5: "no zero_grad",  # each step follows the sum of all batches so far; it still learns, so this bug lives long
        6: "attention not scaled",  # not divided by the root of D: attention starts narrow, on tokens chosen by chance
    }[patient]


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
    return {
        # Its blocks are in a plain list, where PyTorch does not look for weights: the optimizer never got them, and
        # model.eval() does not reach their dropout. Embedding and head have learned much around random layers.
        7: "frozen layers",
        8: "head copied",  # equal at the first step, apart ever since: a whole table of weights too many
        9: "dropout at evaluation",  # F.dropout(weights, 0.3): its third argument, training, is True by default
    }[patient]


@exercise(
    cases=lambda: [(10,), (11,), (12,)],
    observe=_named,
    hint="One shows it in its first number, one only in small pieces of a batch, one only when it writes.",
    why="Each breaks a different part: how losses are averaged, how weights are initialised, how a text is written.",
)
def odd_numbers(patient: int) -> str:
    """The name of the bug of patient 10, 11 or 12."""
    return {
        10: "mean of means",  # the few tokens of the short piece count for half the gradient
        11: "weights drawn too large",  # nn.Embedding's own spread of 1: with a tied head it starts sure, and wrong
        12: "wrong positions in the cache",  # 0 for every new token; training is perfect, so no loss can show it
    }[patient]


# To repair


def _weights_after(
    function: Function,
    kind: type[torch.optim.SGD | torch.optim.AdamW],
    lr: float,
    weights: list[list[float]],
    batches: list[tuple[Tensor, Tensor]],
) -> Observed:
    """What a step for each batch makes of a linear model, how often it went backward, what each step followed.

    Whoever had the model before has left gradients.
    """
    model = nn.Linear(len(weights[0]), len(weights))
    with torch.no_grad():
        model.weight.copy_(torch.tensor(weights))
        model.bias.zero_()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = kind(model.parameters(), lr=lr)
    backward: list[Tensor] = []
    followed: list[tuple[int, Tensor | None]] = []
    model.weight.register_hook(backward.append)
    optimizer.register_step_pre_hook(lambda *_: followed.append((len(backward), _copy(model.weight.grad))))
    for x, targets in batches:
        function(model, optimizer, x, targets)
    return Observed(torch.cat([model.weight, model.bias[:, None]], dim=1).detach(), [len(backward), followed])


def _copy(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.clone()


def _step_case(kind: type[torch.optim.SGD | torch.optim.AdamW], N: int, C: int, V: int, steps: int) -> Case:
    batches = [(torch.randn(N + step, C), torch.randint(V, (N + step,))) for step in range(steps)]
    return kind, random.uniform(0.05, 0.2), torch.randn(V, C).tolist(), batches


@exercise(
    cases=lambda: [
        _step_case(*sizes)
        for sizes in (
            (torch.optim.SGD, 4, 3, 2, 3),
            (torch.optim.SGD, 1, 2, 5, 1),
            (torch.optim.AdamW, 3, 4, 3, 2),
            (torch.optim.SGD, 7, 5, 4, 4),
        )
    ],
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


def _losses_case(count: int) -> tuple[list[list[float]]]:
    return ([[random.uniform(0.5, 7) for _ in range(size)] for size in random.sample(range(1, 16), count)],)


@exercise(
    cases=lambda: [*map(_losses_case, (3, 2, 1, 5, 12)), ([[2.0, 4.0], [], [9.0]],), ([[0.0, 3.0], [1.0], [3.0]],)],
    hint="Each token counts once, whichever micro-batch it is in. What do you add up, and what do you divide by?",
    why="A mean of means gives a token in a small micro-batch more weight than one in a large one.",
)
def mean_loss(losses: Sequence[Sequence[float]]) -> float:
    """The mean loss per token of several micro-batches, given the losses of each one's tokens."""
    total = sum(sum(part) for part in losses)
    return total / sum(len(part) for part in losses)


def _evaluation_case(V: int, training: bool, sizes: list[tuple[int, int]]) -> Case:
    """A batch for each size (B, T), with more of its targets ignored than of the one before; of three, one has none."""
    model = nn.Sequential(nn.Embedding(V, 6), SteadyDropout(), nn.Linear(6, V)).train(training)
    batches = []
    for index, (B, T) in enumerate(sizes):
        targets = torch.randint(V, (B, T))
        targets.view(-1)[: index * B * T // len(sizes)] = -100
        batches.append((torch.randint(V, (B, T)), targets))
    if len(batches) > 2:
        batches[1][1].fill_(-100)
    return model, batches


def _loss_and_mode(function: Function, model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    loss = function(model, batches)
    return {"the mean loss": loss, "model.training afterwards": model.training}


@exercise(
    gradients=False,
    observe=_loss_and_mode,
    cases=lambda: [
        _evaluation_case(*settings)
        for settings in (
            (5, True, [(2, 4), (2, 4)]),
            (6, True, [(3, 4), (1, 6)]),  # in one such case two means may be equal by chance
            (7, True, [(1, 3)]),
            (4, False, [(3, 2), (1, 9), (2, 2)]),
            (9, True, [(2, 5), (1, 1), (4, 3), (1, 7)]),
            (300, False, [(2, 6)] * 10),
        )
    ],
    hint="Three questions for each line. Is dropout off by then? Does each token count as much as any other? And what "
    "is different about the model when the function has returned?",
    why="An evaluation that starts with dropout on, or averages means, reports a loss of another model or another "
    "text. One that leaves the model in evaluation mode changes the training that goes on after it.",
)
def mend_evaluation(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """The mean loss per token over all batches, without dropout; a target of -100 counts for nothing.

    `model(ids)` gives logits (B, T, V). Afterwards the model is in the mode that it was in.
    """
    total, tokens, was_training = 0.0, 0, model.training
    model.eval()
    for ids, targets in batches:
        with torch.no_grad():
            logits = model(ids)
        total += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
        tokens += int((targets != -100).sum())
    model.train(was_training)
    return total / tokens


def _leaked_of_distinct(copies: int, held_out: float) -> float:
    """The leaked share if an article counts once, however many of its copies are held out."""
    return 1 - held_out**copies / (1 - (1 - held_out) ** copies)


@exercise(
    draws=True,
    cases=lambda: [(2, 0.1), (3, 0.5), (2, 0.5), (6, 0.2), (1, 0.3), (4, round(random.uniform(0.3, 0.7), 2))],
    observe=lambda function, copies, held_out: settle(
        function(copies, held_out),
        1 - held_out ** (copies - 1),
        _leaked_of_distinct(copies, held_out),
        1 - held_out**copies,
        1 - held_out,
        held_out,
        held_out ** (copies - 1),
        band=0.04,
    ),
    hint="Take one article that is held out. Where must all of its other copies be, if it is not to leak?",
    why="A held-out article is clean only if all its other copies are held out too, and each of them is with "
    "probability h. So with a tenth held out, even one duplicate of each leaks nearly everything: remove duplicates "
    "before the split.",
)
def leaked_share(copies: int, held_out: float) -> float:
    """The share of held-out articles that are in the training text too.

    Each article is in the collection `copies` times; it is shuffled, and a share `held_out` of it is held out.
    """
    return 1 - held_out ** (copies - 1)
