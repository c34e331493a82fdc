"""tiktoken alone in several processes. Nothing else is imported here, because each of them imports it."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import tiktoken

SHARES = 4  # for each process, so that all have work to the end


def make_pool(processes: int) -> ProcessPoolExecutor:
    """Processes that have tiktoken's vocabulary. None is forked, since a process that uses CUDA must not be."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, initializer=tiktoken.get_encoding, initargs=("gpt2",))


def encode_in_processes(pool: ProcessPoolExecutor, documents: Sequence[str], processes: int) -> np.ndarray:
    """The ids of all documents, in order."""
    size = -(-len(documents) // (SHARES * processes))
    shares = [documents[first : first + size] for first in range(0, len(documents), size)]
    return np.concatenate(list(pool.map(_encode, shares)))


def _encode(documents: Sequence[str]) -> np.ndarray:
    encoding = tiktoken.get_encoding("gpt2")  # kept from the first call
    return np.concatenate([np.array(encoding.encode_ordinary(document), np.uint16) for document in documents])
