"""Learning from rewards and from preferences: a policy is a model whose texts are judged, not compared with targets.

`reinforce` draws texts, has each judged by a number, and makes the good ones likelier; `prefer` learns from pairs, of
which one was preferred. Both may be held near a base model, by a penalty on the KL divergence from it.

Shapes: S samples, T tokens of prompt and continuation, W new tokens, G groups, n samples in each, N outcomes.

Sources: Williams, "Simple Statistical Gradient-Following Algorithms" (1992: REINFORCE, baselines); Schulman et al.,
"Proximal Policy Optimization Algorithms" (2017, equation 7: clipping); Schulman, "Approximating KL Divergence" (2020:
k1, k3); Rafailov et al., "Direct Preference Optimization" (2023, equations 4 and 7); Shao et al., "DeepSeekMath" (2024,
section 4: GRPO).
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tinyllm.config import GenerationConfig
from tinyllm.generation.writing import generate
from tinyllm.model.gpt import GPT
from tinyllm.text.tokenizer import Tokenizer

# What each method makes of numbers


def score_function_gradient(
    logits: Float[Tensor, " N"], outcomes: Int[Tensor, " S"], rewards: Float[Tensor, " S"]
) -> Float[Tensor, " N"]:
    """REINFORCE's estimate of the gradient of the expected reward, from outcomes drawn with softmax(logits).

    The mean over the samples of reward * d log p(outcome) / d logits, which is reward * (one-hot - softmax).
    """
    score = F.one_hot(outcomes, len(logits)).to(logits) - logits.softmax(-1)  # (S, N)
    return (rewards[:, None] * score).mean(0)


def group_advantages(rewards: Float[Tensor, "G n"]) -> Float[Tensor, "G n"]:
    """How far each reward is above its group's mean, in standard deviations of the group; 0 where all are equal."""
    centred = rewards - rewards.mean(-1, keepdim=True)
    equal = (rewards == rewards[:, :1]).all(-1, keepdim=True)
    spread = rewards.std(-1, correction=0, keepdim=True).masked_fill(equal, 1.0)
    return centred.masked_fill(equal, 0.0) / spread


def kl_estimates(
    log_probs: Float[Tensor, " S"], base_log_probs: Float[Tensor, " S"]
) -> tuple[Float[Tensor, " S"], Float[Tensor, " S"]]:
    """Two estimates a sample of KL(policy || base), k1 and k3; both are right on average over the policy's samples.

    k1 = log p - log q may be negative; k3 = q/p - 1 - log(q/p) never is.
    """
    difference = base_log_probs - log_probs
    return -difference, difference.exp() - 1 - difference


def clipped_objective(
    log_probs: Float[Tensor, " S"],
    old_log_probs: Float[Tensor, " S"],
    advantages: Float[Tensor, " S"],
    clip: float = 0.2,
) -> Float[Tensor, ""]:
    """PPO's objective, to be maximised: the mean of min(ratio A, clamp(ratio, 1 - clip, 1 + clip) A).

    ratio = p / p_old, where p_old is the policy that drew the samples. Beyond the clip a sample pulls no further.
    """
    ratio = (log_probs - old_log_probs).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()


def best_policy(
    base_log_probs: Float[Tensor, " N"], rewards: Float[Tensor, " N"], temperature: float
) -> Float[Tensor, " N"]:
    """log of base * exp(r / temperature) / Z: of all policies this has most E[r] - temperature * KL(policy || base).

    No policy that is as near to the base has a higher reward.
    """
    return (base_log_probs + rewards / temperature).log_softmax(-1)


def dpo_loss(
    chosen: Float[Tensor, " S"],
    rejected: Float[Tensor, " S"],
    base_chosen: Float[Tensor, " S"],
    base_rejected: Float[Tensor, " S"],
    beta: float,
) -> Float[Tensor, ""]:
    """The mean of -log sigmoid(beta * (log p/q of the chosen - log p/q of the rejected)), from log-probabilities.

    beta * log p/q is the reward that the policy implies: p is the best policy for it at the temperature beta.
    """
    margin = (chosen - base_chosen) - (rejected - base_rejected)
    return -F.logsigmoid(beta * margin).mean()


# Texts and their probabilities


class Samples(NamedTuple):
    """Continuations of one prompt."""

    token_ids: Int[Tensor, "S T"]
    """The prompt, the new tokens, and zeros where a continuation is shorter than the longest."""
    counted: Bool[Tensor, "S W"]
    """Which of the last W tokens are the continuation's own."""

    @classmethod
    def of(cls, prompt: Sequence[int], continuations: Sequence[Sequence[int]]) -> "Samples":
        """Given continuations in ids, each with at least one token."""
        width = max(map(len, continuations))
        rows = [[*prompt, *ids, *[0] * (width - len(ids))] for ids in continuations]
        lengths = torch.tensor([len(ids) for ids in continuations])
        return cls(torch.tensor(rows), torch.arange(width) < lengths[:, None])

    def rows(self, indices: Int[Tensor, " R"]) -> "Samples":
        """Some of them, in this order."""
        return Samples(self.token_ids[indices], self.counted[indices])

    def continuations(self) -> list[list[int]]:
        """The new tokens of each."""
        new = self.token_ids[:, -self.counted.shape[1] :]
        return [ids[mask].tolist() for ids, mask in zip(new, self.counted, strict=True)]


def draw_samples(
    model: GPT, prompt: Sequence[int], number: int, stop_tokens: Sequence[int], maximum_length: int, seed: int
) -> Samples:
    """Continue one prompt, in ids, so many times: at temperature 1, up to and with a stop token.

    Nothing is cut off (no top-k), so that the samples have the model's own probabilities. A continuation of
    `maximum_length` tokens may be without an end.
    """
    config = GenerationConfig(maximum_length=maximum_length, stop_tokens=tuple(stop_tokens), seed=seed)
    prompts = torch.tensor([list(prompt)] * number)
    new = torch.stack(list(generate(model, prompts, config)), dim=1).cpu()  # (S, W)
    ends = torch.isin(new, torch.tensor(list(stop_tokens)))
    counted = ends.cumsum(1) - ends.long() == 0  # no end before this token
    return Samples(torch.cat([prompts, new.masked_fill(~counted, 0)], dim=1), counted)


def log_probabilities(model: GPT, samples: Samples) -> Float[Tensor, " S"]:
    """log p of each continuation, given the prompt: the sum over its tokens. On the CPU, wherever the model is."""
    ids, width = samples.token_ids.to(model.device), samples.counted.shape[1]
    logits = model(ids[:, :-1])[:, -width:]
    losses = F.cross_entropy(logits.flatten(0, 1), ids[:, -width:].flatten(), reduction="none")
    return -(losses.view(-1, width).cpu() * samples.counted).sum(1)


# Training

Judge = Callable[[str, str], float]
"""(prompt, continuation) -> its reward."""


@dataclass(frozen=True)
class Reinforcement:
    """How `reinforce` draws, judges and learns."""

    stop_tokens: tuple[int, ...]
    """A continuation ends with one of these."""
    maximum_length: int = 16
    """New tokens of a continuation that has not ended."""
    steps: int = 40
    groups: int = 1
    """Prompts in each step."""
    samples: int = 32
    """Continuations of each prompt: a group."""
    learning_rate: float = 1e-4
    kl_weight: float = 0.0
    """b: what a nat of distance from the base model costs, in units of the reward."""
    standardise: bool = True
    """Divide by the group's standard deviation, as GRPO does. Otherwise the group's mean alone is the baseline."""
    passes: int = 1
    """Gradient steps on the same samples. From the second on, clipping holds the policy near the one that drew them."""
    clip: float = 0.2
    seed: int = 0


class Judged(NamedTuple):
    """What a step saw, before it learned from it."""

    reward: float
    """The mean over its samples, without the penalty."""
    kl: float
    """The mean of k1, in nats; 0 where there is no penalty."""


class _Group(NamedTuple):
    samples: Samples
    old: Float[Tensor, " S"]
    advantages: Float[Tensor, " S"]
    seen: Judged


def reinforce(
    model: GPT, base: GPT, tokenizer: Tokenizer, prompts: Sequence[str], judge: Judge, how: Reinforcement
) -> Iterator[Judged]:
    """Train the model, in place, to continue these prompts so that the judge's reward rises; yields after each step.

    The penalty is a part of the reward, r - b k1, before anything is averaged: then the expected gradient is that of
    E[r] - b KL, but for each group's scale, and the best policy is `best_policy`. (k1 in the loss instead has an
    expected gradient of 0, and k3 there has that of another divergence, KL(base || policy).) Dropout is off.
    """
    model.eval()
    draw = random.Random(how.seed)
    optimizer = _optimizer(model, how.learning_rate)
    for _ in range(how.steps):
        chosen = [draw.choice(prompts) for _ in range(how.groups)]
        groups = [_judged(model, base, tokenizer, prompt, judge, how, draw.getrandbits(31)) for prompt in chosen]
        for _ in range(how.passes):
            for group in groups:
                now = log_probabilities(model, group.samples)
                torch.autograd.backward(-clipped_objective(now, group.old, group.advantages, how.clip) / how.groups)
            _apply(model, optimizer)
        yield Judged(*(sum(values) / how.groups for values in zip(*(group.seen for group in groups), strict=True)))


@torch.no_grad()
def _judged(
    model: GPT, base: GPT, tokenizer: Tokenizer, prompt: str, judge: Judge, how: Reinforcement, seed: int
) -> _Group:
    """A group of samples with their advantages."""
    ids = [tokenizer.end_of_text_id, *tokenizer.encode(prompt)]
    samples = draw_samples(model, ids, how.samples, how.stop_tokens, how.maximum_length, seed)
    old = log_probabilities(model, samples)
    rewards = torch.tensor([float(judge(prompt, tokenizer.decode(new))) for new in samples.continuations()])
    distance = torch.zeros_like(old)
    if how.kl_weight:
        distance, _ = kl_estimates(old, log_probabilities(base, samples))
    penalised = (rewards - how.kl_weight * distance)[None]
    advantages = group_advantages(penalised) if how.standardise else penalised - penalised.mean()
    return _Group(samples, old, advantages[0], Judged(rewards.mean().item(), distance.mean().item()))


def prefer(
    model: GPT, base: GPT, chosen: Samples, rejected: Samples, beta: float, steps: int, learning_rate: float,
    batch_size: int = 32, seed: int = 0,
) -> Iterator[float]:  # fmt: skip
    """Train the model, in place, by DPO on pairs of continuations of one prompt; yields the loss of each step.

    Dropout is off.
    """
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    optimizer = _optimizer(model, learning_rate)
    for _ in range(steps):
        rows = torch.randint(len(chosen.token_ids), (batch_size,), generator=generator)
        a, b = chosen.rows(rows), rejected.rows(rows)
        with torch.no_grad():
            base_a, base_b = log_probabilities(base, a), log_probabilities(base, b)
        loss = dpo_loss(log_probabilities(model, a), log_probabilities(model, b), base_a, base_b, beta)
        torch.autograd.backward(loss)
        _apply(model, optimizer)
        yield loss.item()


def _optimizer(model: GPT, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), learning_rate, betas=(0.9, 0.95), weight_decay=0.0)


def _apply(model: GPT, optimizer: torch.optim.Optimizer) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
