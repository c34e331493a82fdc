"""What chapter 03 says that its two rungs show."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from evidence import SEEDS, TIMES
from jaxtyping import Bool, Int
from rungs import keep, scores, steps, text, trained
from torch import Tensor, nn

from tinyllm.course.ladder import reference_lines


def paired(one: str, other: str, kind: str) -> dict[str, list[float]]:
    """The loss of `one` minus that of `other` on this kind of token, seed by seed."""
    return {
        steps(times): [a[kind] - b[kind] for a, b in zip(scores(one, times), scores(other, times), strict=True)]
        for times in TIMES
    }


@pytest.mark.claim("03.attention_moves_recall")
def test_attention_recalls_where_the_average_does_not(evidence):
    keep("averaging")
    keep("attention")
    evidence.larger("recall: averaging minus attention, nats per token", paired("averaging", "attention", "recall"))


@pytest.mark.claim("03.remembers")
def test_attention_beats_the_forgetful_writer_and_the_average_does_not(evidence):
    line = reference_lines(text())["forgetful writer"]["recall"]
    for what, name, sign in (
        ("the forgetful writer minus attention", "attention", 1),
        ("averaging minus the forgetful writer", "averaging", -1),
    ):
        evidence.larger(
            f"recall: {what}, nats per token",
            {steps(times): [sign * (line - score["recall"]) for score in scores(name, times)] for times in TIMES},
        )


# What attention looks at


def copies(ids: Int[Tensor, " T"], wanted: Int[Tensor, " T"], facts: Bool[Tensor, " T"]) -> Bool[Tensor, "T T"]:
    """Row t: where the token that comes next has been seen."""
    return (ids[None, :] == wanted[:, None]) & facts[None, :]


def as_many_others(ids: Int[Tensor, " T"], wanted: Int[Tensor, " T"], facts: Bool[Tensor, " T"]) -> Bool[Tensor, "T T"]:
    """Row t: as many other facts, drawn from those seen so far."""
    T = len(ids)
    seen = torch.ones(T, T, dtype=torch.bool).tril(-1)
    hidden = copies(ids, wanted, facts)
    others = seen & facts[None, :] & ~hidden
    draws = torch.rand(T, T, generator=torch.Generator().manual_seed(0)).masked_fill(~others, 2.0)
    return (draws.argsort(dim=1).argsort(dim=1) < (hidden & seen).sum(dim=1, keepdim=True)) & others


Hide = Callable[[Int[Tensor, " T"], Int[Tensor, " T"], Bool[Tensor, " T"]], Bool[Tensor, "T T"]]


@torch.no_grad()
def recall_loss(model: nn.Module, hide: Hide) -> float:
    """Nats per recall token of the rung "attention" where each token cannot see what `hide` names; it sees itself."""
    layer, nats = model.piece.layer, []
    for stream, kinds in text().labelled():
        ids, wanted = torch.tensor(stream[:-1]), torch.tensor(stream[1:])
        facts = torch.tensor([False, *(kind in ("choice", "recall") for kind in kinds[:-1])])
        T = len(ids)
        mask = torch.ones(T, T, dtype=torch.bool).tril() & ~hide(ids, wanted, facts) | torch.eye(T, dtype=torch.bool)
        x = model.token_embedding(ids)
        q, k, v = layer.qkv(x).view(T, 3, 4, 32).permute(1, 2, 0, 3)  # each (H, T, D)
        mixed = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask)[0]
        logits = model.head(x + layer.projection(mixed.transpose(0, 1).reshape(T, 128)))
        recalled = torch.tensor([kind == "recall" for kind in kinds])
        nats += F.cross_entropy(logits[recalled], wanted[recalled], reduction="none").tolist()
    return sum(nats) / len(nats)


@pytest.mark.claim("03.looks_at_the_fact")
def test_hiding_the_fact_costs_more_than_hiding_as_many_other_facts(evidence):
    model = trained("attention", SEEDS[0])
    nothing = recall_loss(model, lambda ids, wanted, facts: torch.zeros(len(ids), len(ids), dtype=torch.bool))
    assert nothing == pytest.approx(text().score(model)["recall"], rel=1e-4)
    differences = {
        steps(times): [
            recall_loss(trained("attention", seed, times), copies)
            - recall_loss(trained("attention", seed, times), as_many_others)
            for seed in SEEDS
        ]
        for times in TIMES
    }
    evidence.larger("recall: the fact hidden minus as many other facts hidden, nats per token", differences)
