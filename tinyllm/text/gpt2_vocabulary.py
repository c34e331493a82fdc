"""GPT-2's vocabulary: the 50,257 tokens that OpenAI published, and their ids."""

import contextlib
import hashlib
import os
import uuid
from pathlib import Path

import tiktoken

from tinyllm.system.cache import home, not_writable
from tinyllm.system.hub import TIMEOUT

GPT2_VOCAB_SIZE = 50_257
_GPT2_VOCABULARY = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
_GPT2_FILES = {  # name: SHA-256, as tiktoken checks it
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}


def gpt2_tokens() -> list[bytes]:
    """The ordinary tokens in the order of their ids, downloaded once.

    Raises ConnectionError if they cannot be downloaded, OSError if they cannot be stored.
    """
    fetch_gpt2_vocabulary()
    ranks = tiktoken.get_encoding("gpt2")._mergeable_ranks
    return sorted(ranks, key=ranks.__getitem__)


def fetch_gpt2_vocabulary() -> None:
    """Make sure that GPT-2's two vocabulary files are in tiktoken's cache, undamaged.

    tiktoken would download them itself, but waits for ever if the network drops the packets. Raises ConnectionError
    if they cannot be downloaded, OSError if they cannot be stored.
    """
    folder = Path(os.environ.get("TIKTOKEN_CACHE_DIR") or home() / "tiktoken")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    for name, sha256 in _GPT2_FILES.items():
        address = _GPT2_VOCABULARY + name
        target = folder / hashlib.sha1(address.encode()).hexdigest()  # the name tiktoken gives it
        if not (target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == sha256):
            _store(target, _download(address, sha256, folder))


def _download(address: str, sha256: str, folder: Path) -> bytes:
    import requests

    try:
        response = requests.get(address, timeout=(TIMEOUT, 30))
        response.raise_for_status()
        if hashlib.sha256(response.content).hexdigest() != sha256:
            raise requests.exceptions.ContentDecodingError("another file")  # a login page, perhaps
    except requests.RequestException as error:
        raise ConnectionError(
            f"could not download GPT-2's vocabulary from {address} ({type(error).__name__}); go online once, copy "
            f"the cached files of another machine into {folder}, or train a tokenizer with SubWordTokenizer.train"
        ) from None
    return response.content


def _store(target: Path, content: bytes) -> None:
    """Write under a temporary name, then rename: another process finds the whole file or none."""
    unfinished = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        unfinished.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise not_writable(target.parent, error) from None
