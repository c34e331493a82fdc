"""Exercises of notebook 14: gradients of a reward, and what keeps them small, near the base model, and honest."""

import random
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tinyllm.course.checking.bands import settle
from tinyllm.course.checking.generators import score_tensors
from tinyllm.course.checking.registry import Case, Function, exercise


def _drawn(logits: Float[Tensor, " N"], count: int, shift: float = 0.0) -> Case:
    """Logits, so many outcomes, some of which come again, and their rewards."""
    return logits, torch.randint(len(logits), (count,)), shift + torch.randn(count)


@exercise(
    gradients=False,
    cases=lambda: [
        (torch.tensor([0.0, 1.0, -1.0]), torch.tensor([1, 1, 0]), torch.tensor([2.0, 1.0, -1.0])),
        _drawn(torch.randn(4), 4, shift=2.0),  # as many samples as outcomes, so that no shape forbids an exchange
        *(_drawn(logits, 7, shift=1.0) for logits in score_tensors(5)),
        _drawn(torch.randn(1), 3),
        _drawn(2 * torch.randn(6), 1),
        _drawn(torch.randn(3), 40, shift=-3.0),
    ],
    hint="For one sample: which of the N numbers does the outcome that was drawn push up, and which do all the others "
    "push down? What does its reward multiply?",
    why="log softmax(z) at the outcome is z[outcome] - log(sum of exp(z)): its slope is one-hot minus softmax. An "
    "outcome that is often drawn is pushed often, so the mean over samples follows the expected reward.",
)
def score_function_gradient(
    logits: Float[Tensor, " N"], outcomes: Int[Tensor, " S"], rewards: Float[Tensor, " S"]
) -> Float[Tensor, " N"]:
    """The mean over samples of the reward times (one-hot of the outcome - softmax): it estimates a gradient.

    That of the expected reward with respect to the logits.
    """
    slopes = F.one_hot(outcomes, len(logits)) - logits.softmax(dim=0)  # (S, N), of log p of each outcome
    return (rewards[:, None] * slopes).mean(dim=0)


def _groups(G: int, n: int, size: float = 1.0) -> Case:
    """Rewards of groups; every third group has all the same, a number that no float is exactly."""
    rewards = size * torch.randn(G, n) + torch.randn(G, 1)
    rewards[2::3] = torch.tensor([0.1, 0.7, 2.3])[torch.randint(3, (len(rewards[2::3]), 1))]
    return (rewards,)


def _equal_in_each(G: int, dtype: torch.dtype) -> Case:
    """Groups of three equal rewards whose mean is a last bit off, on each processor.

    Of three equal numbers there is one sum, in whatever order they are added. A third of these, divided or multiplied,
    is not the number. torch.std is 0 nevertheless for several groups, but not for one alone.
    """
    odd = {torch.float32: 1.7, torch.float64: 0.7}[dtype]
    return (odd * 2.0 ** torch.randint(-1, 7, (G, 1)).to(dtype).expand(G, 3),)


def _right_or_wrong(G: int, n: int) -> Case:
    """Rewards of 1 and 0: in the first group all are right, in the second none, in the others some are."""
    counts = torch.tensor([n, 0, *(random.randint(1, n - 1) for _ in range(G - 2))])
    return ((torch.rand(G, n).argsort(dim=1) < counts[:, None]).float(),)


@exercise(
    gradients=False,
    cases=lambda: [
        (torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.1, 0.1, 0.1, 0.1], [3.0, 1.0, 1.0, 1.0]]),),
        _right_or_wrong(5, 6),
        _right_or_wrong(4, 4),  # square, so that no shape forbids the wrong dimension
        _groups(6, 7),
        _groups(3, 3, size=10.0),
        (1e-4 * torch.randn(3, 5),),  # beside such rewards an epsilon is large
        (torch.randn(4, 1),),
        *(_equal_in_each(G, dtype) for G in (1, 8) for dtype in (torch.float32, torch.float64)),
    ],
    hint="Keep the dimension when you take a group's mean, so that it lies beside all rewards of its group. What does "
    "the division give where all are equal, and how can you tell such a group from the rewards themselves?",
    why="The mean of equal floats may be off by a last bit, and so is their deviation: that ratio is noise. So ask "
    "whether they are equal. A group that is all right or all wrong says nothing of which answer was better.",
)
def group_advantages(rewards: Float[Tensor, "G n"]) -> Float[Tensor, "G n"]:
    """Each reward less its group's mean, over the group's own standard deviation; 0 where all in a group are equal."""
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    deviation = rewards.std(dim=1, correction=0, keepdim=True)
    equal = rewards.amin(dim=1, keepdim=True) == rewards.amax(dim=1, keepdim=True)
    return torch.where(equal, 0.0, centred / deviation)


def _log_probs(count: int, apart: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities below 0, and others that differ by as much as this."""
    first = -5 * torch.rand(count) - apart
    return first, first + apart * (2 * torch.rand(count) - 1)


def _long_answers(count: int, apart: float) -> tuple[Tensor, Tensor]:
    """The same of answers of hundreds of tokens: as a float each probability is 0."""
    first, second = _log_probs(count, apart)
    return first - 300, second - 300


def _beside_frozen_base(function: Function, log_probs: Tensor, base_log_probs: Tensor) -> Any:
    """The base model is not trained, so an answer may detach its numbers."""
    return function(log_probs, base_log_probs.detach())


@exercise(
    observe=_beside_frozen_base,
    cases=lambda: [
        (torch.tensor([0.5, 0.5, 0.25]).log(), torch.tensor([0.25, 0.5, 0.75]).log()),
        _log_probs(1, 1.0),
        _log_probs(9, 0.3),
        _log_probs(5, 2.0),
        _log_probs(30, 4.0),
        (one := _log_probs(4, 1.0)[0], one.clone()),  # the base model itself: 0, but not without a gradient
        _long_answers(5, 2.0),
    ],
    hint="Write d = log q - log p, a number for each sample. Both estimates are made of d alone; k3 is how far exp(d) "
    "lies above the line 1 + d.",
    why="Under p the mean of q / p is 1, so what k3 adds to k1 has the mean 0, and makes each estimate 0 or more. Near "
    "the base most of the noise goes with it. A mean of k1 may well come out negative, which no KL is.",
)
def kl_estimates(
    log_probs: Float[Tensor, " S"], base_log_probs: Float[Tensor, " S"]
) -> tuple[Float[Tensor, " S"], Float[Tensor, " S"]]:
    """Of samples drawn from p, with q the base: log p - log q, and q / p - 1 - log(q / p), for each sample."""
    log_ratios = base_log_probs - log_probs
    return -log_ratios, log_ratios.exp() - 1 - log_ratios


def _steps(count: int, apart: float, *clip: float, long: bool = False) -> Case:
    """Log-probabilities now and then, so far apart, and advantages of both signs."""
    now, then = (_long_answers if long else _log_probs)(count, apart)
    return now, then, torch.randn(count) + torch.tensor([1.0, -1.0]).repeat(count)[:count], *clip


def _beside_the_past(
    function: Function, log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, *clip: Any
) -> Any:
    """What was drawn and rewarded lies behind, so an answer may detach it."""
    return function(log_probs, old_log_probs.detach(), advantages.detach(), *clip)


@exercise(
    observe=_beside_the_past,
    cases=lambda: [
        (torch.tensor([2.0, 2.0, 0.5, 0.5]).log(), torch.zeros(4), torch.tensor([1.0, -2.0, 1.0, -1.0])),
        (torch.tensor([0.75, 0.375, 0.225]).log(), torch.full((3,), 0.25).log(), torch.tensor([1.0, 2.0, -0.5]), 0.25),
        # All are clipped: the gradient is 0, and there must be one.
        (torch.tensor([0.9, 0.1]).log(), torch.tensor([0.5, 0.5]).log(), torch.tensor([1.5, -0.5]), 0.15),
        _steps(9, 0.4),
        _steps(1, 0.05),
        _steps(12, 1.0, 0.1),
        _steps(40, 2.0, 0.5),
        _steps(8, 0.5, random.uniform(0.05, 0.35)),
        _steps(6, 0.6, 0.3, long=True),
        (one := _log_probs(6, 1.0)[0], one.clone(), torch.randn(6) + 1, 0.3),  # the first step: every ratio is 1
    ],
    hint="The ratio of two probabilities is exp of a difference of logarithms. Work out ratios of 2 and 0.5 by hand, "
    "each with an advantage of 1 and of -1: which of the two products is smaller?",
    why="Once a good answer has become 1 + clip times as likely, the smaller product is constant: no gradient pulls "
    "further. A bad answer that became likelier still pays in full, so a step too far can be undone.",
)
def clipped_objective(
    log_probs: Float[Tensor, " S"],
    old_log_probs: Float[Tensor, " S"],
    advantages: Float[Tensor, " S"],
    clip: float = 0.2,
) -> Float[Tensor, ""]:
    """The mean of the smaller of ratio times advantage and clipped ratio times advantage: to be made large."""
    ratios = (log_probs - old_log_probs).exp()
    clipped = ratios.clamp(1 - clip, 1 + clip)
    return torch.minimum(ratios * advantages, clipped * advantages).mean()


@exercise(
    gradients=False,
    cases=lambda: [
        (torch.tensor([0.5, 0.25, 0.25]).log(), torch.tensor([0.0, 1.0, 2.0]), 1.0),
        (torch.randn(5).log_softmax(dim=0), 2 * torch.randn(5), 0.5),
        (torch.randn(4).log_softmax(dim=0), torch.tensor([3.0, 2.0, 1.0, 2.5]), 0.001),
        # Here too exp overflows, and no outcome wins alone: its log p would be a small rest of large numbers.
        (torch.randn(7).log_softmax(dim=0), 100 + 0.3 * torch.randn(7), random.uniform(0.6, 0.9)),
        ((4 * torch.randn(6)).log_softmax(dim=0), torch.randn(6), 50.0),
        (torch.tensor([0.25, 0.0, 0.75]).log(), torch.randn(3) + 3, random.uniform(1.5, 4)),  # one is impossible
        (torch.zeros(1), torch.randn(1), 0.1),
        (torch.full((9,), 1 / 9).log(), torch.randint(3, (9,)).float(), 0.7),
    ],
    hint="Take the logarithm of q exp(r / b) / Z before you write any code. What is log Z, and which function computes "
    "it without exp of a large number?",
    why="In logarithms the product is a sum. log_softmax subtracts the largest before exp, so nothing overflows. b "
    "says what a nat of KL costs: a small b goes for the reward alone, a large one stays with the base.",
)
def best_policy(
    base_log_probs: Float[Tensor, " N"], rewards: Float[Tensor, " N"], temperature: float
) -> Float[Tensor, " N"]:
    """log of q exp(r / b) / Z for base probabilities q: the most reward, less b times the KL from the base."""
    return (base_log_probs + rewards / temperature).log_softmax(dim=0)


def _pairs(count: int, apart: float, beta: float) -> Case:
    """Log-probabilities of chosen and rejected answers under the model, then under the base, and beta.

    One pair in four is the wrong way round, so that the loss is no tiny rest.
    """
    base = -20 * torch.rand(2, count) - 2 * apart
    gains = apart * torch.randn(2, count)
    gains[:, : count // 4] = torch.tensor([-apart, apart])[:, None]
    chosen, rejected = base + gains
    return chosen, rejected, *base, beta


def _beside_frozen_answers(
    function: Function, chosen: Tensor, rejected: Tensor, base_chosen: Tensor, base_rejected: Tensor, beta: float
) -> Any:
    """The base model is not trained, so an answer may detach its numbers."""
    return function(chosen, rejected, base_chosen.detach(), base_rejected.detach(), beta)


@exercise(
    observe=_beside_frozen_answers,
    cases=lambda: [
        (*torch.tensor([[-1.0, -3.0], [-2.0, -2.0], [-2.0, -2.0], [-1.0, -1.5]]), 1.0),
        _pairs(1, 1.0, 0.5),
        _pairs(7, 3.0, 0.1),
        _pairs(5, 2.0, random.uniform(1.5, 4)),
        (*(one := _pairs(4, 1.0, 0.2))[2:4], *(part.clone() for part in one[2:4]), 0.3),  # the first step: ln 2
        (*torch.tensor([[-1.0, -900.0], [-800.0, -2.0], [-500.0, -500.0], [-400.0, -400.0]]), 2.0),
        _pairs(6, 300.0, random.uniform(0.6, 1.2)),
    ],
    hint="First one number for each pair: how much more has the chosen answer gained on the base than the rejected "
    "one? Then PyTorch has -log(sigmoid(x)) in one stable function, or two.",
    why="beta times the log-ratio to the base is the reward whose best policy the model would be, so the loss is that "
    "of a classifier of pairs. sigmoid(-2000) is 0 in floats, and log 0 is -inf; logsigmoid(-2000) is -2000.",
)
def dpo_loss(
    chosen: Float[Tensor, " S"],
    rejected: Float[Tensor, " S"],
    base_chosen: Float[Tensor, " S"],
    base_rejected: Float[Tensor, " S"],
    beta: float,
) -> Float[Tensor, ""]:
    """The mean of -log sigmoid(beta ((chosen - base_chosen) - (rejected - base_rejected)))."""
    margins = (chosen - base_chosen) - (rejected - base_rejected)
    return -F.logsigmoid(beta * margins).mean()


def _answered(T: int, *lengths: int, shift: float = 0.0) -> Case:
    """Log-probabilities of tokens, the mask of answers of these lengths that begin anywhere, and their rewards."""
    mask = torch.zeros(len(lengths), T, dtype=torch.bool)
    for row, length in zip(mask, lengths, strict=True):
        begin = random.randint(0, T - length)
        row[begin : begin + length] = True
    return -3 * torch.rand(mask.shape), mask, shift + torch.randn(len(lengths))


def _judge_loss(function: Function, token_log_probs: Tensor, answer_mask: Tensor, rewards: Tensor) -> Any:
    """Rewards are no part of the model, so an answer may detach them. What is 0 but for rounding counts as 0."""
    loss = function(token_log_probs, answer_mask, rewards.detach())
    return loss * (loss.detach().abs() > _ROUNDING) if isinstance(loss, Tensor) and loss.dim() == 0 else loss


_ROUNDING = 1e-5


@exercise(
    observe=_judge_loss,
    cases=lambda: [
        (
            torch.tensor([[-1.0, -2.0, -3.0], [-4.0, -1.0, -2.0]]),
            torch.tensor([[False, True, True], [False, True, False]]),
            torch.tensor([1.0, 0.0]),
        ),
        _answered(4, 1, 4, 2, 3),  # square, so that no shape forbids an exchange
        _answered(9, 5, 0, 3, shift=2.0),  # an answer without a token
        _answered(7, 4, 4, 4, 4, 4, shift=-3.0),
        _answered(12, 2, 9, 6, 1, 7, 3, shift=1.0),
        _answered(3, 2, shift=1.0),  # one answer is no better than the mean
    ],
    hint="Print the shape of each intermediate result for two answers, and the two numbers that you expect of "
    "`products`. How many are there?",
    why="(S,) times (S, 1) is (S, S): every advantage times every answer. The mean of all these is the mean advantage, "
    "which is 0, times the mean log p. No error says so; its gradient is 0, and nothing is learned.",
)
def mend_reinforce(
    token_log_probs: Float[Tensor, "S T"], answer_mask: Bool[Tensor, "S T"], rewards: Float[Tensor, " S"]
) -> Float[Tensor, ""]:
    """Minus the mean over answers of the advantage times log p of the answer, the sum of its tokens' log-probabilities.

    An advantage is the reward less the mean of all rewards. Only tokens in the mask belong to the answer.
    """
    advantages = rewards - rewards.mean()
    log_probs = (token_log_probs * answer_mask).sum(dim=1)
    return -(advantages * log_probs).mean()


class _Draws(NamedTuple):
    """The gradients of single draws, each a factor times the slope of its outcome; on average, without drawing."""

    chances: Float[Tensor, " N"]
    slopes: Float[Tensor, "N N"]
    """A row for each outcome: one-hot - softmax."""

    def squares(self, factors: Tensor) -> float:
        """The mean squared length."""
        return float((self.chances * factors.square() * self.slopes.square().sum(dim=1)).sum())

    def variances(self, factors: Tensor) -> Tensor:
        """That of each number of the gradient."""
        mean = (self.chances * factors) @ self.slopes
        return self.chances @ (factors[:, None] * self.slopes).square() - mean.square()

    def variance(self, factors: Tensor) -> float:
        return float(self.variances(factors).sum())

    def deviations(self, factors: Tensor) -> float:
        return float(self.variances(factors).clamp(min=0).sqrt().sum())

    def share(self, baseline: Tensor, rewards: Tensor) -> float:
        """Of the variance, what is left with a baseline."""
        return self.variance(rewards - baseline) / self.variance(rewards)


def baseline_ratios(logits: Float[Tensor, " N"], rewards: Float[Tensor, " N"]) -> dict[str, float]:
    """The right ratio ("right", first) and what usual slips give, all without drawing."""
    p, r = logits.double().softmax(dim=0), rewards.double()
    draws = _Draws(p, torch.eye(len(p), dtype=torch.float64) - p)
    mean, centred = (p * r).sum(), r - (p * r).sum()
    weights = p * draws.slopes.square().sum(dim=1)
    evenly = draws._replace(chances=torch.full_like(p, 1 / len(p)))
    right = draws.share(mean, r)
    return {
        "right": right,
        "upside down": 1 / right,
        "standard deviations": right**0.5,
        "squares": draws.squares(centred) / draws.squares(r),
        "mean of the list": draws.share(r.mean(), r),
        "largest": draws.share(r.max(), r),
        "best": draws.share((weights * r).sum() / weights.sum(), r),
        "added": draws.share(centred - r, r),
        "standardised": right / float((p * centred.square()).sum()),
        "sum of deviations": draws.deviations(centred) / draws.deviations(r),
        "mean of ratios": float((draws.variances(centred) / draws.variances(r)).mean()),
        "drawn evenly, with their mean": evenly.share(r.mean(), r),
        "drawn evenly": evenly.share(mean, r),
        "one-hot alone": draws._replace(slopes=draws.slopes + p).share(mean, r),
        "drawn number alone": draws._replace(slopes=draws.slopes.diagonal()[:, None]).share(mean, r),
        "taken off": 1 - right,
        "per cent": 100 * right,
        "with": draws.variance(centred),
        "without": draws.variance(r),
        "rewards alone": 1.0,
    }


def _judge_ratio(function: Function, logits: Tensor, rewards: Tensor) -> Any:
    right, *slips = baseline_ratios(logits, rewards).values()
    return settle(settle(function(logits, rewards), right), *slips, band=0.05)


@exercise(
    draws=True,
    gradients=False,
    observe=_judge_ratio,
    cases=lambda: [
        (torch.zeros(3), torch.tensor([1.0, 2.0, 3.0])),
        (torch.tensor([0.85, 0.1, 0.05]).log(), torch.tensor([1.0, 0.0, 0.0])),
        (torch.tensor([0.6, 0.25, 0.1, 0.05]).log() + 2, torch.tensor([-1.0, -2.0, -4.0, -1.0])),
        (torch.linspace(-1, 1, 5)[torch.randperm(5)], 1 + 2 * torch.rand(5)),
    ],
    hint="Make a table with a row for each draw: reward times (one-hot - softmax). One variance for each column, and "
    "their sum. Then the same table with the baseline taken off, from the same draws.",
    why="What all rewards have in common multiplies the noise and tells nothing. But the mean reward is not the best "
    "baseline: that weighs each reward by its slope's square, and a policy that is nearly always right may do better "
    "with none.",
)
def measure_baseline(logits: Float[Tensor, " N"], rewards: Float[Tensor, " N"]) -> float:
    """The variance of one draw's gradient with the mean reward as baseline, over that without; rewards by outcome.

    The variance of N numbers is the sum of their variances.
    """
    p = logits.softmax(dim=0)
    outcomes = torch.multinomial(p, 50_000, replacement=True)
    slopes, drawn = F.one_hot(outcomes, len(p)) - p, rewards[outcomes]
    without = (drawn[:, None] * slopes).var(dim=0).sum()
    taken_off = ((drawn - drawn.mean())[:, None] * slopes).var(dim=0).sum()
    return float(taken_off / without)
