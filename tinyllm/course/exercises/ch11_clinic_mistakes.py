"""What learners usually get wrong in notebook 11. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# torch gives `backward` no types.

import statistics

import torch
import torch.nn.functional as F

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch11_clinic import (
    finite,
    first_broken,
    hardly_learns,
    leaked_share,
    looks_healthy,
    loss_at,
    mean_loss,
    mend_evaluation,
    moved,
    odd_numbers,
    one_step,
    probe_for,
    too_good,
)

# probe_for

mistake(
    probe_for,
    "Its attention would be wide: the bug is in the embeddings. In which number do those show before any step?",
    lambda suspect: "attention" if suspect == "weights drawn too large" else probe_for(suspect),
)

mistake(
    probe_for,
    "All its weights do get a gradient, and each follows its own. What is wrong is how far a step goes.",
    lambda suspect: "gradient flow" if suspect == "rate too high" else probe_for(suspect),
)

mistake(
    probe_for,
    "One batch can be learned with half of the weights frozen. Which probe looks at the weights themselves?",
    lambda suspect: "one batch" if suspect == "frozen layers" else probe_for(suspect),
)

mistake(
    probe_for,
    "Its gradient is that of this step alone, and still wrong: what is it the gradient of?",
    lambda suspect: "old gradients" if suspect == "mean of means" else probe_for(suspect),
)


# moved


def _pass(model, ids):
    model.eval()
    with torch.no_grad():
        return model(ids)


def _changed(ids, t, token):
    changed = ids.clone()
    changed[:, t] = token
    return changed


mistake(
    moved,
    "You look at all positions. From t on the logits may move: there the model has read the changed token.",
    lambda model, ids, t, token: (_pass(model, _changed(ids, t, token)) - _pass(model, ids)).abs().max().item(),
)

mistake(
    moved,
    "You also look at position t itself, whose logits may move. Look at those before t.",
    lambda model, ids, t, token: (
        (_pass(model, _changed(ids, t, token)) - _pass(model, ids))[:, : t + 1].abs().max().item()
    ),
)

mistake(
    moved,
    "Dropout is still on, so the two passes come from another model than the one that writes. Call model.eval().",
    lambda model, ids, t, token: (model(_changed(ids, t, token)) - model(ids))[:, :t].abs().max().item(),
)

mistake(
    moved,
    "A logit that falls has moved too. Take the absolute value before the maximum.",
    lambda model, ids, t, token: (_pass(model, _changed(ids, t, token)) - _pass(model, ids))[:, :t].max().item(),
)


@mistake(
    moved,
    "You change the ids themselves, so both passes read the changed token. Change a copy: ids.clone().",
)
def changes_both(model, ids, t, token):
    ids[:, t] = token
    return (_pass(model, ids) - _pass(model, ids))[:, :t].abs().max().item()


@mistake(
    moved,
    "You look at position t - 1 only. All positions before t count.",
)
def looks_just_before(model, ids, t, token):
    changed = ids.clone()
    changed[:, t] = token
    model.eval()
    with torch.no_grad():
        change = model(changed) - model(ids)
    return change[:, max(t - 1, 0) : t].abs().max().item()


# loss_at


def _score(logits, ids):
    return F.cross_entropy(logits.flatten(0, 1), ids.flatten()).item()


mistake(
    loss_at,
    "`roll` brings the first tokens to the end, where they are no targets. Leave those positions out.",
    lambda model, ids, ahead: _score(_pass(model, ids), ids.roll(-ahead, 1)),
)

mistake(
    loss_at,
    "You score against the token `ahead` positions earlier. Cut the ends off the logits, the beginnings off the ids.",
    lambda model, ids, ahead: _score(_pass(model, ids)[:, ahead:], ids[:, : ids.shape[1] - ahead]),
)

mistake(
    loss_at,
    "Dropout is still on, so another model is scored than the one that writes. Call model.eval().",
    lambda model, ids, ahead: _score(model.train()(ids)[:, : ids.shape[1] - ahead], ids[:, ahead:]),
)

mistake(
    loss_at,
    "That is the sum over all tokens. Divide by their number, or keep F.cross_entropy's mean.",
    lambda model, ids, ahead: loss_at(model, ids, ahead) * ids[:, ahead:].numel(),
)


# first_broken


def _look(model, ids, broken, late=False, keep=False):
    """The modules that are `broken(inputs, output)`, in the order in which they end."""
    found, hooks = [], []
    for name, module in model.named_modules():

        def look(_, inputs, output, own=name):
            if broken(inputs, output):
                found.append(name if late else own)  # noqa: B023 - that is the mistake

        hooks.append(module.register_forward_hook(look))
    _pass(model, ids)
    for hook in hooks:
        if not keep:
            hook.remove()
    return found


def _culprit(inputs, output):
    return all(map(finite, inputs)) and not finite(output)


mistake(
    first_broken,
    "That module was given NaN already. Look at the inputs too: those of the culprit are finite.",
    lambda model, ids: next(iter(_look(model, ids, lambda inputs, output: not finite(output))), None),
)

mistake(
    first_broken,
    "That is the last module by name: the loop is over when the hook runs. Keep the name: def look(..., name=name).",
    lambda model, ids: next(iter(_look(model, ids, _culprit, late=True)), None),
)

mistake(
    first_broken,
    "Your hooks stay on the model and run with it for ever. Call remove() on what register_forward_hook returned.",
    lambda model, ids: next(iter(_look(model, ids, _culprit, keep=True)), None),
)


@mistake(
    first_broken,
    "That is the outermost module, which holds the culprit. Take the one whose hook runs first.",
)
def outermost(model, ids):
    found = _look(model, ids, _culprit)
    return found[-1] if found else None


# too_good

mistake(
    too_good,
    "The split is honest: none of the held-out text was found. Look at which logits move.",
    lambda patient: {1: "leaking split", 2: "targets not shifted", 3: "leaking split"}[patient],
)

mistake(
    too_good,
    "Nothing before t moves, so the mask is right. Which token does the model predict best?",
    lambda patient: {1: "leaky mask", 2: "leaky mask", 3: "leaking split"}[patient],
)

mistake(
    too_good,
    "Nothing before t moves, so the mask is right. Compare the texts that it is trained on and scored on.",
    lambda patient: {1: "leaky mask", 2: "targets not shifted", 3: "leaky mask"}[patient],
)


# hardly_learns

mistake(
    hardly_learns,
    "Its second gradient is that of its own batch. What does a tenth of the rate do?",
    lambda patient: {4: "no zero_grad", 5: "no zero_grad", 6: "attention not scaled"}[patient],
)

mistake(
    hardly_learns,
    "Its rate is that of the healthy training. Check what its second gradient is made of.",
    lambda patient: {4: "rate too high", 5: "rate too high", 6: "attention not scaled"}[patient],
)

mistake(
    hardly_learns,
    "Its rate is that of the healthy training. Look at the model before its first step.",
    lambda patient: {4: "rate too high", 5: "no zero_grad", 6: "rate too high"}[patient],
)


# looks_healthy

mistake(
    looks_healthy,
    "Its passes do differ, and that is a symptom: model.eval() does not reach all layers. What else does not reach "
    "them?",
    lambda patient: {7: "dropout at evaluation", 8: "head copied", 9: "dropout at evaluation"}[patient],
)

mistake(
    looks_healthy,
    "All its weights are trained. There are more of them than there should be: which are doubled?",
    lambda patient: {7: "frozen layers", 8: "frozen layers", 9: "dropout at evaluation"}[patient],
)

mistake(
    looks_healthy,
    "All its weights are trained. Why then does it answer the same question in two ways?",
    lambda patient: {7: "frozen layers", 8: "head copied", 9: "frozen layers"}[patient],
)


# odd_numbers

mistake(
    odd_numbers,
    "A first step on a batch cannot contain older gradients, and it is wrong already. How is it averaged?",
    lambda patient: {10: "no zero_grad", 11: "weights drawn too large", 12: "wrong positions in the cache"}[patient],
)

mistake(
    odd_numbers,
    "Before the first step no rate has done anything, and the loss is wrong already.",
    lambda patient: {10: "mean of means", 11: "rate too high", 12: "wrong positions in the cache"}[patient],
)

mistake(
    odd_numbers,
    "Two passes over the same ids are alike, so nothing is random. Compare one pass with many steps.",
    lambda patient: {10: "mean of means", 11: "weights drawn too large", 12: "dropout at evaluation"}[patient],
)


# one_step


@mistake(
    one_step,
    "The gradients of earlier batches are still in .grad. Call optimizer.zero_grad() before `backward`.",
)
def never_zeroes(model, optimizer, x, targets):
    F.cross_entropy(model(x), targets).backward()
    optimizer.step()


@mistake(
    one_step,
    "The weights do not move: the gradients are emptied between `backward` and the step.",
)
def zeroes_before_the_step(model, optimizer, x, targets):
    F.cross_entropy(model(x), targets).backward()
    optimizer.zero_grad()
    optimizer.step()


@mistake(
    one_step,
    "The weights do not move: `backward` is never called, so the step has no gradient to follow.",
)
def never_goes_back(model, optimizer, x, targets):
    optimizer.zero_grad()
    F.cross_entropy(model(x), targets)
    optimizer.step()


@mistake(
    one_step,
    "The weights do not move: the optimizer never takes its step.",
)
def never_steps(model, optimizer, x, targets):
    optimizer.zero_grad()
    F.cross_entropy(model(x), targets).backward()


@mistake(
    one_step,
    "You take two steps with one gradient. One call, one step.",
)
def steps_twice(model, optimizer, x, targets):
    one_step(model, optimizer, x, targets)
    optimizer.step()


@mistake(
    one_step,
    "The weights do not move: the step comes before `backward`, when the gradients are empty.",
)
def steps_with_empty_gradients(model, optimizer, x, targets):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), targets)
    optimizer.step()
    loss.backward()


@mistake(
    one_step,
    "What was in .grad before the first step is added to its gradient: you empty the gradients after the step alone.",
)
def zeroes_after_the_step(model, optimizer, x, targets):
    F.cross_entropy(model(x), targets).backward()
    optimizer.step()
    optimizer.zero_grad()


@mistake(
    one_step,
    "The step comes before `backward`, so it follows the gradient of the batch before.",
)
def steps_too_early(model, optimizer, x, targets):
    optimizer.step()
    optimizer.zero_grad()
    F.cross_entropy(model(x), targets).backward()


@mistake(
    one_step,
    "The losses are added up, not averaged: the step grows with the batch. Keep F.cross_entropy's mean.",
)
def adds_up(model, optimizer, x, targets):
    optimizer.zero_grad()
    F.cross_entropy(model(x), targets, reduction="sum").backward()
    optimizer.step()


@mistake(
    one_step,
    "F.cross_entropy takes the softmax itself. Give it model(x) as it is, not its softmax.",
)
def softmax_twice(model, optimizer, x, targets):
    optimizer.zero_grad()
    F.cross_entropy(model(x).softmax(dim=-1), targets).backward()
    optimizer.step()


@mistake(
    one_step,
    "You clip the gradient as well. Nobody asked for that here: the step follows the gradient as it is.",
)
def clips_too(model, optimizer, x, targets):
    optimizer.zero_grad()
    F.cross_entropy(model(x), targets).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


@mistake(
    one_step,
    "Your labels are smoothed. Here the target alone is right, and all else is wrong.",
)
def smooths_the_labels(model, optimizer, x, targets):
    optimizer.zero_grad()
    F.cross_entropy(model(x), targets, label_smoothing=0.1).backward()
    optimizer.step()


@mistake(
    one_step,
    "That is the squared error of the logits, not the cross-entropy.",
)
def squares_differences(model, optimizer, x, targets):
    optimizer.zero_grad()
    F.mse_loss(model(x), F.one_hot(targets, model(x).shape[1]).to(x.dtype)).backward()
    optimizer.step()


@mistake(
    one_step,
    "The loss has the wrong sign, so the step makes it larger.",
)
def goes_uphill(model, optimizer, x, targets):
    optimizer.zero_grad()
    (-F.cross_entropy(model(x), targets)).backward()
    optimizer.step()


@mistake(
    one_step,
    "Your optimizer is a new one. Use the one that is given: its rate and its memory belong to this run.",
)
def brings_its_own(model, optimizer, x, targets):
    own = torch.optim.SGD(model.parameters(), lr=0.1)
    own.zero_grad()
    F.cross_entropy(model(x), targets).backward()
    own.step()


# mean_loss

mistake(
    mean_loss,
    "That is the mean of the micro-batches' means: tokens in a small micro-batch count more.",
    lambda losses: sum(sum(part) / len(part) for part in losses) / len(losses),
)

mistake(
    mean_loss,
    "Empty ones are left out, and the rest is still a mean of means: tokens in a small micro-batch count more.",
    lambda losses: statistics.mean(sum(part) / len(part) for part in losses if part),
)

mistake(
    mean_loss,
    "You divide by the number of micro-batches. Divide by the number of tokens in all of them.",
    lambda losses: sum(sum(part) for part in losses) / len(losses),
)

mistake(
    mean_loss,
    "The means are added up: with more micro-batches the loss grows.",
    lambda losses: sum(sum(part) / len(part) for part in losses),
)

mistake(
    mean_loss,
    "Only the last micro-batch counts. Add up over all of them.",
    lambda losses: sum(losses[-1]) / len(losses[-1]),
)

mistake(
    mean_loss,
    "That is the sum of all losses. Divide by the number of tokens.",
    lambda losses: sum(sum(part) for part in losses),
)


@mistake(
    mean_loss,
    "That is the median. A mean adds up all losses and divides by their number.",
)
def takes_the_median(losses):
    return float(torch.tensor([loss for part in losses for loss in part]).double().quantile(0.5))


mistake(
    mean_loss,
    "That is the largest loss of all. A mean adds up all of them and divides by their number.",
    lambda losses: max(max(part) for part in losses if part),
)

mistake(
    mean_loss,
    "That is the smallest loss of all. A mean adds up all of them and divides by their number.",
    lambda losses: min(min(part) for part in losses if part),
)

mistake(
    mean_loss,
    "Equal losses count only once. Two tokens may have the same loss, and both count.",
    lambda losses: sum({loss for part in losses for loss in part}) / len({loss for part in losses for loss in part}),
)

mistake(
    mean_loss,
    "Only the first micro-batch counts. Add up over all of them.",
    lambda losses: sum(losses[0]) / len(losses[0]),
)

mistake(
    mean_loss,
    "You weigh each micro-batch's mean by the square of its length. The sum of its losses does it at once.",
    lambda losses: sum(sum(part) * len(part) for part in losses) / sum(len(part) ** 2 for part in losses),
)


# mend_evaluation


def _evaluate(late, left, means):
    """The code to be mended, with some of its bugs."""

    def run(model, batches):
        losses, counts, was_training = [], [], model.training
        if not late:
            model.eval()
        for ids, targets in batches:
            with torch.no_grad():
                loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
            model.eval()
            losses.append(loss.item())
            counts.append(1 if means else (targets != -100).sum().item())
        if not left:
            model.train(was_training)
        return sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)

    return run


for bugs, diagnosis in {
    (True, True, True): "This is still the code as it was given, or does the same. Three things are wrong with it.",
    (True, True, False): "Each token counts the same now. Two things are left: when dropout goes off, and the end.",
    (True, False, True): "The model's mode is put back now. Two things are left: when dropout goes off, and the mean.",
    (False, True, True): "Dropout is off in time now. Two things are left: the mean, and the mode of the model.",
    (True, False, False): "One thing is left: the first batch still has dropout. model.eval() must come before it.",
    (False, True, False): "One thing is left: the model stays in evaluation mode, and its training would go on so.",
    (False, False, True): "One thing is left: a mean of means. A batch with few targets counts as much as a full one.",
}.items():
    mistake(mend_evaluation, diagnosis, _evaluate(*bugs))


@mistake(
    mend_evaluation,
    "One thing is left: a mean of means, though empty batches are skipped. One with few targets counts as a full one.",
)
def skips_empty_batches(model, batches):
    return _evaluate(False, False, True)(model, [batch for batch in batches if (batch[1] != -100).any()])


@mistake(
    mend_evaluation,
    "The model goes to evaluation mode only after the first batch was computed, with dropout. Put it before the loop.",
)
def evaluates_late(model, batches):
    total, tokens, was_training = 0.0, 0, model.training
    for ids, targets in batches:
        logits = model(ids)
        model.eval()
        total += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
        tokens += (targets != -100).sum().item()
    model.train(was_training)
    return total / tokens


@mistake(
    mend_evaluation,
    "You put the model into training mode at the end. If it was in evaluation mode before, it must stay so.",
)
def trains_in_any_case(model, batches):
    loss = mend_evaluation(model, batches)
    model.train()
    return loss


@mistake(
    mend_evaluation,
    "You divide by all targets. Those that are -100 add no loss, so they must not be counted either.",
)
def counts_ignored_targets(model, batches):
    tokens = sum((targets != -100).sum().item() for _, targets in batches)
    return mend_evaluation(model, batches) * tokens / sum(targets.numel() for _, targets in batches)


# leaked_share

mistake(
    leaked_share,
    "The held-out copy itself is one of them: it cannot be in the training text. How many others are there?",
    lambda copies, held_out: 1 - held_out**copies,
)

mistake(
    leaked_share,
    "You count different articles, as two sets do. Count copies: an article that is held out twice counts twice.",
    lambda copies, held_out: 1 - held_out**copies / (1 - (1 - held_out) ** copies),
)

mistake(
    leaked_share,
    "That is right for two copies. With more of them, each may be the one that is trained on.",
    lambda copies, held_out: 1 - held_out if copies > 1 else 0,
)

mistake(
    leaked_share,
    "That is the share of clean articles. What leaks is the rest.",
    lambda copies, held_out: held_out ** (copies - 1),
)

mistake(
    leaked_share,
    "You take the probability that no other copy is held out. One of them in the training text is enough.",
    lambda copies, held_out: (1 - held_out) ** (copies - 1),
)

mistake(
    leaked_share,
    "You have held_out and the rest exchanged: a copy is in the training text with probability 1 - h.",
    lambda copies, held_out: 1 - (1 - held_out) ** (copies - 1),
)

mistake(
    leaked_share,
    "You add up the probabilities of all other copies. One article cannot leak twice: what is the chance of none?",
    lambda copies, held_out: min(1.0, (copies - 1) * (1 - held_out)),
)

mistake(
    leaked_share,
    "That does not depend on held_out, and it must: nothing is leaked if all is held out.",
    lambda copies, held_out: (copies - 1) / copies,
)

mistake(
    leaked_share,
    "You say that everything leaks. If all other copies are held out too, nothing does.",
    lambda copies, held_out: 1.0 if copies > 1 else 0.0,
)
