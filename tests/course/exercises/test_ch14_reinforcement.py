"""Each reference of notebook 14 beside an independent one, and beside the package's."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tinyllm.course.checking.judging import examine
from tinyllm.course.checking.registry import EXERCISES
from tinyllm.course.exercises import ch14_reinforcement as reinforcement
from tinyllm.training import reinforce

IN_THE_PACKAGE = (
    "score_function_gradient",
    "group_advantages",
    "kl_estimates",
    "clipped_objective",
    "best_policy",
    "dpo_loss",
)


def carried(result, inputs):
    """The gradient that each input gets of a result, or of two."""
    total = sum(
        (index + 1) * part.sum() for index, part in enumerate(result if isinstance(result, tuple) else [result])
    )
    return torch.autograd.grad(total, inputs, allow_unused=True)


@pytest.mark.parametrize("name", IN_THE_PACKAGE)
def test_the_package_has_the_same_function(name):
    mine, theirs = getattr(reinforcement, name), getattr(reinforce, name)
    for case in EXERCISES[f"reinforcement.{name}"].cases():
        torch.testing.assert_close(mine(*case), theirs(*case))
        floats = [one.requires_grad_() for one in case if isinstance(one, torch.Tensor) and one.is_floating_point()]
        if name in ("kl_estimates", "clipped_objective", "dpo_loss"):
            torch.testing.assert_close(carried(mine(*case), floats), carried(theirs(*case), floats))


def test_samples_in_proportion_give_the_exact_gradient_of_the_expected_reward():
    logits = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log().requires_grad_()
    rewards = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
    (exact,) = torch.autograd.grad(logits.softmax(0) @ rewards, logits)
    outcomes = torch.tensor([0, 2, 1, 0])  # as often as they are likely
    found = reinforcement.score_function_gradient(logits.detach(), outcomes, rewards[outcomes])
    torch.testing.assert_close(found, exact)


def test_advantages_are_numpys_and_nothing_where_all_are_equal():
    rewards = torch.randn(5, 7, dtype=torch.float64)
    array = rewards.numpy()
    expected = (array - array.mean(axis=1, keepdims=True)) / array.std(axis=1, keepdims=True)
    torch.testing.assert_close(reinforcement.group_advantages(rewards), torch.from_numpy(expected))
    equal = torch.randn(200, 1).repeat(1, 7)
    assert equal.ne(equal.mean(dim=1, keepdim=True)).any()  # the means of equal floats are not all equal to them
    assert not reinforcement.group_advantages(equal).any()
    assert not reinforcement.group_advantages(torch.randn(3, 1)).any()


def test_the_cases_have_groups_whose_mean_is_off_by_rounding():
    found = [case[0] for case in EXERCISES["reinforcement.group_advantages"].cases()]
    equal = [rewards[rewards.amin(1) == rewards.amax(1)] for rewards in found]
    assert any((group != group.mean(dim=1, keepdim=True)).any() for group in equal)


def test_both_estimates_have_the_mean_kl_and_k3_is_never_negative():
    log_p, log_q = torch.randn(2, 9, dtype=torch.float64).log_softmax(dim=1)
    k1, k3 = reinforcement.kl_estimates(log_p, log_q)
    exact = F.kl_div(log_q, log_p, log_target=True, reduction="sum")
    torch.testing.assert_close(log_p.exp() @ k1, exact)
    torch.testing.assert_close(log_p.exp() @ k3, exact)
    assert k1.min() < 0 <= k3.min()


def test_both_estimates_may_be_the_rows_of_one_tensor_that_carries_gradients():
    def stacked(log_probs, base_log_probs):
        return torch.stack(reinforcement.kl_estimates(log_probs, base_log_probs))

    assert examine("reinforcement.kl_estimates", stacked).kind == "correct"
    verdict = examine("reinforcement.kl_estimates", lambda *case: stacked(*case).detach())
    assert "carry no gradients" in verdict.message
    verdict = examine("reinforcement.kl_estimates", lambda *case: stacked(*case).T)
    assert verdict.kind in ("wrong", "unusable")


def test_the_clipped_objective_is_that_of_a_loop():
    for now, then, advantages, *clip in EXERCISES["reinforcement.clipped_objective"].cases():
        width, total = clip[0] if clip else 0.2, 0.0
        for one, other, advantage in zip(now.tolist(), then.tolist(), advantages.tolist(), strict=True):
            ratio = math.exp(one - other)
            total += min(ratio * advantage, min(max(ratio, 1 - width), 1 + width) * advantage)
        found = reinforcement.clipped_objective(now, then, advantages, *clip)
        assert found.item() == pytest.approx(total / len(now), rel=1e-5, abs=1e-6)


def test_the_clip_cases_have_each_side_of_each_limit():
    """Of each sign of the advantage: below, between and above the limits."""
    seen = set()
    for now, then, advantages, *clip in EXERCISES["reinforcement.clipped_objective"].cases():
        width = clip[0] if clip else 0.2
        for ratio, advantage in zip((now - then).exp().tolist(), advantages.tolist(), strict=True):
            seen.add((advantage > 0, (ratio > 1 - width) + (ratio > 1 + width)))
    assert len(seen) == 6


def test_no_policy_near_the_best_one_is_better():
    base = torch.randn(6, dtype=torch.float64).log_softmax(dim=0)
    rewards, b = 3 * torch.randn(6, dtype=torch.float64), 0.7

    def worth(log_p):
        return (log_p.exp() * (rewards - b * (log_p - base))).sum()

    best = reinforcement.best_policy(base, rewards, b)
    torch.testing.assert_close(best.exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(worth(best), b * (base + rewards / b).logsumexp(dim=0))
    others = [(best + 0.1 * torch.randn(6, dtype=torch.float64)).log_softmax(dim=0) for _ in range(50)]
    assert max(map(worth, others)) < worth(best)


def test_dpo_is_a_classifier_of_pairs_by_the_reward_that_the_policy_implies():
    base = torch.randn(8, dtype=torch.float64).log_softmax(dim=0)
    rewards, beta = torch.randn(8, dtype=torch.float64), 0.3
    policy = reinforcement.best_policy(base, rewards, beta)
    better, worse = torch.randperm(8)[:6].view(2, 3)
    found = reinforcement.dpo_loss(policy[better], policy[worse], base[better], base[worse], beta)
    margins = rewards[better] - rewards[worse]
    expected = F.binary_cross_entropy_with_logits(margins, torch.ones_like(margins))
    torch.testing.assert_close(found, expected)


def as_it_was(token_log_probs, answer_mask, rewards):
    """The function that the notebook shows to be mended."""
    baseline = rewards.mean()
    advantages = rewards - baseline
    answer = token_log_probs * answer_mask
    log_probs = answer.sum(dim=1, keepdim=True)
    products = advantages * log_probs
    return -products.mean()


def test_the_mended_loss_pulls_at_each_token_of_an_answer_with_its_advantage():
    for token_log_probs, mask, rewards in EXERCISES["reinforcement.mend_reinforce"].cases():
        token_log_probs.requires_grad_()
        loss = reinforcement.mend_reinforce(token_log_probs, mask, rewards)
        (gradient,) = torch.autograd.grad(loss, token_log_probs)
        advantages = (rewards - rewards.mean()) / len(rewards)
        torch.testing.assert_close(gradient, -advantages[:, None] * mask)
        (gradient,) = torch.autograd.grad(as_it_was(token_log_probs, mask, rewards), token_log_probs)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_the_loss_to_mend_is_a_known_mistake():
    for _ in range(3):
        assert "the shape of `products`" in examine("reinforcement.mend_reinforce", as_it_was).diagnosis


def enumerated(logits, rewards, baseline):
    """The trace of the covariance of one draw's gradient, by numpy."""
    p = torch.softmax(logits.double(), dim=0).numpy()
    gradients = (rewards.double().numpy() - baseline)[:, None] * (np.eye(len(p)) - p)
    return np.cov(gradients.T, aweights=p, bias=True).trace()


def test_the_ratio_is_numpys_and_what_is_drawn_is_near_it():
    for logits, rewards in EXERCISES["reinforcement.measure_baseline"].cases():
        mean = float(logits.double().softmax(dim=0) @ rewards.double())
        expected = enumerated(logits, rewards, mean) / enumerated(logits, rewards, 0)
        ratios = reinforcement.baseline_ratios(logits, rewards)
        assert ratios["right"] == pytest.approx(expected, rel=1e-9)
        assert ratios["best"] <= min(ratios["right"], 1) + 1e-9
        assert reinforcement.measure_baseline(logits, rewards) == pytest.approx(expected, rel=0.08)


def test_a_baseline_may_help_or_harm():
    """The two that the notebook shows."""
    ratios = reinforcement.baseline_ratios(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]))
    assert ratios["right"] == pytest.approx(1 / 13)
    ratios = reinforcement.baseline_ratios(torch.tensor([0.9, 0.1]).log(), torch.tensor([1.0, 0.0]))
    assert ratios["right"] == pytest.approx(64)


@pytest.mark.parametrize(
    ("slip", "drawn"),
    [
        ("squares", lambda p, r, s: ((r - r.mean())[:, None] * s).var() / (r[:, None] * s).var()),
        ("drawn number alone", lambda p, r, s: ((r - r.mean()) * s.amax(1)).var() / (r * s.amax(1)).var()),
        (
            "one-hot alone",
            lambda p, r, s: ((r - r.mean())[:, None] * (s + p)).var(0).sum() / (r[:, None] * (s + p)).var(0).sum(),
        ),
        (
            "standardised",
            lambda p, r, s: ((r - r.mean())[:, None] / r.std() * s).var(0).sum() / (r[:, None] * s).var(0).sum(),
        ),
        ("largest", lambda p, r, s: ((r - r.max())[:, None] * s).var(0).sum() / (r[:, None] * s).var(0).sum()),
    ],
)
def test_usual_slips_give_what_is_said_of_them(slip, drawn):
    """By drawing; the number that an outcome's own logit gets is the largest of its row."""
    for logits, rewards in EXERCISES["reinforcement.measure_baseline"].cases():
        p = logits.softmax(dim=0)
        outcomes = torch.multinomial(p, 200_000, replacement=True)
        found = drawn(p, rewards[outcomes], F.one_hot(outcomes, len(p)) - p)
        assert float(found) == pytest.approx(reinforcement.baseline_ratios(logits, rewards)[slip], rel=0.05)
