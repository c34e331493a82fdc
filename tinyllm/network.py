"""What may come over the network: asked for once, with a time-out, and one clear line when it cannot be had."""

import hashlib
import os
import uuid
from pathlib import Path

TIMEOUT = 5  # seconds until a connection is given up
_GPT2_VOCABULARY = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
_GPT2_FILES = {  # name: SHA-256, the ones that tiktoken checks
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}


def home() -> Path:
    """The folder for what is cached: TINYLLM_HOME, or `tinyllm` in the user's cache folder.

    Raises OSError where the user has no home folder, as in some containers.
    """
    try:
        if os.environ.get("TINYLLM_HOME"):
            return Path(os.environ["TINYLLM_HOME"]).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tinyllm"
    except RuntimeError:
        raise OSError("there is no home folder; set TINYLLM_HOME to a folder that can be written") from None


def not_writable(folder: Path, error: OSError) -> OSError:
    """The error to raise where a folder of the cache cannot be written."""
    return OSError(f"{folder} cannot be written ({error.strerror}); set TINYLLM_HOME to a folder that can")


def hub_endpoint() -> str:
    """The address of the Hugging Face Hub: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def check_reachable(address: str, needed_for: str, instead: str) -> None:
    """Raise ConnectionError, within 2 x TIMEOUT seconds, if nothing answers at `address`."""
    import requests  # within a function, as it takes a tenth of a second that most imports of tinyllm do not need

    try:
        requests.head(address, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise ConnectionError(
            f"could not reach {address} ({type(error).__name__}), which is needed for {needed_for}; {instead}"
        ) from None


def fetch_gpt2_vocabulary() -> None:
    """See that GPT-2's two vocabulary files are in tiktoken's cache, whole.

    tiktoken would download them itself, but waits for ever where the network swallows the connection. Raises
    ConnectionError if they cannot be had.
    """
    import requests

    folder = Path(os.environ.get("TIKTOKEN_CACHE_DIR") or home() / "tiktoken")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    for name, sha256 in _GPT2_FILES.items():
        address = _GPT2_VOCABULARY + name
        target = folder / hashlib.sha1(address.encode()).hexdigest()  # the name tiktoken gives it
        if target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == sha256:
            continue
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
        try:
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = folder / f"{target.name}.{uuid.uuid4().hex}"
            unfinished.write_bytes(response.content)
            unfinished.replace(target)
        except OSError as error:
            raise not_writable(folder, error) from None
