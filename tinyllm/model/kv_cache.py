"""The KV cache: the keys and values of the tokens already read, so that a new token costs one step."""

import torch
from jaxtyping import Float
from torch import Tensor

from tinyllm.config import ModelConfig


class KVCache:
    """Keys and values, each (L, B, K, context_length, D), filled up to position `length`.

    L layers, B batch, K heads of keys and values, D head_dim.
    """

    def __init__(self, config: ModelConfig, batch_size: int, device: torch.device, dtype: torch.dtype):
        shape = (config.num_layers, batch_size, config.kv_heads, config.context_length, config.head_dim)
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0

    def append(
        self, layer: int, keys: Float[Tensor, "B K new D"], values: Float[Tensor, "B K new D"]
    ) -> tuple[Float[Tensor, "B K all D"], Float[Tensor, "B K all D"]]:
        """Add the keys and values of new tokens to one layer, and return all of that layer's, old and new.

        `length` stays as it is: the model advances it once all layers have appended.
        """
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
