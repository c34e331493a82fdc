"""Which optimizer moves which parameters: AdamW for all, or Muon for the matrices in the blocks and AdamW for the rest.

Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019, AdamW).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tinyllm.config import TrainingConfig
from tinyllm.model.attention import CausalSelfAttention
from tinyllm.training.muon import Muon

Group = dict[str, Any]
"""Parameters and their settings, as torch's optimizers take them."""


def parameter_groups(model: nn.Module, weight_decay: float) -> list[Group]:
    """Two groups: matrices (embeddings too) with weight decay; biases and norms, which have one dimension, without."""
    return _by_dimension([parameter for parameter in model.parameters() if parameter.requires_grad], weight_decay)


def _by_dimension(parameters: Sequence[Tensor], weight_decay: float) -> list[Group]:
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def muon_groups(model: nn.Module, weight_decay: float) -> tuple[list[Group], list[Group]]:
    """Muon's groups, the weights of linear layers, and AdamW's: embeddings (so the tied head too) and vectors.

    Queries, keys and values are three matrices stored as one: `row_sizes` gives the rows of each. None: one matrix.
    """
    fused: dict[Tensor, tuple[int, ...]] = {
        module.qkv.weight: module.qkv_sizes for module in model.modules() if isinstance(module, CausalSelfAttention)
    }
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    by_sizes: dict[tuple[int, ...] | None, list[Tensor]] = {}
    for weight in weights:
        if weight.requires_grad:
            by_sizes.setdefault(fused.get(weight), []).append(weight)
    hidden = [
        {"params": matrices, "row_sizes": sizes, "weight_decay": weight_decay} for sizes, matrices in by_sizes.items()
    ]
    muons = set(weights)
    rest = [p for p in model.parameters() if p.requires_grad and p not in muons]
    return hidden, _by_dimension(rest, weight_decay)


class MuonAndAdamW(torch.optim.Optimizer):
    """Two optimizers that share out a model's parameters, used as one."""

    def __init__(self, muon: Muon, adamw: torch.optim.AdamW):
        self.parts = {"muon": muon, "adamw": adamw}
        super().__init__(self._groups(), {})

    def _groups(self) -> list[Group]:
        """Both parts' own groups, not copies: setting "lr" in one sets it for that optimizer."""
        return [group for part in self.parts.values() for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch has overloads
        """One step of both; returns what `closure` does."""
        loss = None if closure is None else closure()
        for part in self.parts.values():
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Both parts' states, by name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self.param_groups = self._groups()  # loading replaced them


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW | MuonAndAdamW:
    """AdamW on `parameter_groups`, as one fused kernel on CUDA; or Muon and AdamW on `muon_groups`."""
    rate, fused = config.max_learning_rate, next(model.parameters()).device.type == "cuda"
    if config.optimizer == "adamw":
        groups = parameter_groups(model, config.weight_decay)
        return torch.optim.AdamW(groups, lr=rate, betas=config.betas, fused=fused)
    hidden, rest = muon_groups(model, config.weight_decay)
    return MuonAndAdamW(Muon(hidden, rate), torch.optim.AdamW(rest, lr=rate, betas=config.betas, fused=fused))
