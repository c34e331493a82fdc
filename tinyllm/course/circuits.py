"""What the parts of a model write into the stream, read from its weights: queries and keys, values and outputs, logits.

Shape letters: T time (tokens), C embedding_dim, V vocab_size, L layers, H heads, D head_dim, N and M any count.

Source: Elhage et al., "A Mathematical Framework for Transformer Circuits" (2021).
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tinyllm.course.interpretability import run_with_hooks
from tinyllm.model.gpt import GPT, TransformerBlock
from tinyllm.model.lora import LoRALinear
from tinyllm.model.norm import NORM_EPS


@torch.no_grad()
def qk_scores(
    model: GPT, layer: int, head: int, queries: Float[Tensor, "N C"], keys: Float[Tensor, "M C"], distance: int = 0
) -> Float[Tensor, "N M"]:
    """One head's scores between vectors of the stream: how much each of the first looks for each of the second.

    Args:
        distance: how many tokens apart the two stand; matters to rotary positions only.
    """
    block = _block(model, layer)
    x = block.attention_norm(torch.cat([queries, keys]))[None]
    positions = torch.zeros(x.shape[1], dtype=torch.long)
    positions[: len(queries)] = distance
    q, k, _ = block.attention.queries_keys_values(x, positions.to(x.device))
    q, k = q[0, head, : len(queries)], block.attention.repeat_heads(k)[0, head, len(queries) :]
    return q @ k.T / math.sqrt(model.config.head_dim)


@torch.no_grad()
def ov_writes(model: GPT, layer: int, head: int, vectors: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """What one head adds to the stream if it attends to one of these vectors alone."""
    block = _block(model, layer)
    positions = torch.zeros(len(vectors), dtype=torch.long, device=vectors.device)
    _, _, v = block.attention.queries_keys_values(block.attention_norm(vectors)[None], positions)
    return block.attention.repeat_heads(v)[0, head] @ _outputs(block)[head].T


@torch.no_grad()
def logit_attribution(model: GPT, token_ids: Int[Tensor, " T"], right: int, wrong: int) -> dict[str, float]:
    """How much each part adds to the logit of `right` less that of `wrong`, for the token that comes next.

    The parts are the embeddings, each head, each feed-forward network and all biases that reach the stream directly.
    Together they are the whole difference (before the soft cap, if the model has one): the final norm is taken as the
    fixed scale that it is in this run.
    """
    parts = _writes(model, token_ids)
    norm, table = model.final_norm, model.token_embedding.weight
    stream = torch.stack(list(parts.values())).sum(0)
    if isinstance(norm, nn.LayerNorm):  # the mean is linear, so each part loses its own
        parts = {name: part - part.mean() for name, part in parts.items()}
        stream = stream - stream.mean()
    scale = (stream.square().mean() + NORM_EPS).rsqrt()
    direction = table[right] - table[wrong]
    shares = {name: float(part * scale * norm.weight @ direction) for name, part in parts.items()}
    bias = getattr(norm, "bias", None)
    if bias is not None:
        shares["biases"] += float(bias @ direction)
    return shares


def _writes(model: GPT, token_ids: Int[Tensor, " T"]) -> dict[str, Float[Tensor, " C"]]:
    """What each part adds to the stream at the last token."""
    C, H = model.config.embedding_dim, model.config.num_heads
    biases = torch.zeros(C, device=model.device)
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # what it is given, and what it gives
    blocks = [_block(model, layer) for layer in range(model.config.num_layers)]
    watched = [part for block in blocks for part in (block, block.attention.projection, block.feedforward)]
    hooks = [
        part.register_forward_hook(lambda part, given, gives: seen.update({part: (given[0], gives)}))
        for part in watched
    ]
    run_with_hooks(model, token_ids, hooks)
    parts = {"embeddings": seen[blocks[0]][0][0, -1]}
    for number, block in enumerate(blocks, start=1):
        heads = seen[block.attention.projection][0][0, -1].view(H, -1)  # (H, D): what each head has mixed
        for head, (mixed, outputs) in enumerate(zip(heads, _outputs(block), strict=True), start=1):
            parts[f"layer {number}, head {head}"] = outputs @ mixed
        parts[f"layer {number}, feed-forward"] = seen[block.feedforward][1][0, -1]
        if block.attention.projection.bias is not None:
            biases = biases + block.attention.projection.bias
    return parts | {"biases": biases}


def _outputs(block: TransformerBlock) -> Float[Tensor, "H C D"]:
    """Each head's columns of the projection."""
    projection = block.attention.projection
    weight = projection.merged() if isinstance(projection, LoRALinear) else projection.weight
    return weight.view(weight.shape[0], block.attention.num_heads, -1).transpose(0, 1)


def _block(model: GPT, layer: int) -> TransformerBlock:
    block = model.blocks[layer]
    assert isinstance(block, TransformerBlock)  # a ModuleList's own types do not say so
    return block
