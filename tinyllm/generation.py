"""Sampling: how a model writes.

Shapes: B batch, T time (tokens), V vocab_size.

Sources: Fan et al., "Hierarchical Neural Story Generation" (2018, top-k); Holtzman et al., "The Curious Case of
Neural Text Degeneration" (2020, top-p).
"""

import dataclasses
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tinyllm.config import GenerationConfig
from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.model.gpt import GPT
from tinyllm.model.kv_cache import KVCache
from tinyllm.text.tokenizer import Tokenizer


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


@torch.no_grad()
def generate(model: GPT, token_ids: Int[Tensor, "B T"], config: GenerationConfig) -> Iterator[Int[Tensor, " B"]]:
    """Continue B prompts of the same length: each step yields one new token per prompt, `maximum_length` at most.

    The prompt fills the cache in one pass, then each token costs one step. When the context is full, its last half is
    kept and the cache is filled again: positions are absolute, so cached keys cannot slide.
    A row that has drawn one of `stop_tokens` goes on until every row has. Raises ValueError for an empty prompt.
    """
    if token_ids.dim() != 2 or token_ids.shape[1] == 0:
        raise ValueError(f"token_ids must have shape (B, T) with T at least 1, not {tuple(token_ids.shape)}")
    context_length, device = model.config.context_length, model.device
    generator = None if config.seed is None else torch.Generator(device).manual_seed(config.seed)
    with evaluation_mode(model):
        window = token_ids.to(device)[:, -context_length:]
        new = window
        cache = KVCache(model.config, len(window), device, model.token_embedding.weight.dtype)
        stopped = torch.zeros(len(window), dtype=torch.bool, device=device)
        stops = torch.tensor(config.stop_tokens or (), dtype=torch.long, device=device)
        for _ in range(config.maximum_length):
            if cache.length + new.shape[1] > context_length:
                new = window[:, -(context_length // 2 or 1) :]
                cache.length = 0
            logits = model(new, cache=cache)[:, -1]  # (B, V)
            tokens = next_tokens(logits, config, generator)
            yield tokens
            stopped |= torch.isin(tokens, stops)
            if stopped.all():
                return
            new = tokens[:, None]
            window = torch.cat([window, new], dim=1)[:, -context_length:]


def stream_text(
    model: GPT, tokenizer: Tokenizer, prompt: str = "", config: GenerationConfig | None = None
) -> Iterator[str]:
    """Yield the continuation of `prompt` piece by piece, as it is drawn; never half of a UTF-8 character."""
    config, stop_tokens, prompt_ids = _prepare(model, tokenizer, prompt, config)

    def new_ids() -> Iterator[int]:
        for tokens in generate(model, torch.tensor([prompt_ids]), config):
            token = int(tokens)
            if token in stop_tokens:
                return
            yield token

    return tokenizer.decode_stream(new_ids(), prompt_ids[-1])


def generate_text(model: GPT, tokenizer: Tokenizer, prompt: str = "", config: GenerationConfig | None = None) -> str:
    """Continue `prompt` as the start of a new document; returns the prompt and its continuation.

    The model reads the document separator before the prompt, as in training; an empty prompt is the separator alone.

    Raises ValueError if the tokenizer's vocabulary differs from the model's in size: it is not the model's own.
    """
    return prompt + "".join(stream_text(model, tokenizer, prompt, config))


def generate_texts(
    model: GPT, tokenizer: Tokenizer, prompt: str = "", config: GenerationConfig | None = None, number: int = 1
) -> list[str]:
    """Continue one prompt `number` times at once; each text is like one of `generate_text`."""
    if number < 1:
        raise ValueError(f"number must be 1 or more, not {number}")
    config, stop_tokens, prompt_ids = _prepare(model, tokenizer, prompt, config)
    steps = list(generate(model, torch.tensor([prompt_ids] * number), config))
    rows = torch.stack(steps, dim=1).tolist() if steps else [[]] * number
    texts = []
    for row in rows:
        end = next((index for index, token in enumerate(row) if token in stop_tokens), len(row))
        texts.append(prompt + "".join(tokenizer.decode_stream(row[:end], prompt_ids[-1])))
    return texts


def _prepare(
    model: GPT, tokenizer: Tokenizer, prompt: str, config: GenerationConfig | None
) -> tuple[GenerationConfig, tuple[int, ...], list[int]]:
    """The config with its stop tokens filled in, these stop tokens, and the ids of separator and prompt."""
    tokenizer.check_vocabulary(model.config.vocab_size)
    config = config or GenerationConfig()
    stop_tokens = (tokenizer.end_of_text_id,) if config.stop_tokens is None else config.stop_tokens
    prompt_ids = [tokenizer.end_of_text_id, *tokenizer.encode(prompt)]
    return dataclasses.replace(config, stop_tokens=stop_tokens), stop_tokens, prompt_ids
