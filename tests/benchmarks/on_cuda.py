"""What a GPU does: the parts of `python tests/benchmarks --device cuda`, the most important ones first.

Each row is printed as one line of JSON when it is measured. A part that fails prints its error as a row, and the
others go on. With `--tiny` everything is small, and runs on a CPU where there is no GPU: a test of this script.
"""

import contextlib
import gc
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import tinyllm
from tinyllm import GPT, PRESETS, GenerationConfig, RunConfig, generate
from tinyllm.generation.decoding import Decoder, FixedShapeDecoder, make_decoder
from tinyllm.system.device import pick_compile, synchronize
from tinyllm.system.distributed import Processes
from tinyllm.system.precision import autocast, matrix_products, pick_precision
from tinyllm.text.batches import Blocks
from tinyllm.text.prepared import PreparedData, prepare
from tinyllm.training import wrapping
from tinyllm.training.micro_batches import micro_batches

CLASSIC, MODERN = "wikitext103", "wikitext103-modern"
TINY = {
    "context_length": 32, "embedding_dim": 32, "num_layers": 2, "num_heads": 2, "feedforward_dim": 64, "batch_size": 2,
    "gradient_accumulation_steps": 2,
}  # fmt: skip
PROMPT = 8  # tokens


class Bench:
    """The text, the device, the sizes, and what has been measured so far."""

    def __init__(self, text: str, tiny: bool, limit: float, folder: Path):
        self.text, self.tiny, self.folder, self.ends = text, tiny, folder, time.perf_counter() + limit
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.overrides: dict[str, Any] = TINY if tiny else {}
        self.steps, self.sampled, self.scored = (8, 10, 2_000) if tiny else (80, 200, 500_000)
        self.rows: list[dict[str, Any]] = []
        self.models: dict[str, GPT] = {}
        self.speeds: dict[str, float] = {}

    def row(self, part: str, what: str, **measured: Any) -> None:
        """Print a row, and keep it for the table."""
        rounded = {key: float(f"{v:.4g}") if isinstance(v, float) else v for key, v in measured.items()}
        self.rows.append({"part": part, "what": what} | rounded)
        print(json.dumps(self.rows[-1]), flush=True)

    def measure(self, parts: dict[str, Callable[["Bench"], None]], names: Sequence[str]) -> None:
        """Each named part, in the order of `parts`, until the time is up."""
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else "CPU"
        self.row("machine", name, torch=torch.__version__, cores=os.cpu_count())
        for part in (part for part in parts if part in names):
            if time.perf_counter() > self.ends:
                self.row(part, "not started: no time left")
                continue
            began = time.perf_counter()
            with self.attempt(part, "failed"):
                parts[part](self)
            print(f"{part} took {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def attempt(self, part: str, what: str) -> Iterator[None]:
        """Something that may fail without ending the rest: its error is a row."""
        forget()
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.row(part, what, error=f"{type(error).__name__}: {error}"[:400])

    def config(self, preset: str) -> RunConfig:
        """A preset with the text, and with the sizes of this benchmark."""
        return PRESETS[preset].replace(data=self.text, device=self.device.type, **self.overrides)

    @cached_property
    def data(self) -> PreparedData:
        """The text as ids; the first call measures how long that takes."""
        began = time.perf_counter()
        config = self.config(CLASSIC)
        data = prepare(config.dataset, config.model.vocab_size, progress=False)
        seconds = time.perf_counter() - began
        megabytes = sum(split.size for split in data.splits.values()) / 1e6
        self.row("preparing", "the text", mb_per_second=megabytes / seconds, mb=megabytes, seconds=seconds)
        return data

    def model(self, preset: str) -> GPT:
        """The model that this preset's training left, or an untrained one."""
        if preset not in self.models:
            self.models[preset] = GPT(self.config(preset).model).to(self.device)
        return self.models[preset].eval()

    def prompts(self, number: int) -> Tensor:
        """The first tokens of the text, once for each prompt."""
        return torch.tensor(self.data.splits["train"].tokens[:PROMPT].astype(int)).repeat(number, 1)

    def seconds(self, function: Callable[[], Any]) -> float:
        """How long a call takes, after one that warms up."""
        function()
        synchronize(self.device)
        began = time.perf_counter()
        function()
        synchronize(self.device)
        return time.perf_counter() - began


def forget() -> None:
    """Free what earlier parts left: memory, and compiled code, of which torch keeps only a few versions."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


class Steps:
    """The times at which steps ended, and the peak memory of the second half of them."""

    def __init__(self, bench: Bench, expected: int):
        self.bench, self.half, self.expected = bench, expected // 2, expected
        self.ends: list[float] = []
        self.before = torch.cuda.memory_allocated() if bench.device.type == "cuda" else 0  # other parts' models
        self.peak: float | None = None

    def ended(self) -> None:
        """To be called when the device has done a step."""
        self.ends.append(time.perf_counter())
        if self.bench.device.type == "cuda" and len(self.ends) == self.half:
            torch.cuda.reset_peak_memory_stats()
        elif self.bench.device.type == "cuda" and len(self.ends) == self.expected:
            self.peak = (torch.cuda.max_memory_allocated() - self.before) / 1e9

    def measured(self, tokens: int) -> dict[str, Any]:
        """The speed of the second half; `tokens` is the size of a step."""
        seconds = (self.ends[-1] - self.ends[self.half - 1]) / (len(self.ends) - self.half)
        return {"tokens_per_second": tokens / seconds, "ms_a_step": 1000 * seconds, "peak_gb": self.peak}


def train(bench: Bench, config: RunConfig, name: str, **overrides: Any) -> tuple[tinyllm.Run, dict[str, Any]]:
    """A run with nothing unusual, and its speed. Its folder is removed."""
    steps = Steps(bench, overrides["max_iterations"])
    folder = bench.folder / name
    run = tinyllm.train(
        config, run_folder=folder, progress=False, **overrides,
        on_step=lambda point: steps.ended() if "training_loss" in point else None,
    )  # fmt: skip
    shutil.rmtree(folder)
    losses = [point["training_loss"] for point in run.history if "training_loss" in point]
    speed = steps.measured(run.config.training.global_batch * run.config.model.context_length)
    return run, speed | {"first_loss": losses[0], "last_loss": losses[-1], "first_step_s": run.history[1]["seconds"]}


def training_rows(bench: Bench) -> None:
    """Both presets as a learner would train them, for fewer steps."""
    assert bench.data  # so that preparing is measured by itself
    for preset in (CLASSIC, MODERN):
        with bench.attempt("training", preset):
            run, measured = train(bench, bench.config(preset), preset, max_iterations=bench.steps)
            bench.models[preset], bench.speeds[preset] = run.model, measured["tokens_per_second"]
            bench.row("training", preset, **measured)
    if len(bench.speeds) == 2:
        bench.row("training", f"{MODERN} / {CLASSIC}", ratio=bench.speeds[MODERN] / bench.speeds[CLASSIC])


def transformers_rows(bench: Bench) -> None:
    """The same size and batches with transformers: compiled with its loss, bfloat16, fused AdamW."""
    training = bench.config(CLASSIC).training
    for size in (training.global_batch, training.batch_size):
        what = f"GPT2LMHeadModel, {size} blocks x {training.global_batch // size}"
        with bench.attempt("transformers", what):
            measured = _train_theirs(bench, size)
            ours = bench.speeds.get(CLASSIC)
            beside = {"tinyllm_by_this": ours / measured["tokens_per_second"]} if ours else {}
            bench.row("transformers", what, **measured, **beside)


def _train_theirs(bench: Bench, size: int) -> dict[str, Any]:
    from on_models import gpt2_of_transformers

    config, device, steps = bench.config(CLASSIC), bench.device, Steps(bench, bench.steps)
    model = gpt2_of_transformers(config.model).to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=device.type == "cuda"
    )
    blocks, precision = Blocks(bench.data.splits["train"], config.model.context_length), pick_precision(device)

    def loss_of(ids: Tensor, targets: Tensor) -> Tensor:
        logits = model(input_ids=ids, use_cache=False).logits
        return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    compiled = torch.compile(loss_of, dynamic=False) if pick_compile(device) else loss_of
    with matrix_products(bench.device):
        for iteration in range(bench.steps):
            batches = micro_batches(blocks, config, iteration, Processes(device), size)
            for ids, targets in batches:
                with autocast(device, precision):
                    loss = compiled(ids, targets) / len(batches)
                loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if iteration + 1 in (steps.half, steps.expected):
                synchronize(device)  # in between Python runs ahead, as ours does
            steps.ended()
    return steps.measured(config.training.global_batch * config.model.context_length)


def sampling_rows(bench: Bench) -> None:
    """Texts of 200 tokens, one or several at once, beside transformers' `generate` for one."""
    from on_models import gpt2_of_transformers

    model = bench.model(CLASSIC)
    for number in (1, 8, 64):
        seconds = bench.seconds(lambda number=number: _sample(bench, model, number, 0.8))
        ms = 1000 * seconds / bench.sampled
        bench.row("sampling", f"{number} at once", tokens_per_second=number * bench.sampled / seconds, ms_a_token=ms)
    theirs, prompt = gpt2_of_transformers(model.config).to(bench.device).eval(), bench.prompts(1).to(bench.device)
    settings = {"max_new_tokens": bench.sampled, "min_new_tokens": bench.sampled, "temperature": 0.8, "top_k": 0}
    mask = torch.ones_like(prompt)
    seconds = bench.seconds(lambda: theirs.generate(prompt, attention_mask=mask, do_sample=True, **settings))
    bench.row("sampling", "transformers, one text", tokens_per_second=bench.sampled / seconds)


def _sample(bench: Bench, model: GPT, number: int, temperature: float, seed: int | None = None) -> Tensor:
    config = GenerationConfig(bench.sampled, temperature, stop_tokens=(), seed=seed)
    return torch.stack(list(generate(model, bench.prompts(number), config)))


def decoding_rows(bench: Bench) -> None:
    """The recorded graph beside plain decoding: the same ids, drawn too, for how many tokens; and how much faster."""

    def fixed(model: GPT, batch_size: int) -> Decoder:
        return FixedShapeDecoder(model, batch_size, lambda step, _: step)

    recorded = make_decoder if bench.device.type == "cuda" else fixed
    for preset in (CLASSIC, MODERN):
        model, speeds, ids, drawn = bench.model(preset), {}, {}, {}
        for name, decoder in (("plain", Decoder), ("recorded", recorded)):
            with patch("tinyllm.generation.writing.make_decoder", decoder):
                seconds = bench.seconds(lambda model=model: _sample(bench, model, 1, 0.8))
                ids[name] = _sample(bench, model, 4, 0)
                drawn[name] = _sample(bench, model, 4, 0.8, seed=0)
            speeds[f"{name}_tokens_per_second"] = bench.sampled / seconds
        same = bool((ids["plain"] == ids["recorded"]).all())
        same_draws = int((drawn["plain"] == drawn["recorded"]).all(1).cumprod(0).sum())  # before the first other one
        bench.row(
            "decoding", preset, **speeds, same_ids_at_temperature_0=same, same_draws_at_0_8=same_draws,
            of=bench.sampled,
        )  # fmt: skip


def small_configs(bench: Bench) -> dict[str, RunConfig]:
    """Sizes at which launching takes longer than computing; what they train on does not matter for their speed."""
    settings = {"data": "tinywiki", "evaluation_interval": 10**6, "device": bench.device.type}
    return {name: PRESETS[name].replace(**settings) for name in ("quickstart", "laptop")}


def small_rows(bench: Bench) -> None:
    """Small presets with CUDA graphs, and compiled without them."""
    for preset, config in small_configs(bench).items():
        for what, room in ((preset, wrapping.ROOM), (f"{preset} without CUDA graphs", 0)):
            with bench.attempt("small", what), patch.object(wrapping, "ROOM", room):
                measured = train(bench, config, what, max_iterations=10 if bench.tiny else 200)[1]
                bench.speeds[what] = measured["tokens_per_second"]
                bench.row("small", what, **measured)


def estimate_rows(bench: Bench) -> None:
    """The predicted speed of each preset beside the measured one."""
    for preset, config in ({name: bench.config(name) for name in (CLASSIC, MODERN)} | small_configs(bench)).items():
        prediction = tinyllm.estimate(config)
        predicted, measured = prediction.tokens / prediction.seconds, bench.speeds.get(preset)
        ratio = {"measured": measured, "predicted_by_measured": predicted / measured} if measured else {}
        product_tflops, gb = prediction.flops_per_second / 1e12, prediction.memory_bytes / 1e9
        bench.row(
            "estimate", preset, tokens_per_second=predicted, **ratio, product_tflops=product_tflops, memory_gb=gb,
            basis=prediction.basis,
        )  # fmt: skip


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    lines = ["| part | what | measured |", "| --- | --- | --- |"]
    for row in rows:
        measured = ", ".join(f"{key} {value}" for key, value in row.items() if key not in ("part", "what"))
        lines.append(f"| {row['part']} | {row['what']} | {measured} |")
    return "\n".join(lines)
