"""The probes of an optimizer step."""

import torch
import torch.nn.functional as F
from torch import nn

from tinyllm.probes.step_probes import gradients, one_batch


def test_a_low_rate_is_no_bug_and_one_that_does_nothing_is():
    ids = torch.arange(8)[None]

    def step(model, optimizer, batches):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batches[0][0])[0], batches[0][1][0])
        loss.backward()
        optimizer.step()
        return loss.item()

    def build(rate):
        torch.manual_seed(0)
        model = nn.Embedding(8, 8)
        return model, torch.optim.Adam(model.parameters(), rate)

    batches = [(ids, ids.roll(1, 1))]
    for rate in (0.1, 0.01):
        assert one_batch(lambda rate=rate: build(rate), step, batches).ok
    assert one_batch(lambda: build(1e-5), step, batches).ok is False
    assert one_batch(lambda: build(0.0), step, batches).ok is False


def test_a_step_that_ends_in_no_number_is_no_success():
    def step(*_):
        raise FloatingPointError("nan")

    def build():
        model = nn.Linear(2, 2)
        return model, torch.optim.SGD(model.parameters(), 0.1)

    assert one_batch(build, step, []).ok is False


class _Line(nn.Module):
    """Logits of a token by itself; `spare` is multiplied by `weight_of_spare` before it is added, or not used."""

    def __init__(self, weight_of_spare=None):
        super().__init__()
        self.table = nn.Embedding(9, 9)
        self.spare = nn.Parameter(torch.ones(9))
        self.weight_of_spare = weight_of_spare

    def forward(self, ids):
        logits = self.table(ids)
        return logits if self.weight_of_spare is None else logits + self.weight_of_spare * self.spare


def examined(weight_of_spare=1.0, longer=1.0, told=1.0) -> dict[str, bool]:
    """The probes of a step whose gradient is so much longer than the mean's, and which tells so much of its loss."""

    def build():
        torch.manual_seed(0)
        model = _Line(weight_of_spare)
        return model, torch.optim.SGD(model.parameters(), 0.1)

    def step(model, optimizer, batches):
        optimizer.zero_grad()
        losses = [F.cross_entropy(model(ids).flatten(0, 1), targets.flatten()) for ids, targets in batches]
        (longer * sum(losses) / len(losses)).backward()
        optimizer.step()
        return told * sum(losses).item() / len(losses)

    def batch(number):
        ids = torch.randint(9, (2, 3, 6), generator=torch.Generator().manual_seed(number))
        return [(part, part.roll(-1, 1)) for part in ids]

    return {finding.probe: finding.ok for finding in gradients(build, step, batch)}


def test_a_step_that_sums_or_tells_another_loss_is_no_mean():
    assert all(examined().values())
    assert examined(longer=0.3)["average"]  # clipped
    assert not examined(longer=2.0)["average"]
    assert not examined(told=2.0)["average"]


def test_a_weight_that_is_listed_and_not_used_or_used_with_a_zero_learns_nothing():
    assert not examined(weight_of_spare=None)["gradient flow"]
    assert not examined(weight_of_spare=0.0)["gradient flow"]
