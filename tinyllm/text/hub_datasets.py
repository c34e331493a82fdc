"""Data sets of the Hugging Face Hub, with a clear error where the Hub cannot be reached or has none of that name."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any

from tinyllm.system.hub import check_reachable, hub_endpoint
from tinyllm.text.corpus import Corpus
from tinyllm.text.folders import SPLIT_NAMES
from tinyllm.text.rows import OTHER_FIELD, row_documents, row_texts
from tinyllm.text.table_files import no_field

WAYS_OUT = (
    "give a file or folder with data= / --data, or in TINYLLM_DATA, or train on 'tinywiki', which needs no network"
)
_BATCH = 256  # rows in memory at a time: each may be a whole book
_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[^:]+))?(:(?P<config>[^:]*)(:(?P<split>[^:]+))?)?")


def is_hub_name(name: str) -> bool:
    """Whether a name has the form of a data set on the Hub."""
    return _NAME.fullmatch(name) is not None


def hub_corpus(name: str, text_field: str = "text") -> Corpus:
    """A data set of the Hub: `owner/name`, `owner/name:config`, `owner/name:config:split`, `owner/name@revision`.

    It is streamed: read from the network each time, and nothing of it is kept but the ids once it is prepared. The
    network is first asked when a split is read or listed. Its train, validation and test splits are used; where a split
    is named, that one alone, as training text. A split of one configuration is `owner/name::split`.
    Its identity is its name: a data set may change on the Hub, and a commit as revision names one state for good.

    Reading raises ConnectionError where the Hub cannot be reached, FileNotFoundError where it has no such data set,
    ValueError where there is no such split or no text in `text_field`.
    """
    match = _NAME.fullmatch(name)
    assert match is not None, name
    splits = _Splits(name, match["repository"], match["config"] or None, match["revision"], match["split"], text_field)
    return Corpus(f"hub {name} {text_field}", splits, watches_itself=True)


@dataclass
class _Splits(Mapping[str, Callable[[], Iterator[str]]]):
    """The splits of a data set, which are not asked for before they are needed: a prepared copy needs no network."""

    name: str
    repository: str
    config: str | None
    revision: str | None
    split: str | None
    text_field: str

    @cached_property
    def _datasets(self) -> dict[str, Any]:
        """The streams by our names of splits."""
        what = f"{self.name} (no file or folder here, so a data set of the Hub)"
        remedy = f"name another as in owner/name:config, or {WAYS_OUT}"
        every = load_from_hub(what, self.repository, self.config, remedy, revision=self.revision, streaming=True)
        names = {self.split: "train"} if self.split else {name: SPLIT_NAMES.get(name, "") for name in every}
        found = {split: every[name] for name, split in names.items() if split and name in every}
        if "train" not in found:
            raise ValueError(
                f"{self.name} has no split {self.split or 'train'!r} on the Hub but {list(every)}; "
                f"name one, as in {self.repository}:{self.config or ''}:{next(iter(every))}"
            )
        return found

    def __getitem__(self, split: str) -> Callable[[], Iterator[str]]:
        return partial(self._documents, self._datasets[split])

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets)

    def __len__(self) -> int:
        return len(self._datasets)

    def _documents(self, dataset: Any) -> Iterator[str]:
        return row_documents(row_texts(hub_rows(dataset, self.text_field, self.name), self.text_field, self.name))


def load_from_hub(what: str, repository: str, config: str | None, remedy: str = WAYS_OUT, **settings: Any) -> Any:
    """`datasets.load_dataset`, after one probe of the Hub; errors name `what` and `remedy`.

    Raises ConnectionError where the Hub cannot be reached or the data set cannot be loaded, FileNotFoundError where
    there is none of that name.
    """
    if os.environ.get("HF_HUB_OFFLINE", "0") in ("0", ""):
        check_reachable(hub_endpoint(), what, WAYS_OUT)
    import datasets

    try:
        return datasets.load_dataset(repository, config, **settings)
    except Exception as error:  # datasets raises many kinds, and the remedy is the same for all
        if isinstance(error, datasets.exceptions.DatasetNotFoundError):
            raise FileNotFoundError(
                f"could not find {what} on {hub_endpoint()} ({_reason(error)}); {remedy}"
            ) from error
        raise ConnectionError(f"could not load {what} from {hub_endpoint()} ({_reason(error)}); {remedy}") from error


def hub_rows(dataset: Any, text_field: str, what: str, remedy: str = OTHER_FIELD) -> Iterator[tuple[int, object]]:
    """The values of one column, each with its number.

    Raises ValueError where there is no such column, ConnectionError where the rows cannot be read to their end.
    """
    # a stream may not know its columns before its first row
    names = dataset.column_names or list(next(_watched(iter(dataset), what), {}))
    if text_field not in names:
        raise no_field(what, text_field, names, remedy)
    batches = _watched(dataset.select_columns([text_field]).iter(batch_size=_BATCH), what)
    yield from enumerate(chain.from_iterable(batch[text_field] for batch in batches), start=1)


def _watched(rows: Iterator[dict[str, Any]], what: str) -> Iterator[dict[str, Any]]:
    try:
        yield from rows
    except Exception as error:  # of as many kinds, after datasets has tried again and again
        raise ConnectionError(f"could not read {what} to its end ({_reason(error)}); {WAYS_OUT}") from error


def _reason(error: Exception) -> str:
    """An error of `datasets` in one line, without its advice for its own users."""
    return " ".join(f"{type(error).__name__}: {error}".partition("\nExample of usage")[0].split())
