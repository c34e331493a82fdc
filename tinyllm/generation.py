"""Sampling: how a model writes.

Sources: Fan et al., "Hierarchical Neural Story Generation" (2018, top-k); Holtzman et al., "The Curious Case of
Neural Text Degeneration" (2020, top-p).
"""

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from tinyllm.config import GenerationConfig
from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.model.gpt import GPT
from tinyllm.model.kv_cache import KVCache
from tinyllm.text.tokenizer import Tokenizer


def filter_logits(logits: Tensor, config: GenerationConfig) -> Tensor:
    """Divide by the temperature, and set what top-k and top-p exclude to -inf. Shapes: (B, V) -> (B, V).

    Top-p keeps the likeliest tokens up to and including the one that reaches the probability. Of equal logits at a
    border the lower ids stay.
    """
    logits = logits.float() / config.temperature
    if config.top_k is not None:
        logits = logits.masked_fill(~_largest(logits, min(config.top_k, logits.shape[-1])), -torch.inf)
    if config.top_p is not None and config.top_p < 1:  # rounded sums reach 1 before the last token
        ordered, order = logits.sort(descending=True, stable=True)  # likeliest first, (B, V)
        probabilities = ordered.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities  # what the likelier ones hold together
        excluded = torch.empty_like(before, dtype=torch.bool).scatter_(-1, order, before >= config.top_p)
        logits = logits.masked_fill(excluded, -torch.inf)
    return logits


def _largest(logits: Tensor, number: int) -> Tensor:
    """Where the `number` largest logits of each row stand: (B, V), bool. Much faster than sorting a vocabulary."""
    border = logits.topk(number).values[:, -1:]  # (B, 1)
    above, equal = logits > border, logits == border
    room = number - above.sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1) <= room))


def next_tokens(logits: Tensor, config: GenerationConfig, generator: torch.Generator | None = None) -> Tensor:
    """Draw one token per row: (B, V) -> (B). Temperature 0 takes the likeliest."""
    if config.temperature == 0:
        return logits.argmax(-1)
    probabilities = filter_logits(logits, config).softmax(-1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


@torch.no_grad()
def generate(model: GPT, token_ids: Tensor, config: GenerationConfig) -> Iterator[Tensor]:
    """Yield up to `maximum_length` new tokens for each of B prompts of the same length: (B, T) -> (B) a step.

    The prompt fills the cache in one pass, then each token costs one step. Where the context is full, the last
    half of it is kept and the cache filled again: positions are absolute, so cached keys cannot slide.
    A row that drew one of `stop_tokens` goes on, but the last step is the one where all rows have.
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
    """Yield what follows `prompt`, piece by piece, as it is drawn; never half of a UTF-8 character."""
    config, prompt_ids = _prepare(model, tokenizer, prompt, config)

    def new_ids() -> Iterator[int]:
        for tokens in generate(model, torch.tensor([prompt_ids]), config):
            if tokens.item() in config.stop_tokens:
                return
            yield tokens.item()

    return tokenizer.decode_stream(new_ids(), prompt_ids[-1])


def generate_text(model: GPT, tokenizer: Tokenizer, prompt: str = "", config: GenerationConfig | None = None) -> str:
    """Continue `prompt`, which begins a new document; returns it with what follows.

    The document separator stands before the prompt, as it did in training; an empty prompt is the separator alone.

    Raises ValueError if the tokenizer is not the one the model was trained with (their vocabularies differ in size).
    """
    return prompt + "".join(stream_text(model, tokenizer, prompt, config))


def generate_texts(
    model: GPT, tokenizer: Tokenizer, prompt: str = "", config: GenerationConfig | None = None, number: int = 1
) -> list[str]:
    """Draw `number` continuations of one prompt at once, each like `generate_text`'s."""
    if number < 1:
        raise ValueError(f"number must be 1 or more, not {number}")
    config, prompt_ids = _prepare(model, tokenizer, prompt, config)
    steps = list(generate(model, torch.tensor([prompt_ids] * number), config))
    rows = torch.stack(steps, dim=1).tolist() if steps else [[]] * number
    texts = []
    for row in rows:
        end = next((place for place, token in enumerate(row) if token in config.stop_tokens), len(row))
        texts.append(prompt + "".join(tokenizer.decode_stream(row[:end], prompt_ids[-1])))
    return texts


def _prepare(
    model: GPT, tokenizer: Tokenizer, prompt: str, config: GenerationConfig | None
) -> tuple[GenerationConfig, list[int]]:
    tokenizer.check_vocabulary(model.config.vocab_size)
    config = config or GenerationConfig()
    if config.stop_tokens is None:
        config = dataclasses.replace(config, stop_tokens=(tokenizer.end_of_text_id,))
    return config, [tokenizer.end_of_text_id, *tokenizer.encode(prompt)]
