"""AdamW's parameter groups and the learning rate's way through a run.

Sources: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019) and "SGDR" (2017, the cosine).
"""

import math

import torch
from torch import nn

from tinyllm.config import TrainingConfig


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups: matrices (embeddings too) with weight decay; biases and norms, which have one dimension, without."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW on `parameter_groups`, as one fused kernel on CUDA."""
    fused = next(model.parameters()).device.type == "cuda"
    groups = parameter_groups(model, config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.max_learning_rate, betas=config.betas, fused=fused)


def learning_rate(iteration: int, config: TrainingConfig) -> float:
    """The learning rate of step `iteration` (0 is the first): up a line, then down half a cosine.

    With w warm-up steps of n: max * (i + 1) / (w + 1) for i < w, then
    min + (max - min) * (1 + cos(pi * (i - w) / (n - w))) / 2, which is max at i = w and min at i = n.
    """
    warmup, end = config.warmup, config.max_iterations
    if iteration < warmup:
        return config.max_learning_rate * (iteration + 1) / (warmup + 1)
    progress = min(1.0, (iteration - warmup) / (end - warmup))
    span = config.max_learning_rate - config.min_learning_rate
    return config.min_learning_rate + span * (1 + math.cos(math.pi * progress)) / 2
