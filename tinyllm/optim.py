"""The optimizers, which parameters each of them moves, and the learning rate's way through a run.

Sources: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019, AdamW) and "SGDR" (2017, the cosine);
Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); Liu et al., "Muon is Scalable for LLM
Training" (2025, the update's size and weight decay); Hu et al., "MiniCPM" (2024, warm-up, stable, decay).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from tinyllm.attention import CausalSelfAttention
from tinyllm.config import TrainingConfig


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups: matrices (embeddings too) with weight decay; biases and norms, which have one dimension, without."""
    return _by_dimension([parameter for parameter in model.parameters() if parameter.requires_grad], weight_decay)


def _by_dimension(parameters: list[Tensor], weight_decay: float) -> list[dict]:
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def muon_groups(model: nn.Module, weight_decay: float) -> tuple[list[dict], list[dict]]:
    """Muon's groups, the weights of linear layers, and AdamW's: embeddings (so the tied head too) and vectors.

    A group of Muon's says in `row_sizes` which rows of its matrices belong together: queries, keys and values are three
    matrices in one. None: all rows.
    """
    fused = {
        module.qkv.weight: module.qkv_sizes for module in model.modules() if isinstance(module, CausalSelfAttention)
    }
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    by_sizes: dict[tuple[int, ...] | None, list[Tensor]] = {}
    for weight in weights:
        if weight.requires_grad:
            by_sizes.setdefault(fused.get(weight), []).append(weight)
    hidden = [{"params": params, "row_sizes": sizes} for sizes, params in by_sizes.items()]
    ours = set(weights)
    rest = [p for p in model.parameters() if p.requires_grad and p not in ours]
    return [group | {"weight_decay": weight_decay} for group in hidden], _by_dimension(rest, weight_decay)


def orthogonalise(matrix: Tensor) -> Tensor:
    """Nearly the closest orthogonal matrix: with the SVD U S V^T, U S' V^T, all of S' between about 0.7 and 1.2.

    Newton-Schulz: x -> a x + b x^3 + c x^5 moves every singular value towards 1. It needs no SVD, only products of
    matrices, since (X X^T) X has the same U and V. These coefficients blow small values up fastest: five steps serve
    for all above 0.002 of the norm. The larger ones wander around 1 by then, which does no harm. Nor does bfloat16,
    which CUDA multiplies fastest.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16() if matrix.device.type == "cuda" else matrix.float()
    if tall := len(matrix) > matrix.shape[1]:
        x = x.T  # the smaller of the two possible squares
    x = x / x.norm().clamp(min=1e-7)  # now no singular value is above 1
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: every direction that a matrix could move in is moved in by the same amount.

    A gradient's few largest singular values would drown the many small ones. The update is scaled by 0.2 sqrt(larger
    side): its numbers are then as large as AdamW's usually are, so that one learning rate and weight decay serve both.
    """

    def __init__(self, groups: list[dict], lr: float, momentum: float = 0.95):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "row_sizes": None})

    @torch.no_grad()
    def step(self) -> None:
        """Move each matrix that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    update = self._look_ahead(weight, group["momentum"])
                    sizes = group["row_sizes"] or (len(weight),)
                    for part, change in zip(weight.split(sizes), update.split(sizes), strict=True):
                        scale = 0.2 * math.sqrt(max(change.shape))
                        part.add_(orthogonalise(change).to(part.dtype), alpha=-group["lr"] * scale)

    def _look_ahead(self, weight: Tensor, momentum: float) -> Tensor:
        """Nesterov's: the running mean of the gradients, moved once more towards the newest."""
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean = state["mean"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(mean, momentum)


class MuonAndAdamW:
    """Two optimizers that share a model's parameters out between them, used as one."""

    def __init__(self, muon: Muon, adamw: torch.optim.AdamW):
        self.parts = {"muon": muon, "adamw": adamw}

    @property
    def param_groups(self) -> list[dict]:
        """All groups of both; changing one, such as its "lr", changes that optimizer."""
        return [group for part in self.parts.values() for group in part.param_groups]

    def step(self) -> None:
        for part in self.parts.values():
            part.step()

    def zero_grad(self) -> None:
        for part in self.parts.values():
            part.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW | MuonAndAdamW:
    """AdamW on `parameter_groups`, as one fused kernel on CUDA; or Muon and AdamW on `muon_groups`."""
    rate, fused = config.max_learning_rate, next(model.parameters()).device.type == "cuda"
    if config.optimizer == "adamw":
        groups = parameter_groups(model, config.weight_decay)
        return torch.optim.AdamW(groups, lr=rate, betas=config.betas, fused=fused)
    hidden, rest = muon_groups(model, config.weight_decay)
    return MuonAndAdamW(Muon(hidden, rate), torch.optim.AdamW(rest, lr=rate, betas=config.betas, fused=fused))


def learning_rate(iteration: int, config: TrainingConfig) -> float:
    """The learning rate of step `iteration` (0 is the first): up a line, then down as `schedule` says.

    With w warm-up steps of n: max * (i + 1) / (w + 1) for i < w. Then, "cosine":
    min + (max - min) * (1 + cos(pi * (i - w) / (n - w))) / 2, which is max at i = w and min at i = n.
    "warmup_stable_decay": max up to the last `decay_fraction` of the n steps, then a line to min at i = n.
    """
    warmup, end = config.warmup, config.max_iterations
    if iteration < warmup:
        return config.max_learning_rate * (iteration + 1) / (warmup + 1)
    span = config.max_learning_rate - config.min_learning_rate
    if config.schedule == "warmup_stable_decay":
        decay = max(1, min(round(config.decay_fraction * end), end - warmup))  # steps
        return config.min_learning_rate + span * min(1.0, max(0, end - iteration) / decay)
    progress = min(1.0, (iteration - warmup) / (end - warmup))
    return config.min_learning_rate + span * (1 + math.cos(math.pi * progress)) / 2
