"""The learning rate of each step: linear warm-up, then a cosine down, or constant and then a line down.

Sources: Loshchilov and Hutter, "SGDR" (2017, the cosine); Hu et al., "MiniCPM" (2024, warm-up, stable, decay).
"""

import math

from tinyllm.config import TrainingConfig


def learning_rate(iteration: int, config: TrainingConfig) -> float:
    """The learning rate of step `iteration` (0 is the first): linear warm-up, then down by the config's `schedule`.

    With w warm-up steps of n: max * (i + 1) / (w + 1) for i < w. Then, "cosine":
    min + (max - min) * (1 + cos(pi * (i - w) / (n - w))) / 2, which is max at i = w and min at i = n.
    "warmup_stable_decay": max until the last `decay_fraction` of the n steps, then a line to min at i = n.
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
