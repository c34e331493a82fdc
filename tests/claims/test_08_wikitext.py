"""Chapter 08: what the run of a minute on a real book shows."""

from statistics import mean

import pytest
from evidence import SEEDS, TIMES, Evidence

import tinyllm

STEPS = 400
SMALL = {  # as in the chapter
    "data": "moby-dick", "tokenizer": "bpe", "vocab_size": 2048, "validation_fraction": 0.05, "context_length": 64,
    "embedding_dim": 128, "num_layers": 2, "num_heads": 4, "dropout": 0.0, "batch_size": 16,
    "gradient_accumulation_steps": 1, "max_learning_rate": 1e-2, "activation": "swiglu", "feedforward_dim": 344,
    "qk_norm": False, "logit_softcap": None, "evaluation_interval": 50,
}  # fmt: skip


def lead(run: tinyllm.Run, begin: int, end: int) -> float:
    """By how many nats per token the blocks read in these steps were easier than the held-out pages at the time."""
    training = [p["training_loss"] for p in run.history if "training_loss" in p and begin <= p["iteration"] < end]
    watched = [p["validation_loss"] for p in run.history if "validation_loss" in p and begin <= p["iteration"] <= end]
    return mean(watched) - mean(training)


@pytest.mark.claim("08.second_reading")
def test_a_second_reading_makes_the_training_blocks_easier_than_held_out_pages(evidence: Evidence, tmp_path) -> None:
    """The lead is compared within a run, so that other pages being harder in themselves does not count."""
    gained: dict[str, list[float]] = {}
    for times in TIMES:
        for seed in SEEDS:
            folder = str(tmp_path / f"{times}-{seed}")
            run = tinyllm.train("wikitext103-modern", progress=False, run_folder=folder, seed=seed,
                                max_iterations=times * STEPS, **SMALL)  # fmt: skip
            epoch = len(run.data.splits["train"].tokens) // (16 * 64)
            first = lead(run, epoch - 150, epoch - epoch % 50)
            second = lead(run, epoch, min(times * STEPS, 2 * epoch - 50))
            gained.setdefault(f"{times * STEPS} steps", []).append(second - first)
    evidence.larger("lead of the training blocks over held-out pages, second reading minus first, nats", gained)
