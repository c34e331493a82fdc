"""Exercises of notebook 06: how a model learns."""

import math
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyllm.course.checking.checking import exercise, mistake
from tinyllm.course.checking.comparing import Unusable


@exercise(
    cases=lambda: [case for warmup in (4, 0, 9) for case in _rate_cases(warmup)],
    hint="Two cases: before step w a line, from step w on a cosine. How far along its way from w to n is step i, as "
    "a number from 0 to 1?",
    why="The line protects the first steps, when AdamW's averages are still empty. The cosine ends in small steps, "
    "so the weights can settle.",
)
def learning_rate(iteration: int, max_iterations: int, warmup: int, max_rate: float, min_rate: float) -> float:
    """The rate of step i (0 is the first) of n, with w steps of warm-up.

    Up a line, max (i + 1) / (w + 1) for i < w; then down half a cosine, from max at i = w to min at i = n.
    """
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)  # 0 to 1
    return min_rate + (max_rate - min_rate) * (1 + math.cos(math.pi * progress)) / 2


@mistake(
    learning_rate,
    "Your cosine starts at step 0 and is well under way when the warm-up ends. It begins at i = w: take (i - w) / (n "
    "- w).",
)
def cosine_starts_too_early(
    iteration: int, max_iterations: int, warmup: int, max_rate: float, min_rate: float
) -> float:
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    return min_rate + (max_rate - min_rate) * (1 + math.cos(math.pi * iteration / max_iterations)) / 2


@mistake(learning_rate, "It ends at zero. The cosine runs from max to min, and min is not zero.")
def ends_at_zero(iteration: int, max_iterations: int, warmup: int, max_rate: float, min_rate: float) -> float:
    return learning_rate(iteration, max_iterations, warmup, max_rate, 0.0)


@mistake(
    learning_rate,
    "The lowest rate is added on top of the whole cosine, so the peak is too high. The cosine spans max - min only.",
)
def adds_the_lowest_rate(iteration: int, max_iterations: int, warmup: int, max_rate: float, min_rate: float) -> float:
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)
    return min_rate + max_rate * (1 + math.cos(math.pi * progress)) / 2


@mistake(
    learning_rate, "The warm-up is off by one: your first step has the rate 0 and learns nothing. Use i + 1 over w + 1."
)
def first_step_is_zero(iteration: int, max_iterations: int, warmup: int, max_rate: float, min_rate: float) -> float:
    if iteration < warmup:
        return max_rate * iteration / warmup
    return learning_rate(iteration, max_iterations, warmup, max_rate, min_rate)


@mistake(learning_rate, "The warm-up reaches the peak one step too early: divide by w + 1, not by w.")
def reaches_the_peak_early(iteration: int, max_iterations: int, warmup: int, max_rate: float, min_rate: float) -> float:
    if iteration < warmup:
        return max_rate * (iteration + 1) / warmup
    return learning_rate(iteration, max_iterations, warmup, max_rate, min_rate)


@mistake(learning_rate, "There is no warm-up: for i < w the rate must climb a line.")
def no_warmup(iteration: int, max_iterations: int, warmup: int, max_rate: float, min_rate: float) -> float:
    progress = max(0, iteration - warmup) / (max_iterations - warmup)
    return min_rate + (max_rate - min_rate) * (1 + math.cos(math.pi * progress)) / 2


@mistake(learning_rate, "It falls along a straight line. Half a cosine is wanted: (1 + cos(pi * progress)) / 2.")
def falls_in_a_line(iteration: int, max_iterations: int, warmup: int, max_rate: float, min_rate: float) -> float:
    if iteration < warmup:
        return max_rate * (iteration + 1) / (warmup + 1)
    progress = (iteration - warmup) / (max_iterations - warmup)
    return max_rate + (min_rate - max_rate) * progress


def _rate_cases(warmup: int) -> list[tuple[int, int, int, float, float]]:
    """The first step, the last of the warm-up, the first after it, one on the way down, and the end."""
    n, most = random.randint(40, 99), random.uniform(1e-3, 5e-3)
    return [(i, n, warmup, most, most / 10) for i in (0, max(0, warmup - 1), warmup, n // 2, n)]


@exercise(
    cases=lambda: [_adamw_case(step, eps) for step, eps in ((1, 1e-8), (2, 1e-8), (10, 1e-8), (3, 0.1))],
    hint="In order: the two averages, their corrected copies, the decay of the parameter, then the step. Only m and "
    "v are carried on uncorrected.",
    why="Dividing by the root of v gives each weight its own step size. The decay stays outside, so every weight "
    "shrinks by the same share.",
)
def adamw_step(
    parameter: Tensor,
    gradient: Tensor,
    m: Tensor,
    v: Tensor,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of AdamW, the first being step 1: the new parameter, m and v, all of one shape.

    m and v begin at zero, so early averages are too small; dividing by 1 - beta^step corrects that.
    """
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    corrected_m = m / (1 - beta1**step)
    corrected_v = v / (1 - beta2**step)
    parameter = parameter * (1 - lr * weight_decay)  # decoupled: the decay does not pass through m and v
    parameter = parameter - lr * corrected_m / (corrected_v.sqrt() + eps)
    return parameter, m, v


@mistake(
    adamw_step,
    "The bias correction is missing. m and v begin at zero, so divide copies of them by 1 - beta^step before you use "
    "them.",
)
def no_bias_correction(
    parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: int, *settings: float
) -> tuple[Tensor, Tensor, Tensor]:
    lr, beta1, beta2, eps, weight_decay = settings
    m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
    return parameter * (1 - lr * weight_decay) - lr * m / (v.sqrt() + eps), m, v


@mistake(
    adamw_step,
    "The decay is added to the gradient (L2), so it passes through m and v. AdamW shrinks the parameter itself, apart "
    "from the gradient.",
)
def decay_in_the_gradient(
    parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: int, *settings: float
) -> tuple[Tensor, Tensor, Tensor]:
    lr, beta1, beta2, eps, weight_decay = settings
    return adamw_step(parameter, gradient + weight_decay * parameter, m, v, step, lr, beta1, beta2, eps, 0.0)


@mistake(adamw_step, "There is no weight decay: the parameter must also shrink by the share lr * weight_decay.")
def no_decay(
    parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: int, *settings: float
) -> tuple[Tensor, Tensor, Tensor]:
    lr, beta1, beta2, eps, _ = settings
    return adamw_step(parameter, gradient, m, v, step, lr, beta1, beta2, eps, 0.0)


@mistake(adamw_step, "The decay is not multiplied by the learning rate: shrink by lr * weight_decay.")
def decay_without_the_rate(
    parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: int, *settings: float
) -> tuple[Tensor, Tensor, Tensor]:
    lr, beta1, beta2, eps, weight_decay = settings
    return adamw_step(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay / lr)


@mistake(adamw_step, "eps stands under the root. It is added to the root of v, behind it.")
def eps_under_the_root(
    parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: int, *settings: float
) -> tuple[Tensor, Tensor, Tensor]:
    lr, beta1, beta2, eps, weight_decay = settings
    m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
    root = (v / (1 - beta2**step) + eps).sqrt()
    return parameter * (1 - lr * weight_decay) - lr * m / (1 - beta1**step) / root, m, v


@mistake(adamw_step, "v averages the gradients themselves. It must average their squares.")
def averages_without_squares(
    parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: int, *settings: float
) -> tuple[Tensor, Tensor, Tensor]:
    lr, beta1, beta2, eps, weight_decay = settings
    m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient
    corrected_m, corrected_v = m / (1 - beta1**step), v / (1 - beta2**step)
    return parameter * (1 - lr * weight_decay) - lr * corrected_m / (corrected_v.sqrt() + eps), m, v


@mistake(
    adamw_step, "You return the corrected averages. The next step wants m and v as they are, without the correction."
)
def returns_corrected_averages(
    parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: int, *settings: float
) -> tuple[Tensor, Tensor, Tensor]:
    _, beta1, beta2, _, _ = settings
    parameter, m, v = adamw_step(parameter, gradient, m, v, step, *settings)
    return parameter, m / (1 - beta1**step), v / (1 - beta2**step)


@mistake(
    adamw_step, "The step goes uphill: it is added. Subtract it, since the gradient points to where the loss grows."
)
def goes_uphill(
    parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: int, *settings: float
) -> tuple[Tensor, Tensor, Tensor]:
    lr, beta1, beta2, eps, weight_decay = settings
    m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
    corrected_m, corrected_v = m / (1 - beta1**step), v / (1 - beta2**step)
    return parameter * (1 - lr * weight_decay) + lr * corrected_m / (corrected_v.sqrt() + eps), m, v


def _adamw_case(step: int, eps: float) -> tuple:
    parameter, gradient, m, v = torch.randn(4, 3)
    averages = (torch.zeros(3), torch.zeros(3)) if step == 1 else (0.3 * m, 0.3 * v**2)
    return parameter, gradient, *averages, step, 0.1, 0.9, 0.95, eps, 0.5


@exercise(
    cases=lambda: [
        ([torch.tensor([3.0, 4.0])], 1.0),
        ([0.1 * torch.randn(3)], 1.0),
        ([torch.randn(3), torch.randn(2, 2)], 0.5),
        ([0.001 * torch.randn(2), 5 * torch.randn(2, 3), torch.randn(4)], 2.0),
    ],
    hint="All tensors together are one long vector. What is its length, and by which factor must it shrink? And if "
    "it is short enough already?",
    why="One factor for all keeps the direction of the step and shortens it. A factor for each tensor would turn it.",
)
def clip(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    """Scale all gradients by one factor, so that their common norm is at most `max_norm`; small ones stay."""
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    scale = min(1.0, max_norm / norm)
    return [gradient * scale for gradient in gradients]


@mistake(clip, "You clip tensor by tensor, each by its own norm. One norm over all of them gives one factor for all.")
def clips_tensor_by_tensor(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    return [gradient * min(1.0, max_norm / gradient.norm().item()) for gradient in gradients]


@mistake(
    clip, "Small gradients are enlarged. The factor must not be greater than 1: what is short enough stays as it is."
)
def enlarges_small_gradients(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    return [gradient * max_norm / norm for gradient in gradients]


@mistake(clip, "You cut off single values. Clipping by norm scales all values by one factor, so the direction stays.")
def cuts_single_values(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    return [gradient.clamp(-max_norm, max_norm) for gradient in gradients]


@mistake(clip, "The root is missing: the norm is the root of the sum of squares.")
def forgets_the_root(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    square = sum((gradient**2).sum() for gradient in gradients)
    return [gradient * min(1.0, max_norm / square) for gradient in gradients]


@mistake(clip, "You add up the norms of the tensors. Add up their squares, and take the root of the sum.")
def adds_up_norms(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    norm = sum(gradient.norm() for gradient in gradients)
    return [gradient * min(1.0, max_norm / norm) for gradient in gradients]


def _gradients_after(
    function: Callable, model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]]
) -> dict[str, Tensor | None]:
    function(model, micro_batches)
    return {f"{name}.grad": parameter.grad for name, parameter in model.named_parameters()}


@exercise(
    cases=lambda: [_accumulation_case(*sizes) for sizes in ((2, 1), (3, 2), (4, 4))],
    observe=_gradients_after,
    hint="`backward` adds to .grad. By what must each loss be divided, so that the sum becomes the mean of the whole "
    "batch?",
    why="The gradient of a mean is the mean of the gradients, so small batches one after the other replace one that "
    "does not fit.",
)
def accumulate(model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]]) -> None:
    """Leave in each parameter's .grad the gradient of the whole batch's mean squared error.

    The micro-batches are equally large, so the whole batch's mean is the mean of theirs. `backward` adds up.
    """
    for x, y in micro_batches:
        loss = F.mse_loss(model(x), y) / len(micro_batches)
        loss.backward()


@mistake(
    accumulate,
    "The losses are not divided, so the gradients add up to several times the mean. Divide each loss by the number of "
    "micro-batches.",
)
def does_not_divide(model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]]) -> None:
    for x, y in micro_batches:
        F.mse_loss(model(x), y).backward()


@mistake(
    accumulate,
    "The gradients are set to zero at each micro-batch, so only the last one is left. Zero them once a step.",
)
def zeroes_each_time(model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]]) -> None:
    for x, y in micro_batches:
        model.zero_grad()
        (F.mse_loss(model(x), y) / len(micro_batches)).backward()


@mistake(accumulate, "Only the last micro-batch goes backward, and undivided: `backward` belongs into the loop.")
def only_the_last_goes_backward(model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]]) -> None:
    for x, y in micro_batches:
        loss = F.mse_loss(model(x), y)
    loss.backward()


@mistake(accumulate, "`backward` is never called, so .grad stays empty.")
def never_goes_backward(model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]]) -> None:
    for x, y in micro_batches:
        F.mse_loss(model(x), y)


@mistake(accumulate, "You divide by the rows of a micro-batch. The mean has done that already; divide by their number.")
def divides_by_the_rows(model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]]) -> None:
    for x, y in micro_batches:
        (F.mse_loss(model(x), y) / len(x)).backward()


def _accumulation_case(number: int, rows: int) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    return nn.Linear(3, 2), [(torch.randn(rows, 3), torch.randn(rows, 2)) for _ in range(number)]


def _decays_by_name(function: Callable, model: nn.Module, weight_decay: float) -> dict[str, list[float]]:
    """Each parameter's weight decay; several where it is in several groups, or several times in one."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decays: dict[str, list[float]] = {name: [] for name in names.values()}
    groups = function(model, weight_decay)
    keys = {"params", "weight_decay"}
    if not isinstance(groups, list) or not all(isinstance(group, dict) and keys <= group.keys() for group in groups):
        raise Unusable('your result must be a list of dicts, each with "params" and "weight_decay".')
    for group in groups:
        for parameter in group["params"]:
            if id(parameter) not in names:
                raise Unusable(f'"params" must hold the model\'s own parameters, not a {type(parameter).__name__}.')
            decays[names[id(parameter)]].append(float(group["weight_decay"]))
    return decays


@exercise(
    cases=lambda: [(model, random.choice([0.1, 0.2])) for model in (TiedModel(3, 2), TiedModel(5, 4), nn.Linear(3, 2))],
    observe=_decays_by_name,
    hint="How many dimensions has a matrix, and how many has a bias or a norm's weight? And what does "
    "`model.parameters()` do with a shared one?",
    why="Decay pulls weights towards zero. For a norm's scale and for biases zero is no better than any other value, "
    "so they are left alone.",
)
def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """AdamW's groups: matrices with weight decay; biases and norms, which have one dimension, without.

    `model.parameters()` gives each parameter once, also one that two layers share.
    """
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


@mistake(
    parameter_groups, "Norm weights decay too. They have one dimension, like biases, and belong to the group without."
)
def decays_norms(model: nn.Module, weight_decay: float) -> list[dict]:
    decay = [p for name, p in model.named_parameters() if name.endswith("weight")]
    rest = [p for name, p in model.named_parameters() if not name.endswith("weight")]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


@mistake(
    parameter_groups,
    "The shared matrix stands twice. You collect layer by layer; `model.parameters()` gives each parameter once.",
)
def tied_weight_twice(model: nn.Module, weight_decay: float) -> list[dict]:
    parameters = [p for layer in model.modules() for p in layer.parameters(recurse=False)]
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


@mistake(parameter_groups, "Everything decays. Biases and norms, with one dimension, need a group with weight decay 0.")
def decays_everything(model: nn.Module, weight_decay: float) -> list[dict]:
    return [{"params": list(model.parameters()), "weight_decay": weight_decay}]


@mistake(parameter_groups, "The two groups are swapped: matrices decay, and what has one dimension does not.")
def swaps_the_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.0},
    ]


@mistake(
    parameter_groups,
    "Biases and norms are in no group, so they would never be trained. They need a group without decay.",
)
def leaves_the_rest_out(model: nn.Module, weight_decay: float) -> list[dict]:
    return [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": weight_decay}]


@mistake(
    parameter_groups, "Embeddings are left without decay. Here they are matrices like others: sort by dimensions alone."
)
def spares_embeddings(model: nn.Module, weight_decay: float) -> list[dict]:
    spared = {id(p) for name, p in model.named_parameters() if "embedding" in name or p.dim() < 2}
    return [
        {"params": [p for p in model.parameters() if id(p) not in spared], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if id(p) in spared], "weight_decay": 0.0},
    ]


class TiedModel(nn.Module):
    """An embedding, a norm, and a head that shares the embedding's matrix."""

    def __init__(self, V: int, C: int):
        super().__init__()
        self.embedding = nn.Embedding(V, C)
        self.norm = nn.LayerNorm(C)
        self.hidden = nn.Linear(C, C)
        self.head = nn.Linear(C, V, bias=False)
        self.head.weight = self.embedding.weight
