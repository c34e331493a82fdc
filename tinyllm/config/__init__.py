"""The settings of a run: frozen dataclasses that check themselves.

Each field has its docstring on the line below it: editors show it, and the command line prints it as the option's
help. No two fields of a run share a name, so the name alone is enough to override any of them.
"""

from tinyllm.config.data_config import IGNORED, DataConfig
from tinyllm.config.generation_config import GenerationConfig
from tinyllm.config.model_config import Activation, ModelConfig, Norm, Positions
from tinyllm.config.run_config import RunConfig
from tinyllm.config.training_config import Optimizer, Precision, Schedule, TrainingConfig

__all__ = [
    "IGNORED",
    "Activation",
    "DataConfig",
    "GenerationConfig",
    "ModelConfig",
    "Norm",
    "Optimizer",
    "Positions",
    "Precision",
    "RunConfig",
    "Schedule",
    "TrainingConfig",
]
