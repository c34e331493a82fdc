"""The frontier of reward against KL: how far any policy can get at a given distance from the base. All sums are exact.

Shapes: N outcomes. Rewards in their own unit, KL and entropy in nats.

Source: the frontier of Gao et al., "Scaling Laws for Reward Model Overoptimization" (2023), where it can be computed.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tinyllm.training.reinforce import best_policy

TEMPERATURES = tuple(10 ** (exponent / 20) for exponent in range(30, -41, -1))
"""From 32, where the best policy is nearly the base, down to 0.01, where hardly anything but the best is left."""


class Place(NamedTuple):
    """Where a policy stands."""

    kl: float
    """KL(policy || base)."""
    reward: float
    """Expected."""
    entropy: float


def place(log_probs: Float[Tensor, " N"], base_log_probs: Float[Tensor, " N"], rewards: Float[Tensor, " N"]) -> Place:
    """Exact for a policy whose outcomes are all there are."""
    p = log_probs.exp()
    surprise = torch.where(p > 0, log_probs, 0.0)  # 0 log 0 is 0
    distance = torch.where(p > 0, log_probs - base_log_probs, 0.0)
    return Place(*((p * values).sum().item() for values in (distance, rewards, -surprise)))


def most_reward(base_log_probs: Float[Tensor, " N"], rewards: Float[Tensor, " N"], kl: float) -> float:
    """The largest expected reward of any policy at this distance from the base, by halving the temperature's range."""
    unit = (rewards.max() - rewards.min()).item() or 1.0  # a temperature is in the rewards' unit
    low, high = unit * TEMPERATURES[-1] / 10, unit * 1e6
    for _ in range(60):
        middle = (low * high) ** 0.5
        if place(best_policy(base_log_probs, rewards, middle), base_log_probs, rewards).kl > kl:
            low = middle
        else:
            high = middle
    return place(best_policy(base_log_probs, rewards, high), base_log_probs, rewards).reward
