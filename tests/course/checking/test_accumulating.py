"""The loss that is returned, the gradients and the weights are what counts of an answer that accumulates."""

import pytest
import torch
from torch import nn

from tinyllm.course.checking.accumulating import left_behind
from tinyllm.course.checking.comparing import Unusable


def step(model, micro_batches):
    loss = sum(model(inputs).sum() - targets.sum() for inputs, targets in micro_batches)
    loss.backward()
    return loss


@pytest.mark.parametrize("returned", [lambda loss: loss, lambda loss: loss.item()], ids=["a tensor", "a float"])
def test_loss_gradients_and_weights_are_seen(returned):
    model = nn.Linear(2, 1)
    micro_batches = [(torch.tensor([[1.0, 2.0]]), torch.tensor([3.0])), (torch.tensor([[4.0, 5.0]]), torch.zeros(1))]
    left = left_behind(lambda *case: returned(step(*case)), model, micro_batches)
    weight, bias = model.weight.detach(), model.bias.detach()
    assert left["the mean loss"] == pytest.approx(float(weight @ torch.tensor([5.0, 7.0]) + 2 * bias - 3))
    assert left["weight.grad"].tolist() == [[5.0, 7.0]]
    assert left["bias.grad"].tolist() == [2.0]
    assert left["weight"] is model.weight
    assert left["bias"] is model.bias


def test_what_is_no_loss_gets_one_sentence():
    with pytest.raises(Unusable, match="it should be the mean loss, a float"):
        left_behind(lambda *case: "2.5", nn.Linear(1, 1), [])
