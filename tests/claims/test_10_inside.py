"""Chapter 10: what holds for five models of TinyWiki, and for five that learned to copy, not only for the one shown.

Measured with the package's instruments, which the chapter proves equal to those it builds.
"""

import contextlib
from functools import cache
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from evidence import SEEDS, TIMES, tuned
from quickstarts import STEPS, trained
from torch import Tensor

from tinyllm import GPT, ModelConfig, SubWordTokenizer, TrainingConfig
from tinyllm.course.circuits import qk_scores
from tinyllm.course.facts import SOURCES, lookups, nats_by_fact
from tinyllm.course.interpretability import (
    attention_weights,
    heads_off,
    induction_scores,
    mean_heads,
    previous_token_scores,
    residual_stream,
)
from tinyllm.text import tinywiki
from tinyllm.text.tinywiki_grammar import WORLD
from tinyllm.training.optimizers import make_optimizer
from tinyllm.training.schedule import learning_rate

GROWN = 300  # the chapter's own run length of the models that learn to copy
ARTICLES = tinywiki.articles("test")[:30]


def by_length(measure) -> dict[str, list]:
    """One result for each seed, at each length of the run; `measure` is a function of model and tokenizer."""
    runs = {f"{STEPS * n} steps": [trained(STEPS * n, seed) for seed in SEEDS] for n in TIMES}
    return {length: [measure(run.model, run.tokenizer) for run in found] for length, found in runs.items()}


# Heads that are off


def idle_heads(model: GPT, tokenizer: SubWordTokenizer) -> tuple[float, float]:
    """The nats per fact that the idle heads cost together, and the sum of what each costs alone.

    As in the chapter, a head is idle if it alone costs less than 0.1 nats per token on every fact.
    """
    whole, idle, alone = nats_by_fact(model, tokenizer, ARTICLES), [], 0.0
    for layer in range(2):
        for head in range(6):
            with heads_off(model, [(layer, head)]):
                costs = [nats - whole[fact] for fact, nats in nats_by_fact(model, tokenizer, ARTICLES).items()]
            if max(costs) < 0.1:
                idle.append((layer, head))
                alone += sum(costs)
    with heads_off(model, idle):
        together = nats_by_fact(model, tokenizer, ARTICLES)
    return sum(together[fact] - whole[fact] for fact in SOURCES), alone


@pytest.mark.claim("10.idle_heads_stand_in")
def test_idle_heads_cost_more_together_than_one_by_one(evidence):
    def measure(model, tokenizer):
        together, alone = idle_heads(model, tokenizer)
        return together - alone

    evidence.larger("nats, all facts, of the idle heads off together less one by one", by_length(measure))


# Where the river is


def river_prompts(tokenizer: SubWordTokenizer) -> dict[str, Tensor]:
    """By town: the chapter's prompt, whose next token begins the river's name."""
    beginning = (
        " = Ada Marlow = \n\n Ada Marlow ( 1830 – 1899 ) was a hatter from {town} , known for a silent clock . \n\n"
    )
    text = beginning + " = = Life = = \n\n Marlow was born in 1830 in {town} on the River"
    towns = WORLD["river"][1]
    return {town: torch.tensor([tokenizer.end_of_text_id, *tokenizer.encode(text.format(town=town))]) for town in towns}


@contextlib.contextmanager
def replaced(model: GPT, outputs: dict[tuple[int, str], Tensor]):
    """Inside the `with` block, these parts' outputs at the last token are given."""
    hooks = []
    for (layer, name), vector in outputs.items():

        def put(_, __, gives, vector=vector):
            return torch.cat([gives[:, :-1], vector[None, None]], dim=1)

        hooks.append(getattr(model.blocks[layer], name).register_forward_hook(put))
    yield
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def last_outputs(model: GPT, ids: Tensor) -> dict[tuple[int, str], Tensor]:
    outputs: dict[tuple[int, str], Tensor] = {}
    hooks = []
    for layer, block in enumerate(model.blocks):
        for name in ("attention", "feedforward"):

            def keep(_, __, gives, place=(layer, name)):
                outputs[place] = gives[0, -1]

            hooks.append(getattr(block, name).register_forward_hook(keep))
    model(ids[None])
    for hook in hooks:
        hook.remove()
    return outputs


@torch.no_grad()
def moved_by(model: GPT, tokenizer: SubWordTokenizer, patched: str) -> float:
    """How far the logits move from one town's river to another's, as a share, over pairs of towns.

    At the last token both parts of this name come from the other prompt, and both other parts are held.
    """
    prompts = river_prompts(tokenizer)
    first = {town: tokenizer.encode(f" {river}")[0] for town, river in WORLD["river"][1].items()}
    lengths: dict[int, list[str]] = {}
    for town, ids in prompts.items():
        lengths.setdefault(len(ids), []).append(town)
    shares = []
    for towns in lengths.values():
        for here, there in pairwise(towns):
            if first[here] == first[there]:
                continue

            def difference(ids, here=here, there=there):
                logits = model(ids[None])[0, -1]
                return (logits[first[there]] - logits[first[here]]).item()

            kept, other = last_outputs(model, prompts[here]), last_outputs(model, prompts[there])
            mixed = {place: (other if place[1] == patched else kept)[place] for place in kept}
            with replaced(model, mixed):
                moved = difference(prompts[here])
            start, end = difference(prompts[here]), difference(prompts[there])
            shares.append((moved - start) / (end - start))
    assert len(shares) >= 8
    return sum(shares) / len(shares)


@pytest.mark.claim("10.feedforward_knows_the_river")
def test_the_river_comes_out_of_the_feedforward(evidence):
    evidence.larger(
        "share of the logit difference moved: feed-forward patched and attention held, less the reverse",
        by_length(lambda *run: moved_by(*run, "feedforward") - moved_by(*run, "attention")),
    )


# How one layer recalls


@torch.no_grad()
def decades_liked(model: GPT, tokenizer: SubWordTokenizer) -> float:
    """Of all tokens as keys, how many of the eight decades are among the eight that the query likes best: a share.

    The query stands just before the year of birth is told again; the head is the one that looks there most.
    """
    end, table = tokenizer.end_of_text_id, model.token_embedding.weight
    decades = {tokenizer.encode(f" {year}")[0] for year in range(1800, 1880, 10)}
    looks, places = torch.zeros(6), []
    for article in ARTICLES:
        tokens = tokenizer.encode(article.text)
        ids = torch.tensor([end, *tokens])
        [place] = [lookup for lookup in lookups(article, tokenizer, tokens) if lookup.fact == "birth"]
        looks += attention_weights(model, ids)[0, :, place.position, place.sources].sum(-1)
        places.append(residual_stream(model, ids)[0, place.position])
    scores = qk_scores(model, 0, int(looks.argmax()), torch.stack(places), table)
    found = [len(decades & set(row.topk(8).indices.tolist())) for row in scores]
    return sum(found) / len(found) / 8


@pytest.mark.claim("10.a_query_for_years")
def test_a_query_for_the_year_of_birth_likes_years_wherever_they_stand(evidence):
    evidence.larger(
        "share of the eight decades among the head's eight favourite keys, less that of eight drawn by chance",
        by_length(lambda model, tokenizer: decades_liked(model, tokenizer) - 8 / model.config.vocab_size),
    )


@torch.no_grad()
def year_of_birth(model: GPT, tokenizer: SubWordTokenizer) -> tuple[float, float]:
    """Where the year of birth is told again: the nats that its digit costs, and who looks at the digit told first.

    The second number is the largest mean attention of a head of layer 1 from the decade to that digit.
    """
    end, nats, looks = tokenizer.end_of_text_id, [], torch.zeros(6)
    for article in ARTICLES:
        tokens = tokenizer.encode(article.text)
        ids = torch.tensor([end, *tokens])
        [place] = [lookup for lookup in lookups(article, tokenizer, tokens) if lookup.fact == "birth"]
        decade, first_digit = place.position + 1, place.sources[1]
        nats.append(F.cross_entropy(model(ids[None, : decade + 1])[0, -1], ids[decade + 1]).item())
        looks += attention_weights(model, ids)[0, :, decade, first_digit]
    return sum(nats) / len(nats), looks.max().item() / len(ARTICLES)


@pytest.mark.claim("10.the_digit_comes_late")
def test_the_digit_of_a_year_is_guessed_first_and_looked_up_later(evidence):
    early, late = by_length(year_of_birth).values()
    own = f"{STEPS} steps"
    evidence.between("nats that the digit of a year costs (ln 10 is 2.303)", {own: [n for n, _ in early]}, 2.2, 2.4)
    pairs = list(zip(early, late, strict=True))
    evidence.larger("that cost, 400 minus 800 steps", {own: [first[0] - second[0] for first, second in pairs]})
    evidence.larger(
        "the most that a head of layer 1 looks from the decade to the first digit, 800 minus 400 steps",
        {own: [second[1] - first[1] for first, second in pairs]},
    )


@torch.no_grad()
def gain_from_order(model: GPT, tokenizer: SubWordTokenizer) -> float:
    """Nats per token that a random string costs less after itself than after its own tokens in another order."""
    generator = torch.Generator().manual_seed(3)
    strings = torch.randint(300, model.config.vocab_size - 10, (200, 12), generator=generator)
    order = torch.rand(200, 12, generator=generator).argsort(1)
    end = torch.full((200, 1), tokenizer.end_of_text_id)

    def nats(first):
        ids = torch.cat([end, first, strings], dim=1)
        losses = F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:], reduction="none")
        return losses[:, 13:].mean().item()  # not the string's first token, which nothing tells

    return nats(strings.gather(1, order)) - nats(strings)


@pytest.mark.claim("10.tinywiki_teaches_no_induction")
def test_a_model_of_tinywiki_does_not_copy_a_random_string(evidence):
    evidence.between(
        "nats per token that a string costs less after itself than shuffled", by_length(gain_from_order), -0.2, 0.2
    )


# Models that learn to copy

V, T = 64, 40


def repeated(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    periods = torch.randint(6, 16, (rows, 1), generator=generator)
    strings = torch.randint(V, (rows, 16), generator=generator)
    first = torch.randint(0, 16, (rows, 1), generator=generator)
    return strings.gather(1, (torch.arange(T + 1) + first) % periods), periods


TEXTS, PERIODS = repeated(64, torch.Generator().manual_seed(999))


@torch.no_grad()
def nats_repeated(model: GPT) -> float:
    losses = F.cross_entropy(model(TEXTS[:, :-1]).transpose(1, 2), TEXTS[:, 1:], reduction="none")
    return losses[torch.arange(T) >= PERIODS].mean().item()


@cache
def grown(layers: int, steps: int, seed: int, rate: float) -> GPT:
    torch.manual_seed(seed)
    model = GPT(ModelConfig(
        vocab_size=V, context_length=T, embedding_dim=64, num_layers=layers, num_heads=2, feedforward_dim=16,
        dropout=0.0, positions="rotary", qk_norm=True,
    ))  # fmt: skip
    plan = TrainingConfig(max_iterations=steps, max_learning_rate=rate, min_learning_rate=0, optimizer="muon")
    optimizer, generator = make_optimizer(model, plan), torch.Generator().manual_seed(seed + 1)
    for step in range(steps):
        ids, _ = repeated(32, generator)
        F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:]).backward()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan)
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@cache
def rate_of(layers: int, steps: int) -> float:
    return tuned(lambda rate: nats_repeated(grown(layers, steps, 6, rate)), 0.02)


def copiers(layers: int, times: int) -> list[GPT]:
    steps = GROWN * times
    return [grown(layers, steps, seed, rate_of(layers, steps)) for seed in SEEDS]


@pytest.mark.claim("10.two_layers_copy")
def test_two_layers_copy_and_one_does_not(evidence):
    evidence.larger(
        "nats per token on the repeated part: one layer less two",
        {
            f"{GROWN * n} steps": [
                nats_repeated(one) - nats_repeated(two) for one, two in zip(copiers(1, n), copiers(2, n), strict=True)
            ]
            for n in TIMES
        },
    )


def pair_costs(model: GPT) -> tuple[float, float, float]:
    """Nats with the previous-token head of layer 1 at its mean, with its other head at its mean; the first's score."""
    means = mean_heads(model, list(TEXTS[:, :-1]))
    scores = torch.stack([previous_token_scores(attention_weights(model, ids[:-1])) for ids in TEXTS]).mean(0)
    first = int(scores[0].argmax())
    nats = []
    for head in (first, 1 - first):
        with heads_off(model, [(0, head)], means):
            nats.append(nats_repeated(model))
    return nats[0], nats[1], scores[0].max().item()


@pytest.mark.claim("10.copying_needs_the_previous_token")
def test_copying_needs_the_head_that_looks_one_back(evidence):
    costs = {f"{GROWN * n} steps": [pair_costs(model) for model in copiers(2, n)] for n in TIMES}
    evidence.larger(
        "nats per token on the repeated part: layer 1's previous-token head at its mean, less its other head at its",
        {length: [this - other for this, other, _ in rows] for length, rows in costs.items()},
    )
    for n in TIMES:  # the pair's other half: some head of layer 2 looks at what followed
        for model in copiers(2, n):
            looks = torch.stack([induction_scores(attention_weights(model, ids[:-1]), ids[:-1]) for ids in TEXTS])
            assert looks.mean(0)[1].max() > 0.5
