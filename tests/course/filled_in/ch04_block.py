"""Other right answers than the references of notebook 04: `var_mean`, the normal distribution, draws of 0 and 1."""

import torch


def layer_norm(x, weight, bias, eps=1e-5):
    variance, mean = torch.var_mean(x, dim=2, keepdim=True, correction=0)
    return torch.addcmul(bias, (x - mean) * torch.rsqrt(variance + eps), weight)


def gelu(x):
    return x * torch.special.ndtr(x)


def dropout(x, p, training):
    if not training or p == 0:
        return x
    return x * torch.bernoulli(torch.full_like(x, 1 - p)).div(1 - p)


def block_forward(x, attention_norm, attention, feedforward_norm, feedforward):
    for norm, layer in ((attention_norm, attention), (feedforward_norm, feedforward)):
        x = layer(norm(x)) + x
    return x


def measure_scatter(p):
    """From the two values that there are, 0 and 1 / (1 - p), and how often each came."""
    kept = (torch.rand(10_000) >= p).double().mean()
    return kept.sqrt() * (1 - kept).sqrt() / (1 - p)


def mend_stack(x, norms, layers, p, training):
    if not layers:
        return x
    x = torch.add(x, torch.nn.functional.dropout(layers[0](norms[0](x)), p, training))
    return mend_stack(x, norms[1:], layers[1:], p, training)
