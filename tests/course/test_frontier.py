"""No policy is above the frontier, and what it is made of are exact sums."""

import math
from itertools import pairwise

import pytest
import torch

from tinyllm.course.frontier import TEMPERATURES, most_reward, place
from tinyllm.training.reinforce import best_policy


def case(seed: int = 0, number: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    base, rewards = torch.randn(2, number, generator=generator, dtype=torch.float64)
    return (2 * base).log_softmax(-1), rewards


def test_a_place_by_hand():
    p, q = torch.tensor([0.5, 0.5, 0.0]).double(), torch.tensor([0.25, 0.5, 0.25]).double()
    found = place(p.log(), q.log(), torch.tensor([1.0, 2.0, 100.0]).double())
    assert found == pytest.approx((0.5 * math.log(2), 1.5, math.log(2)))


@pytest.mark.parametrize("seed", range(3))
def test_no_policy_is_above_the_frontier(seed):
    base, rewards = case(seed)
    generator = torch.Generator().manual_seed(seed)
    for size in (0.1, 0.5, 1.0, 3.0) * 10:
        noise = torch.randn(30, generator=generator, dtype=torch.float64)
        for policy in (base + size * noise, base + 2 * rewards + size * noise):
            found = place(policy.log_softmax(-1), base, rewards)
            assert found.reward < most_reward(base, rewards, found.kl)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0])
def test_the_best_policy_is_on_it(temperature):
    base, rewards = case()
    best = place(best_policy(base, rewards, temperature), base, rewards)
    assert most_reward(base, rewards, best.kl) == pytest.approx(best.reward)


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e3, 1e6])
@pytest.mark.parametrize("kl", [0.0, 0.5, 2.0])
def test_the_unit_of_the_rewards_does_not_matter(unit, kl):
    base, rewards = case()
    assert most_reward(base, unit * rewards, kl) / unit == pytest.approx(most_reward(base, rewards, kl), abs=1e-5)


def test_rewards_that_are_all_the_same_are_what_every_policy_has():
    base, _ = case()
    assert most_reward(base, torch.full_like(base, 0.7), 1.0) == pytest.approx(0.7)


def test_it_leads_from_the_base_to_the_best_outcome():
    base, rewards = case()
    places = [place(best_policy(base, rewards, b), base, rewards) for b in TEMPERATURES]
    assert [len(places), places[0].kl] == [len(TEMPERATURES), pytest.approx(0, abs=2e-3)]
    assert places[0].reward == pytest.approx((base.exp() * rewards).sum().item(), abs=0.1)
    assert places[-1].reward == pytest.approx(rewards.max().item(), abs=1e-3)
    assert places[-1].kl == pytest.approx(-base[rewards.argmax()].item(), abs=0.01)
    for one, other in pairwise(places):
        assert other.kl > one.kl - 1e-12
        assert other.reward > one.reward - 1e-12
    assert most_reward(base, rewards, 1e3) == pytest.approx(rewards.max().item())
