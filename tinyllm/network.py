"""What may come over the network: asked for once, with a time-out, and one clear line when it cannot be had."""

import hashlib
import os
import uuid
from pathlib import Path

import requests

TIMEOUT = 5  # seconds until a connection is given up
_GPT2_VOCABULARY = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"


def home() -> Path:
    """The folder for what is cached: TINYLLM_HOME, or `tinyllm` in the user's cache folder."""
    if os.environ.get("TINYLLM_HOME"):
        return Path(os.environ["TINYLLM_HOME"]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "tinyllm"


def hub_endpoint() -> str:
    """The address of the Hugging Face Hub: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def check_reachable(address: str, needed_for: str, instead: str) -> None:
    """Raise ConnectionError, within 2 x TIMEOUT seconds, if nothing answers at `address`."""
    try:
        requests.head(address, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise ConnectionError(
            f"could not reach {address} ({type(error).__name__}), which is needed for {needed_for}; {instead}"
        ) from None


def fetch_gpt2_vocabulary() -> None:
    """See that GPT-2's two vocabulary files are in tiktoken's cache, which checks their hashes when it reads them.

    tiktoken would download them itself, but waits for ever where the network swallows the connection.
    """
    folder = Path(os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(home() / "tiktoken")))
    for name in ("vocab.bpe", "encoder.json"):
        address = _GPT2_VOCABULARY + name
        target = folder / hashlib.sha1(address.encode()).hexdigest()  # the name tiktoken gives it
        if target.exists():
            continue
        try:
            response = requests.get(address, timeout=(TIMEOUT, 30))
            response.raise_for_status()
        except requests.RequestException as error:
            raise ConnectionError(
                f"could not download GPT-2's vocabulary from {address} ({type(error).__name__}); go online once, copy "
                f"the cached files of another machine into {folder}, or train a tokenizer with SubWordTokenizer.train"
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"{target.name}.{uuid.uuid4().hex}"
        unfinished.write_bytes(response.content)
        unfinished.replace(target)
