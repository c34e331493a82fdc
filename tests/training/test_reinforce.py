"""Rewards and preferences: each gradient is the exact one, by enumeration, and training ends at the optimum."""

import dataclasses
import itertools
import math

import pytest
import torch
from letter_models import LETTERS, PROMPT, Letters, gradient, small_model
from torch import Tensor

from tinyllm.model.weights import adapt_model
from tinyllm.training.reinforce import (
    Judge,
    Reinforcement,
    Samples,
    best_policy,
    clipped_objective,
    dpo_loss,
    draw_samples,
    group_advantages,
    kl_estimates,
    log_probabilities,
    prefer,
    reinforce,
    score_function_gradient,
)

WORDS = list(itertools.product(range(LETTERS), repeat=2))  # 256 outcomes: all continuations of two tokens
ALL = Samples.of(PROMPT, WORDS)


def exact(tensor: Tensor) -> Tensor:
    return tensor.detach().double().requires_grad_()


def random_case(number: int = 256, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a policy, log-probabilities of its base, and rewards, in float64."""
    generator = torch.Generator().manual_seed(seed)
    logits, base, rewards = torch.randn(3, number, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), base.log_softmax(-1), rewards


# Numbers


def test_the_score_functions_gradient_is_the_exact_one_on_average():
    logits, _, rewards = random_case()
    p = logits.softmax(-1)
    whole = torch.arange(256)
    estimates = torch.stack([score_function_gradient(logits, whole[i : i + 1], rewards[i : i + 1]) for i in whole])
    expected = gradient((p * rewards).sum(), logits)
    torch.testing.assert_close((p[:, None] * estimates).sum(0), expected)
    three = torch.tensor([7, 7, 250])
    mean = (2 * estimates[7] + estimates[250]) / 3
    torch.testing.assert_close(score_function_gradient(logits, three, rewards[three]), mean)


def test_advantages_are_a_groups_z_scores():
    rewards = torch.tensor([[1.0, 3.0, 5.0, 3.0], [0.1, 0.1, 0.1, 0.1], [-2.0, 2.0, 2.0, -2.0]])
    root = math.sqrt(2)
    expected = torch.tensor([[-root, 0, root, 0], [0, 0, 0, 0], [-1, 1, 1, -1]])
    torch.testing.assert_close(group_advantages(rewards), expected)
    torch.testing.assert_close(group_advantages(7 * rewards - 100), expected, atol=1e-5, rtol=0)


def test_rewards_that_are_equal_but_for_their_mean_give_no_advantage():
    """The mean of three tenths is not a tenth in floating point."""
    rewards = torch.full((1, 3), 0.1, dtype=torch.float64)
    assert rewards.mean() != 0.1 or rewards.std() != 0
    assert group_advantages(rewards).tolist() == [[0, 0, 0]]


def test_both_estimates_of_the_divergence_are_right_on_average():
    logits, q, _ = random_case()
    p = logits.log_softmax(-1)
    divergence = torch.nn.functional.kl_div(q, p, log_target=True, reduction="sum")  # KL(p || q)
    k1, k3 = kl_estimates(p, q)
    torch.testing.assert_close((p.exp() * k1).sum(), divergence)
    torch.testing.assert_close((p.exp() * k3).sum(), divergence)
    assert k1.min() < 0 <= k3.min()


@pytest.mark.parametrize(("distance", "k3_is_steadier"), [(0.1, True), (2.0, False)])
def test_near_the_base_k3_varies_less_than_k1_and_far_from_it_more(distance, k3_is_steadier):
    logits, _, _ = random_case()
    q = logits.log_softmax(-1)
    p = (logits + distance * torch.randn(256, generator=torch.Generator().manual_seed(5))).log_softmax(-1)
    spread1, spread3 = ((p.exp() * (k - (p.exp() * k).sum()).square()).sum() for k in kl_estimates(p, q))
    assert (spread3 < spread1) == k3_is_steadier


def test_where_the_penalty_stands_decides_its_gradient():
    """In the reward k1 has the divergence's gradient; in the loss k1 has none, and k3 that of KL(base || policy)."""
    logits, q, _ = random_case()
    log_p = logits.log_softmax(-1)
    p = log_p.detach().exp()
    k1, k3 = kl_estimates(log_p, q)
    reverse = gradient((log_p.exp() * (log_p - q)).sum(), logits)
    forward = gradient((q.exp() * (q - log_p)).sum(), logits)
    torch.testing.assert_close(gradient((p * k1.detach() * log_p).sum(), logits), reverse)
    torch.testing.assert_close(gradient((p * k1).sum(), logits), torch.zeros_like(logits))
    torch.testing.assert_close(gradient((p * k3).sum(), logits), forward)
    assert not torch.allclose(forward, reverse, atol=1e-3)


def test_clipping_is_that_of_a_slow_sum():
    generator = torch.Generator().manual_seed(1)
    new, old, advantages = torch.randn(3, 200, generator=generator, dtype=torch.float64)
    new = exact(old + 0.3 * new)
    total, slopes = 0.0, []
    for n, o, a in zip(new.tolist(), old.tolist(), advantages.tolist(), strict=True):
        ratio = math.exp(n - o)
        clipped = min(max(ratio, 0.9), 1.1)
        total += min(ratio * a, clipped * a)
        held = (a > 0 and ratio > 1.1) or (a < 0 and ratio < 0.9)
        slopes.append(0.0 if held else ratio * a / 200)
    found = clipped_objective(new, old, advantages, 0.1)
    assert found.item() == pytest.approx(total / 200)
    torch.testing.assert_close(gradient(found, new), torch.tensor(slopes, dtype=torch.float64))
    assert 20 < slopes.count(0.0) < 180


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_the_best_policy_is_where_the_penalised_reward_has_no_slope_and_its_known_value(temperature):
    _, q, rewards = random_case(seed=2)
    best = exact(best_policy(q, rewards, temperature))

    def value(logits: Tensor) -> Tensor:
        p = logits.log_softmax(-1)
        return (p.exp() * (rewards - temperature * (p - q))).sum()

    torch.testing.assert_close(gradient(value(best), best), torch.zeros(256, dtype=torch.float64))
    torch.testing.assert_close(value(best), temperature * (q + rewards / temperature).logsumexp(-1))
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        assert value(best + 0.01 * torch.randn(256, generator=generator)) < value(best)


def test_dpo_has_its_closed_gradient():
    generator = torch.Generator().manual_seed(3)
    a, b, base_a, base_b = torch.randn(4, 50, generator=generator, dtype=torch.float64)
    a, b = exact(a), exact(b)
    loss = dpo_loss(a, b, base_a, base_b, 0.3)
    margin = (0.3 * (a - base_a - b + base_b)).detach()
    torch.testing.assert_close(loss, (1 + (-margin).exp()).log().mean())
    slope = -0.3 / (1 + margin.exp()) / 50
    torch.testing.assert_close(gradient(loss, a, b), torch.cat([slope, -slope]))


def test_over_all_pairs_dpo_is_at_rest_at_the_best_policy_for_the_reward_that_made_the_preferences():
    """Bradley and Terry's preferences: a is chosen over b with the probability sigmoid(r(a) - r(b))."""
    beta = 0.5
    _, q, rewards = random_case(12, seed=4)
    first, second = torch.cartesian_prod(torch.arange(12), torch.arange(12)).T
    weights = (rewards[first] - rewards[second]).sigmoid() / 144
    policy = exact(best_policy(q, rewards, beta))

    def loss(p: Tensor) -> Tensor:
        each = [dpo_loss(p[i : i + 1], p[j : j + 1], q[i : i + 1], q[j : j + 1], beta)
                for i, j in zip(first.tolist(), second.tolist(), strict=True)]  # fmt: skip
        return (weights * torch.stack(each)).sum()

    torch.testing.assert_close(gradient(loss(policy), policy), torch.zeros(12, dtype=torch.float64))
    other = exact(best_policy(q, rewards, 2 * beta))
    assert gradient(loss(other), other).abs().max() > 1e-3


# Texts


def test_a_continuations_probability_is_the_product_of_its_tokens():
    model = small_model()
    some = Samples.of(PROMPT, [[1], [5, 2, 2], [0, 0]])
    for found, ids in zip(log_probabilities(model, some), [[1], [5, 2, 2], [0, 0]], strict=True):
        text, expected = list(PROMPT), 0.0
        for token in ids:
            expected += model(torch.tensor([text]))[0, -1].log_softmax(-1)[token].item()
            text.append(token)
        assert found.item() == pytest.approx(expected)
    assert some.continuations() == [[1], [5, 2, 2], [0, 0]]
    assert some.rows(torch.tensor([2, 0])).continuations() == [[0, 0], [1]]
    assert log_probabilities(model, ALL).exp().sum().item() == pytest.approx(1)


def test_samples_are_drawn_with_the_models_probabilities():
    model = small_model()
    drawn = draw_samples(model, PROMPT, 4000, (), 2, seed=0)
    p = log_probabilities(model, ALL).exp().detach()
    counts = torch.zeros(256, dtype=torch.float64)
    for first, second in drawn.continuations():
        counts[LETTERS * first + second] += 1
    statistic = ((counts - 4000 * p).square() / (4000 * p)).sum().item()  # chi squared, 255 degrees of freedom
    assert 150 < statistic < 370
    assert draw_samples(model, PROMPT, 4000, (), 2, seed=0).token_ids.equal(drawn.token_ids)
    assert not draw_samples(model, PROMPT, 4000, (), 2, seed=1).token_ids.equal(drawn.token_ids)


def test_a_sample_ends_with_its_first_stop_token():
    drawn = draw_samples(small_model(), PROMPT, 200, (1, 4, 9), 4, seed=0)
    assert drawn.token_ids[:, :3].tolist() == [PROMPT] * 200
    lengths = set()
    for ids in drawn.continuations():
        assert not set(ids[:-1]) & {1, 4, 9}
        assert len(ids) == 4 or ids[-1] in (1, 4, 9)
        lengths.add(len(ids))
    assert lengths == {1, 2, 3, 4}
    assert drawn.token_ids[:, 3:][~drawn.counted].sum() == 0


def test_the_step_has_the_exact_gradient_of_penalised_reward_on_average():
    """Over all 256 outcomes of a model, each weighed with its probability."""
    model, base = small_model(0), small_model(1)
    weights = list(model.parameters())
    rewards = torch.randn(256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q = log_probabilities(base, ALL).detach()
    log_p = log_probabilities(model, ALL)
    p, old = log_p.detach().exp(), log_p.detach()
    k1, _ = kl_estimates(old, q)
    advantages = rewards - 0.3 * k1
    each = torch.stack([clipped_objective(log_p[i : i + 1], old[i : i + 1], advantages[i : i + 1]) for i in range(256)])
    expected = gradient((log_p.exp() * (rewards - 0.3 * (log_p - q))).sum(), *weights)
    torch.testing.assert_close(gradient((p * each).sum(), *weights), expected)
    for baseline in (1.0, -7.0):  # whatever is taken off all rewards alike
        moved = clipped_objective(log_p, old, 256 * p * (advantages - baseline))
        torch.testing.assert_close(gradient(moved, *weights), expected)


# Training


def vowels(prompt: str, text: str) -> float:
    assert prompt == "ah"
    return sum(letter in "aeio" for letter in text) / 2


REWARDS = torch.tensor([vowels("ah", Letters().decode(word)) for word in WORDS], dtype=torch.float64)
HOW = Reinforcement(stop_tokens=(), maximum_length=2, steps=30, samples=64, learning_rate=6e-3)


def trained(how: Reinforcement, judge: Judge = vowels) -> tuple[Tensor, Tensor, list]:
    """log p of all outcomes after training, that of the base, and what was seen on the way."""
    base = small_model()
    model = adapt_model(base).double()
    seen = list(reinforce(model, base, Letters(), ["ah"], judge, how))
    with torch.no_grad():
        return log_probabilities(model, ALL), log_probabilities(base, ALL), seen


@pytest.mark.parametrize(("standardise", "passes"), [(False, 1), (True, 2)])
def test_reward_rises_and_without_a_penalty_nothing_holds_it(standardise, passes):
    after, before, seen = trained(dataclasses.replace(HOW, standardise=standardise, passes=passes))
    assert (before.exp() * REWARDS).sum() < 0.5
    assert (after.exp() * REWARDS).sum() > 0.9
    assert seen[0].reward == pytest.approx((before.exp() * REWARDS).sum().item(), abs=0.15)
    assert seen[-1].reward > 0.8
    assert {step.kl for step in seen} == {0}


@pytest.mark.parametrize("standardise", [False, True])
def test_with_the_penalty_it_ends_near_the_best_policy(standardise):
    how = dataclasses.replace(HOW, kl_weight=0.3, standardise=standardise, steps=80, groups=2)
    after, before, seen = trained(how)
    best = best_policy(before, REWARDS, 0.3)

    def value(log_p: Tensor) -> float:
        return (log_p.exp() * (REWARDS - 0.3 * (log_p - before))).sum().item()

    assert value(best) - value(before) > 0.15
    assert value(best) - value(after) < 0.1 * (value(best) - value(before))
    kl = (best.exp() * (best - before)).sum().item()
    assert sum(step.kl for step in seen[-20:]) / 20 == pytest.approx(kl, rel=0.25)


def test_the_same_seed_trains_the_same_model_and_the_base_stays():
    how = dataclasses.replace(HOW, steps=3)
    first, base, _ = trained(how)
    again, same, _ = trained(how)
    other, _, _ = trained(dataclasses.replace(how, seed=1))
    assert first.equal(again)
    assert base.equal(same)
    assert not first.equal(other)


@pytest.mark.parametrize("number", [int, bool])
def test_a_judge_may_return_a_whole_number_or_a_truth(number):
    how = dataclasses.replace(HOW, steps=3)
    found, expected = (trained(how, lambda _, text, kind=kind: kind("a" in text)) for kind in (number, float))
    assert found[2] == expected[2]
    assert found[0].equal(expected[0])


def test_dpo_learns_the_reward_behind_the_preferences():
    base = small_model()
    model = adapt_model(base).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        q = log_probabilities(base, ALL)
    a, b = torch.multinomial(q.exp(), 2 * 600, replacement=True, generator=generator).view(2, 600)
    first = torch.rand(600, generator=generator) < (8 * (REWARDS[a] - REWARDS[b])).sigmoid()
    chosen, rejected = torch.where(first, a, b), torch.where(first, b, a)
    losses = list(prefer(model, base, ALL.rows(chosen), ALL.rows(rejected), 0.5, 60, 6e-3))
    assert losses[0] == pytest.approx(math.log(2))
    assert sum(losses[-20:]) / 20 < 0.5
    with torch.no_grad():
        implied = 0.5 * (log_probabilities(model, ALL) - q)
    assert torch.corrcoef(torch.stack([implied, REWARDS]))[0, 1] > 0.8
