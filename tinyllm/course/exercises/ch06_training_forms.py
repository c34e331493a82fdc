"""Right answers of notebook 06 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import torch

from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch06_training import accumulate, adamw_step, clip, learning_rate, mend_loop, noise_left


@form(learning_rate)
def share_of_the_range(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        rise = (iteration + 1) / (warmup + 1)
        return rise * max_rate
    done = iteration - warmup
    steps = max_iterations - warmup
    angle = math.pi * done / steps
    share = 0.5 * (1 + math.cos(angle))
    rest = max_rate - min_rate
    return min_rate + rest * share


@form(adamw_step)
def one_sum(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay):
    square = gradient**2
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * square
    first = 1 - beta1**step
    second = 1 - beta2**step
    direction = m / first
    size = (v / second).sqrt() + eps
    decay = weight_decay * parameter
    change = direction / size + decay
    return parameter - lr * change, m, v


@form(clip)
def if_it_is_too_long(gradients, max_norm):
    total = 0.0
    for gradient in gradients:
        square = (gradient**2).sum().item()
        total = total + square
    norm = math.sqrt(total)
    if norm <= max_norm:
        return [gradient.clone() for gradient in gradients]
    scale = max_norm / norm
    return [gradient * scale for gradient in gradients]


@form(accumulate)
def divided_at_each_step(model, micro_batches):
    count = len(micro_batches)
    total = 0.0
    for x, y in micro_batches:
        loss = model(x, y)
        share = loss / count
        share.backward()
        total = total + loss.item()
    return total / count


@form(mend_loop)
def clipped_by_hand(model, optimizer, batches, rates, max_norm):
    losses = []
    for index in range(len(batches)):
        x, y = batches[index]
        rate = rates[index]
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = model(x, y)
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
        scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale)
        optimizer.step()
        losses.append(loss.item())
    return losses


@form(noise_left)
def one_over_the_root(count):
    variance = 1 / count
    return variance**0.5
