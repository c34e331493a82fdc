"""Whether a server such as the Hugging Face Hub answers: asked once, with a time-out and a clear error."""

import os

TIMEOUT = 5  # seconds before a connection attempt is given up


def hub_endpoint() -> str:
    """The address of the Hugging Face Hub: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def check_reachable(address: str, needed_for: str, instead: str) -> None:
    """Raise ConnectionError, within 2 x TIMEOUT seconds, if nothing answers at `address`."""
    import requests  # here, because it takes a tenth of a second that most imports of tinyllm do not need

    try:
        requests.head(address, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise ConnectionError(
            f"could not reach {address} ({type(error).__name__}), which is needed for {needed_for}; {instead}"
        ) from None
