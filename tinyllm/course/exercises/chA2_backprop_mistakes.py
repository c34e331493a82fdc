"""What learners usually get wrong in notebook A2. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import torch
import torch.nn.functional as F

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.chA2_backprop import (
    Scalar,
    backward,
    loss_backward,
    matmul_backward,
    mend_attention,
    softmax_backward,
    stuck_rows,
)

# Scalar


def _scalar(**changed):
    """A Scalar with some of its operations done otherwise; what they compute is of the same kind."""

    class Changed(Scalar):
        pass

    for name in _OPERATIONS:
        setattr(Changed, name, _keeping_kind(Changed, changed.get(name, getattr(Scalar, name))))
    return Changed


_OPERATIONS = ("__add__", "__sub__", "__mul__", "__pow__", "exp", "log")


def _keeping_kind(kind, method):
    def operation(self, *others):
        result = method(self, *others)
        return kind(result.data, result.inputs)

    return operation


mistake(
    Scalar,
    "In a product each slope is the other number: c = a * b grows b times as fast as a. You give each number its own.",
    _scalar(
        __mul__=lambda self, other: Scalar(self.data * other.data, ((self, self.data), (other, other.data))),
    ),
)

mistake(
    Scalar,
    "The slopes of a product are 1 in your history, as in a sum. When a grows by 1, a * b grows by b.",
    _scalar(__mul__=lambda self, other: Scalar(self.data * other.data, ((self, 1.0), (other, 1.0)))),
)

mistake(
    Scalar,
    "In a difference the slope of the number that is taken away is -1: when it grows, the result falls.",
    _scalar(__sub__=lambda self, other: Scalar(self.data - other.data, ((self, 1.0), (other, 1.0)))),
)

mistake(
    Scalar,
    "In a power the factor in front is missing: a ** n grows n * a ** (n - 1) times as fast as a.",
    _scalar(__pow__=lambda self, exponent: Scalar(self.data**exponent, ((self, self.data ** (exponent - 1)),))),
)

mistake(
    Scalar,
    "In a power's slope the exponent is not one lower: a ** n grows n * a ** (n - 1) times as fast as a.",
    _scalar(__pow__=lambda self, exponent: Scalar(self.data**exponent, ((self, exponent * self.data**exponent),))),
)

mistake(
    Scalar,
    "The slope of exp is the number that went in, in your history. It is the result: exp is its own slope.",
    _scalar(exp=lambda self: Scalar(math.exp(self.data), ((self, self.data),))),
)

mistake(
    Scalar,
    "The slope of log is 1 over the number that went in, not over the result.",
    _scalar(log=lambda self: Scalar(math.log(self.data), ((self, 1 / math.log(self.data)),))),
)

mistake(
    Scalar,
    "The results have no history: give each new Scalar its inputs, as pairs of a number and a slope.",
    _scalar(
        **{
            name: lambda self, *others, name=name: Scalar(getattr(Scalar, name)(self, *others).data)
            for name in _OPERATIONS
        }
    ),
)

mistake(
    Scalar,
    "Your sum remembers its inputs, but not how fast it grows with them. Each input comes with a slope, as a pair.",
    _scalar(__add__=lambda self, other: Scalar(self.data + other.data, (self, other))),
)

# backward


def _order_of(last):
    order = []

    def list_inputs_first(number):
        if number not in order:
            for one, _ in number.inputs:
                list_inputs_first(one)
            order.append(number)

    list_inputs_first(last)
    return order


@mistake(
    backward,
    "You set the gradient where you should add to it: a number that is used twice loses the first part. Write +=.",
)
def sets_instead_of_adding(last):
    last.grad = 1.0
    for number in reversed(_order_of(last)):
        for one, slope in number.inputs:
            one.grad = slope * number.grad


@mistake(
    backward,
    "Only the inputs of the last number get a gradient. Each number must hand its own on, once it has it: go from the "
    "result back to the beginning, through the reversed list.",
)
def goes_forwards(last):
    last.grad = 1.0
    for number in _order_of(last):
        for one, slope in number.inputs:
            one.grad += slope * number.grad


@mistake(
    backward,
    "Nothing ever begins: the gradient of the last number is 1, and yours is 0. So all others stay 0.",
)
def never_begins(last):
    for number in reversed(_order_of(last)):
        for one, slope in number.inputs:
            one.grad += slope * number.grad


@mistake(
    backward,
    "You add the gradient, but not times the slope: the slope says how much of a change here reaches the number.",
)
def forgets_the_slope(last):
    last.grad = 1.0
    for number in reversed(_order_of(last)):
        for one, _ in number.inputs:
            one.grad += number.grad


@mistake(
    backward,
    "You add the slope alone. It must be multiplied by the gradient of the number that is handing it on.",
)
def forgets_the_gradient(last):
    last.grad = 1.0
    for number in reversed(_order_of(last)):
        for one, slope in number.inputs:
            one.grad += slope


@mistake(
    backward,
    "You walk along every path by itself. Right, but the paths double with each number that is used twice. Visit each "
    "number once, after all that use it.",
)
def walks_along_every_path(last):
    def walk(number, grad):
        number.grad += grad
        for one, slope in number.inputs:
            walk(one, slope * grad)

    walk(last, 1.0)


@mistake(
    backward,
    "A number hands its gradient on as soon as you meet it, when later uses have not added theirs yet. First list "
    "every number after its inputs, then go back through the list.",
)
def hands_on_too_early(last):
    last.grad = 1.0
    waiting, seen = [last], []
    while waiting:
        number = waiting.pop(0)
        if number in seen:
            continue
        seen.append(number)
        for one, slope in number.inputs:
            one.grad += slope * number.grad
            waiting.append(one)


@mistake(
    backward,
    "Each time you come to a number, it hands on all it has by then, so what came first is handed on twice. Visit each "
    "number once, after all that use it.",
)
def hands_on_all_it_has(last):
    def walk(number):
        for one, slope in number.inputs:
            one.grad += slope * number.grad
            walk(one)

    last.grad = 1.0
    walk(last)


@mistake(
    backward,
    "A number that is on your list again hands on all it has once more. Each number hands its gradient on once, when "
    "it has received all of it.",
)
def waits_in_line_again(last):
    last.grad = 1.0
    waiting = [last]
    while waiting:
        number = waiting.pop()
        for one, slope in number.inputs:
            one.grad += slope * number.grad
            if one not in waiting:
                waiting.append(one)


# matmul_backward

mistake(
    matmul_backward,
    "The two gradients are right, but in the other order: a's comes first.",
    lambda grad, a, b: (a.T @ grad, grad @ b.T),
)

mistake(
    matmul_backward,
    "Neither a nor b is turned over, so the shapes do not fit. Which turned matrix makes (N, M) into (N, K)?",
    lambda grad, a, b: (grad @ b, a @ grad),
)

mistake(
    matmul_backward,
    "That is for a gradient of ones, as of a sum. Use the `grad` that you are given.",
    lambda grad, a, b: (torch.ones_like(grad) @ b.T, a.T @ torch.ones_like(grad)),
)

mistake(
    matmul_backward,
    "The gradients are turned over: a's must have the shape of a, and b's that of b.",
    lambda grad, a, b: (b @ grad.T, grad.T @ a),
)

mistake(
    matmul_backward,
    "Autograd is off while your answer is checked. Here you compute what it would: two matrix products.",
    lambda grad, a, b: torch.autograd.grad(a.clone().requires_grad_() @ b.clone().requires_grad_(), (a, b), grad),
)

# loss_backward


def _minus_one_hot(p, targets):
    return p - F.one_hot(targets, p.shape[1])


@mistake(
    loss_backward,
    "[:, targets] takes 1 from these columns in every row. Each row has one target: [torch.arange(N), targets].",
)
def takes_from_whole_columns(logits, targets):
    grad = logits.softmax(1)
    grad[:, targets] -= 1
    return grad / len(targets)


mistake(
    loss_backward,
    "You do not divide by N. The loss is a mean over the rows, so each row has an N-th of the say.",
    lambda logits, targets: _minus_one_hot(logits.softmax(1), targets),
)

mistake(
    loss_backward,
    "The sign is wrong: you have what was right minus what was said. A gradient says which way the loss grows.",
    lambda logits, targets: -_minus_one_hot(logits.softmax(1), targets) / len(targets),
)

mistake(
    loss_backward,
    "The targets make no difference yet: take 1 from each row's probability of its target.",
    lambda logits, targets: logits.softmax(1) / len(targets),
)

mistake(
    loss_backward,
    "You divide by all N times V numbers. The mean is over the N rows.",
    lambda logits, targets: _minus_one_hot(logits.softmax(1), targets) / logits.numel(),
)

mistake(
    loss_backward,
    "Your softmax works down the columns. Each row is one prediction: dim=1.",
    lambda logits, targets: _minus_one_hot(logits.softmax(0), targets) / len(targets),
)

mistake(
    loss_backward,
    "You take 1 from the logit. Take it from the probability: softmax first.",
    lambda logits, targets: _minus_one_hot(logits, targets) / len(targets),
)


@mistake(
    loss_backward,
    "Large logits overflow: e to the power of 400 is too large. logits.softmax(dim=1) takes care of that.",
)
def overflows(logits, targets):
    raised = logits.exp()
    return _minus_one_hot(raised / raised.sum(dim=1, keepdim=True), targets) / len(targets)


@mistake(
    loss_backward,
    "Autograd is off while your answer is checked. Here you compute what it would: p minus one-hot, over N.",
)
def asks_autograd(logits, targets):
    logits = logits.clone().requires_grad_()
    F.cross_entropy(logits, targets).backward()
    return logits.grad


# stuck_rows


def _passed(spread):
    return softmax_backward(torch.randn(50_000, 6), (spread * torch.randn(50_000, 6)).softmax(dim=1))


mistake(
    stuck_rows,
    "You count single numbers below 0.01. A row is stuck if its whole gradient is short: take the norm of each row.",
    lambda spread: (_passed(spread).abs() < 0.01).float().mean().item(),
)

mistake(
    stuck_rows,
    "Those are the rows to which something does come back. Count the others.",
    lambda spread: (_passed(spread).norm(dim=1) >= 0.01).float().mean().item(),
)

mistake(
    stuck_rows,
    "You compare squared lengths with 0.01. The length is the root of the summed squares.",
    lambda spread: (_passed(spread).square().sum(dim=1) < 0.01).float().mean().item(),
)

mistake(
    stuck_rows,
    "That is in percent. A share lies between 0 and 1.",
    lambda spread: 100 * (_passed(spread).norm(dim=1) < 0.01).float().mean().item(),
)

mistake(
    stuck_rows,
    "No row is stuck, you say. softmax_backward wants p, the softmax of the scores: did you give it the scores?",
    lambda spread: 0.0,
)

# mend_attention


def _attention(scale=True, turned=True, dim=-1):
    """The backward pass with one of its parts as it should not be."""

    def run(grad, q, k, v, weights):
        grad_weights, grad_v = matmul_backward(grad, weights, v)
        grad_product = weights * (grad_weights - (weights * grad_weights).sum(dim=dim, keepdim=True))
        if scale:
            grad_product = grad_product / math.sqrt(q.shape[-1])
        return grad_product @ k, (grad_product.T if turned else grad_product) @ q, grad_v

    return run


mistake(
    mend_attention,
    "Still as it was. The gradient of v is right; compare those of q and k with autograd's: by what factor is q's "
    "wrong, and is k's wrong by the same?",
    _attention(scale=False, turned=False),
)

mistake(
    mend_attention,
    "The keys are right now. But the scores were divided by the root of D, so their gradient must be too.",
    _attention(scale=False),
)

mistake(
    mend_attention,
    "The queries are right now, but not the keys. The product was q @ k.T: what does your rule give for k.T, and then "
    "for k?",
    _attention(turned=False),
)

mistake(
    mend_attention,
    "The softmax worked along the rows, and that line was right: sum over the last dimension.",
    _attention(dim=0),
)
