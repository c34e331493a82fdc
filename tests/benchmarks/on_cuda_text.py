"""Text on many cores: preparing it beside tiktoken alone, and scoring it exactly or in half precision."""

import os
import shutil
from dataclasses import replace
from statistics import median
from time import perf_counter

import tiktoken
import torch
from on_cuda import CLASSIC, Bench

from tinyllm import load_corpus
from tinyllm.evaluation import Evaluation, evaluate_split
from tinyllm.system.device import synchronize
from tinyllm.text.prepared import prepare
from tinyllm.text.tokenized import TokenizedSplit

TURNS = 3


def preparing_rows(bench: Bench) -> None:
    """`prepare` from the file to the folder, beside tiktoken with a thread a core and the text in memory; in turns."""
    encoding, documents = tiktoken.get_encoding("gpt2"), list(load_corpus(bench.text).documents("train"))
    megabytes = sum(len(document.encode()) for document in documents) / 1e6
    ours, theirs = [], []
    for _ in range(1 if bench.tiny else TURNS):
        ours.append(megabytes / _prepare(bench))
        began = perf_counter()
        encoding.encode_ordinary_batch(documents, num_threads=os.cpu_count() or 1)
        theirs.append(megabytes / (perf_counter() - began))
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    bench.row(
        "preparing", "beside tiktoken alone", mb_per_second=median(ours), tiktoken=median(theirs), ratio=ratio,
        mb=megabytes, cores=os.cpu_count(),
    )  # fmt: skip


def _prepare(bench: Bench) -> float:
    """Prepare the text in a new folder; returns the seconds."""
    config, usual, home = bench.config(CLASSIC), os.environ["TINYLLM_HOME"], bench.folder / "prepared anew"
    os.environ["TINYLLM_HOME"] = str(home)
    try:
        began = perf_counter()
        prepare(config.dataset, config.model.vocab_size, progress=False)
        return perf_counter() - began
    finally:
        os.environ["TINYLLM_HOME"] = usual
        shutil.rmtree(home)


def evaluation_rows(bench: Bench) -> None:
    """Scoring text at half a context per window: in exact float32, and in bfloat16 for speed."""
    split = bench.data.splits["train"]  # the held-out part is too short to be timed
    split = replace(split, tokens=split.tokens[: bench.scored])
    exact = _evaluation_row(bench, "float32", split, torch.float32)
    fast = _evaluation_row(bench, "bfloat16", split, torch.bfloat16)
    difference = fast.nats_per_token - exact.nats_per_token
    bench.row("evaluation", "bfloat16 - float32", nats_per_token=difference, of=exact.nats_per_token)


def _evaluation_row(bench: Bench, what: str, split: TokenizedSplit, precision: torch.dtype) -> Evaluation:
    model = bench.model(CLASSIC)
    evaluate_split(model, replace(split, tokens=split.tokens[: bench.scored // 10]), precision=precision)
    synchronize(bench.device)
    began = perf_counter()
    result = evaluate_split(model, split, precision=precision)
    bench.row("evaluation", what, tokens_per_second=result.tokens / (perf_counter() - began), tokens=result.tokens)
    return result
