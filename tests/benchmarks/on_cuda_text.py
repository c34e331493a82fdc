"""Text on many cores: preparing it beside tiktoken alone; and scoring it, exactly or in half precision."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import tiktoken
import torch
from on_cuda import CLASSIC, Bench
from on_models import gpt2_of_transformers
from tiktoken_pool import encode_in_processes, make_pool
from torch import nn
from transformers import GPT2LMHeadModel

from tinyllm import load_corpus
from tinyllm.evaluation import evaluate_split
from tinyllm.huggingface import to_huggingface
from tinyllm.system.device import synchronize
from tinyllm.system.precision import autocast
from tinyllm.text.prepared import prepare

TURNS = 3
POSITIONS = 32768  # in one forward pass, as in ours on CUDA


def preparing_rows(bench: Bench) -> None:
    """`prepare` from the file to the folder, beside tiktoken with the text in memory, in turns.

    tiktoken runs in a thread a core, which gives lists, and in a process a core, which gives arrays.
    """
    encoding, documents = tiktoken.get_encoding("gpt2"), list(load_corpus(bench.text).documents("train"))
    megabytes, cores = sum(len(document.encode()) for document in documents) / 1e6, os.cpu_count() or 1
    with make_pool(cores) as pool:
        contestants = {
            "mb_per_second": lambda: _prepare(bench),
            "threads": lambda: encoding.encode_ordinary_batch(documents, num_threads=cores),
            "processes": lambda: encode_in_processes(pool, documents, cores),
        }
        contestants["processes"]()  # starts them
        turns = [_speeds(contestants, megabytes) for _ in range(1 if bench.tiny else TURNS)]
    speeds = {name: median(turn[name] for turn in turns) for name in contestants}
    ratios = {
        f"by_{name}": median(turn["mb_per_second"] / turn[name] for turn in turns) for name in ("threads", "processes")
    }
    bench.row("preparing", "beside tiktoken alone", **speeds, **ratios, mb=megabytes, cores=cores)


def _speeds(contestants: dict[str, Callable[[], Any]], megabytes: float) -> dict[str, float]:
    """Megabytes a second of each, one turn after the other."""
    speeds = {}
    for name, contestant in contestants.items():
        began = perf_counter()
        contestant()
        speeds[name] = megabytes / (perf_counter() - began)
    return speeds


def _prepare(bench: Bench) -> None:
    """Prepare the text in a new folder."""
    config, usual, home = bench.config(CLASSIC), os.environ["TINYLLM_HOME"], bench.folder / "prepared anew"
    os.environ["TINYLLM_HOME"] = str(home)
    try:
        prepare(config.dataset, config.model.vocab_size, progress=False)
    finally:
        os.environ["TINYLLM_HOME"] = usual
        shutil.rmtree(home)


def evaluation_rows(bench: Bench) -> None:
    """Scoring text at half a context per window, in exact float32 and in bfloat16, beside transformers."""
    split = bench.data.splits["train"]  # the held-out part is too short to be timed
    model, tokens = bench.model(CLASSIC), split.tokens[: bench.scored]
    theirs = gpt2_of_transformers(model.config).to(bench.device).eval()
    theirs.transformer.load_state_dict(to_huggingface(model)[1])

    def score_ours(part: np.ndarray, precision: torch.dtype) -> float:
        return evaluate_split(model, replace(split, tokens=part), precision=precision).nats

    def score_theirs(part: np.ndarray, precision: torch.dtype) -> float:
        return _their_nats(theirs, part, precision)

    exact = None
    for name, precision in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        for what, score in ((name, score_ours), (f"transformers, {name}", score_theirs)):
            score(tokens[: bench.scored // 10], precision)
            synchronize(bench.device)
            began = perf_counter()
            nats = score(tokens, precision) / (len(tokens) - 1)
            speed, exact = (len(tokens) - 1) / (perf_counter() - began), nats if exact is None else exact
            bench.row(
                "evaluation", what, tokens_per_second=speed, tokens=len(tokens) - 1, nats_per_token=nats,
                more_nats_than_exact=nats - exact,
            )  # fmt: skip


@torch.no_grad()
def _their_nats(model: GPT2LMHeadModel, tokens: np.ndarray, precision: torch.dtype) -> float:
    """What transformers makes of `evaluate_split`'s windows: each reads the last half of the one before again."""
    context, half = model.config.n_positions, model.config.n_positions // 2
    stream = torch.from_numpy(tokens.astype(np.int64)).to(model.device)
    windows = stream.unfold(0, context + 1, half)  # ids, and the targets one further
    batches = [(windows[:1], context), *((batch, half) for batch in windows[1:].split(POSITIONS // context))]
    left = len(stream) - 1 - context - (len(windows) - 1) * half
    if left:
        batches.append((stream[None, -(left + context - half + 1) :], left))
    nats = torch.zeros((), dtype=torch.float64, device=model.device)
    for batch, count in batches:
        with autocast(model.device, precision):
            logits = model(input_ids=batch[:, :-1], use_cache=False, logits_to_keep=count).logits
        nats += nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, -count:].flatten(), reduction="sum")
    return nats.item()
