"""The options of the command line: which there are, and how they are read.

Each setting of a command's options, however deep, is an option of the same name. Three tools share the work: argparse
splits the line, the configurations themselves judge the values, as they do for `train(...)`, and tyro writes the help.
tyro could do all of it, but reports an error only as a drawing on the terminal, and an error here is one line.
"""

import argparse
import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from tinyllm.config import GenerationConfig, Precision, RunConfig
from tinyllm.system.validation import near_names, require_whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Options = TypeVar("Options", bound="DataclassInstance")

_CONSTANTS = {"True": True, "False": False, "None": None}
_OPTION = re.compile(r"--[\w-]+(?==|$)")  # the name in --name or --name=value


@dataclass(frozen=True)
class JsonOptions:
    """The option that every command takes."""

    json: bool = False
    """Print one JSON object on standard output, nothing if the command fails; everything else on standard error."""


@dataclass(frozen=True)
class RunOptions(JsonOptions):
    """Options of the commands that take a preset."""

    config: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True)
class EvaluateOptions(JsonOptions):
    """Options of `evaluate`."""

    split: str = "validation"
    """"validation" or "test", where the corpus has them; else the held-out text is scored."""
    data: str | None = None
    """Score another text: a corpus's name, a file or a folder."""
    text_field: str | None = None
    """The column of text, where that text is in tables; by default the one that the run was trained on."""
    precision: Precision = "float32"
    """Number format of matrix products: float32 is exact; "auto" is training's default, faster on a GPU."""


@dataclass(frozen=True)
class SampleOptions(JsonOptions):
    """Options of `sample`."""

    generation: GenerationConfig = field(default_factory=GenerationConfig)
    prompt: str = ""
    """The text to continue; by default a new document is begun."""
    number: int = 1
    """How many texts to draw; several are printed when all are done."""

    def __post_init__(self) -> None:
        require_whole(self, 1, 10_000, "number")


@dataclass(frozen=True)
class WriteOptions(JsonOptions):
    """Options of `write`, which continues each line that you type."""

    generation: GenerationConfig = field(default_factory=GenerationConfig)


@dataclass(frozen=True)
class ExportOptions(JsonOptions):
    """Options of `export`."""

    to: tuple[str, ...] = ()
    """The layout and a new folder for it: huggingface FOLDER."""


@dataclass(frozen=True)
class GradeOptions(JsonOptions):
    """Options of `grade`, which runs the notebook's code: grade only what you would run yourself."""

    cell_seconds: float = 60.0
    """How long a cell may run; one that does not end costs the exercises that it checks, and no others."""

    def __post_init__(self) -> None:
        if not self.cell_seconds > 0:
            raise ValueError(f"cell_seconds must be above 0, not {self.cell_seconds}")


@dataclass(frozen=True)
class DoctorOptions(JsonOptions):
    """Options of `doctor`."""


@dataclass(frozen=True)
class _Setting:
    """One field of the options, and the option that sets it."""

    name: str
    type: Any
    default: Any

    @property
    def option(self) -> str:
        """--name; for a flag that is on, --no-name."""
        off = "no-" if self.is_flag and self.default else ""
        return f"--{off}{self.name.replace('_', '-')}"

    @property
    def is_flag(self) -> bool:
        return self.type is bool

    @property
    def how_read(self) -> dict[str, Any]:
        """What argparse has to know."""
        if self.is_flag:
            return {"action": "store_const", "const": not self.default}
        types = get_args(self.type) or (self.type,)
        lengths = [get_args(one)[1:] for one in (self.type, *types) if get_origin(one) is tuple]
        action = "extend" if (...,) in lengths else "store"  # --stop A --stop B is --stop A B
        return {"type": str if str in types else _value, "nargs": "*" if lengths else None, "action": action}


def parse(defaults: Options, arguments: Sequence[str], prog: str) -> Options:
    """`defaults` with the values that the arguments give. Raises ValueError, in one line, for what cannot be used."""
    return _replace(defaults, given_settings(defaults, arguments, prog))


def given_settings(defaults: Options, arguments: Sequence[str], prog: str) -> dict[str, Any]:
    """The settings that the arguments give, by name. Raises ValueError for an option that there is not.

    With --help prints the help of `python -m tinyllm PROG`, and raises SystemExit.
    """
    if not {"-h", "--help"}.isdisjoint(arguments):
        _print_help(defaults, prog)
    settings = list(_settings(defaults))
    reader = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False, argument_default=argparse.SUPPRESS
    )
    for setting in settings:
        reader.add_argument(setting.option, dest=setting.name, **setting.how_read)
    dashed = [_OPTION.sub(lambda option: option[0].replace("_", "-"), argument) for argument in arguments]
    try:
        given, unknown = reader.parse_known_args(dashed)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None
    if unknown:
        known = [setting.option for setting in settings]
        raise ValueError(f"unknown option {unknown[0]!r}{near_names(unknown[0], known)}")
    return vars(given)


def _print_help(defaults: "DataclassInstance", prog: str) -> None:
    import tyro  # within a function, as most calls do not need it

    tyro.cli(
        type(defaults),
        default=defaults,
        args=["--help"],
        prog=f"python -m tinyllm {prog}",
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def _settings(options: "DataclassInstance") -> Iterator[_Setting]:
    types = get_type_hints(type(options))
    for part in dataclasses.fields(options):
        value = getattr(options, part.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _settings(value)
        else:
            yield _Setting(part.name, types[part.name], value)


def _value(word: str) -> object:
    """The number, True, False or None that a word is, or else the word, for the configuration to judge."""
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return word


def _replace(options: Options, given: dict[str, Any]) -> Options:
    """A copy with the given settings. Raises ValueError where a configuration refuses one."""
    changes = {}
    for part in dataclasses.fields(options):
        value = getattr(options, part.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes[part.name] = _replace(value, given)
        elif part.name in given:
            changes[part.name] = given[part.name]
    return dataclasses.replace(options, **changes)
