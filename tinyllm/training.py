"""The training loop, from a name to a trained model.

Everything random is drawn from (seed, iteration, rank): the blocks, and the dropout, whose generator is set anew
at each step. So a run that was cut off and resumed makes the same numbers as one that never was.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from tinyllm import tinywiki
from tinyllm.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_checkpoint_tokenizer,
    load_model,
    load_training_state,
    save_checkpoint,
)
from tinyllm.config import RunConfig
from tinyllm.corpus import TINYWIKI_CORPORA
from tinyllm.data import HELD_OUT, Blocks, PreparedData, held_out_documents, prepare
from tinyllm.device import autocast, pick_compile, pick_precision
from tinyllm.distributed import Processes, join_processes
from tinyllm.evaluation import FloorEvaluation, evaluate_articles
from tinyllm.history import History, OnStep, read_history
from tinyllm.model import GPT
from tinyllm.optim import learning_rate, make_optimizer
from tinyllm.presets import get_preset
from tinyllm.run import Run
from tinyllm.step import train_step
from tinyllm.tokenizer import GPT2_VOCAB_SIZE

CHECKPOINT_SECONDS = 15 * 60


def train(config: str | RunConfig, *, on_step: OnStep | None = None, progress: bool = True, **overrides: Any) -> Run:
    """Train a model, or go on where an earlier call with the same configuration stopped.

    Args:
        config: the name of a preset ("quickstart", "laptop", "wikitext103", "wikitext103-modern"), or a `RunConfig`.
        on_step: called with each point of the history as it is made. It stops the run by returning True.
        progress: show a bar.
        overrides: any field of the configuration by its name, as in `train("laptop", data="my.txt")`.

    A run folder belongs to one configuration: a finished run is loaded and returned at once, and another
    configuration is refused. Ctrl-C (Jupyter's stop button) and SIGTERM save, and the run so far is returned.

    Raises ValueError for a setting that cannot work, ConnectionError for data that cannot be reached, RuntimeError
    for a run folder in use, for a loss that is not finite, and where the GPU's memory does not suffice.
    """
    config = (get_preset(config) if isinstance(config, str) else config).replace(**overrides)
    with join_processes(config.training.device) as processes, _held(Path(config.run_folder), processes):
        checkpoint = find_checkpoint(Path(config.run_folder))
        if checkpoint is not None:
            _check_same_run(config, checkpoint.config)
        if checkpoint is None or checkpoint.iteration < config.training.max_iterations:
            own = [processes.device] if processes.device.type == "cuda" else []
            with torch.random.fork_rng(own):  # the caller's random numbers go on as if nothing had been drawn
                return _train(config, checkpoint, processes, on_step, progress)
        model = load_model(checkpoint.folder, str(processes.device))
        history = read_history(Path(config.run_folder))
        return Run(config, model, load_checkpoint_tokenizer(checkpoint), history, checkpoint.iteration)


def _train(
    config: RunConfig, checkpoint: Checkpoint | None, processes: Processes, on_step: OnStep | None, progress: bool
) -> Run:
    training, device = config.training, processes.device
    asked = config.model.vocab_size
    if config.dataset.tokenizer == "gpt2" and asked != GPT2_VOCAB_SIZE:
        raise ValueError(f"vocab_size is {asked}, but the gpt2 tokenizer needs vocab_size={GPT2_VOCAB_SIZE}")
    data = prepare(config.dataset, config.model.vocab_size, progress and processes.first)
    model = _new_model(config, data).to(device)
    optimizer = make_optimizer(model, training)
    precision = pick_precision(device, training.precision)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    start = 0 if checkpoint is None else _restore(checkpoint, config, data, model, optimizer, scaler)

    blocks = Blocks(data.splits["train"], config.model.context_length, training.seed, config.dataset.block_begin)
    measure_held_out = _held_out_measure(config, data, precision)
    wrapped: nn.Module = torch.compile(model) if pick_compile(device, training.compile) else model
    if processes.world_size > 1:
        wrapped = DistributedDataParallel(wrapped)

    bar = tqdm(total=training.max_iterations, initial=start, disable=not (progress and processes.first), unit="it")
    with (
        bar,
        _stop_signals() as stop,
        History(Path(config.run_folder), start, processes.first, on_step, stop) as history,
    ):

        def measure(iteration: int) -> float | None:
            if not processes.first:
                return None
            measured = measure_held_out(model)
            if not math.isfinite(measured["validation_loss"]):
                raise RuntimeError(_not_finite(config, iteration, measured["validation_loss"]))
            history.add({"iteration": iteration} | measured)
            return measured["validation_loss"]

        def save(iteration: int, validation_loss: float | None, on_the_way: bool) -> None:
            state = {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}
            try:
                save_checkpoint(iteration, validation_loss, config, model, data.tokenizer, state)
            except OSError as error:
                failed = f"iteration {iteration} could not be saved ({error}); {_last_good(config)}"
                if not on_the_way:
                    raise OSError(f"{failed}. Mend that, and the same call goes on from there") from error
                bar.write(f"{failed}; training goes on")

        if start == 0:
            measure(0)
        iteration, saved, stopped = start, time.monotonic(), False
        while iteration < training.max_iterations and not stopped:
            began = time.perf_counter()
            rate = learning_rate(iteration, training)
            for group in optimizer.param_groups:
                group["lr"] = rate
            batches = _batches(blocks, config, iteration, processes)
            _seed_step(training.seed, iteration, processes.rank)
            try:
                loss, norm = train_step(wrapped, batches, optimizer, scaler, training.max_gradient_norm, precision)
            except FloatingPointError as error:
                raise RuntimeError(_not_finite(config, iteration, error)) from None
            except torch.OutOfMemoryError:
                raise RuntimeError(_out_of_memory(config)) from None
            speed = history.add_step(iteration, config, loss, norm, rate, time.perf_counter() - began)
            bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} tokens/s", refresh=False)
            bar.update()
            iteration += 1

            last = iteration == training.max_iterations
            validation_loss = measure(iteration) if last or iteration % training.evaluation_interval == 0 else None
            stopped = processes.any(stop.is_set())
            waited = processes.any(time.monotonic() - saved > CHECKPOINT_SECONDS)
            if last or stopped or waited or iteration % training.checkpoint_interval == 0:
                if processes.first:
                    save(iteration, validation_loss, on_the_way=not (last or stopped))
                saved = time.monotonic()
        if stopped and not last and processes.first:
            bar.write(f"stopped after {iteration} iterations and saved; the same call goes on from there")
    return Run(config, model.eval(), data.tokenizer, history.points, iteration)


@torch.no_grad()
def mean_loss(model: GPT, ids: np.ndarray, targets: np.ndarray, precision: torch.dtype, rows: int = 8) -> float:
    """Mean cross-entropy over blocks (number, T), dropout off, some rows at a time; in nats per token."""
    device = next(model.parameters()).device
    total = 0.0
    model.eval()
    for first in range(0, len(ids), rows):
        part = slice(first, first + rows)
        with autocast(device, precision):
            loss = model(torch.from_numpy(ids[part]).to(device), torch.from_numpy(targets[part]).to(device))
        total += loss.item() * len(ids[part])
    model.train()
    return total / len(ids)


def _new_model(config: RunConfig, data: PreparedData) -> GPT:
    """The untrained model, with as many tokens as the tokenizer has: a short text teaches it fewer than asked for."""
    torch.manual_seed(config.training.seed)
    return GPT(config.replace(vocab_size=data.tokenizer.vocab_size).model)


def _restore(
    checkpoint: Checkpoint,
    config: RunConfig,
    data: PreparedData,
    model: GPT,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> int:
    """Put everything back as it was at a checkpoint; returns the number of steps done."""
    if load_checkpoint_tokenizer(checkpoint).fingerprint != data.tokenizer.fingerprint:
        raise ValueError(
            f"{config.dataset.data} has changed since the run in {config.run_folder} began, and with it the "
            "vocabulary; give another run_folder"
        )
    model.load_state_dict(load_model(checkpoint.folder, "cpu").state_dict())
    state = load_training_state(checkpoint)
    try:
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        raise ValueError(f"{checkpoint.folder}/training_state.pt is not of a run with these settings") from None
    return checkpoint.iteration


def _held_out_measure(config: RunConfig, data: PreparedData, precision: torch.dtype) -> Callable[[GPT], dict[str, Any]]:
    """How this run is watched: a function that scores the same held-out text at each call.

    TinyWiki's articles are scored each from its own start, beside their entropy and by kind of token; of other text,
    blocks like those of the training.
    """
    number = config.training.evaluation_blocks
    if config.dataset.data in TINYWIKI_CORPORA:
        articles = tinywiki.articles("train", config.dataset.data == "tinywiki-full")
        held_out = held_out_documents(len(articles), config.dataset.validation_fraction, config.dataset.split_seed)
        watched = [articles[place] for place in sorted(held_out)[:number]]
        return lambda model: _floor_point(evaluate_articles(model, data.tokenizer, watched))
    split = data.splits[HELD_OUT]
    length = min(config.model.context_length, len(split.tokens) - 1)  # a short text may not fill a block
    ids, targets = Blocks(split, length, begin=config.dataset.block_begin).fixed(number)
    return lambda model: {"validation_loss": mean_loss(model, ids, targets, precision)}


def _floor_point(result: FloorEvaluation) -> dict[str, Any]:
    by_label = {label: part["nats"] / part["tokens"] for label, part in result.by_label.items()}
    return {"validation_loss": result.nats_per_token, "entropy_floor": result.floor, "by_label": by_label}


def _seed_step(seed: int, iteration: int, rank: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence([seed, iteration, rank]).generate_state(1, np.uint64)[0]))


def _batches(blocks: Blocks, config: RunConfig, iteration: int, processes: Processes) -> list[tuple[Tensor, Tensor]]:
    """This process's share of the micro-batches of one step; all shares together are the same for any number."""
    size, steps = config.training.batch_size, config.training.gradient_accumulation_steps
    if steps % processes.world_size:
        raise ValueError(
            f"gradient_accumulation_steps ({steps}) must be a multiple of the "
            f"{processes.world_size} processes that share them"
        )
    first = iteration * size * steps
    batches = []
    for number in range(processes.rank, steps, processes.world_size):
        arrays = blocks.batch(first + number * size, size)
        tensors = (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
        batches.append(tuple(tensor.to(processes.device, non_blocking=True) for tensor in tensors))
    return batches


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; a second one interrupts at once.

    An exception in the middle of an optimizer step would leave half of the weights updated.
    """
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in signals}

    def on_signal(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    for number in signals:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number in signals:
            signal.signal(number, before[number])


@contextlib.contextmanager
def _held(folder: Path, processes: Processes) -> Iterator[None]:
    """Hold the run folder with a lock of the operating system, which a killed process cannot leave behind."""
    if not processes.first:
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise RuntimeError(f"{folder} is in use by another training: wait for it, or give another run_folder") from None
    except OSError as error:
        raise OSError(f"{folder} cannot be written ({error.strerror}): give another run_folder") from None
    try:
        yield
    finally:
        lock.release()


def _check_same_run(config: RunConfig, found: RunConfig) -> None:
    """Refuse a folder whose checkpoints belong to a run with other settings. The folder itself may have moved."""
    wanted, there = config.to_dict(), found.to_dict()
    different = [
        f"{name} ({there[part][name]!r} there, {value!r} now)"
        for part in ("model", "dataset", "training")
        for name, value in wanted[part].items()
        if there[part][name] != value
    ]
    if different:
        raise ValueError(
            f"{config.run_folder} belongs to a run with other settings: {', '.join(different)}; give another run_folder"
        )


def _last_good(config: RunConfig) -> str:
    good = find_checkpoint(Path(config.run_folder))
    return f"the last good checkpoint is {good.folder}" if good else "there is no checkpoint yet"


def _not_finite(config: RunConfig, iteration: int, loss: object) -> str:
    return (
        f"the loss of iteration {iteration} is {loss}; {_last_good(config)}. Try a lower max_learning_rate, more "
        "warmup_iterations, or another precision, in a new run_folder"
    )


def _out_of_memory(config: RunConfig) -> str:
    size, steps = config.training.batch_size, config.training.gradient_accumulation_steps
    if size == 1:
        return "out of GPU memory with batch_size=1: use a smaller context_length or model"
    smaller = next(part for part in range(size // 2, 0, -1) if size % part == 0)
    return (
        f"out of GPU memory: use batch_size={smaller} and gradient_accumulation_steps={steps * size // smaller}, "
        "which keep the same global batch, in a new run_folder"
    )
