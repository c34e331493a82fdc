"""The KV cache: what a model reads piece by piece gives the logits of what it reads at once."""

import math

import pytest
import torch
from small_models import random_ids

from tinyllm import KVCache


@torch.no_grad()
@pytest.mark.parametrize("steps", [[16], [1] * 16, [5] + [1] * 11, [3, 4, 1, 6, 2], [1, 15], [15, 1], [0, 8, 8]])
def test_cached_logits_equal_uncached_ones(model, config, steps):
    """Prefill, single steps, and several tokens at once onto what is cached."""
    ids = random_ids(config, 2, sum(steps))
    cache = KVCache(config, 2, ids.device, torch.float32)
    cache.keys.fill_(math.nan)  # what is not filled yet must not be read
    cache.values.fill_(math.nan)
    parts = [model(part, cache=cache) for part in ids.split(steps, dim=1) if part.shape[1]]
    assert cache.length == sum(steps)
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_cache_set_back_to_length_zero_starts_over(model, config):
    cache = KVCache(config, 1, torch.device("cpu"), torch.float32)
    model(random_ids(config, 1, 16, seed=1), cache=cache)
    cache.length = 0
    ids = random_ids(config, 1, 10, seed=2)
    torch.testing.assert_close(model(ids, cache=cache), model(ids), rtol=1e-5, atol=1e-5)


def test_append_gives_old_and_new_of_one_layer_and_leaves_the_length_to_the_model(modern_config):
    cache = KVCache(modern_config, 3, torch.device("cpu"), torch.float64)
    assert cache.keys.shape == cache.values.shape == (2, 3, 2, 16, 8)
    assert cache.keys.dtype == cache.values.dtype == torch.float64
    cache.values.zero_()
    first, second = torch.randn(2, 2, 3, 2, 4, 8, dtype=torch.float64)  # keys and values of four tokens, twice
    keys, values = cache.append(1, *first)
    assert torch.equal(keys, first[0])
    assert torch.equal(values, first[1])
    assert cache.length == 0
    cache.length = 4
    keys, values = cache.append(1, *second)
    assert torch.equal(keys, torch.cat([first[0], second[0]], dim=2))
    assert torch.equal(values, torch.cat([first[1], second[1]], dim=2))
    assert not cache.values[0].any(), "the other layer is left alone"
