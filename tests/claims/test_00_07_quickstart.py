"""What chapters 00 and 07 say of the quickstart's model: how far it comes, what it learns when, how it writes."""

from functools import cache

import numpy as np
import pytest
import torch
from evidence import SEEDS, TIMES
from quickstarts import STEPS, trained

import tinyllm
from tinyllm import GenerationConfig, generate_text, generate_texts
from tinyllm.commands import quickstart
from tinyllm.course.interpretability import attention_weights
from tinyllm.text import tinywiki
from tinyllm.text.tinywiki_grammar import FIELDS

LENGTHS = {f"{STEPS * times} steps": STEPS * times for times in TIMES}
OWN = f"{STEPS} steps"


def measured(measure, lengths=tuple(LENGTHS)):
    """One number a seed, for each length."""
    return {length: [measure(trained(LENGTHS[length], seed)) for seed in SEEDS] for length in lengths}


def repaired(measure):
    """By how much twice as many steps lower a number, one difference a seed."""
    return {OWN: [measure(trained(STEPS, seed)) - measure(trained(2 * STEPS, seed)) for seed in SEEDS]}


# Chapter 00


@cache
def evaluated(run_of: tuple[int, int]):
    return trained(*run_of).evaluate("test")


def scores(run: tinyllm.Run):
    return evaluated((run.config.training.max_iterations, run.config.training.seed))


def above_the_floor(run: tinyllm.Run) -> float:
    result = scores(run)
    return result.nats_per_token - result.floor


def recalls_share(run: tinyllm.Run) -> float:
    gaps = {kind: part["nats"] - part["floor_nats"] for kind, part in scores(run).by_label.items()}
    return gaps["recall"] / sum(gaps.values())


@pytest.mark.claim("00.above_the_floor")
def test_the_loss_ends_above_the_floor_mostly_for_recall_which_more_steps_repair(evidence):
    """Recall's share is of the gap at 400 steps: twice as many leave no gap worth sharing, as the other rows say."""
    evidence.larger("nats per token above the floor", measured(above_the_floor))
    evidence.between("recall's share of them", measured(recalls_share, [OWN]), 0.5, 1)
    evidence.larger("nats above the floor, 400 minus 800 steps", repaired(above_the_floor))


# Samples


@cache
def sampled(steps: int, seed: int, **settings: float) -> list[str]:
    run = trained(steps, seed)
    return generate_texts(run.model, run.tokenizer, "", GenerationConfig(seed=seed, **settings), number=96)


def samples(run: tinyllm.Run, **settings: float) -> list[str]:
    return sampled(run.config.training.max_iterations, run.config.training.seed, **settings)


def changed(texts: list[str]) -> float:
    """The share of the first sentence's facts that are others when they are mentioned again."""
    _, unchanged, repeated = quickstart.judge(texts)
    return 1 - unchanged / repeated


def changed_in_samples(run: tinyllm.Run) -> float:
    return changed(samples(run, temperature=0.8))


@pytest.mark.claim("00.facts_change")
def test_facts_change_in_samples_and_less_so_after_more_training(evidence):
    """The first row is at 400 steps: at twice as many hardly a fact changes, as the second row says."""
    evidence.between("share of repeated facts that change", measured(changed_in_samples, [OWN]), 0.1, 0.4)
    evidence.larger("that share, 400 minus 800 steps", repaired(changed_in_samples))


# Chapter 07


def form_and_towns(run: tinyllm.Run, **settings: float) -> tuple[float, float]:
    """Of 24 samples, how many have an article's form, and how many different towns occur: means of four times 24."""
    texts = samples(run, **settings)
    groups = [texts[start : start + 24] for start in range(0, 96, 24)]
    towns = [
        sum(any(f" from {town} ," in text for text in group) for town in FIELDS["town"].options) for group in groups
    ]
    return quickstart.judge(texts)[0] / 4, float(np.mean(towns))


def more_towns(run: tinyllm.Run) -> float:
    """The towns of top-p 0.9 at temperature 1 minus those of the temperature that leaves as many samples in form."""
    form, towns = form_and_towns(run, temperature=1.0, top_p=0.9)
    plain = sorted(form_and_towns(run, temperature=tau) for tau in (0.5, 0.6, 0.7, 0.8))
    return towns - float(np.interp(form, *zip(*plain, strict=True)))


@pytest.mark.claim("07.top_p_buys_variety")
def test_top_p_gives_more_towns_than_a_temperature_with_as_many_articles_in_form(evidence):
    evidence.larger("towns in 24 samples, top-p 0.9 minus a temperature of equal form", measured(more_towns))


def on_the_surname(run: tinyllm.Run, second: str) -> torch.Tensor:
    """Each head's weight (H) in the first layer, from a name after the title to the surname's start in the title."""
    encode = run.tokenizer.encode
    ids = [run.tokenizer.end_of_text_id, *encode(f" = Agatha Otterford = \n\n {second}")]
    place = ids.index(encode(" Otter")[0])
    with torch.no_grad():
        return attention_weights(run.model, torch.tensor(ids))[0, :, -1, place]


def largest(run: tinyllm.Run) -> float:
    return on_the_surname(run, "Agatha").max().item()


def of_the_same_head(run: tinyllm.Run) -> float:
    """The weight after another first name, of the head whose weight is the largest after Agatha's own."""
    return on_the_surname(run, "Barnaby")[on_the_surname(run, "Agatha").argmax()].item()


@pytest.mark.claim("07.a_head_finds_the_surname")
def test_a_head_of_the_first_layer_finds_the_surname_whatever_the_name(evidence):
    evidence.between("largest weight on the surname", measured(largest), 0.5, 1)
    evidence.between("the same after another first name", measured(of_the_same_head), 0.5, 1)


@cache
def continued(steps: int, seed: int, temperature: float) -> list[str]:
    """The first sentences of 40 articles that no model has seen, each with what the model makes of it."""
    run, settings = trained(steps, seed), GenerationConfig(temperature=temperature, seed=seed)
    first = [article.text.partition(" = = Life")[0] for article in tinywiki.articles("test")[:40]]
    return [generate_text(run.model, run.tokenizer, sentence, settings) for sentence in first]


def changed_after(run: tinyllm.Run, temperature: float) -> float:
    return changed(continued(run.config.training.max_iterations, run.config.training.seed, temperature))


@pytest.mark.claim("07.greedy_changes_facts_too")
def test_greedy_changes_hardly_fewer_facts_than_a_plain_draw_and_more_training_repairs_them(evidence):
    """The first row is at 400 steps: at twice as many greedy changes hardly a fact, as the last row says."""
    greedys = measured(lambda run: changed_after(run, 0), [OWN])
    evidence.between("share of a first sentence's facts that greedy changes", greedys, 0.1, 0.4)
    apart = measured(lambda run: changed_after(run, 1) - changed_after(run, 0))
    evidence.larger("that share, temperature 1 minus greedy", apart)
    evidence.larger("greedy's share, 400 minus 800 steps", repaired(lambda run: changed_after(run, 0)))
