"""Probes of an optimizer step."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from tinyllm.probes.instruments import applied, gradient_of, learn, leaves, mean_loss, parameters_of, seeded
from tinyllm.probes.report import Batch, Build, Finding, Step

ONE_BATCH_STEPS = 30


def gradients(build: Build, step: Step, batch: Callable[[int], Sequence[Batch]]) -> list[Finding]:
    """What reaches the optimizer: a gradient for each weight; of this batch alone; of the mean over its tokens."""
    return [
        _gradient_flow(build, step, batch(0)),
        _old_gradients(build, step, batch(0), batch(1)),
        _average(build, step, batch(0)),
    ]


def _gradient_flow(build: Build, step: Step, batches: Sequence[Batch]) -> Finding:
    """Each weight that the loss depends on must have a gradient and be in the optimizer."""
    model, optimizer = build()
    with seeded():
        step(model, optimizer, batches)  # a matrix that begins at zero lets a gradient through after one step
        loss = mean_loss(model, batches)
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    used, trained = set(leaves(loss)), set(parameters_of(optimizer))
    idle = [names.get(p, f"a tensor of shape {tuple(p.shape)}") for p in (used | set(names)) - (used & trained)]
    for parameter in used & trained:
        (gradient,) = torch.autograd.grad(loss, parameter, retain_graph=True)
        if not gradient.isfinite().all() or not gradient.any():
            idle.append(names.get(parameter, "a tensor"))
    count = len(used | set(names))
    return Finding(
        "gradient flow",
        not idle,
        f"each of {count} weight tensors gets a finite gradient that is not zero."
        if not idle
        else f"{len(idle)} of {count} weight tensors learn nothing, such as {min(idle)}.",
        "They stay as they were drawn. Are the layers in an nn.ModuleList, do their weights require gradients, and "
        "were they given to the optimizer?",
    )


def _old_gradients(build: Build, step: Step, first: Sequence[Batch], second: Sequence[Batch]) -> Finding:
    """The gradient of a batch must be the same whether or not another batch came before."""
    _, (alone,) = applied(build, step, [second])
    _, (_, later) = applied(build, step, [first, second])
    cosine = F.cosine_similarity(later, alone, dim=0).item()
    return Finding(
        "old gradients",
        cosine > 0.9999,
        f"the second step's gradient has a cosine of {cosine:.3f} with that of a first step on the same batch.",
        "The gradients of earlier batches are still in it, so each step follows all batches so far. Call "
        "optimizer.zero_grad() once in each step.",
    )


def _average(build: Build, step: Step, batches: Sequence[Batch]) -> Finding:
    """The gradient must be that of the mean over all tokens, or shorter where it is clipped; the loss, that mean."""
    reported, (gradient,) = applied(build, step, [batches])
    model, optimizer = build()
    with seeded():
        loss = mean_loss(model, batches)
    torch.autograd.backward(loss)
    true = gradient_of(optimizer)
    cosine = F.cosine_similarity(gradient, true, dim=0).item()
    length, ratio = (gradient.norm() / true.norm()).item(), reported / loss.item()
    return Finding(
        "average",
        cosine > 0.9999 and length < 1.02 and abs(ratio - 1) < 0.01,
        f"the step's gradient has a cosine of {cosine:.4f} with that of the mean over all tokens and "
        f"{min(length, 1):.2f} of its length; its loss is {ratio:.2f} of the mean."
        if length < 1.02
        else f"the step's gradient is {length:.2f} times as long as that of the mean over all tokens; its loss is "
        f"{ratio:.2f} times the mean.",
        "Tokens do not count alike, or the sum is not a mean. Add up the losses of all tokens of all micro-batches, "
        "and divide once, by the number of tokens.",
    )


def one_batch(build: Build, step: Step, batches: Sequence[Batch], steps: int = ONE_BATCH_STEPS) -> Finding:
    """A model that is shown one batch again and again must memorise it."""
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
            "The rate is too high: each step overshoots. Use a lower one.",
        )
    _, faster = learn(build, step, batches, steps, 10)  # a rate for a long run may be too low for a short one
    return Finding(
        "one batch",
        faster < 0.6 * first,
        f"{found} With ten times the learning rate: to {faster:.2f}.",
        "A model that cannot learn one batch learns nothing: check the other findings, and the optimizer.",
    )
