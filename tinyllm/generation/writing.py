"""Writing: a model continues a prompt, token by token, as ids, as a stream of text, or as several texts at once.

Shapes: B batch, T time (tokens).
"""

import dataclasses
from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from tinyllm.config import GenerationConfig
from tinyllm.generation.decoding import make_decoder
from tinyllm.generation.sampling import next_tokens
from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.model.gpt import GPT
from tinyllm.text.tokenizer import Tokenizer


@torch.no_grad()
def generate(model: GPT, token_ids: Int[Tensor, "B T"], config: GenerationConfig) -> Iterator[Int[Tensor, " B"]]:
    """Continue B prompts of the same length: each step yields one new token per prompt, `maximum_length` at most.

    The prompt fills the cache in one pass, then each token costs one step. When the context is full, its last half is
    kept and the cache is filled again: positions are absolute, so cached keys cannot slide.
    A row that has drawn one of `stop_tokens` goes on until every row has. Raises ValueError for an empty prompt.
    """
    if token_ids.dim() != 2 or token_ids.shape[1] == 0:
        raise ValueError(f"token_ids must have shape (B, T) with T at least 1, not {tuple(token_ids.shape)}")
    device = model.device
    generator = None if config.seed is None else torch.Generator(device).manual_seed(config.seed)
    with evaluation_mode(model):
        new = token_ids.to(device)[:, -model.config.context_length :]
        text = [new]
        decoder = make_decoder(model, len(new))
        stopped = torch.zeros(len(new), dtype=torch.bool, device=device)
        stops = torch.tensor(config.stop_tokens or (), dtype=torch.long, device=device)
        for _ in range(config.maximum_length):
            if decoder.room < new.shape[1]:
                decoder.forget()
                new = torch.cat(text, dim=1)[:, -(model.config.context_length // 2 or 1) :]
                text = [new]
            tokens = next_tokens(decoder.read(new), config, generator)
            yield tokens
            if len(stops):  # asking whether all have stopped makes Python wait for a GPU
                stopped |= torch.isin(tokens, stops)
                if stopped.all():
                    return
            new = tokens[:, None]
            text.append(new)


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
