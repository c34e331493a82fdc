"""What learners usually get wrong in notebook 14. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import torch
import torch.nn.functional as F

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch14_reinforcement import (
    baseline_ratios,
    best_policy,
    clipped_objective,
    dpo_loss,
    group_advantages,
    kl_estimates,
    measure_baseline,
    mend_reinforce,
    score_function_gradient,
)

# score_function_gradient


def _slopes(logits, outcomes):
    return F.one_hot(outcomes, len(logits)) - logits.softmax(dim=0)


def _weighed(weigh):
    """The mean over samples of slopes times weights made of the rewards."""
    return lambda logits, outcomes, rewards: (weigh(rewards)[:, None] * _slopes(logits, outcomes)).mean(dim=0)


mistake(
    score_function_gradient,
    "That is the sum over the samples. Divide by how many there are.",
    lambda logits, outcomes, rewards: (rewards[:, None] * _slopes(logits, outcomes)).sum(dim=0),
)

mistake(
    score_function_gradient,
    "You divide by the number of samples less 1. A mean divides by their number.",
    lambda logits, outcomes, rewards: (
        (rewards[:, None] * _slopes(logits, outcomes)).sum(dim=0) / max(1, len(rewards) - 1)
    ),
)

mistake(
    score_function_gradient,
    "You look the rewards up by outcome. They are in the samples' order: rewards[s] belongs to outcomes[s].",
    lambda logits, outcomes, rewards: score_function_gradient(
        logits, outcomes, rewards[outcomes.clamp(max=len(rewards) - 1)]
    ),
)

mistake(
    score_function_gradient,
    "You divide by the number of outcomes. It is the mean over the samples.",
    lambda logits, outcomes, rewards: (rewards[:, None] * _slopes(logits, outcomes)).sum(dim=0) / len(logits),
)

mistake(
    score_function_gradient,
    "You take the mean over the outcomes: a number for each sample. A number for each outcome is asked for.",
    lambda logits, outcomes, rewards: (rewards[:, None] * _slopes(logits, outcomes)).mean(dim=1),
)

mistake(
    score_function_gradient,
    "The mean is over all numbers, so it is 0. Take it over the samples alone.",
    lambda logits, outcomes, rewards: (rewards[:, None] * _slopes(logits, outcomes)).mean(),
)

mistake(
    score_function_gradient,
    "That is a row for each sample. Return their mean.",
    lambda logits, outcomes, rewards: rewards[:, None] * _slopes(logits, outcomes),
)

mistake(
    score_function_gradient,
    "The softmax is not subtracted. A higher logit raises the normaliser too: the slope is one-hot minus softmax.",
    lambda logits, outcomes, rewards: (rewards[:, None] * F.one_hot(outcomes, len(logits))).mean(dim=0),
)

mistake(
    score_function_gradient,
    "The sign is turned round: softmax minus one-hot is the slope of a loss. This is the gradient of a reward, to "
    "climb.",
    _weighed(lambda rewards: -rewards),
)

mistake(
    score_function_gradient,
    "The rewards are not used: all that was drawn is pushed up alike.",
    _weighed(torch.ones_like),
)

mistake(
    score_function_gradient,
    "You subtract the logits. It is their softmax that is subtracted.",
    lambda logits, outcomes, rewards: (rewards[:, None] * (F.one_hot(outcomes, len(logits)) - logits)).mean(dim=0),
)

mistake(
    score_function_gradient,
    "You subtract log-probabilities. It is the probabilities that are subtracted.",
    lambda logits, outcomes, rewards: (
        rewards[:, None] * (F.one_hot(outcomes, len(logits)) - logits.log_softmax(dim=0))
    ).mean(dim=0),
)

mistake(
    score_function_gradient,
    "You subtract exp of the logits. Divide it by its sum first: that is the softmax.",
    lambda logits, outcomes, rewards: (rewards[:, None] * (F.one_hot(outcomes, len(logits)) - logits.exp())).mean(
        dim=0
    ),
)

mistake(
    score_function_gradient,
    "exp of a large logit overflows to inf, and inf / inf is NaN. torch.softmax takes care of that.",
    lambda logits, outcomes, rewards: (
        rewards[:, None] * (F.one_hot(outcomes, len(logits)) - logits.exp() / logits.exp().sum())
    ).mean(dim=0),
)

mistake(
    score_function_gradient,
    "The mean reward is subtracted. A baseline is a good idea, and another exercise: here the rewards count as they "
    "are.",
    _weighed(lambda rewards: rewards - rewards.mean()),
)

mistake(
    score_function_gradient,
    "The reward multiplies the one-hot alone. It multiplies the whole slope, the softmax too.",
    lambda logits, outcomes, rewards: (
        rewards[:, None] * F.one_hot(outcomes, len(logits)) - logits.softmax(dim=0)
    ).mean(dim=0),
)

mistake(
    score_function_gradient,
    "The reward multiplies the softmax alone. It multiplies the whole slope, the one-hot too.",
    lambda logits, outcomes, rewards: (
        F.one_hot(outcomes, len(logits)) - rewards[:, None] * logits.softmax(dim=0)
    ).mean(dim=0),
)

mistake(
    score_function_gradient,
    "You average rewards and slopes apart and multiply the means. Multiply in each sample, then average.",
    lambda logits, outcomes, rewards: rewards.mean() * _slopes(logits, outcomes).mean(dim=0),
)

mistake(
    score_function_gradient,
    "Each sample is weighed by its probability once more. It was drawn with that probability: the mean over samples "
    "has it already.",
    lambda logits, outcomes, rewards: (
        (rewards * logits.softmax(dim=0)[outcomes])[:, None] * _slopes(logits, outcomes)
    ).mean(dim=0),
)

mistake(
    score_function_gradient,
    "Each sample is divided by its probability. The slope of log p has that in it already.",
    lambda logits, outcomes, rewards: (
        (rewards / logits.softmax(dim=0)[outcomes])[:, None] * _slopes(logits, outcomes)
    ).mean(dim=0),
)

mistake(
    score_function_gradient,
    "That is the slope with respect to the probabilities, one-hot / p. It is wanted with respect to the logits.",
    lambda logits, outcomes, rewards: (
        rewards[:, None] * F.one_hot(outcomes, len(logits)) / logits.softmax(dim=0)
    ).mean(dim=0),
)

mistake(
    score_function_gradient,
    "Only the outcome that was drawn is moved. The others are pushed down, each by its probability.",
    lambda logits, outcomes, rewards: (
        rewards[:, None] * F.one_hot(outcomes, len(logits)) * _slopes(logits, outcomes)
    ).mean(dim=0),
)

mistake(
    score_function_gradient,
    "You divide by the sum of the rewards. It is the mean over the samples, whatever the rewards add up to.",
    lambda logits, outcomes, rewards: (rewards[:, None] * _slopes(logits, outcomes)).sum(dim=0) / rewards.sum(),
)

mistake(
    score_function_gradient,
    "That is the number whose gradient is asked for: the mean of reward times log p.",
    lambda logits, outcomes, rewards: (rewards * logits.log_softmax(dim=0)[outcomes]).mean(),
)


@mistake(
    score_function_gradient,
    "An outcome that was drawn twice counts once: x[outcomes] += y adds only one of equal indices. Use index_add or "
    "one-hots.",
)
def adds_once(logits, outcomes, rewards):
    up = torch.zeros_like(logits)
    up[outcomes] += rewards
    return (up - rewards.sum() * logits.softmax(dim=0)) / len(rewards)


# group_advantages


def _advantages(middle=None, spread=None):
    """The reference with another middle or another spread, of all groups (G, n), kept beside them."""

    def run(rewards):
        equal = rewards.amin(dim=1, keepdim=True) == rewards.amax(dim=1, keepdim=True)
        centred = rewards - (middle or _mean)(rewards)
        return torch.where(equal, 0.0, centred / (spread or _deviation)(rewards).masked_fill(equal, 1.0))

    return run


def _mean(rewards):
    return rewards.mean(dim=1, keepdim=True)


def _deviation(rewards):
    return rewards.std(dim=1, correction=0, keepdim=True)


def _unbiased(rewards):
    """NaN for a single reward, as torch.std is, but without its warning."""
    return ((rewards - _mean(rewards)).square().sum(dim=1, keepdim=True) / (rewards.shape[1] - 1)).sqrt()


def _root(rewards):
    """The deviation by hand, which is not exactly 0 for all equal rewards."""
    return (rewards - _mean(rewards)).square().mean(dim=1, keepdim=True).sqrt()


mistake(
    group_advantages,
    "Your deviation divides by n - 1, as `std` does unless you say correction=0.",
    _advantages(spread=_unbiased),
)

mistake(
    group_advantages,
    "Your deviation divides by n - 1, as `std` does unless you say correction=0, and equal rewards are not looked "
    "after.",
    lambda rewards: (rewards - _mean(rewards)) / _unbiased(rewards),
)

mistake(
    group_advantages,
    "Where all rewards of a group are equal you divide by a deviation of 0, or of a last bit. Such a group gets 0.",
    lambda rewards: (rewards - _mean(rewards)) / _deviation(rewards),
)

mistake(
    group_advantages,
    "You look for a deviation of exactly 0. That of equal floats may be a last bit off, and what you divide then is "
    "noise: ask whether the rewards are equal.",
    lambda rewards: torch.where(_root(rewards) == 0, 0.0, (rewards - _mean(rewards)) / _root(rewards)),
)

mistake(
    group_advantages,
    "You look for a `std` of exactly 0. For a group alone it may be a last bit off, and what you divide then is noise: "
    "ask whether the rewards are equal.",
    lambda rewards: torch.where(_deviation(rewards) == 0, 0.0, (rewards - _mean(rewards)) / _deviation(rewards)),
)

mistake(
    group_advantages,
    "Your deviation divides by n - 1, as `std` does unless you say correction=0, and nan_to_num does not look after "
    "equal rewards: ask whether they are equal.",
    lambda rewards: ((rewards - _mean(rewards)) / _unbiased(rewards)).nan_to_num(0.0),
)

mistake(
    group_advantages,
    "Where all rewards of a group are equal you divide by the root of 0, or of the square of a last bit. Such a group "
    "gets 0.",
    lambda rewards: (rewards - _mean(rewards)) / _root(rewards),
)

mistake(
    group_advantages,
    "nan_to_num mends 0 / 0. But the mean of equal floats may be a last bit off: that over 0 is huge. Ask whether the "
    "rewards are equal.",
    lambda rewards: ((rewards - _mean(rewards)) / _deviation(rewards)).nan_to_num(0.0),
)

mistake(
    group_advantages,
    "An epsilon of 1e-8 below the division does not help where all rewards are equal: the root may be a last bit, "
    "which is as large.",
    lambda rewards: (rewards - _mean(rewards)) / (_root(rewards) + 1e-8),
)

mistake(
    group_advantages,
    "An epsilon of 1e-4 is added to the deviation: rewards that lie close together are scaled too little. Ask whether "
    "they are equal instead.",
    lambda rewards: (rewards - _mean(rewards)) / (_deviation(rewards) + 1e-4),
)

mistake(
    group_advantages,
    "An epsilon of 1e-6 is added to the deviation: rewards that lie close together are scaled too little. Ask whether "
    "they are equal instead.",
    lambda rewards: (rewards - _mean(rewards)) / (_deviation(rewards) + 1e-6),
)

mistake(
    group_advantages,
    "An epsilon of 1e-8 does not help where all rewards are equal: their mean may be a last bit off, which is as "
    "large. Ask whether they are equal.",
    lambda rewards: (rewards - _mean(rewards)) / (_deviation(rewards) + 1e-8),
)

mistake(
    group_advantages,
    "Your deviation divides by n - 1, and 1e-8 is added to it. Divide by n: correction=0. And ask whether the rewards "
    "are equal.",
    lambda rewards: (rewards - _mean(rewards)) / (_unbiased(rewards) + 1e-8),
)

mistake(
    group_advantages,
    "Your deviation divides by n - 1, and 1e-4 is added to it. Divide by n: correction=0. And ask whether the rewards "
    "are equal.",
    lambda rewards: (rewards - _mean(rewards)) / (_unbiased(rewards) + 1e-4),
)

mistake(
    group_advantages,
    "F.layer_norm adds an epsilon to the variance: rewards that lie close together are scaled too little.",
    lambda rewards: F.layer_norm(rewards, rewards.shape[1:]),
)

mistake(
    group_advantages,
    "F.normalize divides by the length of the vector: the mean below the root is missing, and equal rewards are not "
    "looked after.",
    lambda rewards: F.normalize(rewards - _mean(rewards), dim=1),
)

mistake(
    group_advantages,
    "You take mean and deviation across the groups. They belong to each group: along the last dimension.",
    lambda rewards: (rewards - rewards.mean(dim=0)) / rewards.std(dim=0, correction=0),
)

mistake(
    group_advantages,
    "You take mean and deviation of all rewards together. Each group has its own: some questions are harder.",
    lambda rewards: (rewards - rewards.mean()) / rewards.std(correction=0),
)

mistake(
    group_advantages,
    "The deviation is that of all rewards together. Each group has its own.",
    _advantages(spread=lambda rewards: rewards.std(correction=0).expand(len(rewards), 1)),
)

mistake(
    group_advantages,
    "The mean is that of all rewards together. Each group has its own.",
    _advantages(middle=lambda rewards: rewards.mean()),
)

mistake(
    group_advantages,
    "You divide by the variance. Divide by its root, the standard deviation.",
    _advantages(spread=lambda rewards: rewards.var(dim=1, correction=0, keepdim=True)),
)

mistake(
    group_advantages,
    "You do not divide by the standard deviation.",
    lambda rewards: rewards - _mean(rewards),
)

mistake(
    group_advantages,
    "You divide by the mean distance from the mean. The standard deviation is the root of the mean square.",
    _advantages(spread=lambda rewards: (rewards - _mean(rewards)).abs().mean(dim=1, keepdim=True)),
)

mistake(
    group_advantages,
    "You divide by the distance of largest and smallest. Divide by the standard deviation.",
    _advantages(spread=lambda rewards: rewards.amax(dim=1, keepdim=True) - rewards.amin(dim=1, keepdim=True)),
)

mistake(
    group_advantages,
    "You divide by the length of the vector: the mean below the root is missing.",
    _advantages(spread=lambda rewards: (rewards - _mean(rewards)).norm(dim=1, keepdim=True)),
)

mistake(
    group_advantages,
    "You divide by the root of the mean square of the rewards themselves. Take their mean off first.",
    _advantages(spread=lambda rewards: rewards.square().mean(dim=1, keepdim=True).sqrt()),
)

mistake(
    group_advantages,
    "The sign is turned round: it is reward minus mean, above 0 for what is better than the rest.",
    lambda rewards: -group_advantages(rewards),
)

mistake(
    group_advantages,
    "The group's mean is not subtracted.",
    _advantages(middle=lambda rewards: 0.0),
)

mistake(
    group_advantages,
    "You subtract the median. Subtract the mean.",
    _advantages(middle=lambda rewards: rewards.median(dim=1, keepdim=True).values),
)

mistake(
    group_advantages,
    "You subtract the mean of the other rewards. Here it is the mean of the whole group.",
    _advantages(
        middle=lambda rewards: (rewards.sum(dim=1, keepdim=True) - rewards) / max(1, rewards.shape[1] - 1),
    ),
)

mistake(
    group_advantages,
    "You subtract the group's largest reward. Subtract its mean.",
    _advantages(middle=lambda rewards: rewards.amax(dim=1, keepdim=True)),
)

mistake(
    group_advantages,
    "Only the signs are left. How far a reward lies from the mean counts too.",
    lambda rewards: (group_advantages(rewards)).sign(),
)

mistake(
    group_advantages,
    "If any group has equal rewards, all groups get 0. Look at each by itself.",
    lambda rewards: (
        torch.zeros_like(rewards)
        if (rewards.amin(dim=1) == rewards.amax(dim=1)).any()
        else (rewards - _mean(rewards)) / _deviation(rewards)
    ),
)

mistake(
    group_advantages,
    "Where all rewards of a group are equal you leave them as they are. Such a group gets 0.",
    lambda rewards: torch.where(
        rewards.amin(dim=1, keepdim=True) == rewards.amax(dim=1, keepdim=True), rewards, group_advantages(rewards)
    ),
)

mistake(
    group_advantages,
    "Groups with equal rewards are left out. They keep their place, with advantages of 0.",
    lambda rewards: group_advantages(rewards)[rewards.amin(dim=1) != rewards.amax(dim=1)],
)

mistake(
    group_advantages,
    "The mean has lost its dimension, so it lies along the wrong one. keepdim=True keeps it beside its group.",
    lambda rewards: (rewards - rewards.mean(dim=1)) / rewards.std(dim=1, correction=0),
)


# kl_estimates


def _k3(d):
    return d.exp() - 1 - d


mistake(
    kl_estimates,
    "k1 has the wrong sign: it is log p - log q, and p is the policy that drew.",
    lambda log_probs, base_log_probs: (base_log_probs - log_probs, _k3(base_log_probs - log_probs)),
)

mistake(
    kl_estimates,
    "In k3 the ratio is upside down. The samples come from p, so it is q / p: its mean is 1.",
    lambda log_probs, base_log_probs: (log_probs - base_log_probs, _k3(log_probs - base_log_probs)),
)

mistake(
    kl_estimates,
    "p and q are exchanged throughout. The policy p drew the samples; q is the base.",
    lambda log_probs, base_log_probs: (base_log_probs - log_probs, _k3(log_probs - base_log_probs)),
)

mistake(
    kl_estimates,
    "k3 lacks its - 1: where p and q agree it must be 0.",
    lambda log_probs, base_log_probs: (
        log_probs - base_log_probs,
        (base_log_probs - log_probs).exp() + log_probs - base_log_probs,
    ),
)

mistake(
    kl_estimates,
    "k3 lacks its logarithm: q / p - 1 alone has the mean 0.",
    lambda log_probs, base_log_probs: (log_probs - base_log_probs, (base_log_probs - log_probs).exp() - 1),
)

mistake(
    kl_estimates,
    "In k3 the logarithm of q / p has the wrong sign: it is subtracted.",
    lambda log_probs, base_log_probs: (
        log_probs - base_log_probs,
        (base_log_probs - log_probs).exp() - 1 + base_log_probs - log_probs,
    ),
)

mistake(
    kl_estimates,
    "k3 adds 1. It is subtracted: where p and q agree k3 is 0.",
    lambda log_probs, base_log_probs: (
        log_probs - base_log_probs,
        (base_log_probs - log_probs).exp() + 1 + log_probs - base_log_probs,
    ),
)

mistake(
    kl_estimates,
    "Your second estimate is k2, half the square of the logarithm. k3 is q / p - 1 - log(q / p).",
    lambda log_probs, base_log_probs: (
        log_probs - base_log_probs,
        0.5 * (log_probs - base_log_probs).square(),
    ),
)

mistake(
    kl_estimates,
    "In k3 you divide logarithms. q / p is exp of a difference of logarithms.",
    lambda log_probs, base_log_probs: (
        log_probs - base_log_probs,
        base_log_probs / log_probs - 1 + log_probs - base_log_probs,
    ),
)

mistake(
    kl_estimates,
    "In k3 you divide logarithms, twice. q / p is exp of their difference, and that difference is its logarithm.",
    lambda log_probs, base_log_probs: (
        log_probs - base_log_probs,
        base_log_probs / log_probs - 1 - (base_log_probs / log_probs).log(),
    ),
)

mistake(
    kl_estimates,
    "The probability of a long answer is 0 as a float, and 0 / 0 is NaN. q / p is exp of a difference of logarithms.",
    lambda log_probs, base_log_probs: (
        log_probs - base_log_probs,
        base_log_probs.exp() / log_probs.exp() - 1 + log_probs - base_log_probs,
    ),
)

mistake(
    kl_estimates,
    "k3 lacks the exp: the ratio is exp(log q - log p).",
    lambda log_probs, base_log_probs: (log_probs - base_log_probs, 0 * log_probs - 1),
)

mistake(
    kl_estimates,
    "k1 is the ratio p / q. It is the ratio's logarithm.",
    lambda log_probs, base_log_probs: ((log_probs - base_log_probs).exp(), _k3(base_log_probs - log_probs)),
)

mistake(
    kl_estimates,
    "k1 is a difference of probabilities. It is one of log-probabilities.",
    lambda log_probs, base_log_probs: (log_probs.exp() - base_log_probs.exp(), _k3(base_log_probs - log_probs)),
)

mistake(
    kl_estimates,
    "k1 has lost its sign. A sample may give a negative number; only the mean is a KL.",
    lambda log_probs, base_log_probs: ((log_probs - base_log_probs).abs(), _k3(base_log_probs - log_probs)),
)

mistake(
    kl_estimates,
    "k1 is cut off at 0. A sample may give a negative number, or the mean comes out too large.",
    lambda log_probs, base_log_probs: ((log_probs - base_log_probs).clamp(min=0), _k3(base_log_probs - log_probs)),
)

mistake(
    kl_estimates,
    "k1 is weighed by p. The samples were drawn from p: a plain mean over them has that weight already.",
    lambda log_probs, base_log_probs: (
        log_probs.exp() * (log_probs - base_log_probs),
        _k3(base_log_probs - log_probs),
    ),
)

mistake(
    kl_estimates,
    "Both are weighed by p. The samples were drawn from p: a plain mean over them has that weight already.",
    lambda log_probs, base_log_probs: tuple(
        log_probs.exp() * estimate for estimate in kl_estimates(log_probs, base_log_probs)
    ),
)

mistake(
    kl_estimates,
    "Those are the means. Return a number for each sample.",
    lambda log_probs, base_log_probs: tuple(estimate.mean() for estimate in kl_estimates(log_probs, base_log_probs)),
)

mistake(
    kl_estimates,
    "Those are the sums. Return a number for each sample.",
    lambda log_probs, base_log_probs: tuple(estimate.sum() for estimate in kl_estimates(log_probs, base_log_probs)),
)

mistake(
    kl_estimates,
    "The two are exchanged: first k1, then k3.",
    lambda log_probs, base_log_probs: kl_estimates(log_probs, base_log_probs)[::-1],
)

mistake(
    kl_estimates,
    "Those are bits. Both estimates are in nats: natural logarithms.",
    lambda log_probs, base_log_probs: tuple(
        estimate / math.log(2) for estimate in kl_estimates(log_probs, base_log_probs)
    ),
)

mistake(
    kl_estimates,
    "That is k1 alone. Return k1 and k3.",
    lambda log_probs, base_log_probs: kl_estimates(log_probs, base_log_probs)[0],
)

mistake(
    kl_estimates,
    "That is k3 alone. Return k1 and k3.",
    lambda log_probs, base_log_probs: kl_estimates(log_probs, base_log_probs)[1],
)

mistake(
    kl_estimates,
    "The values are right, but the ratio in k3 is detached, so its gradient is that of k1.",
    lambda log_probs, base_log_probs: (
        log_probs - base_log_probs,
        (base_log_probs - log_probs).exp().detach() - 1 + log_probs - base_log_probs,
    ),
)

mistake(
    kl_estimates,
    "The values are right, but k3 carries no gradient. It is k3 that is often made a part of the loss.",
    lambda log_probs, base_log_probs: (
        log_probs - base_log_probs,
        _k3(base_log_probs - log_probs).detach(),
    ),
)


# clipped_objective


def _ratios(log_probs, old_log_probs):
    return (log_probs - old_log_probs).exp()


def _objective(compose):
    """The mean of what is made of the ratios, the advantages and the clip."""

    def run(log_probs, old_log_probs, advantages, clip=0.2):
        return compose(_ratios(log_probs, old_log_probs), advantages, clip).mean()

    return run


mistake(
    clipped_objective,
    "That is a loss, to be made small. The objective has no minus.",
    lambda *arguments: -clipped_objective(*arguments),
)

mistake(
    clipped_objective,
    "Nothing is clipped: a step may go as far as it likes.",
    _objective(lambda ratios, advantages, clip: ratios * advantages),
)

mistake(
    clipped_objective,
    "Only the clipped product counts. Take the smaller of both, so that a step too far can be undone.",
    _objective(lambda ratios, advantages, clip: ratios.clamp(1 - clip, 1 + clip) * advantages),
)

mistake(
    clipped_objective,
    "You take the larger of the two products. It is the smaller one.",
    _objective(
        lambda ratios, advantages, clip: torch.maximum(
            ratios * advantages, ratios.clamp(1 - clip, 1 + clip) * advantages
        )
    ),
)

mistake(
    clipped_objective,
    "You take the smaller ratio and multiply then. Multiply first: a negative advantage turns the order round.",
    _objective(lambda ratios, advantages, clip: torch.minimum(ratios, ratios.clamp(1 - clip, 1 + clip)) * advantages),
)

mistake(
    clipped_objective,
    "The ratio is missing its exp: a difference of logarithms is the logarithm of a ratio.",
    lambda log_probs, old_log_probs, advantages, clip=0.2: torch.minimum(
        (log_probs - old_log_probs) * advantages,
        (log_probs - old_log_probs).clamp(1 - clip, 1 + clip) * advantages,
    ).mean(),
)

mistake(
    clipped_objective,
    "You divide logarithms. The ratio of the probabilities is exp of the difference of their logarithms.",
    lambda log_probs, old_log_probs, advantages, clip=0.2: torch.minimum(
        log_probs / old_log_probs * advantages,
        (log_probs / old_log_probs).clamp(1 - clip, 1 + clip) * advantages,
    ).mean(),
)


@mistake(
    clipped_objective,
    "The probability of a long answer is 0 as a float, and 0 / 0 is NaN. The ratio is exp of a difference of "
    "logarithms.",
)
def ratio_of_rounded_probabilities(log_probs, old_log_probs, advantages, clip=0.2):
    ratios = log_probs.exp() / old_log_probs.exp()
    return torch.minimum(ratios * advantages, ratios.clamp(1 - clip, 1 + clip) * advantages).mean()


mistake(
    clipped_objective,
    "The ratio is upside down: it is now over then.",
    lambda log_probs, old_log_probs, *rest: clipped_objective(old_log_probs, log_probs, *rest),
)

mistake(
    clipped_objective,
    "You clip the product. The ratio is clipped, and then multiplied.",
    _objective(
        lambda ratios, advantages, clip: torch.minimum(
            ratios * advantages, (ratios * advantages).clamp(1 - clip, 1 + clip)
        )
    ),
)

mistake(
    clipped_objective,
    "You clip the advantages. It is the ratio that is clipped.",
    _objective(lambda ratios, advantages, clip: ratios * advantages.clamp(-clip, clip)),
)

mistake(
    clipped_objective,
    "You clip the ratio to -clip and clip. A ratio that has not moved is 1: clip it around that.",
    _objective(
        lambda ratios, advantages, clip: torch.minimum(ratios * advantages, ratios.clamp(-clip, clip) * advantages)
    ),
)

mistake(
    clipped_objective,
    "The ratio is clipped above alone. An advantage below 0 needs the lower limit.",
    _objective(
        lambda ratios, advantages, clip: torch.minimum(ratios * advantages, ratios.clamp(max=1 + clip) * advantages)
    ),
)

mistake(
    clipped_objective,
    "The ratio is clipped below alone. An advantage above 0 needs the upper limit.",
    _objective(
        lambda ratios, advantages, clip: torch.minimum(ratios * advantages, ratios.clamp(min=1 - clip) * advantages)
    ),
)

mistake(
    clipped_objective,
    "The lower limit is 1 / (1 + clip). It is 1 - clip.",
    _objective(
        lambda ratios, advantages, clip: torch.minimum(
            ratios * advantages, ratios.clamp(1 / (1 + clip), 1 + clip) * advantages
        )
    ),
)

mistake(
    clipped_objective,
    "You clip the logarithm of the ratio to -clip and clip. Clip the ratio, to 1 - clip and 1 + clip.",
    lambda log_probs, old_log_probs, advantages, clip=0.2: torch.minimum(
        (log_probs - old_log_probs).exp() * advantages,
        (log_probs - old_log_probs).clamp(-clip, clip).exp() * advantages,
    ).mean(),
)

mistake(
    clipped_objective,
    "The clip is 0.2 whatever is given.",
    lambda log_probs, old_log_probs, advantages, clip=0.2: clipped_objective(log_probs, old_log_probs, advantages),
)

mistake(
    clipped_objective,
    "That is the sum. Divide by the number of samples.",
    lambda log_probs, *rest: clipped_objective(log_probs, *rest) * len(log_probs),
)

mistake(
    clipped_objective,
    "That is a number for each sample. Return their mean.",
    lambda log_probs, old_log_probs, advantages, clip=0.2: torch.minimum(
        _ratios(log_probs, old_log_probs) * advantages,
        _ratios(log_probs, old_log_probs).clamp(1 - clip, 1 + clip) * advantages,
    ),
)

mistake(
    clipped_objective,
    "The two means are compared. Take the smaller product in each sample, then the mean.",
    lambda log_probs, old_log_probs, advantages, clip=0.2: torch.minimum(
        (_ratios(log_probs, old_log_probs) * advantages).mean(),
        (_ratios(log_probs, old_log_probs).clamp(1 - clip, 1 + clip) * advantages).mean(),
    ),
)

mistake(
    clipped_objective,
    "The smallest product of all samples is returned. Compare the two products of each sample, then take the mean.",
    lambda log_probs, old_log_probs, advantages, clip=0.2: torch.min(
        torch.stack(
            [
                _ratios(log_probs, old_log_probs) * advantages,
                _ratios(log_probs, old_log_probs).clamp(1 - clip, 1 + clip) * advantages,
            ]
        )
    ),
)

mistake(
    clipped_objective,
    "That is REINFORCE, the advantage times log p. The ratio weighs what an older policy drew.",
    lambda log_probs, old_log_probs, advantages, clip=0.2: (log_probs * advantages).mean(),
)

mistake(
    clipped_objective,
    "The advantages are standardised. They count as they are given.",
    lambda log_probs, old_log_probs, advantages, *clip: clipped_objective(
        log_probs, old_log_probs, (advantages - advantages.mean()) / (advantages.std() + 1e-8), *clip
    ),
)

mistake(
    clipped_objective,
    "The log-probabilities of all samples are added up first. Each sample has a ratio of its own.",
    lambda log_probs, old_log_probs, advantages, *clip: clipped_objective(
        log_probs.sum().expand(len(log_probs)), old_log_probs.sum().expand(len(log_probs)), advantages, *clip
    ),
)

mistake(
    clipped_objective,
    "Samples outside the clip are left out. Where the unclipped product is the smaller one it still counts.",
    _objective(lambda ratios, advantages, clip: ratios * advantages * ((ratios - 1).abs() <= clip)),
)

mistake(
    clipped_objective,
    "The value is right, but Python's min and max put a plain number in a ratio's place: where all samples are clipped "
    "nothing carries a gradient, and `backward` fails. clamp keeps it.",
    lambda log_probs, old_log_probs, advantages, clip=0.2: (
        sum(
            min(ratio * advantage, min(max(ratio, 1 - clip), 1 + clip) * advantage)
            for ratio, advantage in zip(_ratios(log_probs, old_log_probs), advantages, strict=True)
        )
        / len(log_probs)
    ),
)

mistake(
    clipped_objective,
    "The value is right, but the ratio is detached, so no gradient reaches the policy.",
    lambda log_probs, *rest: clipped_objective(log_probs.detach(), *rest) + 0 * log_probs.sum(),
)


# best_policy

mistake(
    best_policy,
    "You multiply by the temperature. The rewards are divided by it.",
    lambda base_log_probs, rewards, temperature: (base_log_probs + rewards * temperature).log_softmax(dim=0),
)

mistake(
    best_policy,
    "The temperature is not used. The rewards are divided by it.",
    lambda base_log_probs, rewards, temperature: (base_log_probs + rewards).log_softmax(dim=0),
)

mistake(
    best_policy,
    "The rewards are subtracted: that is the worst policy. In logarithms q exp(r / b) is a sum.",
    lambda base_log_probs, rewards, temperature: (base_log_probs - rewards / temperature).log_softmax(dim=0),
)

mistake(
    best_policy,
    "Z is missing: the probabilities must add up to 1.",
    lambda base_log_probs, rewards, temperature: base_log_probs + rewards / temperature,
)

mistake(
    best_policy,
    "Those are probabilities. Return their logarithms.",
    lambda base_log_probs, rewards, temperature: (base_log_probs + rewards / temperature).softmax(dim=0),
)

mistake(
    best_policy,
    "A probability too small for a float becomes 0, and its logarithm -inf. Take log_softmax, which never leaves the "
    "logarithms.",
    lambda base_log_probs, rewards, temperature: (base_log_probs + rewards / temperature).softmax(dim=0).log(),
)


@mistake(
    best_policy,
    "exp of a large r / b overflows to inf, and inf / inf is NaN. Stay with the logarithms.",
)
def overflows(base_log_probs, rewards, temperature):
    weights = base_log_probs.exp() * (rewards / temperature).exp()
    return (weights / weights.sum()).log()


@mistake(
    best_policy,
    "Z overflows: exp of a large number is inf. Use logsumexp, or log_softmax.",
)
def normaliser_overflows(base_log_probs, rewards, temperature):
    scores = base_log_probs + rewards / temperature
    return scores - scores.exp().sum().log()


mistake(
    best_policy,
    "Z is that of exp(r / b) without the base model's probabilities.",
    lambda base_log_probs, rewards, temperature: base_log_probs + (rewards / temperature).log_softmax(dim=0),
)

mistake(
    best_policy,
    "The base model is left out. Its log-probabilities are a part of the sum.",
    lambda base_log_probs, rewards, temperature: (rewards / temperature).log_softmax(dim=0),
)

mistake(
    best_policy,
    "That is the base model. The rewards are left out.",
    lambda base_log_probs, rewards, temperature: base_log_probs.log_softmax(dim=0),
)

mistake(
    best_policy,
    "The base model's log-probabilities are divided by the temperature too. Only the rewards are.",
    lambda base_log_probs, rewards, temperature: ((base_log_probs + rewards) / temperature).log_softmax(dim=0),
)

mistake(
    best_policy,
    "The temperature divides the base model's log-probabilities. It divides the rewards.",
    lambda base_log_probs, rewards, temperature: (base_log_probs / temperature + rewards).log_softmax(dim=0),
)

mistake(
    best_policy,
    "You add r / b to probabilities. Add it to their logarithms.",
    lambda base_log_probs, rewards, temperature: (base_log_probs.exp() + rewards / temperature).log_softmax(dim=0),
)

mistake(
    best_policy,
    "You multiply log-probabilities. q exp(r / b) is a sum in logarithms.",
    lambda base_log_probs, rewards, temperature: (base_log_probs * (rewards / temperature)).log_softmax(dim=0),
)

mistake(
    best_policy,
    "You multiply the log-probabilities by exp(r / b). That factor belongs to the probabilities.",
    lambda base_log_probs, rewards, temperature: (base_log_probs * (rewards / temperature).exp()).log_softmax(dim=0),
)

mistake(
    best_policy,
    "The rewards are multiplied by the probabilities. It is q exp(r / b): add r / b to log q.",
    lambda base_log_probs, rewards, temperature: (base_log_probs.exp() * rewards / temperature).log_softmax(dim=0),
)

mistake(
    best_policy,
    "That is a 1 for the largest reward. Only for a temperature near 0 is the best policy like that.",
    lambda base_log_probs, rewards, temperature: F.one_hot(rewards.argmax(), len(rewards)).float(),
)

mistake(
    best_policy,
    "You divide log-probabilities by their sum. Probabilities are divided by it: in logarithms logsumexp is "
    "subtracted.",
    lambda base_log_probs, rewards, temperature: (
        (base_log_probs + rewards / temperature) / (base_log_probs + rewards / temperature).sum()
    ),
)

mistake(
    best_policy,
    "You subtract the largest instead of log Z. The probabilities do not add up to 1.",
    lambda base_log_probs, rewards, temperature: (
        base_log_probs + rewards / temperature - (base_log_probs + rewards / temperature).max()
    ),
)

mistake(
    best_policy,
    "The rewards are standardised. They count as they are: b alone says how much.",
    lambda base_log_probs, rewards, temperature: (
        base_log_probs + (rewards - rewards.mean()) / rewards.std(correction=0).clamp(min=1e-9) / temperature
    ).log_softmax(dim=0),
)

mistake(
    best_policy,
    "You halve both: that is a mean of base and rewards. It is a product of q and exp(r / b).",
    lambda base_log_probs, rewards, temperature: ((base_log_probs + rewards / temperature) / 2).log_softmax(dim=0),
)


# dpo_loss


def _margins(chosen, rejected, base_chosen, base_rejected):
    return (chosen - base_chosen) - (rejected - base_rejected)


def _preferred(margins, of=None):
    """The mean of -log sigmoid of other margins."""

    def run(chosen, rejected, base_chosen, base_rejected, beta):
        return -F.logsigmoid(margins(chosen, rejected, base_chosen, base_rejected, beta)).mean()

    return run


mistake(
    dpo_loss,
    "The margin is turned round: the loss falls as the rejected answer gains. It is chosen minus rejected.",
    _preferred(lambda *answers_and_beta: -answers_and_beta[-1] * _margins(*answers_and_beta[:-1])),
)

mistake(
    dpo_loss,
    "The base model is left out. What counts is how much each answer has gained on it.",
    _preferred(lambda chosen, rejected, base_chosen, base_rejected, beta: beta * (chosen - rejected)),
)

mistake(
    dpo_loss,
    "beta is not used: it multiplies the margin.",
    _preferred(lambda *answers_and_beta: _margins(*answers_and_beta[:-1])),
)

mistake(
    dpo_loss,
    "You divide by beta. The margin is multiplied by it.",
    _preferred(lambda *answers_and_beta: _margins(*answers_and_beta[:-1]) / answers_and_beta[-1]),
)

mistake(
    dpo_loss,
    "beta multiplies the loss. It multiplies the margin, inside the sigmoid.",
    lambda chosen, rejected, base_chosen, base_rejected, beta: (
        -beta * F.logsigmoid(_margins(chosen, rejected, base_chosen, base_rejected)).mean()
    ),
)

mistake(
    dpo_loss,
    "beta multiplies the model's part alone. The base model's belongs to the margin too.",
    _preferred(
        lambda chosen, rejected, base_chosen, base_rejected, beta: (
            beta * (chosen - rejected) - (base_chosen - base_rejected)
        )
    ),
)

mistake(
    dpo_loss,
    "beta multiplies the chosen answer's part alone. It multiplies the whole margin.",
    _preferred(
        lambda chosen, rejected, base_chosen, base_rejected, beta: (
            beta * (chosen - base_chosen) - (rejected - base_rejected)
        )
    ),
)

mistake(
    dpo_loss,
    "The base model's part counts the wrong way round: each answer's own base is subtracted from it.",
    lambda chosen, rejected, base_chosen, base_rejected, beta: dpo_loss(
        chosen, rejected, base_rejected, base_chosen, beta
    ),
)

mistake(
    dpo_loss,
    "The rejected answer is left out: the chosen one is to gain more than it.",
    _preferred(lambda chosen, rejected, base_chosen, base_rejected, beta: beta * (chosen - base_chosen)),
)

mistake(
    dpo_loss,
    "The two gains are added. Their difference is the margin.",
    _preferred(
        lambda chosen, rejected, base_chosen, base_rejected, beta: (
            beta * ((chosen - base_chosen) + (rejected - base_rejected))
        )
    ),
)

mistake(
    dpo_loss,
    "The brackets are lost: the rejected answer's base must be added back, as its gain is subtracted whole.",
    _preferred(
        lambda chosen, rejected, base_chosen, base_rejected, beta: (
            beta * (chosen - base_chosen - rejected - base_rejected)
        )
    ),
)

mistake(
    dpo_loss,
    "For a large margin the wrong way sigmoid is 0, or an exp is inf, and so is the loss. F.logsigmoid and F.softplus "
    "are stable.",
    lambda *answers_and_beta: -(answers_and_beta[-1] * _margins(*answers_and_beta[:-1])).sigmoid().log().mean(),
)

mistake(
    dpo_loss,
    "An epsilon below the logarithm caps the loss: a pair that is far off gets no gradient. F.logsigmoid needs none.",
    lambda *answers_and_beta: (
        -((answers_and_beta[-1] * _margins(*answers_and_beta[:-1])).sigmoid() + 1e-8).log().mean()
    ),
)

mistake(
    dpo_loss,
    "F.binary_cross_entropy cuts each logarithm off at -100: a pair that is far off gets no gradient. F.logsigmoid is "
    "right for any margin.",
    lambda *answers_and_beta: (
        -(answers_and_beta[-1] * _margins(*answers_and_beta[:-1])).sigmoid().log().clamp(min=-100).mean()
    ),
)

mistake(
    dpo_loss,
    "That is the loss of IPO, a square around 1 / (2 beta). DPO's is -log sigmoid.",
    lambda *answers_and_beta: (_margins(*answers_and_beta[:-1]) - 1 / (2 * answers_and_beta[-1])).square().mean(),
)

mistake(
    dpo_loss,
    "The minus is missing: a loss is minus the logarithm of a probability.",
    lambda *arguments: -dpo_loss(*arguments),
)

mistake(
    dpo_loss,
    "The logarithm is missing: that is minus the mean probability.",
    lambda *answers_and_beta: -(answers_and_beta[-1] * _margins(*answers_and_beta[:-1])).sigmoid().mean(),
)

mistake(
    dpo_loss,
    "That is 1 minus the mean probability. The loss is minus the mean of its logarithm.",
    lambda *answers_and_beta: 1 - (answers_and_beta[-1] * _margins(*answers_and_beta[:-1])).sigmoid().mean(),
)

mistake(
    dpo_loss,
    "The mean is inside the sigmoid. Each pair has a loss of its own, and the mean is over those.",
    lambda *answers_and_beta: -F.logsigmoid(answers_and_beta[-1] * _margins(*answers_and_beta[:-1]).mean()),
)

mistake(
    dpo_loss,
    "The mean is inside the logarithm. Each pair has a loss of its own, and the mean is over those.",
    lambda *answers_and_beta: -(answers_and_beta[-1] * _margins(*answers_and_beta[:-1])).sigmoid().mean().log(),
)

mistake(
    dpo_loss,
    "That is the sum. Divide by the number of pairs.",
    lambda chosen, *rest: dpo_loss(chosen, *rest) * len(chosen),
)

mistake(
    dpo_loss,
    "That is a loss for each pair. Return their mean.",
    lambda *answers_and_beta: -F.logsigmoid(answers_and_beta[-1] * _margins(*answers_and_beta[:-1])),
)

mistake(
    dpo_loss,
    "You take log-probabilities for probabilities: exp of them is not needed. Log-ratios are differences.",
    lambda chosen, rejected, base_chosen, base_rejected, beta: dpo_loss(
        chosen.exp(), rejected.exp(), base_chosen.exp(), base_rejected.exp(), beta
    ),
)

mistake(
    dpo_loss,
    "You divide log-probabilities. The logarithm of a ratio is a difference.",
    _preferred(
        lambda chosen, rejected, base_chosen, base_rejected, beta: (
            beta * (chosen / base_chosen - rejected / base_rejected)
        )
    ),
)

mistake(
    dpo_loss,
    "That is the margin's hinge, max(0, -x), which forgets that a right order may be surer. It is softplus(-x).",
    lambda *answers_and_beta: (-answers_and_beta[-1] * _margins(*answers_and_beta[:-1])).relu().mean(),
)

mistake(
    dpo_loss,
    "That is the mean margin. It goes through -log sigmoid, which stops where a pair is told apart.",
    lambda *answers_and_beta: -(answers_and_beta[-1] * _margins(*answers_and_beta[:-1])).mean(),
)

mistake(
    dpo_loss,
    "That is in bits. The loss is in nats: the natural logarithm.",
    lambda *arguments: dpo_loss(*arguments) / math.log(2),
)

mistake(
    dpo_loss,
    "The value is right, but the rejected answers are detached. They are to become less likely.",
    lambda chosen, rejected, *rest: dpo_loss(chosen, rejected.detach(), *rest),
)

mistake(
    dpo_loss,
    "The value is right, but where a margin is exactly 0, as before the first step, clamp passes on the whole "
    "gradient: half of it is right. F.softplus has no such corner.",
    lambda *answers_and_beta: _with_a_corner(answers_and_beta[-1] * _margins(*answers_and_beta[:-1])),
)


def _with_a_corner(scores):
    return ((-scores).clamp(min=0) + scores.abs().neg().exp().log1p()).mean()


# mend_reinforce


def _loss(log_probs=None, advantages=None):
    """Minus the mean of the products of other log-probabilities or other advantages, a number for each answer."""

    def run(token_log_probs, answer_mask, rewards):
        answers = (log_probs or _of_answers)(token_log_probs, answer_mask)
        return -((advantages or _above_mean)(rewards) * answers).mean()

    return run


def _of_answers(token_log_probs, answer_mask):
    return (token_log_probs * answer_mask).sum(dim=1)


def _above_mean(rewards):
    return rewards - rewards.mean()


mistake(
    mend_reinforce,
    "Your result is 0 whatever the rewards are: each advantage meets the log p of all answers, and not of its own "
    "alone. Look at the shape of `products`.",
    _loss(lambda token_log_probs, answer_mask: (token_log_probs * answer_mask).sum(dim=1, keepdim=True)),
)

mistake(
    mend_reinforce,
    "All tokens count, the question's too. Only those in the mask belong to the answer.",
    _loss(lambda token_log_probs, answer_mask: token_log_probs.sum(dim=1)),
)

mistake(
    mend_reinforce,
    "The question's tokens count, and the answer's do not: the mask is upside down.",
    _loss(lambda token_log_probs, answer_mask: (token_log_probs * ~answer_mask).sum(dim=1)),
)

mistake(
    mend_reinforce,
    "You sum over the answers, so each place of a token has a number. Sum over the tokens of each answer.",
    _loss(lambda token_log_probs, answer_mask: (token_log_probs * answer_mask).sum(dim=0)),
)

mistake(
    mend_reinforce,
    "That is the mean log p of an answer's tokens. The log p of an answer is their sum.",
    _loss(
        lambda token_log_probs, answer_mask: (
            _of_answers(token_log_probs, answer_mask) / answer_mask.sum(dim=1).clamp(min=1)
        )
    ),
)

mistake(
    mend_reinforce,
    "You divide each answer by the number of its tokens, and one without any gives 0 / 0. The log p is the sum.",
    _loss(lambda token_log_probs, answer_mask: _of_answers(token_log_probs, answer_mask) / answer_mask.sum(dim=1)),
)

mistake(
    mend_reinforce,
    "The mean is over the tokens of all answers together, so a long answer weighs more. It is over the answers.",
    lambda token_log_probs, answer_mask, rewards: (
        -(_above_mean(rewards)[:, None] * token_log_probs * answer_mask).sum() / answer_mask.sum()
    ),
)

mistake(
    mend_reinforce,
    "You divide by the number of all places, S times T. Sum the tokens of each answer, and take the mean over the S "
    "answers.",
    lambda token_log_probs, answer_mask, rewards: (
        -(_above_mean(rewards)[:, None] * token_log_probs * answer_mask).mean()
    ),
)

mistake(
    mend_reinforce,
    "Only the last token of each row counts. The log p of an answer is the sum over its tokens.",
    _loss(lambda token_log_probs, answer_mask: (token_log_probs * answer_mask)[:, -1]),
)

mistake(
    mend_reinforce,
    "The mask is shifted by one place: position t of the mask goes with position t of the log-probabilities.",
    lambda token_log_probs, answer_mask, rewards: mend_reinforce(token_log_probs[:, 1:], answer_mask[:, :-1], rewards),
)

mistake(
    mend_reinforce,
    "The mask is shifted by one place to the front: position t of it goes with position t of the log-probabilities.",
    lambda token_log_probs, answer_mask, rewards: mend_reinforce(token_log_probs[:, :-1], answer_mask[:, 1:], rewards),
)

mistake(
    mend_reinforce,
    "The baseline is gone: the rewards count as they are.",
    _loss(advantages=lambda rewards: rewards),
)

mistake(
    mend_reinforce,
    "The advantages are divided by their deviation. Here an advantage is the reward minus the mean, no more.",
    _loss(
        advantages=lambda rewards: _above_mean(rewards) / rewards.std(correction=0) if len(rewards) > 1 else 0 * rewards
    ),
)

mistake(
    mend_reinforce,
    "The advantages are divided by `std`, as GRPO does. Here an advantage is the reward minus the mean, no more.",
    # The default divides by n - 1, which gives NaN for one answer.
    _loss(
        advantages=lambda rewards: (
            _above_mean(rewards) / (_above_mean(rewards).square().sum() / (len(rewards) - 1)).sqrt()
        )
    ),
)

mistake(
    mend_reinforce,
    "The baseline of an answer is the mean of the others' rewards here. It is the mean of all.",
    _loss(advantages=lambda rewards: _above_mean(rewards) * len(rewards) / max(1, len(rewards) - 1)),
)

mistake(
    mend_reinforce,
    "The sign is turned round: a step that makes this small makes good answers less likely.",
    lambda *arguments: -mend_reinforce(*arguments),
)

mistake(
    mend_reinforce,
    "That is the sum over the answers. Take the mean.",
    lambda token_log_probs, *rest: mend_reinforce(token_log_probs, *rest) * len(token_log_probs),
)

mistake(
    mend_reinforce,
    "That is a number for each answer. Return minus their mean.",
    lambda token_log_probs, answer_mask, rewards: -_above_mean(rewards) * _of_answers(token_log_probs, answer_mask),
)

mistake(
    mend_reinforce,
    "That is exp of the sum: the answer's probability. The loss takes its logarithm.",
    _loss(lambda token_log_probs, answer_mask: _of_answers(token_log_probs, answer_mask).exp()),
)

mistake(
    mend_reinforce,
    "The mask is applied to exp of the log-probabilities, so what is left out counts as a probability of 0.",
    _loss(lambda token_log_probs, answer_mask: (token_log_probs.exp() * answer_mask).sum(dim=1)),
)

mistake(
    mend_reinforce,
    "Only the diagonal's sum is left, and it is divided by S squared. The mean is over S answers.",
    lambda token_log_probs, answer_mask, rewards: mend_reinforce(token_log_probs, answer_mask, rewards) / len(rewards),
)

mistake(
    mend_reinforce,
    "The value is right, but the log-probabilities are detached: nothing is learned.",
    lambda token_log_probs, answer_mask, rewards: (
        mend_reinforce(token_log_probs.detach(), answer_mask, rewards) + 0 * token_log_probs.sum()
    ),
)


# measure_baseline

for slip, diagnosis in {
    "upside down": "It is upside down: divide the variance with the baseline by that without.",
    "standard deviations": "That is a ratio of standard deviations. Variances are their squares.",
    "sum of deviations": "You add standard deviations. Add the variances of the columns.",
    "mean of ratios": "That is the mean of the columns' ratios. Add the variances first, then divide the two sums.",
    "drawn evenly, with their mean": "The outcomes are drawn with equal probabilities, and so is the mean reward. Draw "
    "them from softmax(logits).",
    "squares": "Those are mean squares, or one variance over all numbers. Each column has a mean of its own: "
    "var(dim=0), then the sum.",
    "mean of the list": "Your baseline is the mean of the list. Weigh each reward by the probability of its outcome.",
    "largest": "Your baseline is the largest reward. Take off the mean.",
    "best": "Your baseline weighs the rewards by the squares of the slopes: the best one. Take off the plain mean.",
    "added": "The baseline is added to the rewards. It is subtracted.",
    "standardised": "The rewards are divided by their deviation too. A baseline is only subtracted.",
    "drawn evenly": "The outcomes are drawn with equal probabilities. Draw them from softmax(logits).",
    "one-hot alone": "The softmax is not subtracted from the one-hots.",
    "drawn number alone": "You look at one number of each draw's gradient, that of its outcome. All N count.",
    "taken off": "That is the share that the baseline takes off. Return what is left.",
    "per cent": "That is in per cent. A share is 0.5 where half is left.",
    "with": "That is the variance with the baseline. Divide it by the variance without.",
    "without": "That is the variance without a baseline. The one with it is divided by it.",
    "rewards alone": "Nothing has changed: did you take the baseline off before you multiplied? The rewards' own "
    "variance does not count.",
}.items():
    mistake(measure_baseline, diagnosis, lambda *case, slip=slip: baseline_ratios(*case)[slip])
