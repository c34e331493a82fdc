"""What `reinforce` and `prefer` step along, in all weights of a model, beside the exact gradient by enumeration.

Sources: Shao et al., "DeepSeekMath" (2024, section 4: GRPO); Rafailov et al., "Direct Preference Optimization" (2023,
section 4: its gradient).
"""

import itertools
import math

import pytest
import torch
from letter_models import PROMPT, Letters, gradient, small_model
from torch import Tensor

from tinyllm import GPT
from tinyllm.training import reinforce as module
from tinyllm.training.reinforce import Reinforcement, Samples, prefer, reinforce

REWARDS = [0.0, 0.5, 0.5, 2.0]  # of the four letters; two are worth the same
PRICE, CLIP = 0.3, 0.1
GROUPS = list(itertools.product(range(4), repeat=3))


def gradients_of_steps(monkeypatch, then: GPT | None = None) -> list[Tensor]:
    """The gradient that each step would have used. Instead of a step the model gets the weights of `then`, if any."""
    seen = []

    def record(model: GPT, optimizer: torch.optim.Optimizer) -> None:
        seen.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
        optimizer.zero_grad()
        if then is not None:
            model.load_state_dict(then.state_dict())

    monkeypatch.setattr(module, "_apply", record)
    return seen


def next_letter(model: GPT) -> Tensor:
    """log p of each of the four letters after the prompt."""
    return model(torch.tensor([[0, 1, 2]]))[0, -1].log_softmax(-1)


def z_score(first: float, second: float, third: float) -> float:
    """The first one's, of three numbers: written out, it needs neither their mean nor their deviation."""
    square = first**2 + second**2 + third**2 - first * second - second * third - third * first
    return (2 * first - second - third) / math.sqrt(2 * square)


@pytest.mark.parametrize("price", [0.0, PRICE])
def test_grpo_steps_along_the_exact_gradient_on_average(monkeypatch, price):
    """Over all 64 groups of three: a step on what was just drawn, and one after the policy has moved on."""
    how = Reinforcement((), maximum_length=1, steps=1, samples=3, kl_weight=price, passes=2, clip=CLIP)
    drawing, moved = small_model(0, letters=4), small_model(2, letters=4)
    base, model, found = small_model(1, letters=4), small_model(0, letters=4), [0.0, 0.0]
    steps = gradients_of_steps(monkeypatch, then=moved)
    log_p, q = next_letter(drawing).tolist(), next_letter(base).tolist()
    for group in GROUPS:
        monkeypatch.setattr(module, "draw_samples", lambda *_, group=group: Samples.of([0, 1, 2], [[a] for a in group]))
        model.load_state_dict(drawing.state_dict())
        list(reinforce(model, base, Letters(), ["bc"], lambda _, text: REWARDS["abcd".index(text)], how))
        chance = math.exp(sum(log_p[letter] for letter in group))
        found = [total + chance * step for total, step in zip(found, steps[-2:], strict=True)]

    # The three samples of a group are alike on average, so the mean over them is that of the first.
    worth = [reward - price * (log_p[a] - q[a]) for a, reward in enumerate(REWARDS)]
    for policy, step in zip((drawing, moved), found, strict=True):
        now, pulls, held = next_letter(policy), [0.0] * 4, 0
        for first, second, third in GROUPS:
            if worth[first] == worth[second] == worth[third]:
                continue
            advantage = z_score(worth[first], worth[second], worth[third])
            ratio = math.exp(now[first].item() - log_p[first])
            if (ratio > 1 + CLIP and advantage > 0) or (ratio < 1 - CLIP and advantage < 0):
                held += 1
            else:  # the ratio's own slope is the ratio times that of log p
                pulls[first] += math.exp(log_p[first] + log_p[second] + log_p[third]) * ratio * advantage
        exact = gradient((now * torch.tensor(pulls, dtype=torch.float64)).sum(), *policy.parameters())
        torch.testing.assert_close(step, -exact)
        assert (held > 10) == (policy is moved)


def text_probability(model: GPT, continuation: list[int]) -> Tensor:
    """log p of it after the prompt, token by token."""
    text, log_p = list(PROMPT), torch.zeros((), dtype=torch.float64)
    for token in continuation:
        log_p = log_p + model(torch.tensor([text]))[0, -1].log_softmax(-1)[token]
        text.append(token)
    return log_p


def test_dpo_steps_along_its_closed_gradient(monkeypatch):
    """beta sigmoid(-margin) times the slope of log p, down the rejected and up the chosen text of each pair."""
    chosen, rejected = [[1], [5, 2, 2], [0, 4]], [[3, 9], [7], [0, 4, 4]]
    model, base, beta = small_model(0), small_model(1), 0.7
    weights, exact, seen = list(model.parameters()), [], gradients_of_steps(monkeypatch)
    for good, bad in zip(chosen, rejected, strict=True):
        up, down = text_probability(model, good), text_probability(model, bad)
        margin = up - text_probability(base, good) - down + text_probability(base, bad)
        pull = beta / (1 + math.exp(beta * margin.item()))
        exact.append(pull * (gradient(down, *weights) - gradient(up, *weights)))
    list(prefer(model, base, Samples.of(PROMPT, chosen), Samples.of(PROMPT, rejected), beta, 20, 1e-3, batch_size=1))
    met = set()
    for step in seen:  # the weights stay, so each is that of one of the three pairs
        nearest = min(range(3), key=lambda pair: (step - exact[pair]).norm().item())
        torch.testing.assert_close(step, exact[nearest])
        met.add(nearest)
    assert met == {0, 1, 2}
