"""What learners usually get wrong in notebook 10. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import torch
import torch.nn.functional as F

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch10_inside import (
    attribution,
    induction_score,
    lens,
    mend_streams,
    ov_circuit,
    patch,
    score_by_chance,
    switch_off,
)

# switch_off

mistake(
    switch_off,
    "You count the heads from 1. Head 0 has the first numbers.",
    lambda mixed, head, num_heads: switch_off(mixed, (head - 1) % num_heads, num_heads),
)


@mistake(
    switch_off,
    "Only one number of each token is set to zero. A head has C / H numbers.",
)
def one_number_only(mixed, head, num_heads):
    mixed = mixed.clone()
    mixed[..., head] = 0
    return mixed


mistake(
    switch_off,
    "It is the wrong way round: this head is kept and all others are set to zero.",
    lambda mixed, head, num_heads: mixed - switch_off(mixed, head, num_heads),
)


@mistake(
    switch_off,
    "You take every H-th number. A head's numbers are adjacent.",
)
def takes_every_hth(mixed, head, num_heads):
    mixed = mixed.clone()
    mixed[..., head::num_heads] = 0
    return mixed


mistake(
    switch_off,
    "All heads before this one are silenced too. Set this head's numbers alone to zero.",
    lambda mixed, head, num_heads: (
        mixed * (torch.arange(mixed.shape[-1]) >= (head + 1) * (mixed.shape[-1] // num_heads))
    ),
)

mistake(
    switch_off,
    "All heads after this one are silenced too. Set this head's numbers alone to zero.",
    lambda mixed, head, num_heads: mixed * (torch.arange(mixed.shape[-1]) < head * (mixed.shape[-1] // num_heads)),
)


@mistake(
    switch_off,
    "The head's numbers become their mean. Set them to zero.",
)
def means_for_numbers(mixed, head, num_heads):
    parts = list(mixed.chunk(num_heads, dim=-1))
    parts[head] = parts[head].mean(dim=-1, keepdim=True).expand_as(parts[head])
    return torch.cat(parts, dim=-1)


@mistake(
    switch_off,
    "The head is taken out, and the rest is shorter. Its numbers stay, as zeros.",
)
def takes_it_out(mixed, head, num_heads):
    parts = list(mixed.chunk(num_heads, dim=-1))
    return torch.cat([*parts[:head], *parts[head + 1 :]], dim=-1) if len(parts) > 1 else mixed[..., :0]


# lens

mistake(
    lens,
    "The final norm is missing. The head has only ever seen normalised vectors.",
    lambda stream, weight, bias, table: stream @ table.T,
)

mistake(
    lens,
    "These are probabilities. Return logits: leave out the softmax.",
    lambda *arguments: lens(*arguments).softmax(-1),
)

mistake(
    lens,
    "The norm's own weight and bias are missing: they were learned with the rest.",
    lambda stream, weight, bias, table: F.layer_norm(stream, stream.shape[-1:]) @ table.T,
)

mistake(
    lens,
    "You divide by the root mean square, as RMSNorm does. The last norm here is a LayerNorm: subtract the mean too.",
    lambda stream, weight, bias, table: (F.rms_norm(stream, stream.shape[-1:], weight, 1e-5) + bias) @ table.T,
)

mistake(
    lens,
    "Your norm runs along the tokens. Each token has its own, along C.",
    lambda stream, weight, bias, table: (F.layer_norm(stream.T, stream.shape[:1]).T * weight + bias) @ table.T,
)

mistake(
    lens,
    "Your variance is the unbiased one, divided by C - 1. LayerNorm divides by C.",
    lambda stream, weight, bias, table: (
        ((stream - stream.mean(-1, keepdim=True)) / (stream.var(-1, keepdim=True) + 1e-5).sqrt() * weight + bias)
        @ table.T
    ),
)


# patch

mistake(
    patch,
    "You return the other run with one vector of this one. It must be the other way round.",
    lambda stream, other, position: patch(other, stream, position),
)

mistake(
    patch,
    "You exchange everything from that token on. Exchange only the token itself.",
    lambda stream, other, position: torch.cat([stream[:, :position], other[:, position:]], dim=1),
)


@mistake(
    patch,
    "You add the other vector. It must replace this one.",
)
def adds_the_vector(stream, other, position):
    stream = stream.clone()
    stream[:, position] += other[:, position]
    return stream


mistake(
    patch,
    "You exchange everything up to that token. Exchange only the token itself.",
    lambda stream, other, position: torch.cat([other[:, : position + 1], stream[:, position + 1 :]], dim=1),
)

mistake(
    patch,
    "You return the other run as it is. Only one token's vector comes from it.",
    lambda stream, other, position: other.clone(),
)

mistake(
    patch,
    "You exchange the vector in the first text alone. Exchange it in each row of the batch.",
    lambda stream, other, position: torch.cat(
        [torch.where((torch.arange(stream.shape[1]) == position)[:, None], other, stream)[:1], stream[1:]]
    ),
)


# induction_score

mistake(
    induction_score,
    "You take the same token one period ago. Take the token that came after it.",
    lambda weights, period: torch.stack([weights[t, t - period] for t in range(period, len(weights))]).mean(),
)

mistake(
    induction_score,
    "Rows and columns are swapped: row t is what token t attends to.",
    lambda weights, period: induction_score(weights.T, period),
)

mistake(
    induction_score,
    "You are one position too early: at the token before the earlier one.",
    lambda weights, period: torch.stack(
        [weights[t, max(0, t - period - 1)] for t in range(period, len(weights))]
    ).mean(),
)

mistake(
    induction_score,
    "This is the sum. Divide by the number of positions.",
    lambda weights, period: induction_score(weights, period) * (len(weights) - period),
)

mistake(
    induction_score,
    "You divide by all T positions. The first `period` of them have no earlier copy and do not count.",
    lambda weights, period: induction_score(weights, period) * (len(weights) - period) / len(weights),
)

mistake(
    induction_score,
    "This is the share of rows whose largest weight is there. Take the mean of the weights themselves.",
    lambda weights, period: (weights[period:].argmax(1) == torch.arange(1, len(weights) - period + 1)).double().mean(),
)

mistake(
    induction_score,
    "That is the last row alone. Take the mean over all rows from `period` on.",
    lambda weights, period: weights[-1, len(weights) - period],
)

mistake(
    induction_score,
    "This is the mean of each row's largest weight, wherever it is. Take the weight at t - period + 1.",
    lambda weights, period: weights[period:].max(1).values.mean(),
)

mistake(
    induction_score,
    "You are one position too late: at the token after the one that followed.",
    lambda weights, period: torch.stack(
        [weights[t, min(t - period + 2, t)] for t in range(period, len(weights))]
    ).mean(),
)


# attribution

mistake(
    attribution,
    "You divide each part by its own spread. The norm sees only their sum: divide all by the stream's.",
    lambda parts, stream, weight, direction: (F.layer_norm(parts, parts.shape[-1:]) * weight) @ direction,
)

mistake(
    attribution,
    "You do not divide by the stream's standard deviation, as the norm does.",
    lambda parts, stream, weight, direction: ((parts - parts.mean(-1, keepdim=True)) * weight) @ direction,
)

mistake(
    attribution,
    "The parts keep their means. A LayerNorm takes the mean away, and each part's own with it.",
    lambda parts, stream, weight, direction: (parts / stream.std(unbiased=False) * weight) @ direction,
)

mistake(
    attribution,
    "The mean you take away is the stream's. That is the sum of all parts' means: each part loses its own.",
    lambda parts, stream, weight, direction: (
        ((parts - stream.mean()) / stream.std(unbiased=False) * weight) @ direction
    ),
)

mistake(
    attribution,
    "The norm's weight is missing.",
    lambda parts, stream, weight, direction: attribution(parts, stream, torch.ones_like(weight), direction),
)

mistake(
    attribution,
    "You divide by the variance. The norm divides by its root.",
    lambda parts, stream, weight, direction: (
        ((parts - parts.mean(-1, keepdim=True)) / stream.var(unbiased=False) * weight) @ direction
    ),
)


# ov_circuit

mistake(
    ov_circuit,
    "You take the queries' rows. The values' are the last C of the 3 C.",
    lambda qkv, projection, head, num_heads: ov_circuit(qkv.roll(2 * len(projection), 0), projection, head, num_heads),
)

mistake(
    ov_circuit,
    "You take the keys' rows. The values' are the last C of the 3 C.",
    lambda qkv, projection, head, num_heads: ov_circuit(qkv.roll(len(projection), 0), projection, head, num_heads),
)

mistake(
    ov_circuit,
    "You take the head's rows of the projection. The head's numbers come in at its columns.",
    lambda qkv, projection, head, num_heads: ov_circuit(qkv, projection.T, head, num_heads),
)

mistake(
    ov_circuit,
    "This is the transpose. The product with a vector on its right must be what the head writes.",
    lambda qkv, projection, head, num_heads: ov_circuit(qkv, projection, head, num_heads).T,
)

mistake(
    ov_circuit,
    "These are all heads together. Take one head's rows and columns.",
    lambda qkv, projection, head, num_heads: projection @ qkv[2 * len(projection) :],
)

mistake(
    ov_circuit,
    "You count the heads from 1. Head 0 has the first rows and columns.",
    lambda qkv, projection, head, num_heads: ov_circuit(qkv, projection, (head - 1) % num_heads, num_heads),
)


# mend_streams


def _collect(first, all_removed):
    """The code half mended."""

    def run(model, ids):
        seen: list[torch.Tensor] = []

        def keep(block, inputs, output):
            if first and not seen:
                seen.append(inputs[0])
            seen.append(output)

        hooks = [block.register_forward_hook(keep) for block in model.blocks]
        model(ids)
        for hook in hooks if all_removed else hooks[-1:]:
            hook.remove()
        return seen

    return run


@mistake(
    mend_streams,
    "This is still the code as it was given, or does the same: all hooks write to the same two places, and most stay.",
)
def as_it_was_given(model, ids):
    seen: dict[int, torch.Tensor] = {}

    def keep(block, inputs, output):
        seen[number] = inputs[0]
        seen[number + 1] = output

    for number in range(len(model.blocks)):
        hook = model.blocks[number].register_forward_hook(keep)
    model(ids)
    hook.remove()
    return list(seen.values())


@mistake(
    mend_streams,
    "All hooks are removed now. But each of them writes to the places of the last layer: `number` is what it was last.",
)
def binds_late(model, ids):
    seen: dict[int, torch.Tensor] = {}

    def keep(block, inputs, output):
        seen[number] = inputs[0]
        seen[number + 1] = output

    hooks = []
    for number in range(len(model.blocks)):
        hooks.append(model.blocks[number].register_forward_hook(keep))
    model(ids)
    for hook in hooks:
        hook.remove()
    return list(seen.values())


mistake(
    mend_streams,
    "The streams are right. But only the last hook is removed: the others stay on the model.",
    _collect(first=True, all_removed=False),
)

mistake(
    mend_streams,
    "The stream before the first layer is missing.",
    _collect(first=False, all_removed=True),
)


@mistake(
    mend_streams,
    "The stream after the last layer is missing. What does the last block return?",
)
def only_inputs(model, ids):
    return mend_streams(model, ids)[:-1]


# score_by_chance

mistake(
    score_by_chance,
    "That would be so if every token saw the whole text. Token t sees t + 1 tokens.",
    lambda length, period: 1 / length,
)

mistake(
    score_by_chance,
    "That is the share in the first row that counts, or near it. Later rows see more tokens: take the mean.",
    lambda length, period: 1 / (period + 1),
)

mistake(
    score_by_chance,
    "That is the sum over the rows. Divide by their number, length - period.",
    lambda length, period: sum(1 / (t + 1) for t in range(period, length)),
)

mistake(
    score_by_chance,
    "You divide 1 by the mean number of tokens seen. Take the mean of the shares: the two differ.",
    lambda length, period: 1 / (sum(range(period + 1, length + 1)) / (length - period)),
)

mistake(
    score_by_chance,
    "The chance is not 1 in `period`: a token chooses among all the tokens that it sees.",
    lambda length, period: 1 / period,
)
