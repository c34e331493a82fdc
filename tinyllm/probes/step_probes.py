"""Probes of an optimizer step."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from tinyllm.probes.instruments import applied, gradient_of, learn, leaves, parameters_of, seeded, true_gradient
from tinyllm.probes.report import Batch, Finding, Step

ONE_BATCH_STEPS = 30


def gradients(build: Callable, step: Step, batch: Callable[[int], Sequence[Batch]]) -> list[Finding]:
    """What reaches the optimizer: a gradient for each weight; of this batch alone; of the mean over its tokens."""
    model, optimizer = build()
    with seeded():
        step(model, optimizer, batch(0))  # a matrix that begins at zero lets a gradient through after one step
        reaching = _reaching(model, optimizer, batch(0))

    _, alone = applied(build, step, [batch(1)])
    reported, first, second = applied(build, step, [batch(0), batch(1)])
    model, optimizer = build()
    with seeded():
        loss = true_gradient(model, optimizer, batch(0))
    true = gradient_of(optimizer)
    later = F.cosine_similarity(second, alone, dim=0).item()
    cosine = F.cosine_similarity(first, true, dim=0).item()
    longer, ratio = (first.norm() / true.norm()).item(), reported / loss
    right = cosine > 0.9999 and longer < 1.02 and abs(ratio - 1) < 0.01
    return [
        reaching,
        Finding(
            "old gradients",
            later > 0.9999,
            f"the second step's gradient has a cosine of {later:.3f} with that of a first step on the same batch.",
            "The gradients of earlier batches are still in it, so each step follows all batches so far. Call "
            "optimizer.zero_grad() once in each step.",
        ),
        Finding(
            "average",
            right,
            f"the step's gradient has a cosine of {cosine:.4f} with that of the mean over all tokens and "
            f"{min(longer, 1):.2f} of its length; its loss is {ratio:.2f} of the mean."
            if longer < 1.02
            else f"the step's gradient is {longer:.2f} times as long as that of the mean over all tokens; its loss is "
            f"{ratio:.2f} times the mean.",
            "Tokens do not count alike, or the sum is not a mean. Add up the losses of all tokens of all "
            "micro-batches, and divide once, by their number.",
        ),
    ]


def _reaching(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> Finding:
    """Whether each weight that the loss depends on has a gradient and stands in the optimizer."""
    loss = true_gradient(model, optimizer, batches, only_loss=True)
    names = {parameter: name for name, parameter in model.named_parameters()}
    trained = set(parameters_of(optimizer))
    used = set(leaves(loss))
    nothing = [names.get(p, f"a tensor of shape {tuple(p.shape)}") for p in (used | set(names)) - (used & trained)]
    for parameter in used & trained:
        (gradient,) = torch.autograd.grad(loss, parameter, retain_graph=True)
        if not gradient.isfinite().all() or not gradient.any():
            nothing.append(names.get(parameter, "a tensor"))
    number = len(used | set(names))
    return Finding(
        "gradient flow",
        not nothing,
        f"each of {number} weight tensors gets a finite gradient that is not zero."
        if not nothing
        else f"{len(nothing)} of {number} weight tensors learn nothing, such as {min(nothing)}.",
        "They stay as they were drawn. Are the layers in an nn.ModuleList, do their weights require gradients, and "
        "does the optimizer hold them?",
    )


def one_batch(build: Callable, step: Step, batches: Sequence[Batch], steps: int = ONE_BATCH_STEPS) -> Finding:
    """A model that is shown one batch again and again must learn it by heart."""
    first, last = learn(build, step, batches, steps, 1.0)
    found = f"{steps} steps on one batch take its loss from {first:.2f} to {last:.2f}."
    if last < 0.6 * first:
        return Finding("one batch", True, found)
    _, slower = learn(build, step, batches, steps, 0.1)
    if slower < min(0.85 * first, last):
        return Finding(
            "one batch",
            False,
            f"{found} With a tenth of the learning rate: to {slower:.2f}.",
            "The rate is too high: each step jumps over what it aims at. Use a lower one.",
        )
    _, faster = learn(build, step, batches, steps, 10)  # a rate for a long run may be too low for a short one
    return Finding(
        "one batch",
        faster < 0.6 * first,
        f"{found} With ten times the learning rate: to {faster:.2f}.",
        "A model that cannot learn one batch learns nothing: look at the other findings, and at the optimizer.",
    )
