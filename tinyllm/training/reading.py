"""What a step says of itself, read without making Python wait for a GPU."""

import time
from typing import Any

import torch
from torch import Tensor

from tinyllm.config import RunConfig
from tinyllm.system.device import Arriving
from tinyllm.training.history import step_point


class Reading:
    """The loss and the gradient's norm of one step, on their way from the device. One step later they are there."""

    def __init__(self, iteration: int, rate: float, loss: Tensor, norm: Tensor):
        self.iteration, self.rate = iteration, rate
        self.arriving = Arriving(torch.stack([loss.detach().float(), norm.detach().float()]))

    def loss_and_norm(self) -> tuple[float, float]:
        """Both, once they have arrived."""
        loss, norm = self.arriving.tolist()
        return loss, norm


class Clock:
    """The time from one step to the next, what lies between them (measuring, saving) left out."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self.began = time.perf_counter()

    def point(self, reading: Reading, config: RunConfig) -> dict[str, Any]:
        """The history's point of a step; its seconds are those since the last one."""
        loss, norm = reading.loss_and_norm()
        now = time.perf_counter()
        seconds, self.began = now - self.began, now
        return step_point(reading.iteration, config, loss, norm, reading.rate, seconds)
