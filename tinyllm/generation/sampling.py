"""Sampling: one token drawn from the logits, with temperature, top-k and top-p.

Shapes: B batch, V vocab_size.

Sources: Fan et al., "Hierarchical Neural Story Generation" (2018, top-k); Holtzman et al., "The Curious Case of
Neural Text Degeneration" (2020, top-p).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tinyllm.config import GenerationConfig


def filter_logits(logits: Float[Tensor, "B V"], config: GenerationConfig) -> Float[Tensor, "B V"]:
    """Divide by the temperature, and set what top-k and top-p exclude to -inf.

    Top-p keeps the likeliest tokens up to and including the one that reaches the probability. Where logits tie at the
    cut, the lower ids stay.
    """
    logits = logits.float() / config.temperature
    if config.top_k is not None:
        logits = logits.masked_fill(~_largest(logits, min(config.top_k, logits.shape[-1])), -torch.inf)
    if config.top_p is not None and config.top_p < 1:  # rounded sums reach 1 before the last token
        ordered, order = logits.sort(descending=True, stable=True)  # likeliest first, (B, V)
        probabilities = ordered.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities  # the sum over the likelier tokens
        excluded = torch.empty_like(before, dtype=torch.bool).scatter_(-1, order, before >= config.top_p)
        logits = logits.masked_fill(excluded, -torch.inf)
    return logits


def _largest(logits: Float[Tensor, "B V"], count: int) -> Bool[Tensor, "B V"]:
    """Mark the `count` largest logits of each row. Much faster than sorting the whole vocabulary."""
    smallest_kept = logits.topk(count).values[:, -1:]  # (B, 1)
    above, equal = logits > smallest_kept, logits == smallest_kept
    room = count - above.sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1) <= room))


def next_tokens(
    logits: Float[Tensor, "B V"], config: GenerationConfig, generator: torch.Generator | None = None
) -> Int[Tensor, " B"]:
    """Draw one token per row; temperature 0 takes the likeliest."""
    if config.temperature == 0:
        return logits.argmax(-1)
    probabilities = filter_logits(logits, config).softmax(-1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)
