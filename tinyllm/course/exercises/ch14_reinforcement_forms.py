"""Right answers of notebook 14 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs

import torch

from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch14_reinforcement import (
    best_policy,
    clipped_objective,
    dpo_loss,
    group_advantages,
    kl_estimates,
    measure_baseline,
    mend_reinforce,
    score_function_gradient,
)


@form(score_function_gradient)
def sample_by_sample(logits, outcomes, rewards):
    p = logits.softmax(dim=0)
    total = torch.zeros_like(p)
    for outcome, reward in zip(outcomes, rewards, strict=True):
        slope = -p
        slope = slope.index_add(0, outcome, torch.ones_like(p[:1]))
        total = total + reward * slope
    return total / len(outcomes)


@form(score_function_gradient)
def pushed_up_less_pushed_down(logits, outcomes, rewards):
    samples = len(rewards)
    p = torch.softmax(logits, dim=0)
    up = torch.zeros_like(p)
    up = up.index_add(0, outcomes, rewards)
    down = rewards.sum() * p
    return (up - down) / samples


@form(score_function_gradient)
def by_autograd(logits, outcomes, rewards):
    z = logits.detach().clone().requires_grad_()
    log_p = z.log_softmax(dim=0)
    chosen = log_p[outcomes]
    products = rewards * chosen
    objective = products.mean()
    return torch.autograd.grad(objective, z)[0]


@form(group_advantages)
def group_by_group(rewards):
    rows = []
    for group in rewards:
        mean = group.mean()
        centred = group - mean
        variance = (centred**2).mean()
        deviation = variance.sqrt()
        if (group == group[0]).all():
            rows.append(torch.zeros_like(group))
        else:
            rows.append(centred / deviation)
    return torch.stack(rows)


@form(kl_estimates)
def one_ratio(log_probs, base_log_probs):
    k1 = log_probs - base_log_probs
    ratio = torch.exp(-k1)
    k3 = ratio - 1 + k1
    return k1, k3


@form(kl_estimates)
def above_the_line(log_probs, base_log_probs):
    d = base_log_probs - log_probs
    excess = torch.expm1(d)
    return log_probs - base_log_probs, excess - d


@form(clipped_objective)
def two_products(log_probs, old_log_probs, advantages, clip=0.2):
    change = log_probs - old_log_probs
    ratio = torch.exp(change)
    low = 1 - clip
    high = 1 + clip
    clipped = torch.clamp(ratio, low, high)
    first = ratio * advantages
    second = clipped * advantages
    smaller = torch.min(first, second)
    return smaller.sum() / len(smaller)


@form(clipped_objective)
def by_sign(log_probs, old_log_probs, advantages, clip=0.2):
    ratio = (log_probs - old_log_probs).exp()
    for_good = ratio.clamp(max=1 + clip)
    for_bad = ratio.clamp(min=1 - clip)
    used = torch.where(advantages > 0, for_good, for_bad)
    return (used * advantages).mean()


@form(best_policy)
def sum_of_logarithms(base_log_probs, rewards, temperature):
    tilt = rewards / temperature
    scores = base_log_probs + tilt
    log_z = scores.logsumexp(dim=0)
    return scores - log_z


@form(best_policy)
def largest_taken_off(base_log_probs, rewards, temperature):
    scores = base_log_probs + rewards / temperature
    largest = scores.max()
    shifted = scores - largest
    z = shifted.exp().sum()
    return shifted - z.log()


@form(dpo_loss)
def two_gains(chosen, rejected, base_chosen, base_rejected, beta):
    chosen_gain = chosen - base_chosen
    rejected_gain = rejected - base_rejected
    margins = chosen_gain - rejected_gain
    scores = beta * margins
    losses = torch.nn.functional.softplus(-scores)
    return losses.sum() / len(losses)


@form(dpo_loss)
def model_less_base(chosen, rejected, base_chosen, base_rejected, beta):
    model = chosen - rejected
    base = base_chosen - base_rejected
    scores = beta * (model - base)
    losses = torch.logaddexp(torch.zeros_like(scores), -scores)
    return losses.mean()


@form(mend_reinforce)
def answer_by_answer(token_log_probs, answer_mask, rewards):
    baseline = rewards.mean()
    advantages = rewards - baseline
    answer = token_log_probs * answer_mask
    log_probs = answer.sum(dim=1)
    products = advantages * log_probs
    return -products.mean()


@form(mend_reinforce)
def column_by_column(token_log_probs, answer_mask, rewards):
    baseline = rewards.mean()
    advantages = rewards[:, None] - baseline
    answer = token_log_probs * answer_mask
    log_probs = answer.sum(dim=1, keepdim=True)
    products = advantages * log_probs
    return -products.mean()


@form(mend_reinforce)
def over_tokens(token_log_probs, answer_mask, rewards):
    baseline = rewards.sum() / len(rewards)
    advantages = rewards - baseline
    weights = advantages[:, None] * answer_mask
    products = weights * token_log_probs
    total = products.sum()
    return -total / len(rewards)


@form(measure_baseline)
def draw_and_measure(logits, rewards):
    p = logits.softmax(dim=0)
    outcomes = torch.multinomial(p, 50_000, replacement=True)
    slopes = torch.eye(len(p))[outcomes] - p
    drawn = rewards[outcomes]
    baseline = drawn.mean()
    plain = drawn[:, None] * slopes
    better = (drawn - baseline)[:, None] * slopes
    without = plain.var(dim=0).sum()
    taken_off = better.var(dim=0).sum()
    return (taken_off / without).item()


@form(measure_baseline)
def without_drawing(logits, rewards):
    p = logits.softmax(dim=0)
    slopes = torch.eye(len(p)) - p
    variances = []
    for baseline in (0, (p * rewards).sum()):
        gradients = (rewards - baseline)[:, None] * slopes
        mean = p @ gradients
        apart = (gradients - mean).square().sum(dim=1)
        variances.append((p * apart).sum())
    return (variances[1] / variances[0]).item()
