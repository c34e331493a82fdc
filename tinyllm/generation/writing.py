"""Writing: a model continues a prompt, token by token, as ids, as a stream of text, or as several texts at once.

Shapes: B batch, T time (tokens).
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import takewhile, tee
from operator import itemgetter

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
    A row that has drawn one of `stop_tokens` goes on until every row has. Strings to stop at (`stop`) need a tokenizer:
    see `generate_text`. Raises ValueError for an empty prompt.
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
    """Yield the continuation of `prompt` piece by piece, as it is drawn.

    Never half of a UTF-8 character, nor any part of a string of `config.stop`. Raises as `generate_text`.
    """
    return _streams(model, tokenizer, prompt, config, 1)[0]


def generate_text(model: GPT, tokenizer: Tokenizer, prompt: str = "", config: GenerationConfig | None = None) -> str:
    """Continue `prompt` as the start of a new document; returns the prompt and its continuation.

    The model reads the document separator before the prompt, as in training; an empty prompt is the separator alone.
    Of a prompt longer than the context, the model sees the end.

    Raises ValueError if the tokenizer's vocabulary differs from the model's in size: it is not the model's own.
    """
    return prompt + "".join(stream_text(model, tokenizer, prompt, config))


def generate_texts(
    model: GPT, tokenizer: Tokenizer, prompt: str = "", config: GenerationConfig | None = None, number: int = 1
) -> list[str]:
    """Continue one prompt `number` times at once; each text is like one of `generate_text`."""
    if number < 1:
        raise ValueError(f"number must be 1 or more, not {number}")
    return [prompt + "".join(stream) for stream in _streams(model, tokenizer, prompt, config, number)]


def _streams(
    model: GPT, tokenizer: Tokenizer, prompt: str, config: GenerationConfig | None, number: int
) -> list[Iterator[str]]:
    """Continuations of one prompt, each a new document's. They are drawn together, as far as the longest needs."""
    config = config or GenerationConfig()
    if config.stop_tokens is None:
        config = dataclasses.replace(config, stop_tokens=(tokenizer.end_of_text_id,))
    return streams_of_ids(model, tokenizer, [tokenizer.end_of_text_id, *tokenizer.encode(prompt)], config, number)


def streams_of_ids(
    model: GPT, tokenizer: Tokenizer, prompt_ids: Sequence[int], config: GenerationConfig, number: int = 1
) -> list[Iterator[str]]:
    """Continuations, as text, of a prompt in ids; each ends before the first of the configuration's `stop_tokens`.

    Raises ValueError if the tokenizer's vocabulary differs from the model's in size: it is not the model's own.
    """
    tokenizer.check_vocabulary(model.config.vocab_size)
    steps = (tokens.tolist() for tokens in generate(model, torch.tensor([prompt_ids] * number), config))
    streams = []
    for row, row_steps in enumerate(tee(steps, number)):
        ids = takewhile(partial(_goes_on, config), map(itemgetter(row), row_steps))
        streams.append(cut_at(tokenizer.decode_stream(ids, prompt_ids[-1]), config.stop))
    return streams


def _goes_on(config: GenerationConfig, token: int) -> bool:
    return token not in (config.stop_tokens or ())


def cut_at(pieces: Iterable[str], stop: Sequence[str]) -> Iterator[str]:
    """Pass on text that comes in pieces up to the first stop string that is complete, and hold back its beginnings.

    However the text is cut into pieces, the result is the same: the stop string that ends first is the one.
    """
    held = ""
    for piece in pieces:
        held += piece
        found = [(held.index(string) + len(string), held.index(string)) for string in stop if string in held]
        if found:
            held = held[: min(found)[1]]
            break
        ready = len(held) - max((_begun(held, string) for string in stop), default=0)
        if ready:
            yield held[:ready]
            held = held[ready:]
    if held:
        yield held


def _begun(text: str, string: str) -> int:
    """How many characters of `string`, which is not in `text`, the end of `text` may be the beginning of."""
    return next(size for size in range(min(len(text), len(string) - 1), -1, -1) if text.endswith(string[:size]))
