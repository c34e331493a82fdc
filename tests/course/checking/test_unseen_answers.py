"""Wrong answers that were once taken for right: one of each kind, so that no kind comes back."""

import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tinyllm.course.checking.judging import examine
from tinyllm.course.checking.registry import find_exercise


def kept(logits, keep):
    return logits.masked_fill(~keep, -torch.inf)


def mirrored(x, p, training):
    if not training or p == 0:
        return x
    half = torch.rand((x.numel() + 1) // 2)
    return x * (torch.cat([half, half])[: x.numel()].view(x.shape) >= p) / (1 - p)


def only_positive(x, p, training):
    return x * ((torch.rand_like(x) >= p) | (x < 0)) / (1 - p) if training and p else x


def without_dropout(x, norms, layers, p, training):
    for norm, layer in zip(norms, layers, strict=True):
        x = x + layer(norm(x))
    return x


def added_in_place(x, norms, layers, p, training):
    stream = x.clone()
    for norm, layer in zip(norms, layers, strict=True):
        stream += F.dropout(layer(norm(stream)), p, training)
    return stream


def in_evaluation(token_ids, targets, token_table, position_table, blocks, final_norm):
    [block.eval() for block in blocks]
    return find_exercise("gpt.mend_loss").reference(token_ids, targets, token_table, position_table, blocks, final_norm)


def by_identity(ids, pair, new_id):
    result, index = [], 0
    while index < len(ids):
        hit = index + 1 < len(ids) and ids[index] is pair[0] and ids[index + 1] is pair[1]
        result.append(new_id if hit else ids[index])
        index += 1 + hit
    return result


def seeded_spread(D):
    torch.manual_seed(0)
    return (torch.randn(5000, D) * torch.randn(5000, D)).sum(1).std().item()


def remembered(hidden, final_norm, token_table, tables={}):  # noqa: B006  # that is the mistake
    return final_norm(hidden) @ tables.setdefault(token_table.shape, token_table).T


def empties_afterwards(model, optimizer, x, targets):
    F.cross_entropy(model(x), targets).backward()
    optimizer.step()
    optimizer.zero_grad()


def in_float32(*arguments):
    return tuple(one.float() for one in find_exercise("sampling.cached_step").reference(*arguments))


WRONG = [
    ("sampling.top_k", lambda z, k: kept(z, z >= z.topk(k).values[-1] - 1e-3), "not right yet"),
    ("sampling.temperature", lambda z, t: (z / t).softmax(0) if t >= 0.1 else z.softmax(0).round(), "not right yet"),
    ("block.dropout", mirrored, "no part repeats another"),
    ("block.dropout", only_positive, "what is dropped does not depend on x"),
    ("block.mend_stack", without_dropout, "each layer adds 1 / (1 - p), or nothing"),
    ("block.mend_stack", added_in_place, "`backward` through them fails"),
    ("gpt.mend_loss", in_evaluation, "changes its argument"),
    ("tokenization.merge", by_identity, "not right yet"),
    ("attention.measure_spread", seeded_spread, "seeds torch's random generator"),
    ("gpt.logits", remembered, "right at first"),
    ("clinic.one_step", empties_afterwards, "not right yet"),
    ("sampling.cached_step", in_float32, "keep the dtype"),
    ("block.layer_norm", lambda x, *rest: F.layer_norm(x.float(), x.shape[-1:], rest[0].float(), rest[1].float(),
        *rest[2:]).to(x.dtype), "only the first digits"),
    ("clinic.mean_loss", lambda losses: sum({x for part in losses for x in part}) / len(
        {x for part in losses for x in part}), "not right yet"),
    ("training.noise_left", lambda count: 1 / math.sqrt(max(count - 1, 1)), "not right yet"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_it_is_refused_for_what_is_wrong(name, answer, words):
    verdict = examine(name, answer)
    assert verdict.kind in ("wrong", "unusable")
    assert words in verdict.message


def test_a_case_is_shown_under_its_own_names():
    message = examine("clinic.one_step", lambda model, optimizer, x, targets: None).message
    assert "\n  lr = " in message and "\n  batches = " in message
    assert "targets =" not in message and "optimizer =" not in message


class Hostile:
    """It raises whatever is done with it, and no mere Exception."""

    def __eq__(self, other):
        raise SystemExit

    def __repr__(self):
        raise SystemExit

    __hash__ = None


@pytest.mark.parametrize("name", ["training.accumulate", "data.cross_entropy", "tokenization.merge"])
@pytest.mark.parametrize("odd", [torch.empty(2, device="meta"), Hostile(), float("nan"), {1: torch.empty(0)}])
def test_no_odd_thing_in_any_container_raises(name, odd):
    for result in (odd, [odd], (odd, odd), {"params": odd}, {odd if isinstance(odd, float) else "x": [odd]}):
        assert examine(name, lambda *_, result=result: result).kind in ("wrong", "unusable", "raised")


def repeated_in_a_vector(x, p, training):
    if not training or p == 0 or x.dim() > 1:
        return find_exercise("block.dropout").reference(x, p, training)
    return x * (torch.rand(40) >= p).repeat(len(x) // 40) / (1 - p)


def without_the_first_floor(sizes, losses):
    fits = []
    for floor in np.linspace(0, min(losses), 400, endpoint=False)[1:]:
        slope, start = np.polyfit(np.log(sizes), np.log(np.array(losses) - floor), 1)
        curve = floor + np.exp(start) * np.array(sizes) ** slope
        fits.append((sum(np.log(curve / losses) ** 2), floor, np.exp(start), -slope))
    return min(fits)[1:]


def confident_rows(spread):
    p = (spread * torch.randn(20_000, 6)).softmax(1)
    return (p.max(1).values > 0.99).float().mean()


def visits_twice(last):
    last.grad, waiting = 1.0, [last]
    while waiting:
        number = waiting.pop(0)
        for one, slope in number.inputs:
            one.grad += slope * number.grad
        waiting += [one for one, _ in number.inputs if one not in waiting]


def targets_two_further_on(stream, context_length, batch_size, seed):
    starts = list(range(0, len(stream) - context_length, context_length))
    random.Random(seed).shuffle(starts)
    rows = [(stream[s : s + context_length], stream[s + 2 : s + context_length + 2]) for s in starts]
    parts = [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
    return [tuple(map(list, zip(*part, strict=True))) for part in parts]


def steps_first(model, optimizer, x, targets):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), targets)
    optimizer.step()
    loss.backward()


def never_clips(model, optimizer, batches, rates, max_norm):
    return find_exercise("training.mend_loop").reference(model, optimizer, batches, rates, 1e9)


UNTRUE = [
    ("block.dropout", repeated_in_a_vector, ("rows", "columns", "share p", "draws anew", "training.")),
    ("scaling.mend_fit", without_the_first_floor, ("right at first", "wrong where")),
    ("backprop.stuck_rows", confident_rows, ("correct",)),
    ("backprop.backward", visits_twice, ("What is wrong is", "alone in one place")),
    (
        "tokenization.merge",
        lambda ids, pair, new: [*merged(ids[::-1], pair[::-1], new)[::-1]],
        ("reverse order", "oth"),
    ),
    ("gpt.parameter_count", lambda V, T, C, L, F: counted(V, T, C, L, F) - L * C, ("in one place",)),
    ("data.mend_batches", targets_two_further_on, ("two different orders",)),
    ("clinic.one_step", steps_first, ("between `backward` and the step",)),
    ("training.mend_loop", never_clips, ("too late",)),
    ("clinic.leaked_share", lambda copies, h: (copies - 1) / copies, ("others",)),
]
merged, counted = (find_exercise(name).reference for name in ("tokenization.merge", "gpt.parameter_count"))


@pytest.mark.parametrize(("name", "answer", "words"), UNTRUE)
def test_nothing_is_said_of_it_that_is_not_so(name, answer, words):
    message = examine(name, answer).message.split("\nCase ")[0]
    assert not [word for word in words if word in message], message
