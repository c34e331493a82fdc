"""Answering: what a model that has learned from dialogues says next, and whether it is what it should say."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch

from tinyllm.config import GenerationConfig
from tinyllm.generation.writing import generate, streams_of_ids
from tinyllm.model.gpt import GPT
from tinyllm.text.dialogues import Dialogue, Message
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.text.turns import Turns

_TOGETHER = 64  # questions of one length that are answered in one batch


def stream_answer(
    model: GPT, tokenizer: Tokenizer, messages: Sequence[Message], config: GenerationConfig | None = None
) -> Iterator[str]:
    """Yield the answer to the last message piece by piece, as it is drawn; it ends where a turn or the dialogue does.

    Raises ValueError if the last message is an answer already, or if the tokenizer has no tokens for roles: the model
    has not learned from dialogues.
    """
    if messages[-1].role == "assistant":
        raise ValueError("the last message is an answer already: end with a question, of the role 'user'")
    config = config or GenerationConfig()
    prompt, turns = _prompt(messages, tokenizer)
    if config.stop_tokens is None:
        config = dataclasses.replace(config, stop_tokens=tuple(turns))
    return streams_of_ids(model, tokenizer, prompt, config)[0]


def exact_matches(
    model: GPT, tokenizer: Tokenizer, dialogues: Sequence[Dialogue], maximum_length: int = 64
) -> list[bool]:
    """Whether the most likely answer, token by token, is the last message of each dialogue, to the letter.

    One that has not ended after `maximum_length` tokens is wrong. Raises ValueError if a dialogue does not end with an
    answer, or the tokenizer has no tokens for roles.
    """
    config = GenerationConfig(maximum_length=maximum_length + 1, temperature=0.0)  # and the mark that ends it
    by_length: defaultdict[int, list[tuple[int, list[int]]]] = defaultdict(list)
    for index, dialogue in enumerate(dialogues):
        if dialogue.messages[-1].role != "assistant":
            raise ValueError(f"dialogue {index + 1} of {len(dialogues)} does not end with an answer to compare with")
        prompt, turns = _prompt(dialogue.messages[:-1], tokenizer)
        by_length[len(prompt)].append((index, prompt))
        config = dataclasses.replace(config, stop_tokens=tuple(turns))
    found: dict[int, str | None] = {}
    for same in by_length.values():  # of one length, so that no padding is needed
        for first in range(0, len(same), _TOGETHER):
            indices, prompts = zip(*same[first : first + _TOGETHER], strict=True)
            steps = [tokens.tolist() for tokens in generate(model, torch.tensor(prompts), config)]
            for index, ids in zip(indices, zip(*steps, strict=True), strict=True):
                end = next((place for place, token in enumerate(ids) if token in (config.stop_tokens or ())), None)
                found[index] = None if end is None else tokenizer.decode(ids[:end])
    return [found[index] == dialogue.messages[-1].content for index, dialogue in enumerate(dialogues)]


def _prompt(messages: Sequence[Message], tokenizer: Tokenizer) -> tuple[list[int], Turns]:
    """The ids after which the model speaks, and those of the marks."""
    ids = tokenizer.encode_messages(messages)
    turns = Turns.of(tokenizer)
    assert turns is not None  # else there were no ids
    return [turns.document, *ids, turns.assistant], turns
