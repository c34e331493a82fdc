"""The feed-forward layer of a transformer block.

Sources: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016); So et al., "Primer" (2021, ReLU squared); Shazeer,
"GLU Variants Improve Transformer" (2020, SwiGLU).
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tinyllm.config import ModelConfig
from tinyllm.model.lora import make_linear


class ReLUSquared(nn.Module):
    """max(0, x)^2, elementwise."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return F.relu(x).square()


class FeedForward(nn.Module):
    """A two-layer network, applied to each token on its own; SwiGLU adds a third matrix, the gate."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.expand = make_linear(config, config.embedding_dim, config.feedforward_dim)
        self.activation = {
            "gelu": nn.GELU(),
            "gelu_tanh": nn.GELU("tanh"),
            "relu_squared": ReLUSquared(),
            "swiglu": nn.SiLU(),
        }[config.activation]
        gated = config.activation == "swiglu"
        self.gate = make_linear(config, config.embedding_dim, config.feedforward_dim) if gated else None
        self.projection = make_linear(config, config.feedforward_dim, config.embedding_dim)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """Widen each token to feedforward_dim, apply the activation, and project back."""
        hidden = self.expand(x)  # (B, T, F)
        hidden = self.activation(hidden) if self.gate is None else self.activation(self.gate(x)) * hidden
        output: Tensor = self.projection(hidden)
        return output
