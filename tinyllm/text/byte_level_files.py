"""The files in which others keep a byte-level BPE vocabulary: GPT-2's two, and the `tokenizer.json` of `tokenizers`.

Both write a token as characters, one for each byte, and list the merges. tiktoken, which encodes here, knows no list:
it joins any two neighbours that are a token together, the earliest token first. The two agree where each token's bytes,
joined that way, come as the pair that the list has for it (`merges_of`). That is checked; then the ids are the same.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

from tinyllm.system.files import read_json
from tinyllm.text.tokenizer import END_OF_TEXT

Merge = tuple[bytes, bytes]
PAIRS_OF_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
"""The names that Hugging Face and OpenAI give to GPT-2's two files."""


def _byte_characters() -> dict[int, str]:
    """GPT-2's character for each byte: itself where Latin-1 can be seen, else the next one from U+0100 on."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + index) for index, byte in enumerate(hidden)}


_CHARACTERS = _byte_characters()
_BYTES = {character: byte for byte, character in _CHARACTERS.items()}


def merges_of(tokens: Sequence[bytes]) -> list[Merge]:
    """The pair that each token of several bytes was merged from, in the order of the tokens.

    Raises ValueError for a token that the tokens before it cannot give.
    """
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return [_pair(token, ranks) for token in tokens if len(token) > 1]


def _pair(token: bytes, ranks: Mapping[bytes, int]) -> Merge:
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        ranked = [(ranks.get(left + right, len(ranks)), index) for index, (left, right) in enumerate(pairwise(parts))]
        rank, index = min(ranked)
        if rank >= ranks[token]:
            raise ValueError(f"no merge gives the token {token!r}; if it is a special token, say so (special_tokens)")
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    return parts[0], parts[1]


def read_vocabulary(path: Path, special_tokens: Sequence[str]) -> tuple[list[bytes], dict[str, int]]:
    """The ordinary tokens in the order of their ids, and the special tokens with theirs.

    `path` is a `tokenizer.json`, or a folder that contains one or GPT-2's two files. A file's own special tokens
    are added to `special_tokens`, of which those that it lacks are left out. Raises ValueError in one line for
    anything but byte-level BPE as GPT-2 does it.
    """
    try:
        vocabulary, merges, added = _read_files(path)
        names = [name for name in dict.fromkeys([*added, *special_tokens]) if name in vocabulary]
        return _tokens(vocabulary, merges, names)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__} {error}" if not isinstance(error, ValueError) else str(error)
        raise ValueError(f"{path} is not a byte-level BPE tokenizer as GPT-2's: {reason}") from None


def _read_files(path: Path) -> tuple[dict[str, int], list[Merge], list[str]]:
    if not path.is_dir():
        return _read_tokenizer_json(path)
    if (path / "tokenizer.json").is_file():
        return _read_tokenizer_json(path / "tokenizer.json")
    for vocabulary, merges in PAIRS_OF_FILES:
        if (path / vocabulary).is_file() and (path / merges).is_file():
            lines = (path / merges).read_text(encoding="utf-8").split("\n")
            lines = lines[1:] if lines[0].startswith("#version") else lines
            return read_json(path / vocabulary), [_merge(line) for line in lines if line.strip()], []
    raise ValueError("the folder has no tokenizer.json, and no vocab.json with merges.txt")


def _read_tokenizer_json(path: Path) -> tuple[dict[str, int], list[Merge], list[str]]:
    content = read_json(path)
    model = content["model"]
    _check_pipeline(content, model)
    added = {token["content"]: token["id"] for token in content.get("added_tokens") or []}
    vocabulary = model["vocab"] | added
    if len(set(vocabulary.values())) < len(vocabulary):
        raise ValueError("two tokens have the same id")
    return vocabulary, [_merge(merge) for merge in model["merges"]], list(added)


def _check_pipeline(content: dict[str, Any], model: dict[str, Any]) -> None:
    """Raise ValueError where a step of the tokenizer would give other ids than GPT-2's."""
    splitting = content.get("pre_tokenizer") or {}
    if splitting.get("type") == "Sequence" and len(splitting["pretokenizers"]) == 1:
        splitting = splitting["pretokenizers"][0]
    if model.get("type", "BPE") != "BPE":
        raise ValueError(f"its model is {model['type']}")
    if content.get("normalizer"):
        raise ValueError(f"it changes the text first ({content['normalizer'].get('type')} normalizer)")
    if splitting.get("type") != "ByteLevel" or not splitting.get("use_regex", True):
        raise ValueError(f"its pre_tokenizer ({_kinds(splitting)}) cuts text into words by another pattern")
    if splitting.get("add_prefix_space", True):
        raise ValueError("it puts a space before each text (add_prefix_space)")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(setting):
            raise ValueError(f"its model has a {setting}")
    for token in content.get("added_tokens") or []:
        if not token.get("special"):
            raise ValueError(f"its added token {token['content']!r} is not a special one")
        if token.get("single_word") or token.get("lstrip") or token.get("rstrip"):
            raise ValueError(f"its special token {token['content']!r} takes in the white space beside it, or needs it")


def _kinds(splitting: dict[str, Any]) -> str:
    """A pre_tokenizer's kind, or those it is a sequence of: "Split, ByteLevel" is Llama 3's."""
    return ", ".join(str(part.get("type", "none")) for part in splitting.get("pretokenizers", [splitting]))


def _merge(pair: str | Sequence[str]) -> Merge:
    """One merge: "a b", as in merges.txt, or ["a", "b"]."""
    left, right = pair.rstrip("\r").split(" ") if isinstance(pair, str) else pair
    return _from_characters(left), _from_characters(right)


def _from_characters(token: str) -> bytes:
    try:
        return bytes(_BYTES[character] for character in token)
    except KeyError:
        raise ValueError(f"the token {token!r} is not written in GPT-2's characters for bytes") from None


def _to_characters(token: bytes) -> str:
    return "".join(_CHARACTERS[byte] for byte in token)


def _tokens(
    vocabulary: dict[str, int], merges: list[Merge], special_tokens: Sequence[str]
) -> tuple[list[bytes], dict[str, int]]:
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError(f"the ids of its {len(vocabulary)} tokens are not 0, 1, 2 ...")
    if END_OF_TEXT not in special_tokens:
        raise ValueError(f"it has no special token {END_OF_TEXT!r}, which separates documents here")
    special = {name: vocabulary[name] for name in special_tokens}
    tokens = [_from_characters(token) for token in sorted(vocabulary.keys() - special, key=vocabulary.__getitem__)]
    missing = 256 - sum(len(token) == 1 for token in tokens)
    if missing:
        raise ValueError(
            f"{missing} of the 256 bytes are not in it (train it with initial_alphabet=ByteLevel.alphabet())"
        )
    listed: dict[bytes, Merge] = {}
    for left, right in merges:
        listed.setdefault(left + right, (left, right))  # a later merge to the same token never finds its pair
    for (left, right), expected in zip_longest(listed.values(), merges_of(tokens), fillvalue=(b"", b"")):
        if (left, right) != expected:
            raise ValueError(f"it merges {left!r} and {right!r} where the ids of its tokens have {expected}")
    return tokens, special


def write_vocabulary(folder: Path, tokens: Sequence[bytes], special_tokens: Mapping[str, int]) -> None:
    """Write `tokenizer.json`, GPT-2's two files, and the `tokenizer_config.json` that transformers looks for."""
    pairs = [(_to_characters(left), _to_characters(right)) for left, right in merges_of(tokens)]
    ordinary = (index for index in range(len(tokens) + len(special_tokens)) if index not in special_tokens.values())
    vocabulary = {_to_characters(token): index for token, index in zip(tokens, ordinary, strict=False)}
    if both := vocabulary.keys() & special_tokens:
        raise ValueError(f"{both.pop()!r} is a special token and also an ordinary one: these files cannot have both")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, "content": token, **flags} for token, index in special_tokens.items()],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary | dict(special_tokens), "merges": pairs},
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT),
        "clean_up_tokenization_spaces": False,
    }
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in pairs), ""]
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("tokenizer.json", json.dumps(content, ensure_ascii=False)),
        ("tokenizer_config.json", json.dumps(settings, indent=2)),
        ("vocab.json", json.dumps(vocabulary | dict(special_tokens), ensure_ascii=False)),
        ("merges.txt", "\n".join(lines)),
    ):
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
