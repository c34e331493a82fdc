"""What LoRA learned, as a file of its own: at rank 8 a hundredth of the model, and of use with that model only."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tinyllm.model.gpt import GPT
from tinyllm.model.weights import adapt_model
from tinyllm.system.paths import user_path, utf8_path
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.text.turns import Turns

_ROWS = "token_embedding.roles"  # the embeddings of the tokens for roles, which the model underneath may not have


def save_adapter(model: GPT, tokenizer: Tokenizer, path: str | Path) -> None:
    """Write the corrections, and nothing of the model that they correct, as one .safetensors file.

    Raises ValueError for a model without corrections, OSError if the file cannot be written.
    """
    if not model.config.lora:
        raise ValueError("this model has no corrections: it was trained without lora=")
    weights = dict(_corrections(model))
    turns = Turns.of(tokenizer)
    if turns is not None:
        weights[_ROWS] = model.token_embedding.weight[list(turns[1:])]
    metadata = {"base": _fingerprint(model, turns), "context_length": str(model.config.context_length)}
    path = user_path(path)
    path.touch()  # with the rights that the user gives to new files
    rights = path.stat().st_mode
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, path, metadata)
    except SafetensorError as error:  # how it reports a full disk
        raise OSError(f"{path} cannot be written: {error}") from error
    path.chmod(rights)


def apply_adapter(model: GPT, tokenizer: Tokenizer, path: str | Path) -> tuple[GPT, Tokenizer]:
    """A model with the corrections that `save_adapter` wrote merged into it, and its tokenizer.

    Raises ValueError for any other file, and for corrections of another model.
    """
    path = user_path(path)
    path.open("rb").close()  # safetensors says of a file that may not be read that there is none
    try:
        with utf8_path(path) as readable, safe_open(readable, framework="pt") as file:
            metadata = file.metadata() or {}
            base, context_length = metadata["base"], int(metadata["context_length"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        rank = next(len(weight) for name, weight in weights.items() if name.endswith(".down"))
    except (SafetensorError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise ValueError(f"{path} is not an adapter, which save_adapter writes: {error}") from None
    if _ROWS in weights and isinstance(tokenizer, SubWordTokenizer):
        tokenizer = tokenizer.with_roles()
    turns = Turns.of(tokenizer) if _ROWS in weights else None
    context_length = min(context_length, model.config.context_length)  # training may have made it shorter
    adapted = adapt_model(model, context_length, vocab_size=tokenizer.vocab_size, lora=rank)
    own = dict(_corrections(adapted))
    shapes = {name: weight.shape for name, weight in own.items()}
    if turns is not None:
        shapes[_ROWS] = adapted.token_embedding.weight[list(turns[1:])].shape
    fits = shapes == {name: weight.shape for name, weight in weights.items()}
    if not fits or _fingerprint(adapted, turns) != base:
        raise ValueError(f"{path} belongs to another model: load the one that it was trained on")
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(weights[name])
        if turns is not None:
            adapted.token_embedding.weight[list(turns[1:])] = weights[_ROWS].float()
    return adapt_model(adapted).eval(), tokenizer


def _corrections(model: GPT) -> Iterator[tuple[str, Tensor]]:
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


def _fingerprint(model: GPT, turns: Turns | None) -> str:
    """A hash of what is corrected: all other weights, but for the embeddings of roles."""
    learned = dict(_corrections(model))
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        if name in learned:
            continue
        frozen = weight.detach().cpu()
        if name == "token_embedding.weight" and turns is not None:
            frozen = frozen[[token for token in range(len(frozen)) if token not in turns[1:]]]
        digest.update(name.encode())
        digest.update(frozen.contiguous().numpy().tobytes())
    return digest.hexdigest()
