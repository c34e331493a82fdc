"""What happens inside a trained model as it runs: what it attends to, what each layer knows, what a part of it is for.

Shape letters: B batch, T time (tokens), C embedding_dim, V vocab_size, L layers, H heads, D head_dim.

Sources: nostalgebraist, "Interpreting GPT: the logit lens" (2020); Meng et al., "Locating and Editing Factual
Associations in GPT" (2022, patching); Olsson et al., "In-context Learning and Induction Heads" (2022); Wang et al.,
"Interpretability in the Wild" (2022, heads replaced by their mean).
"""

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tinyllm.model.attention import CausalSelfAttention
from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.model.gpt import GPT


@torch.no_grad()
def attention_weights(model: GPT, token_ids: Int[Tensor, " T"]) -> Float[Tensor, "L H T T"]:
    """The attention weights of every head. Row t adds up to 1: what token t attends to.

    The model never stores these weights (its attention is fused), so they are computed again from each layer's input.
    Raises ValueError for more than context_length tokens.
    """
    attentions = [_attention(block) for block in model.blocks]
    inputs: list[Tensor] = []
    hooks = [
        attention.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
        for attention in attentions
    ]
    run_with_hooks(model, token_ids, hooks)
    return torch.stack([_weights(attention, x) for attention, x in zip(attentions, inputs, strict=True)]).cpu()


def _attention(block: nn.Module) -> CausalSelfAttention:
    attention = block.attention
    assert isinstance(attention, CausalSelfAttention)  # nn.Module's own attributes have no types
    return attention


def _weights(attention: CausalSelfAttention, x: Float[Tensor, "1 T C"]) -> Float[Tensor, "H T T"]:
    """Those of one layer, from its input."""
    q, k, _ = attention.queries_keys_values(x)
    q, k = q[0], attention.repeat_heads(k)[0]  # (H, T, D)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    visible = torch.ones(scores.shape[1:], dtype=torch.bool, device=x.device).tril()
    return scores.masked_fill(~visible, -torch.inf).softmax(-1)


@torch.no_grad()
def residual_stream(model: GPT, token_ids: Int[Tensor, " T"]) -> Float[Tensor, "_ T C"]:
    """The L + 1 residual streams: before the first layer, and after each."""
    streams: list[Tensor] = []
    hooks = [model.blocks[0].register_forward_pre_hook(lambda _, arguments: streams.append(arguments[0]))]
    hooks += [block.register_forward_hook(lambda _, __, output: streams.append(output)) for block in model.blocks]
    run_with_hooks(model, token_ids, hooks)
    return torch.cat(streams)


@torch.no_grad()
def logit_lens(model: GPT, token_ids: Int[Tensor, " T"]) -> Float[Tensor, "_ T V"]:
    """The L + 1 logits if the model ended before its first layer, or after each."""
    return model.head(model.final_norm(residual_stream(model, token_ids)))


@torch.no_grad()
def mean_heads(model: GPT, texts: Sequence[Int[Tensor, " _"]]) -> Float[Tensor, "L C"]:
    """What the heads of each layer give on average over all tokens of some texts, side by side (C is H times D)."""
    given: list[list[Tensor]] = [[] for _ in model.blocks]
    for token_ids in texts:
        hooks = [
            _attention(block).projection.register_forward_pre_hook(
                lambda _, arguments, seen=seen: seen.append(*arguments)
            )
            for block, seen in zip(model.blocks, given, strict=True)
        ]
        run_with_hooks(model, token_ids, hooks)
    return torch.stack([torch.cat(seen, dim=1)[0].mean(0) for seen in given])


@contextmanager
def heads_off(
    model: GPT, heads: Collection[tuple[int, int]], means: Float[Tensor, "L C"] | None = None
) -> Iterator[None]:
    """Inside the `with` block, these heads (each a layer and a head) give zeros, or always their part of `means`.

    Raises ValueError if the model has no such head.
    """
    for layer, head in heads:
        if not (0 <= layer < len(model.blocks) and 0 <= head < model.config.num_heads):
            raise ValueError(
                f"no head {head} in layer {layer}: the model has layers 0 to {len(model.blocks) - 1} "
                f"and heads 0 to {model.config.num_heads - 1}"
            )
    D = model.config.head_dim
    hooks = []
    for number, block in enumerate(model.blocks):
        columns = [head * D + n for layer, head in heads if layer == number for n in range(D)]

        def silence(
            _: nn.Module, arguments: tuple[Tensor], number: int = number, columns: list[int] = columns
        ) -> tuple[Tensor]:
            mixed = arguments[0].clone()  # (B, T, C): all heads side by side, before the projection
            mixed[..., columns] = 0 if means is None else means[number, columns]
            return (mixed,)

        hooks.append(_attention(block).projection.register_forward_pre_hook(silence))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def patched(model: GPT, layer: int, position: int, vector: Float[Tensor, " C"]) -> Iterator[None]:
    """Inside the `with` block, the residual stream at one position is `vector` before a layer, or after the last.

    Args:
        layer: 0 to L - 1 for before that layer, L for after the last.

    Raises:
        ValueError: the model has no such layer.
    """
    if not 0 <= layer <= len(model.blocks):
        raise ValueError(f"no layer {layer}: give 0 to {len(model.blocks)}, which is after the last")

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


def induction_scores(weights: Float[Tensor, "L H T T"], token_ids: Int[Tensor, " T"]) -> Float[Tensor, "L H"]:
    """How much each head attends to the tokens that followed earlier occurrences of the current one.

    The mean over all tokens that have occurred before. A head that attends to nothing else scores 1. Raises ValueError
    if no token of the text occurs twice.
    """
    same = token_ids[:, None] == token_ids[None, :]
    followed = torch.zeros_like(same)
    followed[:, 1:] = same[:, :-1]  # (t, s): the token before s equals the token at t
    followed = followed.tril(0)
    rows = followed.any(1)
    if not rows.any():
        raise ValueError("no token of this text occurs twice, so there is nothing to repeat")
    return (weights * followed).sum(-1)[..., rows].mean(-1)


def previous_token_scores(weights: Float[Tensor, "L H T T"]) -> Float[Tensor, "L H"]:
    """How much each head attends to the token before the current one: the mean over all tokens but the first."""
    return weights.diagonal(-1, -2, -1).mean(-1)


def run_with_hooks(model: GPT, token_ids: Int[Tensor, " T"], hooks: Sequence[RemovableHandle]) -> None:
    """One forward pass without dropout, for what the hooks see or change; then they are removed."""
    try:
        with evaluation_mode(model):
            model(token_ids[None].to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
