"""The KV cache: keys and values of the tokens already read, so that each new token costs one step.

Shapes: L layers, B batch, K heads of keys and values, D head_dim.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tinyllm.config import ModelConfig


class KVCache:
    """Two tensors of shape (L, B, K, context_length, D), of which the first `length` positions are filled."""

    def __init__(self, config: ModelConfig, batch_size: int, device: torch.device, dtype: torch.dtype):
        shape = (config.num_layers, batch_size, config.kv_heads, config.context_length, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.length = 0

    def positions(self, new: int) -> Int[Tensor, " new"]:
        """The positions of the next tokens."""
        return torch.arange(self.length, self.length + new, device=self.keys.device)

    def append(
        self, layer: int, keys: Float[Tensor, "B K new D"], values: Float[Tensor, "B K new D"]
    ) -> tuple[Float[Tensor, "B K all D"], Float[Tensor, "B K all D"]]:
        """Add the new tokens' keys and values to one layer; returns all of that layer's, old and new."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def visible(self, new: int) -> Bool[Tensor, "new all"] | None:
        """Which of all positions each new token may attend to; None where the usual causal mask says it."""
        if new == 1 or self.length == 0:
            return None
        return torch.ones(new, self.length + new, dtype=torch.bool, device=self.keys.device).tril(self.length)

    def advance(self, new: int) -> None:
        """Count the new tokens, once each layer has them."""
        self.length += new


class OneTokenCache(KVCache):
    """A view of another cache for steps of one token: every shape is the same at every step.

    So a CUDA graph that has recorded one step can replay it: the position is a tensor, which the caller sets, and all
    context_length keys are read, those after the position masked.
    """

    def __init__(self, cache: KVCache):
        self.keys, self.values = cache.keys, cache.values
        self.length = cache.length
        self.position = torch.full((1,), cache.length, device=cache.keys.device)

    def positions(self, new: int) -> Int[Tensor, " new"]:
        """The position of the next token."""
        return self.position

    def append(
        self, layer: int, keys: Float[Tensor, "B K new D"], values: Float[Tensor, "B K new D"]
    ) -> tuple[Float[Tensor, "B K all D"], Float[Tensor, "B K all D"]]:
        """Write one token's keys and values at its position in one layer; returns the whole layer's."""
        self.keys[layer].index_copy_(2, self.position, keys)
        self.values[layer].index_copy_(2, self.position, values)
        return self.keys[layer], self.values[layer]

    def visible(self, new: int) -> Bool[Tensor, "new all"]:
        """The positions up to the new token's."""
        return (torch.arange(self.keys.shape[3], device=self.keys.device) <= self.position)[None]

    def advance(self, new: int) -> None:
        """Nothing: the same step may be tried several times before it counts."""
