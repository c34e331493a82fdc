"""What happens inside a trained model: where it looks, what each layer knows, and what a part of it is for.

Shape letters: T time (tokens), C embedding_dim, V vocab_size, L layers, H heads.

Sources: nostalgebraist, "Interpreting GPT: the logit lens" (2020); Meng et al., "Locating and Editing Factual
Associations in GPT" (2022, patching); Olsson et al., "In-context Learning and Induction Heads" (2022).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tinyllm.model.attention import CausalSelfAttention
from tinyllm.model.gpt import GPT
from tinyllm.model.loss import softcap


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
    _run(model, token_ids, hooks)
    return torch.stack([_weights(block.attention, x) for block, x in zip(model.blocks, inputs, strict=True)]).cpu()


def _weights(attention: CausalSelfAttention, x: Tensor) -> Tensor:
    """One layer: (1, T, C) -> (H, T, T)."""
    q, k, _ = attention.queries_keys_values(x)
    q, k = q[0], attention.repeat_heads(k)[0]  # (H, T, D)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    visible = torch.ones(scores.shape[1:], dtype=torch.bool, device=x.device).tril()
    return scores.masked_fill(~visible, -torch.inf).softmax(-1)


@torch.no_grad()
def residual_stream(model: GPT, token_ids: Tensor) -> Tensor:
    """The stream in front of the first layer and behind each: ids (T) -> (L + 1, T, C)."""
    streams: list[Tensor] = []
    hooks = [model.blocks[0].register_forward_pre_hook(lambda _, arguments: streams.append(arguments[0]))]
    hooks += [block.register_forward_hook(lambda _, __, output: streams.append(output)) for block in model.blocks]
    _run(model, token_ids, hooks)
    return torch.cat(streams)


@torch.no_grad()
def logit_lens(model: GPT, token_ids: Tensor) -> Tensor:
    """The logits if the model ended here, in front of the first layer and behind each: ids (T) -> (L + 1, T, V)."""
    hidden = model.final_norm(residual_stream(model, token_ids))
    return softcap(hidden @ model.token_embedding.weight.T, model.config.logit_softcap)


@contextmanager
def head_off(model: GPT, layer: int, head: int) -> Iterator[None]:
    """While this lasts, one head of one layer gives zeros. Raises ValueError if the model has no such head."""
    if not (0 <= layer < len(model.blocks) and 0 <= head < model.config.num_heads):
        raise ValueError(
            f"no head {head} in layer {layer}: the model has layers 0 to {len(model.blocks) - 1} "
            f"and heads 0 to {model.config.num_heads - 1}"
        )
    attention = model.blocks[layer].attention
    D = model.config.head_dim

    def silence(_: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
        mixed = arguments[0].clone()  # (B, T, C): the heads side by side, before the projection
        mixed[..., head * D : (head + 1) * D] = 0
        return (mixed,)

    hook = attention.projection.register_forward_pre_hook(silence)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def patched(model: GPT, layer: int, position: int, vector: Tensor) -> Iterator[None]:
    """While this lasts, the stream of one token is `vector` (C), put in before layer `layer` (L: behind the last).

    Raises ValueError if the model has no such layer.
    """
    if not 0 <= layer <= len(model.blocks):
        raise ValueError(f"no layer {layer}: give 0 to {len(model.blocks)}, which is behind the last")

    def put(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, position] = vector
        return x

    if layer < len(model.blocks):
        hook = model.blocks[layer].register_forward_pre_hook(lambda _, given: (put(given[0]), *given[1:]))
    else:
        hook = model.final_norm.register_forward_pre_hook(lambda _, given: (put(given[0]),))
    try:
        yield
    finally:
        hook.remove()


def induction_scores(weights: Tensor, token_ids: Tensor) -> Tensor:
    """How much each head looks at tokens that once followed the current one: (L, H, T, T), ids (T) -> (L, H).

    The mean over all tokens that stood before. A head that only looks there scores 1. Raises ValueError if no token of
    the text comes twice.
    """
    same = token_ids[:, None] == token_ids[None, :]
    followed = torch.zeros_like(same)
    followed[:, 1:] = same[:, :-1]  # (t, s): the token before s is the token at t
    followed = followed.tril(0)
    rows = followed.any(1)
    if not rows.any():
        raise ValueError("no token of this text comes twice, so there is nothing to repeat")
    return (weights * followed).sum(-1)[..., rows].mean(-1)


def _run(model: GPT, token_ids: Tensor, hooks: list) -> None:
    was_training = model.training
    try:
        model.eval()(token_ids[None].to(model.token_embedding.weight.device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
