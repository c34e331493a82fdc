"""The commands of `python -m tinyllm` but for the course's own, which __main__ adds."""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinyllm import __version__
from tinyllm.commands import doctor
from tinyllm.commands.cli_options import (
    DoctorOptions,
    EvaluateOptions,
    ExportOptions,
    RunOptions,
    SampleOptions,
    WriteOptions,
    given_settings,
    parse,
)
from tinyllm.commands.continuation import continue_lines
from tinyllm.commands.printing import any_terminal, as_json, perplexity
from tinyllm.commands.quickstart import measured_losses, quickstart
from tinyllm.config import RunConfig
from tinyllm.estimation import LAUNCHING, MEASURED, UTILISATION, estimate
from tinyllm.evaluation import Evaluation, FloorEvaluation
from tinyllm.generation.writing import generate_texts
from tinyllm.presets import PRESETS, get_preset
from tinyllm.run import load_run, load_trained, train
from tinyllm.system.distributed import is_first_process
from tinyllm.system.paths import shell_word, shown, shown_name, user_path
from tinyllm.system.validation import near_names
from tinyllm.text.prepared import prepare
from tinyllm.training.initial_weights import Start, starting_point

Result = dict[str, Any] | None
"""What a command prints with --json; None if it was stopped before its end."""


def _quickstart(arguments: list[str]) -> Result:
    return quickstart(parse(RunOptions(config=get_preset("quickstart")), arguments, "quickstart").config)


def _train(arguments: list[str]) -> Result:
    config, settings = _preset_settings(arguments, "train")
    run = train(config, **settings)
    if not run.finished:
        return None
    if not is_first_process():
        return {}  # under torchrun one process speaks for all
    measured = [(point["validation_loss"], point["iteration"]) for point in measured_losses(run)]
    (loss, _), (lowest, at) = measured[-1], min(measured)
    saved, folder = shown_name(run.folder), shell_word(run.folder)
    print(f"done: {run.iteration} iterations, held-out loss {loss:.4f} nats per token; saved in {saved}")
    if lowest < loss:
        print(f"the best was {lowest:.4f}, after {at} iterations: evaluate and sample use that checkpoint")
    call = f"{shell_word(sys.executable)} -m tinyllm"  # as it can be pasted: `python` may be another one, or none
    print(f"next: {call} evaluate {folder}\n  or: {call} {'write' if run.answers else 'sample'} {folder}")
    best = {"best_validation_loss": lowest, "best_iteration": at}
    return {"validation_loss": loss, "iteration": run.iteration, **best, "run": str(run.folder)}


def _evaluate(arguments: list[str]) -> Result:
    folder, rest = path_argument(arguments, "the run's folder", "evaluate models/quickstart")
    options = parse(EvaluateOptions(), rest, "evaluate RUN_FOLDER")
    result = load_trained(folder).evaluate(options.split, options.data, options.precision, options.text_field)
    for line in describe(result):
        print(line)
    measures = {
        name: getattr(result, name)
        for name in ("nats_per_token", "perplexity_per_token", "perplexity_per_word", "bits_per_byte")
    }
    return dataclasses.asdict(result) | measures


def describe(result: Evaluation) -> list[str]:
    """An evaluation as text, one line for each measure."""
    lines = [
        f"{result.tokens:,} tokens, {result.words:,} words, {result.bytes:,} bytes",
        f"nats per token        {result.nats_per_token:10.4f}",
        f"perplexity per token  {perplexity(result.perplexity_per_token)}",
        f"perplexity per word   {perplexity(result.perplexity_per_word)}",
        f"bits per byte         {result.bits_per_byte:10.4f}",
    ]
    if isinstance(result, FloorEvaluation):
        lines.append(f"entropy floor         {result.floor:10.4f} nats per token: {result.above_floor:+.1%} above it")
    return lines


def _sample(arguments: list[str]) -> Result:
    folder, rest = path_argument(arguments, "the run's folder", "sample models/quickstart")
    options = parse(SampleOptions(), rest, "sample RUN_FOLDER")
    run = load_trained(folder)
    settings = options.generation
    if options.number == 1:
        pieces = run.stream(options.prompt, **dataclasses.asdict(settings))  # an error comes before anything is printed
        print(options.prompt, end="", flush=True)
        text = options.prompt
        for piece in pieces:
            print(piece, end="", flush=True)
            text += piece
        print()
        return {"text": text, "texts": [text]}
    texts = generate_texts(run.model, run.tokenizer, options.prompt, settings, options.number)
    for index, text in enumerate(texts, 1):
        print(f"=== {index} of {options.number} ===\n{text}")
    return {"text": texts[0], "texts": texts}


def _write(arguments: list[str]) -> Result:
    folder, rest = path_argument(arguments, "the run's folder", "write models/quickstart")
    options = parse(WriteOptions(), rest, "write RUN_FOLDER")
    return {"texts": continue_lines(load_trained(folder), options.generation)}


def _export(arguments: list[str]) -> Result:
    folder, rest = path_argument(arguments, "the run's folder", "export models/quickstart --to huggingface mine")
    to = parse(ExportOptions(), rest, "export RUN_FOLDER").to
    if len(to) != 2 or to[0] != "huggingface":
        raise ValueError(f"say where to: python -m tinyllm export {folder} --to huggingface NEW_FOLDER")
    run = load_run(folder, device="cpu")
    target = run.export(to[1])
    source, where = shown_name(folder), shown_name(target)
    print(f"{run.iteration} iterations of {source} in Hugging Face's layout, with a model card to complete: {where}")
    print(f"next: transformers.AutoModelForCausalLM.from_pretrained({str(target)!r})")
    return {"folder": str(target), "iteration": run.iteration}


def _prepare(arguments: list[str]) -> Result:
    start = _preset_start(arguments, "prepare")
    config = start.config
    data = prepare(config.dataset, config.model.vocab_size, True, start.tokenizer)
    print(f"{shown(config.dataset.data)}: {data.tokenizer.vocab_size:,} different tokens; prepared in {data.folder}")
    result = {}
    for name, split in data.splits.items():
        result[name] = {"tokens": len(split.tokens), "documents": len(split.starts), "words": split.words}
        print(f"{name:11s} {len(split.tokens):12,} tokens {len(split.starts):9,} documents {split.words:12,} words")
    print(shown(data.summary()))
    return {"folder": str(data.folder), "splits": result}


def _estimate(arguments: list[str]) -> Result:
    config = _preset_start(arguments, "estimate").config
    result = estimate(config)
    print(f"parameters         {result.parameters:,}")
    print(f"tokens in the run  {result.tokens:,}")
    print(f"FLOPs per token    {result.flops_per_token:.3g}")
    blocks = config.training.batch_size
    print(f"memory, about      {result.memory_bytes / 1e9:.2f} GB with {blocks} blocks in a forward pass")
    speed = f"{result.flops_per_second / 1e9:,.0f} GFLOP/s in matrix products, measured now"
    print(f"device             {result.device}: {speed}")
    print(f"time, about        {_duration(result.seconds)} at {result.basis}")
    elsewhere = ", ".join(f"{gpu} {_duration(seconds)}" for gpu, seconds in result.seconds_elsewhere.items())
    measured = " and ".join(MEASURED)
    rate = f"{UTILISATION:.0%} of its peak and at least {1000 * LAUNCHING:g} ms a step"
    print(f"on a GPU, about    {elsewhere}: at {rate}, as measured on an {measured}; on the others a guess")
    return dataclasses.asdict(result)


def _doctor(arguments: list[str]) -> Result:
    parse(DoctorOptions(), arguments, "doctor")
    checks = doctor.examine()
    for check in checks:
        print(f"{'ok ' if check.ok else '!! '} {check.subject:16s} {check.found}")
        if not check.ok:
            print(f"    {'':16s} {check.remedy}")
    return {"findings": [dataclasses.asdict(check) for check in checks]}


Commands = dict[str, tuple[Callable[[list[str]], Result], str]]
"""What each command does with its arguments, and the line about it in the help."""

COMMANDS: Commands = {
    "quickstart": (_quickstart, "train, evaluate and sample a tiny model in about two minutes; needs no network"),
    "train": (_train, "PRESET: train a model, or go on with a run that was stopped"),
    "evaluate": (_evaluate, "RUN_FOLDER: loss and perplexity of a trained model"),
    "sample": (_sample, "RUN_FOLDER: let a trained model write"),
    "write": (_write, "RUN_FOLDER: begin a text at the keyboard, and let a trained model go on"),
    "export": (_export, "RUN_FOLDER --to huggingface FOLDER: write a trained model as transformers reads it"),
    "prepare": (_prepare, "PRESET: tokenise a run's text ahead of it"),
    "estimate": (_estimate, "PRESET: parameters, memory and time of a run, before it starts"),
    "doctor": (_doctor, "what works on this machine, and how to mend what does not"),
}


def _preset_settings(arguments: list[str], command: str) -> tuple[RunConfig, dict[str, Any]]:
    """The preset that a command begins with, and the settings that its options change."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: python -m tinyllm {command} PRESET [OPTIONS], with PRESET one of {', '.join(PRESETS)}")
        print(f"python -m tinyllm {command} PRESET --help lists the options with that preset's values")
        raise SystemExit(0 if arguments else 2)
    preset = get_preset(arguments[0])
    settings = given_settings(RunOptions(config=preset), arguments[1:], f"{command} {arguments[0]}")
    return preset, {name: value for name, value in settings.items() if name != "json"}


def _preset_start(arguments: list[str], command: str) -> Start:
    """The run that a preset and the options describe, and the weights it would start from."""
    preset, settings = _preset_settings(arguments, command)
    return starting_point(preset.replace(**settings), settings)


def path_argument(arguments: list[str], what: str, example: str) -> tuple[Path, list[str]]:
    """The path that a command begins with, and its options."""
    if arguments and not arguments[0].startswith("-"):
        return user_path(arguments[0]), arguments[1:]
    if arguments and arguments[0] in ("-h", "--help"):
        return Path(), arguments
    raise ValueError(f"name {what}: python -m tinyllm {example}")


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def help_text(commands: Commands) -> str:
    """What `--help` prints."""
    lines = ["usage: python -m tinyllm COMMAND [OPTIONS]; COMMAND --help lists its options", ""]
    lines += [f"  {name:11s} {text}" for name, (_, text) in commands.items()]
    return "\n".join([*lines, "", f"presets: {', '.join(PRESETS)}; every command takes --json"])


_STOPPED = {
    "train": "stopped; the same command goes on from the last checkpoint",
    "quickstart": "stopped; the same command goes on from the last checkpoint",
    "prepare": "stopped; nothing was prepared: the same command begins again",
}
"""What is true of a command that was stopped before its end, where something is."""


def run_command(arguments: Sequence[str] | None, commands: Commands) -> int:
    """Run one command. Returns the exit status: 0, 1 for an error of the user's, 2 for a wrong call, 130 for Ctrl-C.

    With --json, standard output has one JSON object if the status is 0, and else nothing.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        print(f"tinyllm {__version__}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_text(commands))
        return 0 if arguments else 2
    command, rest = arguments[0], arguments[1:]
    wants_json = "--json" in rest
    with any_terminal():
        try:
            if command not in commands:
                raise ValueError(f"unknown command {command!r}{near_names(command, commands)}")
            with contextlib.redirect_stdout(sys.stderr) if wants_json else contextlib.nullcontext():
                result = commands[command][0](rest)
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            # These are raised with a line that says what to do; more of it would hide that line.
            line = str(error) or "out of memory: use a smaller model or batch_size"
            print("tinyllm:", shown("; ".join([line, *getattr(error, "__notes__", [])])), file=sys.stderr)
            return 1
        except KeyboardInterrupt:  # outside training, which ends a step first and gives back the run so far
            result = None
        if result is None:
            print(_STOPPED.get(command, "stopped"), file=sys.stderr)
            return 130
        if wants_json and is_first_process():
            print(as_json(result))
    return 0
