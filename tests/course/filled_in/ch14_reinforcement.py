"""Right answers to the exercises of notebook 14, in other styles than the references."""

import math

import numpy as np
import torch


def score_function_gradient(logits, outcomes, rewards):
    p = np.exp(logits.double().numpy() - logits.max().item())
    p /= p.sum()
    pushed = np.bincount(outcomes.numpy(), weights=rewards.numpy(), minlength=len(p))
    return torch.from_numpy((pushed - rewards.sum().item() * p) / len(rewards)).to(logits.dtype)


class GroupAdvantages:
    def __call__(self, rewards):
        means = torch.einsum("gn->g", rewards) / rewards.size(1)
        apart = rewards - means.unsqueeze(1)
        told_apart = (rewards != rewards[:, :1]).any(1)
        result = torch.zeros_like(rewards)
        result[told_apart] = apart[told_apart] / apart[told_apart].pow(2).mean(1, True).sqrt()
        return result


group_advantages = GroupAdvantages()


def kl_estimates(log_probs, base_log_probs):
    """A list, and the base without gradients."""
    k1 = log_probs.sub(base_log_probs.detach())
    return [k1, torch.special.expm1(-k1) + k1]


def clipped_objective(log_probs, old_log_probs, advantages, clip=0.2):
    ratios = (log_probs - old_log_probs).exp()
    pessimistic = [
        min(ratio * advantage, ratio.clip(1 - clip, 1 + clip) * advantage)
        for ratio, advantage in zip(ratios, advantages, strict=True)
    ]
    return sum(pessimistic) / len(pessimistic)


def best_policy(base_log_probs, rewards, temperature):
    scores = [one + reward / temperature for one, reward in zip(base_log_probs.tolist(), rewards.tolist(), strict=True)]
    largest = max(scores)
    log_z = largest + math.log(sum(math.exp(score - largest) for score in scores))
    return torch.tensor([score - log_z for score in scores], dtype=base_log_probs.dtype)


def dpo_loss(chosen, rejected, base_chosen, base_rejected, beta):
    with torch.no_grad():
        base = base_chosen - base_rejected
    logits = beta * (chosen - rejected - base)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def mend_reinforce(token_log_probs, answer_mask, rewards):
    S = token_log_probs.size(0)
    advantages = (rewards - sum(rewards) / S).detach()
    return -torch.einsum("st,st,s->", token_log_probs, answer_mask.to(token_log_probs.dtype), advantages) / S


def measure_baseline(logits, rewards):
    distribution = torch.distributions.Categorical(logits=logits)
    outcomes = distribution.sample((30_000,))
    slopes = torch.eye(len(logits))[outcomes] - distribution.probs
    expected = distribution.probs @ rewards
    variances = [
        torch.cov(((rewards[outcomes] - baseline)[:, None] * slopes).T).trace() for baseline in (expected, 0 * expected)
    ]
    return variances[0] / variances[1]
