"""Right answers of notebook 13 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# torch gives `backward` no types.

import dataclasses

import torch.nn.functional as F

from tinyllm.config import IGNORED
from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch13_finetuning import (
    calibration,
    learned_targets,
    lora_forward,
    masked_loss,
    measure_forgetting,
    measure_share,
    mend_masked_step,
    merge,
)
from tinyllm.model.gpt import GPT
from tinyllm.presets import get_preset


@form(learned_targets)
def mark_then_mask(ids, roles, end_of_text_id):
    learned = []
    answering, asking = False, False
    for token in ids:
        is_role = token in roles.values()
        if answering:
            learned.append(True)
        elif is_role or asking:
            learned.append(False)
        else:
            learned.append(True)
        if is_role:
            answering = token == roles["assistant"]
            asking = not answering
        if token == end_of_text_id:
            answering = False
            asking = False
    targets = []
    for index in range(1, len(ids)):
        targets.append(ids[index] if learned[index] else IGNORED)
    return targets


@form(masked_loss)
def chosen_positions(logits, targets):
    kept = targets != IGNORED
    count = kept.sum()
    if count == 0:
        return logits.sum() * 0
    rows = logits[kept]
    wanted = targets[kept]
    log_p = rows.log_softmax(dim=-1)
    losses = -log_p.gather(1, wanted[:, None])
    return losses.sum() / count


@form(masked_loss)
def masked_losses(logits, targets):
    kept = targets != IGNORED
    losses = F.cross_entropy(logits.transpose(1, 2), targets.clamp(min=0), reduction="none")
    losses = losses * kept
    total = losses.sum()
    count = kept.sum().clamp(min=1)
    return total / count


@form(lora_forward)
def two_ways(x, weight, A, B, alpha):
    rank = A.shape[0]
    scale = alpha / rank
    frozen = F.linear(x, weight)
    narrow = F.linear(x, A)
    correction = F.linear(narrow, B)
    return frozen + scale * correction


@form(lora_forward)
def one_matrix(x, weight, A, B, alpha):
    scale = alpha / A.shape[0]
    change = B @ A
    whole = weight + scale * change
    return x @ whole.T


@form(merge)
def scaled_product(weight, A, B, alpha):
    rank = A.shape[0]
    change = B @ A
    scale = alpha / rank
    return weight + scale * change


@form(calibration)
def bin_by_bin(confidences, right, edges):
    last = len(edges) - 2
    bins = []
    for index in range(len(edges) - 1):
        low, high = edges[index], edges[index + 1]
        count, sure, correct = 0, 0.0, 0
        for confidence, is_right in zip(confidences, right, strict=True):
            below = confidence <= high if index == last else confidence < high
            if confidence >= low and below:
                count += 1
                sure += confidence
                correct += is_right
        if count > 0:
            bins.append((sure / count, correct / count, count))
    return bins


@form(mend_masked_step)
def sums_then_one_division(model, micro_batches):
    counted = 0
    for _, targets in micro_batches:
        counted += (targets != IGNORED).sum().item()
    total = 0.0
    for token_ids, targets in micro_batches:
        logits = model(token_ids)
        losses = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORED, reduction="sum")
        (losses / counted).backward()
        total += losses.item()
    return total / counted


@form(measure_forgetting)
def worst_so_far(before, after):
    worst, most = None, float("-inf")
    for kind, old in before.items():
        new = after[kind]
        rise = new - old
        if rise > most:
            worst, most = kind, rise
    return worst, most


@form(measure_share)
def thin_beside_all(rank):
    settings = get_preset("quickstart").model
    model = GPT(dataclasses.replace(settings, lora=rank))
    learns, weights = 0, 0
    for weight in model.parameters():
        weights += weight.numel()
        if weight.requires_grad:
            learns += weight.numel()
    return learns / weights
