"""Text to batches: a corpus prepared beside bare tiktoken, a vocabulary learned beside `tokenizers`, batches read."""

import itertools
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tiktoken
import tokenizers
import torch
from measuring import Contestant, Row, alternate, compare

from tinyllm import GPT, PRESETS, SubWordTokenizer, load_corpus
from tinyllm.system.distributed import Processes
from tinyllm.text.batches import Blocks
from tinyllm.text.prepared import prepare
from tinyllm.text.tokenized import tokenize
from tinyllm.training.gradient_step import train_step
from tinyllm.training.micro_batches import micro_batches
from tinyllm.training.optimizers import make_optimizer

CORPUS = PRESETS["wikitext103"].dataset


def write_corpus(path: Path, source: str, megabytes: float) -> None:
    """Real articles, again and again in a different order, up to a size."""
    articles = [text for text in load_corpus(source).documents("train") if text.strip()]
    order = random.Random(0)
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        while True:
            for article in order.sample(articles, len(articles)):
                if written >= megabytes * 1e6:
                    return
                written += len(article.encode())
                file.write(article)


def preparing_rows(rounds: int, source: str) -> Iterator[Row]:
    """The speed of `prepare` on 20 MB, and the memory it needs for 20 and for 500."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.raw", Path(folder) / "large.raw"
        write_corpus(small, source, 20)
        contestants = [Contestant(_prepare, small), Contestant(_bare_tiktoken, small)]
        megabytes = small.stat().st_size / 1e6
        speeds = [[megabytes / seconds for seconds in times] for times in alternate(contestants, rounds)]
        yield compare("preparing 20 MB (peer: tiktoken, 2 threads)", "MB/s", *speeds, least=0.8)
        for contestant in contestants:
            contestant.end()
        memory = []
        for path in (small, large):
            if path == large:
                write_corpus(large, source, 500)
            contestant = Contestant(_prepare, path)
            memory.append(contestant.peak_memory() / 1e6)
            contestant.end()
        yield compare("memory to prepare 500 MB (peer: 20 MB)", "MB", memory[1:], memory[:1], most=1.1)
        yield compare("memory to prepare 500 MB (peer: allowed)", "MB", memory[1:], [500], most=1)


def _prepare(path: Path) -> Callable[[], None]:
    home = tempfile.TemporaryDirectory()
    numbers = itertools.count()

    def run() -> None:
        os.environ["TINYLLM_HOME"] = str(Path(home.name) / str(next(numbers)))
        prepare(PRESETS["wikitext103"].replace(data=str(path)).dataset, 50_257, progress=False)

    return run


def _bare_tiktoken(path: Path) -> Callable[[], None]:
    encoding = tiktoken.get_encoding("gpt2")
    documents = list(load_corpus(str(path)).documents("train"))
    return lambda: encoding.encode_ordinary_batch(documents, num_threads=2) and None


def vocabulary_rows(rounds: int, source: str) -> Iterator[Row]:
    """Learning 4,096 tokens from 1 MB, and the memory needed for 100 MB."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.raw", Path(folder) / "large.raw"
        write_corpus(small, source, 1)
        contestants = [Contestant(make, small) for make in (_our_vocabulary, _their_vocabulary)]
        times = alternate(contestants, rounds)
        for contestant in contestants:
            contestant.end()
        yield compare("a vocabulary of 4,096 from 1 MB (peer: tokenizers)", "s", *times, most=5)
        write_corpus(large, source, 100)
        contestant = Contestant(_our_vocabulary, large)
        memory = contestant.peak_memory() / 1e9
        contestant.end()
        yield compare("memory for one from 100 MB (peer: allowed)", "GB", [memory], [2.0], most=1)


def _our_vocabulary(path: Path) -> Callable[[], None]:
    return lambda: SubWordTokenizer.train(path, 4096) and None


def _their_vocabulary(path: Path) -> Callable[[], None]:
    def run() -> None:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        trainer = tokenizers.trainers.BpeTrainer(vocab_size=4095, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train([str(path)], trainer)

    return run


def reading_rows(rounds: int) -> list[Row]:
    """The quickstart's batches beside its training steps."""
    contestants = [Contestant(make) for make in (_read_batches, _quickstart_steps)]
    times = alternate(contestants, rounds)
    for contestant in contestants:
        contestant.end()
    return [compare("reading 50 batches (peer: 50 quickstart steps)", "s", *times, most=0.02)]


def _quickstart() -> tuple[Any, Callable[[int], list[tuple[torch.Tensor, torch.Tensor]]]]:
    config = PRESETS["quickstart"].replace(device="cpu")
    texts = itertools.islice(load_corpus("tinywiki").documents("train"), 1000)
    split = tokenize(texts, SubWordTokenizer("gpt2"))
    blocks = Blocks(split, config.model.context_length, begin=config.dataset.block_begin)
    alone = Processes(torch.device("cpu"), 0, 1)
    return config, lambda iteration: micro_batches(blocks, config, iteration, alone, config.training.batch_size)


def _read_batches() -> Callable[[], None]:
    _, batches = _quickstart()
    return lambda: [batches(iteration) for iteration in range(50)] and None


def _quickstart_steps() -> Callable[[], None]:
    config, batches = _quickstart()
    model = GPT(config.model)
    optimizer = make_optimizer(model, config.training)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    read: Sequence = [[(ids % 1024, targets % 1024) for ids, targets in batches(i)] for i in range(50)]
    return lambda: [train_step(model, batch, optimizer, scaler, 1.0) for batch in read] and None
