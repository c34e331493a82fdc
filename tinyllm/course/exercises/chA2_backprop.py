"""Exercises of notebook A2: where gradients come from.

Shape letters: N rows (predictions), V vocab_size, T time (tokens), D head_dim; K and M are a matrix product's own.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.comparing import Unusable
from tinyllm.course.checking.registry import Case, Function, exercise
from tinyllm.course.checking.showing import kind_of

# Numbers with a history


@dataclass(frozen=True)
class Formula:
    """What to compute, in steps such as "c = a * b", and the numbers to begin with."""

    steps: tuple[str, ...]
    numbers: dict[str, float]

    def __repr__(self) -> str:
        given = ", ".join(f"{name} = {number:.4g}" for name, number in self.numbers.items())
        return f"{'; '.join(self.steps)}, with {given}"

    def run(self, make: Callable[[float], Any]) -> dict[str, Any]:
        """Every number by its name, made by `make` or computed from those; the result is the last."""
        names = {name: make(number) for name, number in self.numbers.items()}
        exec("\n".join(self.steps), {}, names)
        return names


def _formula(*steps: str) -> tuple[Formula]:
    """A formula of a and b, which are no round numbers, and above 0: some are under a logarithm."""
    return (Formula(steps, {"a": random.uniform(0.3, 2), "b": random.uniform(0.3, 2)}),)


def _local_slopes(function: Function, data: Formula) -> dict[str, float]:
    """The result, and what the right `backward` finds in the answer's history."""
    numbers = data.run(function)
    last = list(numbers.values())[-1]
    if not all(hasattr(last, name) for name in ("data", "inputs", "grad")):
        raise Unusable(f"the result of {data.steps[-1]!r} is {kind_of(last)}; it should be a Scalar.")
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in last.inputs):
        raise Unusable(f"the inputs of {data.steps[-1]!r} are no pairs: each is a Scalar and a slope.")
    backward(last)
    return {"result": last.data} | {f"slope for {name}": numbers[name].grad for name in data.numbers}


@exercise(
    cases=lambda: [
        _formula("c = a + b"),
        _formula("c = a - b"),
        _formula("c = a * b"),
        _formula("c = a * a"),
        *(_formula(f"c = a ** {exponent}") for exponent in (2, random.choice((3, 4, 5)), -1, 0.5)),
        _formula("c = a.exp()"),
        _formula("c = a.log()"),
        _formula("c = a * b - a", "d = c ** 2 + b.exp()"),
    ],
    observe=_local_slopes,
    hint="Let one input grow by a little and hold the other still: how much does the result grow? For a product it is "
    "the other number. Each operation gives back a Scalar with two such pairs, or with one.",
    why="The slopes are known the moment a number is computed, so they are stored then. Where a formula uses a number "
    "twice, both pairs stay in the history: adding up is left to backward.",
)
class Scalar:
    """A number that remembers its inputs, each with a slope: how fast the number grows with that input."""

    def __init__(self, data: float, inputs: tuple[tuple["Scalar", float], ...] = ()):
        self.data, self.inputs, self.grad = data, inputs, 0.0

    def __add__(self, other: "Scalar") -> "Scalar":
        return Scalar(self.data + other.data, ((self, 1.0), (other, 1.0)))

    def __sub__(self, other: "Scalar") -> "Scalar":
        return Scalar(self.data - other.data, ((self, 1.0), (other, -1.0)))

    def __mul__(self, other: "Scalar") -> "Scalar":
        return Scalar(self.data * other.data, ((self, other.data), (other, self.data)))

    def __pow__(self, exponent: float) -> "Scalar":
        return Scalar(self.data**exponent, ((self, exponent * self.data ** (exponent - 1)),))

    def exp(self) -> "Scalar":
        """e to the power of the number, which is its own slope."""
        result = math.exp(self.data)
        return Scalar(result, ((self, result),))

    def log(self) -> "Scalar":
        """The natural logarithm."""
        return Scalar(math.log(self.data), ((self, 1 / self.data),))


class _Inputs(tuple[tuple[Scalar, float], ...]):
    """A number's inputs, which count with those of all others how often they are asked for."""

    reads = 0

    def __iter__(self) -> Iterator[tuple[Scalar, float]]:
        _Inputs.reads += 1
        if _Inputs.reads > 2000:
            raise Unusable("your function looks at the same numbers thousands of times.")
        return super().__iter__()


def _gradients(function: Function, last: Formula) -> dict[str, float]:
    """Of the result with respect to each number of the formula."""
    numbers = last.run(Scalar)
    _Inputs.reads = 0
    for number in numbers.values():
        number.inputs = _Inputs(number.inputs)
    function(list(numbers.values())[-1])
    return {name: number.grad for name, number in numbers.items()}


@exercise(
    cases=lambda: [
        _formula("c = a * b"),
        _formula("c = a * b", "d = c - b", "e = d * d", "f = e + c"),
        _formula("c = a + b", "d = c * c", "e = d * c", "f = e - d * b"),  # c is used three times, and its uses too
        _formula("c = a.exp()", "d = c + b.exp()", "e = d.log() - a"),
        _formula("c = b - a", *(f"c{n + 1} = c{n or ''} + c{n or ''}" for n in range(16))),
    ],
    observe=_gradients,
    hint="A number may hand its gradient on only when it has received all of it. So list each number once, after its "
    "inputs, and go through the list from its end. What does a number add to the gradient of an input?",
    why="In this order every use of a number has been dealt with before the number itself. So each is visited once, "
    "however many paths lead to it, and one walk back costs about as much as the way there.",
)
def backward(last: Scalar) -> None:
    """Fill in `grad` of every number that `last` was computed from, and 1 in its own."""
    order: list[Scalar] = []

    def list_inputs_first(number: Scalar) -> None:
        if number not in order:
            for one, _ in number.inputs:
                list_inputs_first(one)
            order.append(number)

    list_inputs_first(last)
    last.grad = 1.0
    for number in reversed(order):
        for one, slope in number.inputs:
            one.grad += slope * number.grad


# Tensors


def _by_hand(function: Function, *arguments: Any) -> Any:
    """The result, computed where autograd cannot help."""
    with torch.inference_mode():
        return function(*arguments)


@exercise(
    cases=lambda: [
        (torch.randn(N, M), torch.randn(N, K), torch.randn(K, M))
        for N, K, M in ((1, 1, 1), (2, 3, 4), (1, 4, 2), (5, 2, 1), (3, 3, 3), (4, 7, 5))
    ],
    observe=_by_hand,
    hint="a[n, k] is used in all M outputs of row n, each time with b[k, m]: add up grad[n, m] * b[k, m] over m. Which "
    "product does that, and what is left for b?",
    why="Only one way to multiply has the right shapes: grad (N, M) with b turned over (M, K) gives a's (N, K). It is "
    "why going backward costs two products where going forward cost one.",
    gradients=False,
)
def matmul_backward(
    grad: Float[Tensor, "N M"], a: Float[Tensor, "N K"], b: Float[Tensor, "K M"]
) -> tuple[Float[Tensor, "N K"], Float[Tensor, "K M"]]:
    """The gradients with respect to a and b, where `grad` is the one with respect to a @ b."""
    return grad @ b.T, a.T @ grad


@exercise(
    cases=lambda: [
        (scale * torch.randn(N, V), torch.randint(V, (N,)))
        for N, V, scale in ((1, 2, 1.0), (2, 3, 1.0), (4, 4, 2.0), (5, 3, 1.0), (3, 6, 0.0), (3, 5, 400.0))
    ],
    observe=_by_hand,
    hint="softmax gives p, of the logits' shape. What is taken from p at each row's target, and which rows does the "
    "mean divide by?",
    why="The logarithm of the loss and the exponential of the softmax cancel, and what is left is the mistake itself: "
    "what the model said, minus what was right.",
    gradients=False,
)
def loss_backward(logits: Float[Tensor, "N V"], targets: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
    """The gradient of the mean of -log softmax(logits)[target] with respect to the logits."""
    grad = logits.softmax(dim=1)
    grad[torch.arange(len(targets)), targets] -= 1
    return grad / len(targets)


def softmax_backward(grad: Float[Tensor, "*N V"], p: Float[Tensor, "*N V"]) -> Float[Tensor, "*N V"]:
    """The gradient with respect to z, where p = softmax(z) along the last dimension and `grad` is with respect to p."""
    return p * (grad - (p * grad).sum(dim=-1, keepdim=True))


def _judge_share(function: Function, spread: float) -> Any:
    """6% more or less is near enough: it is measured on 20,000 rows, of which few are stuck at a small spread.

    The others are usual mistakes. Rows with a p above 0.99 are nearly as many at a large spread, and fewer at a small.
    """
    generator = torch.Generator().manual_seed(0)
    scores, grad = torch.randn(2, 200_000, 6, generator=generator)
    passed = softmax_backward(grad, (spread * scores).softmax(dim=1))
    lengths = passed.norm(dim=1)
    share, of_squares = ((lengths < limit).float().mean().item() for limit in (0.01, 0.1))
    of_numbers = (passed.abs() < 0.01).float().mean().item()
    return settle(
        function(spread), share, of_numbers, of_squares, 1 - share, 100 * share, band=0.06 if spread > 5 else 0.14
    )


@exercise(
    cases=lambda: [(spread,) for spread in (3.0, random.choice((6.0, 8.0)), 12.0)],
    observe=_judge_share,
    hint="Draw the scores of all rows at once, take the softmax, and hand softmax_backward a random gradient of the "
    "same shape. A row's length is its `norm`. How do you count the short ones, as a share?",
    why="Where one p is nearly 1 and the others nearly 0, no score of the row can change much, so hardly anything "
    "comes back. Such a row is stuck, even if it is wrong.",
)
def stuck_rows(spread: float) -> float:
    """The share of rows of six scores, drawn with this spread, to which softmax passes back less than 0.01."""
    p = (spread * torch.randn(20_000, 6)).softmax(dim=1)
    passed = softmax_backward(torch.randn(20_000, 6), p)
    return float((passed.norm(dim=1) < 0.01).float().mean())


def _attention_case(T: int, D: int) -> Case:
    """A gradient, queries, keys and values, and the causal weights that belong to them."""
    grad, q, k, v = torch.randn(4, T, D)
    scores = (q @ k.T / math.sqrt(D)).masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf)
    return grad, q, k, v, scores.softmax(dim=1)


@exercise(
    cases=lambda: [_attention_case(T, D) for T, D in ((1, 2), (2, 3), (3, 3), (5, 2), (6, 9))],
    observe=_by_hand,
    hint="scores = q @ k.T / sqrt(D) has three parts: a product, a matrix turned over and a division. Go through the "
    "last lines with your rule for products: does each of the three have its line on the way back?",
    why="A division by sqrt(D) on the way there is one on the way back. And q @ k.T uses k turned over, so its "
    "gradient must be turned back. The shapes fit without it: they are T by T either way.",
    gradients=False,
)
def mend_attention(
    grad: Float[Tensor, "T D"],
    q: Float[Tensor, "T D"],
    k: Float[Tensor, "T D"],
    v: Float[Tensor, "T D"],
    weights: Float[Tensor, "T T"],
) -> tuple[Float[Tensor, "T D"], Float[Tensor, "T D"], Float[Tensor, "T D"]]:
    """The gradients with respect to q, k and v, where `grad` is with respect to the mix, weights @ v."""
    D = q.shape[-1]
    # mix = weights @ v
    grad_weights, grad_v = matmul_backward(grad, weights, v)
    # weights = softmax(scores), where hidden scores have a weight of 0
    grad_scores = softmax_backward(grad_weights, weights)
    # scores = q @ k.T / sqrt(D)
    grad_product = grad_scores / math.sqrt(D)
    grad_q = grad_product @ k
    grad_k = grad_product.T @ q
    return grad_q, grad_k, grad_v
