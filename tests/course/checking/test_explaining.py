"""What a wrong answer behaves like."""

import math

import pytest
import torch
import torch.nn.functional as F

from tinyllm.course.checking import explaining
from tinyllm.course.checking.judging import examine


def adamw(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    step_size = m / (1 - beta1**step) / ((v / (1 - beta2**step)).sqrt() + eps)
    return parameter - lr * (step_size + weight_decay * parameter), m, v


def chained(token_ids, targets, token_table, position_table, blocks, final_norm):
    x = token_table[token_ids] + position_table[: token_ids.shape[1]]
    for block in blocks[::-1]:
        x = block(x)
    return F.cross_entropy((final_norm(x) @ token_table.T).flatten(0, 1), targets.flatten())


WRONG = {
    "one argument fixed": (
        "training.adamw_step",
        lambda w, g, m, v, t, lr, b, c, eps, decay: adamw(w, g, m, v, t, 0.001, b, c, eps, decay),
        "You get the right result for `lr` = 0.001, whatever `lr` is: use the argument.",
    ),
    "two arguments fixed": (
        "training.adamw_step",
        lambda w, g, m, v, t, lr, b, c, eps, decay: adamw(w, g, m, v, t, lr, 0.9, 0.999, eps, decay),
        "You get the right result for `beta1` = 0.9 and `beta2` = 0.999, whatever they are.",
    ),
    "two arguments exchanged": (
        "training.adamw_step",
        lambda w, g, m, v, t, lr, b, c, eps, decay: adamw(w, g, m, v, t, lr, c, b, eps, decay),
        "You get the right result with `beta1` and `beta2` exchanged.",
    ),
    "off by one": (
        "training.adamw_step",
        lambda w, g, m, v, t, *rest: adamw(w, g, m, v, t + 1, *rest),
        "You get the right result for `step` + 1.",
    ),
    "a default for the argument": (
        "block.layer_norm",
        lambda x, weight, bias, eps=1e-5: F.layer_norm(x, weight.shape, weight, bias, 1e-5),
        "You get the right result for `eps` = 1e-05, whatever `eps` is: use the argument.",
    ),
    "the first of a batch": (
        "gpt.logits",
        lambda hidden, norm, table: (norm(hidden) @ table.T)[:1].expand(len(hidden), -1, -1),
        "Along dimension 0 each value is the first of the right ones.",
    ),
    "in reverse order": ("gpt.mend_loss", chained, "You get the right result for `blocks` in reverse order."),
    "another function": (
        "modern.swiglu",
        lambda x, expand, gate, projection: (F.tanh(x @ gate) * (x @ expand)) @ projection,
        "You get what comes out with `tanh` where `silu` belongs.",
    ),
    "a factor left out": (
        "modern.swiglu",
        lambda x, expand, gate, projection: F.silu(x @ gate) @ projection,
        "",  # the reference multiplies in another order: nothing is said that is not so
    ),
    "minus for plus": (
        "training.learning_rate",
        lambda i, n, w, top, low: (
            top * (i + 1) / (w + 1) if i < w else low + (top - low) * (1 - math.cos(math.pi * (i - w) / (n - w))) / 2
        ),
        "You get what comes out with - in one place where + belongs.",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_an_answer_behaves_like_is_said(wrong, monkeypatch):
    monkeypatch.setattr(explaining, "_SECONDS", 60)  # a slow machine would not come to the later sentences
    name, answer, sentence = WRONG[wrong]
    verdict = examine(name, answer)
    assert verdict.kind == "wrong"
    if sentence:
        assert verdict.diagnosis.startswith(sentence), verdict.message
        assert sentence in verdict.message


def test_nothing_is_said_of_a_few_truth_values_or_of_other_shapes():
    for name, answer in (
        ("data.split_articles", lambda articles, fraction, seed: (articles[1:], articles[:1])),
        ("attention.scores", lambda q, k: torch.zeros(2)),
    ):
        assert "You get" not in examine(name, answer).message
