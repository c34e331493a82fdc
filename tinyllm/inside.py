"""What happens inside a trained model."""

import math

import torch
from torch import Tensor

from tinyllm.attention import CausalSelfAttention
from tinyllm.model import GPT


@torch.no_grad()
def attention_weights(model: GPT, token_ids: Tensor) -> Tensor:
    """Where each token looks, in every head: ids (T) -> weights (L, H, T, T). Row t adds up to 1; it is token t's look.

    The model itself never holds these weights (its attention is fused), so they are computed again from what each
    layer's attention reads. Raises ValueError for more tokens than the context holds.
    """
    inputs: list[Tensor] = []
    hooks = [
        block.attention.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
        for block in model.blocks
    ]
    was_training = model.training
    try:
        model.eval()(token_ids[None].to(model.token_embedding.weight.device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return torch.stack([_weights(block.attention, x) for block, x in zip(model.blocks, inputs, strict=True)]).cpu()


def _weights(attention: CausalSelfAttention, x: Tensor) -> Tensor:
    """One layer: (1, T, C) -> (H, T, T)."""
    q, k, _ = attention.queries_keys_values(x)
    q, k = q[0], attention.repeat_heads(k)[0]  # (H, T, D)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    visible = torch.ones(scores.shape[1:], dtype=torch.bool, device=x.device).tril()
    return scores.masked_fill(~visible, -torch.inf).softmax(-1)
