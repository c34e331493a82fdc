"""What learners usually get wrong in notebook 10. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs

import torch
import torch.nn.functional as F

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch10_inside import induction_score, lens, patch, switch_off

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
