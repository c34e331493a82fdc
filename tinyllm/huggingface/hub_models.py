"""Models on the Hugging Face Hub: fetched once, then taken from the Hub's cache on this machine."""

from collections.abc import Callable
from pathlib import Path

from tinyllm.huggingface.model_files import INDEX, SETTINGS, TOKENIZER_FILES, WEIGHTS, weight_files
from tinyllm.system.hub import check_reachable, hub_endpoint

Get = Callable[[str], Path]


def fetch_model(name: str, tokenizer: bool = True) -> Path:
    """The folder with a model's files: those of an earlier call, or fetched now.

    Args:
        name: as on the Hub: "gpt2", "someone/their-model".
        tokenizer: also fetch the files of its tokenizer.

    Raises ConnectionError if the Hub cannot be reached or has no such model, ValueError for a model without
    .safetensors files.
    """
    from huggingface_hub import hf_hub_download

    def cached(file: str) -> Path:
        return Path(hf_hub_download(name, file, local_files_only=True))

    def fetched(file: str) -> Path:
        return Path(hf_hub_download(name, file, endpoint=hub_endpoint()))

    try:
        folder = _cached_folder(cached, name, tokenizer)
        if folder is not None and (not tokenizer or any((folder / file).exists() for file in TOKENIZER_FILES)):
            return folder
        try:
            instead = "there is no file or folder of that name here: give a folder with config.json and its weights"
            check_reachable(hub_endpoint(), f"the weights of {name!r}", instead)
        except ConnectionError:
            if folder is None:
                raise
            return folder
        return _folder(fetched, name, tokenizer)
    except Exception as error:  # the Hub's client raises exceptions of many kinds
        if type(error) in (ConnectionError, ValueError):  # ours; the client's are of other classes, if below these
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConnectionError(f"could not load {name!r} from the Hub: {reason}") from error


def _cached_folder(cached: Get, name: str, tokenizer: bool) -> Path | None:
    """The folder that an earlier call has left; None if it lacks weights. An earlier one may have left no tokenizer."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return _folder(cached, name, tokenizer)
    except LocalEntryNotFoundError:
        return None


def _folder(get: Get, name: str, tokenizer: bool) -> Path:
    """Get all files. The weights come last: where an earlier call has left them, it has left all there is."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    folder = get(SETTINGS).parent
    paths = []
    for file in TOKENIZER_FILES if tokenizer else ():
        try:
            paths.append(get(file))
        except EntryNotFoundError:  # also what is not in the cache: which files there are differs between models
            continue
    try:
        paths.append(get(WEIGHTS))
    except EntryNotFoundError as error:
        try:
            index = get(INDEX)
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            raise ValueError(
                f"{name!r} has no {WEIGHTS} on the Hub, only what is not read here: a pickle can run code"
            ) from error
        paths += [index, *(get(file) for file in sorted(set(weight_files(index).values())))]
    if {path.parent for path in paths} != {folder}:
        raise ConnectionError(f"{name!r} changed on the Hub while it was fetched; call again")
    return folder
