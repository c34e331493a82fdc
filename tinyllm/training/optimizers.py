"""Which optimizer moves which parameters: AdamW for all, or Muon for the matrices in the blocks and AdamW for the rest.

Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019, AdamW).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tinyllm.config import TrainingConfig
from tinyllm.model.attention import CausalSelfAttention
from tinyllm.training.muon import Muon


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


class MuonAndAdamW(torch.optim.Optimizer):
    """Two optimizers that divide a model's parameters between them, used as one."""

    def __init__(self, muon: Muon, adamw: torch.optim.AdamW):
        self.parts = {"muon": muon, "adamw": adamw}
        super().__init__(self._groups(), {})

    def _groups(self) -> list[dict[str, Any]]:
        """The very groups of both parts: changing one, such as its "lr", changes that optimizer."""
        return [group for part in self.parts.values() for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of both."""
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
        self.param_groups = self._groups()  # loading has replaced them


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW | MuonAndAdamW:
    """AdamW on `parameter_groups`, as one fused kernel on CUDA; or Muon and AdamW on `muon_groups`."""
    rate, fused = config.max_learning_rate, next(model.parameters()).device.type == "cuda"
    if config.optimizer == "adamw":
        groups = parameter_groups(model, config.weight_decay)
        return torch.optim.AdamW(groups, lr=rate, betas=config.betas, fused=fused)
    hidden, rest = muon_groups(model, config.weight_decay)
    return MuonAndAdamW(Muon(hidden, rate), torch.optim.AdamW(rest, lr=rate, betas=config.betas, fused=fused))
