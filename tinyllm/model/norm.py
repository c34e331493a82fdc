"""The norms of the residual stream: LayerNorm (Ba et al., 2016), or RMSNorm (Zhang and Sennrich, 2019)."""

from torch import nn

from tinyllm.config import ModelConfig

NORM_EPS = 1e-5  # keeps every norm from dividing by zero


def make_norm(config: ModelConfig) -> nn.LayerNorm | nn.RMSNorm:
    """The norm before each sub-layer. RMSNorm divides by the root mean square; it has no mean and no bias."""
    if config.norm == "rmsnorm":
        return nn.RMSNorm(config.embedding_dim, eps=NORM_EPS)
    return nn.LayerNorm(config.embedding_dim, eps=NORM_EPS, bias=config.bias)
