"""What learners usually get wrong in notebook 06. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# torch gives `backward` no types.

import itertools
import math

import torch
from torch import nn

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch06_training import (
    accumulate,
    adamw_step,
    clip,
    learning_rate,
    mend_loop,
    noise_left,
    parameter_groups,
)

# learning_rate


@mistake(
    learning_rate,
    "Your cosine starts at step 0 and is well under way when the warm-up ends. It begins at i = w: take (i - w) / (n "
    "- w).",
)
def cosine_starts_too_early(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    return min_rate + (max_rate - min_rate) * (1 + math.cos(math.pi * iteration / max_iterations)) / 2


mistake(
    learning_rate,
    "It ends at zero. The cosine runs from max to min, and min is not zero.",
    lambda i, n, w, most, least: learning_rate(i, n, w, most, 0.0),
)


@mistake(
    learning_rate,
    "The lowest rate is added on top of the whole cosine, so the peak is too high. The cosine spans max - min only.",
)
def adds_the_lowest_rate(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)
    return min_rate + max_rate * (1 + math.cos(math.pi * progress)) / 2


@mistake(
    learning_rate,
    "The warm-up is off by one: your first step has the rate 0 and learns nothing. Use i + 1 over w + 1.",
)
def first_step_is_zero(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return max_rate * iteration / warmup
    return learning_rate(iteration, max_iterations, warmup, max_rate, min_rate)


@mistake(
    learning_rate,
    "The warm-up reaches the peak one step too early: divide by w + 1, not by w.",
)
def reaches_the_peak_early(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return max_rate * (iteration + 1) / warmup
    return learning_rate(iteration, max_iterations, warmup, max_rate, min_rate)


@mistake(
    learning_rate,
    "There is no warm-up: for i < w the rate must rise linearly.",
)
def no_warmup(iteration, max_iterations, warmup, max_rate, min_rate):
    progress = max(0, iteration - warmup) / (max_iterations - warmup)
    return min_rate + (max_rate - min_rate) * (1 + math.cos(math.pi * progress)) / 2


@mistake(
    learning_rate,
    "It falls along a straight line. It should follow half a cosine: (1 + cos(pi * progress)) / 2.",
)
def falls_in_a_line(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)
    return max_rate + (min_rate - max_rate) * progress


mistake(
    learning_rate,
    "After the warm-up your rate stays where it is. It falls along half a cosine, from max to min.",
    lambda iteration, max_iterations, warmup, max_rate, min_rate: max_rate * min(1, (iteration + 1) / (warmup + 1)),
)


@mistake(
    learning_rate,
    "It falls exponentially, by the same factor each step. It should follow half a cosine, from max to min.",
)
def falls_exponentially(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)
    return max_rate * (min_rate / max_rate) ** progress


@mistake(
    learning_rate,
    "Your cosine runs down to 0 and is cut off at min. It runs from max to min: min + (max - min) times half a cosine.",
)
def cut_off_below(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)
    return max(min_rate, max_rate * (1 + math.cos(math.pi * progress)) / 2)


@mistake(
    learning_rate,
    "That is a quarter of a cosine, from 1 to 0. Half a one goes from 1 to -1: (1 + cos(pi * progress)) / 2.",
)
def a_quarter_of_a_cosine(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)
    return min_rate + (max_rate - min_rate) * math.cos(math.pi * progress / 2)


@mistake(
    learning_rate,
    "It falls along a parabola. It should follow half a cosine: (1 + cos(pi * progress)) / 2.",
)
def falls_along_a_parabola(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)
    return min_rate + (max_rate - min_rate) * (1 - progress) ** 2


@mistake(
    learning_rate,
    "It falls with the root of the steps, as in the Transformer's first paper. Here it follows half a cosine.",
)
def one_over_the_root(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    return max(min_rate, max_rate * math.sqrt((warmup + 1) / (iteration + 1)))


@mistake(
    learning_rate,
    "Your warm-up starts from min. Its line goes through 0: max (i + 1) / (w + 1).",
)
def rises_from_min(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return min_rate + (max_rate - min_rate) * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)
    return min_rate + (max_rate - min_rate) * (1 + math.cos(math.pi * progress)) / 2


@mistake(
    learning_rate,
    "math.cos takes radians: half a turn is math.pi, not 180.",
)
def half_a_turn_in_degrees(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)
    return min_rate + (max_rate - min_rate) * (1 + math.cos(180 * progress)) / 2


# adamw_step


@mistake(
    adamw_step,
    "The bias correction is missing. m and v begin at zero, so divide copies of them by 1 - beta^step before you use "
    "them.",
)
def no_bias_correction(parameter, gradient, m, v, step, *settings):
    lr, beta1, beta2, eps, weight_decay = settings
    m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
    return parameter * (1 - lr * weight_decay) - lr * m / (v.sqrt() + eps), m, v


@mistake(
    adamw_step,
    "The decay is added to the gradient (L2), so it passes through m and v. AdamW shrinks the parameter itself, "
    "independently of the gradient.",
)
def decay_in_the_gradient(parameter, gradient, m, v, step, *settings):
    lr, beta1, beta2, eps, weight_decay = settings
    return adamw_step(parameter, gradient + weight_decay * parameter, m, v, step, lr, beta1, beta2, eps, 0.0)


@mistake(
    adamw_step,
    "There is no weight decay: the parameter must also shrink by the fraction lr * weight_decay.",
)
def no_decay(parameter, gradient, m, v, step, *settings):
    lr, beta1, beta2, eps, _ = settings
    return adamw_step(parameter, gradient, m, v, step, lr, beta1, beta2, eps, 0.0)


@mistake(
    adamw_step,
    "The decay is not multiplied by the learning rate: shrink by lr * weight_decay.",
)
def decay_without_the_rate(parameter, gradient, m, v, step, *settings):
    lr, beta1, beta2, eps, weight_decay = settings
    return adamw_step(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay / lr)


@mistake(
    adamw_step,
    "eps is under the root. Add it to the root of v, after taking the root.",
)
def eps_under_the_root(parameter, gradient, m, v, step, *settings):
    lr, beta1, beta2, eps, weight_decay = settings
    m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
    root = (v / (1 - beta2**step) + eps).sqrt()
    return parameter * (1 - lr * weight_decay) - lr * m / (1 - beta1**step) / root, m, v


@mistake(
    adamw_step,
    "v averages the gradients themselves. It must average their squares.",
)
def averages_without_squares(parameter, gradient, m, v, step, *settings):
    lr, beta1, beta2, eps, weight_decay = settings
    m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient
    corrected_m, corrected_v = m / (1 - beta1**step), v / (1 - beta2**step)
    return parameter * (1 - lr * weight_decay) - lr * corrected_m / (corrected_v.sqrt() + eps), m, v


@mistake(
    adamw_step,
    "You return the corrected averages. The next step needs m and v as they are, without the correction.",
)
def returns_corrected_averages(parameter, gradient, m, v, step, *settings):
    _, beta1, beta2, _, _ = settings
    parameter, m, v = adamw_step(parameter, gradient, m, v, step, *settings)
    return parameter, m / (1 - beta1**step), v / (1 - beta2**step)


@mistake(
    adamw_step,
    "The step goes uphill: it is added. Subtract it, since the gradient points uphill.",
)
def goes_uphill(parameter, gradient, m, v, step, *settings):
    lr, beta1, beta2, eps, weight_decay = settings
    m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
    corrected_m, corrected_v = m / (1 - beta1**step), v / (1 - beta2**step)
    return parameter * (1 - lr * weight_decay) + lr * corrected_m / (corrected_v.sqrt() + eps), m, v


@mistake(
    adamw_step,
    "The decay comes after the step, so it shrinks the new parameter. In the formula it shrinks the old one.",
)
def decay_of_the_new_parameter(parameter, gradient, m, v, step, *settings):
    lr, beta1, beta2, eps, weight_decay = settings
    parameter, m, v = adamw_step(parameter, gradient, m, v, step, lr, beta1, beta2, eps, 0.0)
    return parameter * (1 - lr * weight_decay), m, v


@mistake(
    adamw_step,
    "Every step has the same length: you follow the sign of the average alone. Divide m by the root of v.",
)
def follows_the_sign(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    m_hat = m / (1 - beta1**step)
    return parameter * (1 - lr * weight_decay) - lr * m_hat.sign(), m, v


@mistake(
    adamw_step,
    "You follow this gradient. Adam follows the average of the gradients, m.",
)
def follows_the_gradient(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    v_hat = v / (1 - beta2**step)
    return parameter * (1 - lr * weight_decay) - lr * gradient / (v_hat.sqrt() + eps), m, v


@mistake(
    adamw_step,
    "You follow a mix of m and the newest gradient, which is Nesterov's way. AdamW follows the corrected m.",
)
def looks_ahead(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
    return (
        parameter * (1 - lr * weight_decay)
        - lr * (beta1 * m_hat + (1 - beta1) * gradient / (1 - beta1**step)) / (v_hat.sqrt() + eps),
        m,
        v,
    )


@mistake(
    adamw_step,
    "All weights of the tensor have one step size, from the mean of v. Each has its own in Adam.",
)
def one_size_for_all(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
    return parameter * (1 - lr * weight_decay) - lr * m_hat / (v_hat.mean().sqrt() + eps), m, v


@mistake(
    adamw_step,
    "eps is added to the root of v before the correction. Correct v first, then take the root and add eps.",
)
def eps_before_the_correction(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    m_hat = m / (1 - beta1**step)
    return parameter * (1 - lr * weight_decay) - lr * m_hat * (1 - beta2**step) ** 0.5 / (v.sqrt() + eps), m, v


@mistake(
    adamw_step,
    "v averages the sizes of the gradients. It must average their squares.",
)
def averages_sizes(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient.abs()
    change = m / (1 - beta1**step) / ((v / (1 - beta2**step)).sqrt() + eps)
    return parameter * (1 - lr * weight_decay) - lr * change, m, v


@mistake(
    adamw_step,
    "The decay follows the sign of the weights alone. It shrinks each by the same fraction: lr * weight_decay.",
)
def decays_by_sign(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay):
    moved, m, v = adamw_step(parameter, gradient, m, v, step, lr, beta1, beta2, eps, 0.0)
    return moved - lr * weight_decay * parameter.sign(), m, v


# clip

mistake(
    clip,
    "You clip tensor by tensor, each by its own norm. One norm over all of them gives one factor for all.",
    lambda gradients, max_norm: [
        gradient * (max_norm / gradient.norm().clamp(min=1e-12)).clamp(max=1.0) for gradient in gradients
    ],
)


@mistake(
    clip,
    "Small gradients are enlarged. The factor must not be greater than 1: what is short enough stays as it is.",
)
def enlarges_small_gradients(gradients, max_norm):
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    return [gradient * max_norm / norm for gradient in gradients]


mistake(
    clip,
    "You clip single values. Clipping by norm scales all values by one factor, so the direction stays.",
    lambda gradients, max_norm: [gradient.clamp(-max_norm, max_norm) for gradient in gradients],
)


@mistake(
    clip,
    "The root is missing: the norm is the root of the sum of squares.",
)
def forgets_the_root(gradients, max_norm):
    square = sum((gradient**2).sum() for gradient in gradients)
    return [gradient * min(1.0, max_norm / square) for gradient in gradients]


@mistake(
    clip,
    "You add up the norms of the tensors. Add up their squares, and take the root of the sum.",
)
def adds_up_norms(gradients, max_norm):
    norm = sum(gradient.norm() for gradient in gradients)
    return [gradient * min(1.0, max_norm / norm) for gradient in gradients]


@mistake(
    clip,
    "The factor is computed for each tensor anew, from what the ones before it left. Compute one norm of all first.",
)
def norm_of_those_so_far(gradients, max_norm):
    square, result = 0.0, []
    for gradient in gradients:
        square += (gradient**2).sum()
        result.append(gradient * min(1.0, max_norm / square.sqrt().clamp(min=1e-12)))
    return result


@mistake(
    clip,
    "You go by the largest single value. The norm is the root of the sum of all squares.",
)
def by_the_largest(gradients, max_norm):
    norm = max(gradient.abs().max() for gradient in gradients)
    return [gradient * (max_norm / norm).clamp(max=1.0) for gradient in gradients]


@mistake(
    clip,
    "You take the mean of the squares. A length is the root of their sum.",
)
def by_the_mean_square(gradients, max_norm):
    norm = torch.cat([gradient.flatten() for gradient in gradients]).square().mean().sqrt()
    return [gradient * (max_norm / norm).clamp(max=1.0) for gradient in gradients]


@mistake(
    clip,
    "You add up the sizes of all values. The norm adds up their squares, and takes the root.",
)
def by_the_sum_of_sizes(gradients, max_norm):
    norm = torch.stack([gradient.abs().sum() for gradient in gradients]).sum()
    return [gradient * (max_norm / norm).clamp(max=1.0) for gradient in gradients]


@mistake(
    clip,
    "You go by the norm of the first tensor alone. One norm belongs to all of them together.",
)
def by_the_first(gradients, max_norm):
    norm = gradients[0].norm()
    return [gradient * (max_norm / norm).clamp(max=1.0) for gradient in gradients]


@mistake(
    clip,
    "You go by the longest tensor alone. One norm belongs to all of them together.",
)
def by_the_longest(gradients, max_norm):
    norm = torch.stack([gradient.norm() for gradient in gradients]).max()
    return [gradient * (max_norm / norm).clamp(max=1.0) for gradient in gradients]


@mistake(
    clip,
    "You compare the norm with 1. It may be as large as max_norm.",
)
def compares_with_one(gradients, max_norm):
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    return [gradient * max_norm / norm if norm > 1 else gradient for gradient in gradients]


@mistake(
    clip,
    "Only the longest tensor is shortened. One factor shortens all of them.",
)
def shortens_the_longest(gradients, max_norm):
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    longest = max(range(len(gradients)), key=lambda index: gradients[index].norm().item())
    scale = (max_norm / norm).clamp(max=1.0)
    return [gradient * scale if index == longest else gradient for index, gradient in enumerate(gradients)]


@mistake(
    clip,
    "You add 1 to the norm before you divide, so all gradients become too short.",
)
def one_too_long(gradients, max_norm):
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    return [gradient * (max_norm / (norm + 1)).clamp(max=1.0) for gradient in gradients]


# accumulate


@mistake(
    accumulate,
    "The losses are not divided, so the gradients add up to several times the mean. Divide each loss by the number of "
    "micro-batches.",
)
def does_not_divide(model, micro_batches):
    total = 0.0
    for x, y in micro_batches:
        loss = model(x, y)
        loss.backward()
        total += loss.item()
    return total


@mistake(
    accumulate,
    "The mean loss is right, and the gradients are several times too large: what goes backward must be divided too.",
)
def divides_the_loss_alone(model, micro_batches):
    return does_not_divide(model, micro_batches) / len(micro_batches)


@mistake(
    accumulate,
    "The gradients are right, but you return the sum of the losses: their mean is the batch's loss.",
)
def returns_the_sum(model, micro_batches):
    return accumulate(model, micro_batches) * len(micro_batches)


@mistake(
    accumulate,
    "The gradients are right, but you return the share of the last micro-batch. Add the shares up.",
)
def returns_the_last_share(model, micro_batches):
    for x, y in micro_batches:
        loss = model(x, y) / len(micro_batches)
        loss.backward()
    return loss.item()


@mistake(
    accumulate,
    "Only the last micro-batch's gradient is left: something clears the others. Within a step they must add up.",
)
def zeroes_each_time(model, micro_batches):
    total = 0.0
    for x, y in micro_batches:
        model.zero_grad()
        loss = model(x, y) / len(micro_batches)
        loss.backward()
        total += loss.item()
    return total


@mistake(
    accumulate,
    "What is left is the gradient of the last micro-batch, undivided. Each must go backward, with its share of the "
    "mean.",
)
def only_the_last_goes_backward(model, micro_batches):
    total = 0.0
    for x, y in micro_batches:
        loss = model(x, y)
        total += loss.item() / len(micro_batches)
    loss.backward()
    return total


@mistake(
    accumulate,
    "No gradient is left at the end: either nothing went backward, or the gradients were cleared after it.",
)
def leaves_no_gradient(model, micro_batches):
    return sum(model(x, y).item() for x, y in micro_batches) / len(micro_batches)


@mistake(
    accumulate,
    "You divide by the rows of a micro-batch. The mean has done that already; divide by the number of micro-batches.",
)
def divides_by_the_rows(model, micro_batches):
    total = 0.0
    for x, y in micro_batches:
        loss = model(x, y) / len(x)
        loss.backward()
        total += loss.item()
    return total


# parameter_groups


@mistake(
    parameter_groups,
    "Norm weights decay too. They have one dimension, like biases, and belong in the group without decay.",
)
def decays_norms(model, weight_decay):
    decay = [p for name, p in model.named_parameters() if name.endswith("weight")]
    rest = [p for name, p in model.named_parameters() if not name.endswith("weight")]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


@mistake(
    parameter_groups,
    "The shared matrix appears twice. You collect layer by layer; `model.parameters()` gives each parameter once.",
)
def tied_weight_twice(model, weight_decay):
    parameters = [p for layer in model.modules() for p in layer.parameters(recurse=False)]
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


mistake(
    parameter_groups,
    "Everything decays. Biases and norms, with one dimension, need a group with weight decay 0.",
    lambda model, weight_decay: [{"params": list(model.parameters()), "weight_decay": weight_decay}],
)


@mistake(
    parameter_groups,
    "The two groups are swapped: matrices should decay, and what has one dimension should not.",
)
def swaps_the_groups(model, weight_decay):
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.0},
    ]


mistake(
    parameter_groups,
    "Biases and norms are in no group, so they would never be trained. They need a group without decay.",
    lambda model, weight_decay: [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": weight_decay}
    ],
)


@mistake(
    parameter_groups,
    "Embeddings are left without decay. Here they are matrices like others: sort by dimensions alone.",
)
def spares_embeddings(model, weight_decay):
    spared = {id(p) for name, p in model.named_parameters() if "embedding" in name or p.dim() < 2}
    return [
        {"params": [p for p in model.parameters() if id(p) not in spared], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if id(p) in spared], "weight_decay": 0.0},
    ]


# mend_loop: each of its four faults, alone and together

_FAULTS = {
    "clearing": "The gradients of earlier batches are still there.",
    "clipping": "The gradient is not clipped when the step is taken.",
    "rate": "A step is made at the rate of the step before it.",
    "groups": "Part of the parameters never hears of the new rate.",
}


def _faulty_loop(faults):
    def loop(model, optimizer, batches, rates, max_norm):
        def set_rate(rate):
            for group in optimizer.param_groups[:1] if "groups" in faults else optimizer.param_groups:
                group["lr"] = rate

        losses = []
        for (x, y), rate in zip(batches, rates, strict=True):
            if "rate" not in faults:
                set_rate(rate)
            if "clearing" not in faults:
                optimizer.zero_grad()
            loss = model(x, y)
            loss.backward()
            if "clipping" not in faults:
                nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            set_rate(rate)
            losses.append(loss.item())
        return losses

    return loop


for _count in (1, 2, 3):
    for _left in itertools.combinations(_FAULTS, _count):
        _told = " ".join(["Not all is mended.", *(_FAULTS[fault] for fault in _left)])
        mistake(mend_loop, _told, _faulty_loop(_left))

mistake(
    mend_loop,
    "This computes what the code above computes, so nothing is mended yet. Print the gradient's norm, and each group's "
    "rate, before every step.",
    _faulty_loop(_FAULTS),
)


@mistake(
    mend_loop,
    "The losses are those after the steps. Return each loss as it was before its step: the one that went backward.",
)
def measures_after_the_step(model, optimizer, batches, rates, max_norm):
    losses = []
    for (x, y), rate in zip(batches, rates, strict=True):
        mend_loop(model, optimizer, [(x, y)], [rate], max_norm)
        losses.append(model(x, y).item())
    return losses


@mistake(
    mend_loop,
    "Single values are clipped. clip_grad_norm_ scales the whole gradient by one factor, so its direction stays.",
)
def clips_single_values(model, optimizer, batches, rates, max_norm):
    losses = []
    for (x, y), rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = model(x, y)
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


@mistake(
    mend_loop,
    "No weight changes: the gradients are cleared between `backward` and the step. Clear them before `backward`.",
)
def clears_before_the_step(model, optimizer, batches, rates, max_norm):
    return [model(x, y).item() for x, y in batches]


# noise_left

mistake(
    noise_left,
    "So shrinks the variance, the square of the noise. Noise is a distance: take the root.",
    lambda count: 1 / count,
)

mistake(
    noise_left,
    "You say that the mean of many is as noisy as one. Measure it with 4 micro-batches.",
    lambda count: 1.0,
)

mistake(
    noise_left,
    "You say that noise grows with the batch. So does that of a sum; divide it by the number of its parts.",
    lambda count: count**0.5,
)

mistake(
    noise_left,
    "So you divide by the logarithm. The noise of a mean shrinks with the root of the number.",
    lambda count: 1 / (1 + math.log(count)),
)
