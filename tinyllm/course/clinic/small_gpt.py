"""The clinic's model, on one screen. Each method with a line or two is a piece that a patient may have otherwise.

Shape letters: B batch, T time (tokens), S time with the cached tokens, C width, H heads, D width of a head,
V vocabulary.
"""

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

WIDTH, HEADS, LAYERS, CONTEXT, VOCABULARY = 64, 1, 2, 160, 1000

KeysValues = tuple[Float[Tensor, "B H _ D"], Float[Tensor, "B H _ D"]]
"""One layer's cache."""


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(D)) V; with `past`, over the keys and values of earlier tokens too."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.projection = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Float[Tensor, "B T C"], past: KeysValues | None) -> tuple[Float[Tensor, "B T C"], KeysValues]:
        """The mixed values, and the keys and values for the next call."""
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, HEADS, -1).permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        scores = q @ k.transpose(-2, -1) / self.scale(q.shape[-1])
        weights = scores.masked_fill(~self.visible(T, k.shape[2]), -torch.inf).softmax(-1)
        y = self.drop(weights) @ v
        return self.projection(y.transpose(1, 2).reshape(B, T, C)), (k, v)

    def scale(self, head_dim: int) -> float:
        """What the scores are divided by."""
        return math.sqrt(head_dim)

    def visible(self, queries: int, keys: int) -> Bool[Tensor, "T S"]:
        """Which keys each query sees; the queries belong to the last keys."""
        return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)

    def drop(self, weights: Float[Tensor, "B H T S"]) -> Float[Tensor, "B H T S"]:
        """Dropout on the attention weights."""
        return F.dropout(weights, 0.05, self.training)


class Block(nn.Module):
    """Attention, then feed-forward; each adds to the residual stream."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(WIDTH), attention
        self.feedforward_norm = nn.LayerNorm(WIDTH)
        self.feedforward = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Float[Tensor, "B T C"], past: KeysValues | None) -> tuple[Float[Tensor, "B T C"], KeysValues]:
        """The stream after this layer, and the layer's keys and values."""
        y, present = self.attention(self.attention_norm(x), past)
        x = x + y
        return x + self.feedforward(self.feedforward_norm(x)), present


class SmallGPT(nn.Module):
    """Embeddings, blocks, and a head tied to the embedding."""

    attention: type[nn.Module] = Attention

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = self.collect([Block(self.attention()) for _ in range(LAYERS)])
        self.final_norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.draw_embeddings()
        self.tie()

    def collect(self, blocks: Sequence[nn.Module]) -> Iterable[nn.Module]:
        """The layers, as the model keeps them."""
        return nn.ModuleList(blocks)

    def draw_embeddings(self) -> None:
        """The first embeddings, from a normal distribution."""
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def tie(self) -> None:
        """One matrix for the embedding and the head."""
        self.head.weight = self.embedding.weight

    def first_position(self, past: Sequence[KeysValues] | None) -> int:
        """The position of a call's first token."""
        return past[0][0].shape[2] if past else 0

    def forward(self, ids: Int[Tensor, "B T"], past: list[KeysValues] | None = None) -> Float[Tensor, "B T V"]:
        """The logits. A `past` list is filled with the keys and values of each layer, for the next call."""
        first = self.first_position(past)
        x = self.embedding(ids) + self.positions(torch.arange(first, first + ids.shape[1]))
        presents = []
        for layer, block in enumerate(self.blocks):
            x, present = block(x, past[layer] if past else None)
            presents.append(present)
        if past is not None:
            past[:] = presents
        logits: Tensor = self.head(self.final_norm(x))
        return logits


def stepwise(model: nn.Module, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
    """The logits, one token at a time with a cache: as `sample` computes them."""
    past: list[KeysValues] = []
    return torch.cat([model(ids[:, t : t + 1], past) for t in range(ids.shape[1])], dim=1)
