"""All settings of a run together."""

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any

from tinyllm.config.data_config import DataConfig
from tinyllm.config.model_config import ModelConfig
from tinyllm.config.training_config import TrainingConfig
from tinyllm.system.paths import user_path
from tinyllm.system.validation import near_names, require

_PARTS: dict[str, type[ModelConfig] | type[DataConfig] | type[TrainingConfig]] = {
    "model": ModelConfig,
    "dataset": DataConfig,
    "training": TrainingConfig,
}


@dataclass(frozen=True)
class RunConfig:
    """Everything that defines a run: the same `RunConfig` gives the same run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    run_folder: str = "models/tiny"
    """Where checkpoints and the history go; a folder belongs to one run."""

    def __post_init__(self) -> None:
        for name, kind in _PARTS.items():
            value = getattr(self, name)
            require(isinstance(value, kind), name, value, f"a {kind.__name__}")
        trained = self.model.lora == 0 or self.training.init_from is not None
        require(trained, "lora", self.model.lora, "0 without init_from: LoRA corrects a model that was trained")
        moved = self.model.lora == 0 or self.training.optimizer == "adamw"
        require(moved, "optimizer", self.training.optimizer, "'adamw' with lora, whose thin matrices are not Muon's")
        require(isinstance(self.run_folder, str) and self.run_folder != "", "run_folder", self.run_folder, "a path")
        object.__setattr__(self, "run_folder", str(user_path(self.run_folder)))

    def replace(self, **overrides: Any) -> "RunConfig":
        """A copy with fields of any part changed by name. Raises ValueError, with near names, for an unknown one."""
        owners = {field.name: part for part, kind in _PARTS.items() for field in dataclasses.fields(kind)}
        changes: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        top: dict[str, Any] = {}
        for name, value in overrides.items():
            if isinstance(value, os.PathLike):
                value = os.fspath(value)
            if name == "run_folder":
                top[name] = value
            elif name in owners:
                changes[owners[name]][name] = value
            else:
                raise ValueError(f"unknown setting {name!r}{near_names(name, [*owners, 'run_folder'])}")
        top |= {part: dataclasses.replace(getattr(self, part), **changes[part]) for part in _PARTS if changes[part]}
        return dataclasses.replace(self, **top)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, as written to `config.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "RunConfig":
        """The inverse of `to_dict`. Raises ValueError for unknown keys, missing parts and bad values."""
        try:
            if wrong := content.keys() ^ {*_PARTS, "run_folder"}:
                raise TypeError(f"unknown or missing: {', '.join(sorted(wrong))}")
            built: dict[str, Any] = {part: kind(**content[part]) for part, kind in _PARTS.items()}
            return cls(run_folder=content["run_folder"], **built)
        except (AttributeError, TypeError) as error:
            raise ValueError(f"not a run's configuration: {error}") from None
