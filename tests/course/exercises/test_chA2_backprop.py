"""Each reference of notebook A2 beside an independent one: autograd, and slopes measured in float64."""

import math

import pytest
import torch
import torch.nn.functional as F

from tinyllm.course.checking.comparing import Unusable
from tinyllm.course.exercises import chA2_backprop as backprop
from tinyllm.course.exercises.chA2_backprop import Formula, Scalar

OPERATIONS = {
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "a * b": lambda a, b: a * b,
    "a**3": lambda a, b: a**3,
    "a**-0.5": lambda a, b: a**-0.5,
    "a.exp()": lambda a, b: a.exp(),
    "a.log()": lambda a, b: a.log(),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_scalar_stores_the_slopes_that_autograd_finds(name):
    numbers = torch.tensor([1.7, -0.6], dtype=torch.double, requires_grad=True)
    expected = OPERATIONS[name](*numbers)
    expected.backward()
    a, b = Scalar(1.7), Scalar(-0.6)
    result = OPERATIONS[name](a, b)
    assert result.data == pytest.approx(expected.item())
    slopes = dict(result.inputs)
    assert [slopes.get(a, 0.0), slopes.get(b, 0.0)] == pytest.approx(numbers.grad.tolist())


@pytest.mark.parametrize("wrong", [lambda number: None, lambda number: 1.5, lambda number: Scalar(2.0, (number,))])
def test_a_result_without_a_history_of_pairs_is_unusable(wrong, monkeypatch):
    monkeypatch.setattr(Scalar, "exp", wrong)
    with pytest.raises(Unusable):
        backprop._local_slopes(Scalar, Formula(("c = a.exp()",), {"a": 1.0}))


def entangled(a, b):
    c = a * b + a
    d = c * c - b.exp()
    return (d * d + c).log() - d**-1 * a


def test_backward_finds_autograds_gradients_of_a_formula_that_uses_its_numbers_again():
    numbers = torch.tensor([1.7, 0.6], dtype=torch.double, requires_grad=True)
    entangled(*numbers).backward()
    a, b = Scalar(1.7), Scalar(0.6)
    last = entangled(a, b)
    backprop.backward(last)
    assert [a.grad, b.grad] == pytest.approx(numbers.grad.tolist())
    assert last.grad == 1


def test_backward_sets_the_gradient_of_every_number_on_the_way():
    formula = Formula(("c = a * b", "d = c + c", "e = d * c"), {"a": 3.0, "b": 0.5})  # e = 2 c squared
    gradients = backprop._gradients(backprop.backward, formula)
    assert gradients == {"a": 3.0, "b": 18.0, "c": 6.0, "d": 1.5, "e": 1.0}


def test_a_walk_along_every_path_is_stopped():
    def walk(number, grad=1.0):
        number.grad += grad
        for one, slope in number.inputs:
            walk(one, slope * grad)

    doubled = Formula(tuple(f"c{n + 1} = c{n} + c{n}" for n in range(14)), {"c0": 1.0})
    assert backprop._gradients(backprop.backward, doubled)["c0"] == 2**14
    with pytest.raises(Unusable):
        backprop._gradients(walk, doubled)


def test_a_formula_says_what_it_computes():
    assert repr(Formula(("c = a * b", "d = c + a"), {"a": 0.5, "b": 2.25})) == (
        "c = a * b; d = c + a, with a = 0.5, b = 2.25"
    )


def test_tensor_rules_are_autograds_and_the_slopes_that_are_measured():
    a, b = torch.randn(4, 3).double(), torch.randn(3, 5).double()
    agree(lambda a, b: a @ b, backprop.matmul_backward, a, b)
    agree(lambda z: z.softmax(-1), lambda grad, z: (backprop.softmax_backward(grad, z.softmax(-1)),), a)
    targets = torch.tensor([0, 2, 2, 1])
    agree(
        lambda z: F.cross_entropy(z, targets),
        lambda grad, z: (grad * backprop.loss_backward(z, targets),),
        3 * a,
    )


def test_attention_backward_is_that_of_pytorchs_attention():
    def backward(grad, q, k, v):
        scores = (q @ k.T / math.sqrt(3)).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        return backprop.mend_attention(grad, q, k, v, scores.softmax(dim=-1))

    def attention(q, k, v):
        return F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]

    agree(attention, backward, *torch.randn(3, 5, 3).double())


def agree(function, backward, *inputs):
    """`backward(grad, *inputs)` beside autograd, and beside torch's own comparison with measured slopes."""
    inputs = [one.clone().requires_grad_() for one in inputs]
    result = function(*inputs)
    grad = torch.randn_like(result)
    expected = torch.autograd.grad(result, inputs, grad)
    for mine, theirs in zip(backward(grad, *(one.detach() for one in inputs)), expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("spread", [6.0, 12.0])
def test_stuck_rows_are_those_with_a_short_row_of_autograds_gradient(spread):
    z = (spread * torch.randn(40_000, 6)).requires_grad_()
    z.softmax(dim=1).backward(torch.randn(40_000, 6))
    share = (z.grad.norm(dim=1) < 0.01).double().mean().item()
    assert backprop.stuck_rows(spread) == pytest.approx(share, rel=0.06)
