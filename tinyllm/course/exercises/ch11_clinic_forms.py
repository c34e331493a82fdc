"""Right answers of notebook 11 in other words, step by step. Do not read on if you want to find them yourself.

A form has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import torch

from tinyllm.course.checking.registry import form
from tinyllm.course.exercises.ch11_clinic import leaked_share, loss_at, mean_loss, mend_evaluation, moved, one_step


@form(moved)
def two_passes(model, ids, t, token):
    changed = ids.clone()
    changed[:, t] = token
    model.eval()
    with torch.no_grad():
        before = model(ids)[:, :t]
        after = model(changed)[:, :t]
    change = after - before
    size = change.abs()
    return size.max().item()


@form(loss_at)
def picked(model, ids, ahead):
    model.eval()
    with torch.no_grad():
        logits = model(ids)
    count = ids.shape[1] - ahead
    log_p = logits[:, :count].log_softmax(dim=-1)
    targets = ids[:, ahead:]
    losses = -log_p.gather(2, targets[..., None])
    return losses.mean().item()


@form(one_step)
def by_log_softmax(model, optimizer, x, targets):
    optimizer.zero_grad()
    logits = model(x)
    log_p = logits.log_softmax(dim=1)
    rows = torch.arange(len(targets))
    losses = -log_p[rows, targets]
    loss = losses.mean()
    loss.backward()
    optimizer.step()


@form(mean_loss)
def all_together(losses):
    together = [loss for part in losses for loss in part]
    total = sum(together)
    count = len(together)
    return total / count


@form(mend_evaluation)
def token_by_token(model, batches):
    was_training = model.training
    model.eval()
    total = 0.0
    count = 0
    for ids, targets in batches:
        with torch.no_grad():
            logits = model(ids)
        log_p = logits.log_softmax(dim=-1)
        counted = targets != -100
        picked = log_p[counted]
        rows = torch.arange(len(picked))
        losses = -picked[rows, targets[counted]]
        total = total + losses.sum().item()
        count = count + len(losses)
    model.train(was_training)
    return total / count


@form(leaked_share)
def all_the_others(copies, held_out):
    others = copies - 1
    clean = held_out**others
    return 1 - clean
