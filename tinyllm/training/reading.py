"""What a step says of itself, read without making Python wait for a GPU."""

import time
from typing import Any

import torch
from torch import Tensor

from tinyllm.config import RunConfig
from tinyllm.training.history import step_point


class Reading:
    """The loss and the gradient's norm of one step, on their way from the device.

    Asked for their values at once, Python would wait until the GPU has done all it was given, and then the GPU for
    Python. One step later the values are there.
    """

    def __init__(self, iteration: int, rate: float, loss: Tensor, norm: Tensor):
        self.iteration, self.rate = iteration, rate
        self.values = torch.stack([loss.detach().float(), norm.detach().float()])
        self.ready: torch.cuda.Event | None = None
        if loss.is_cuda:
            self.values = torch.empty(2, pin_memory=True).copy_(self.values, non_blocking=True)
            self.ready = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self.ready.record(torch.cuda.current_stream(loss.device))

    def loss_and_norm(self) -> tuple[float, float]:
        """Both, once they have arrived."""
        if self.ready is not None:
            self.ready.synchronize()
        loss, norm = self.values.tolist()
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
