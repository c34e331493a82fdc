"""Right answers to the exercises of notebook 07, in other styles than the references."""

import math

import numpy as np
import torch


def temperature(logits, temperature):
    if temperature == 0:
        result = torch.zeros_like(logits)
        result[logits.argmax()] = 1
        return result
    weights = torch.exp((logits - logits.max()) / temperature)
    return weights / weights.sum()


def unspoilt(share, draws):
    whole = 1.0
    for _ in range(draws):
        whole *= 1 - share
    return whole


def top_k(logits, k):
    values = logits.tolist()
    best = sorted(range(len(values)), key=lambda index: -values[index])[:k]
    return torch.tensor([value if index in set(best) else -math.inf for index, value in enumerate(values)])


def top_p(logits, p):
    probabilities = logits.softmax(dim=0).numpy()
    kept, total = np.zeros(len(probabilities), dtype=bool), 0.0
    for index in np.argsort(-probabilities, kind="stable"):
        if total >= p:
            break
        kept[index] = True
        total += probabilities[index]
    return torch.where(torch.from_numpy(kept), logits, torch.tensor(-math.inf))


def mend_choose(logits, generator, tau, k=None, p=None):
    if tau == 0:
        return int(logits.argmax())
    z = logits / tau
    z = top_k(z, len(z) if k is None else k)
    if p is not None:
        z = top_p(z, p)
    return int(torch.multinomial(torch.softmax(z, dim=-1), num_samples=1, generator=generator)[0])


def generate(next_logits, prompt, number):
    if number == 0:
        return prompt[:]
    likeliest = next_logits(prompt).argmax(dim=1)
    return generate(next_logits, [*prompt, likeliest.tolist()[-1]], number - 1)


def cached_step(token_id, keys, values, token_table, position_table, w_q, w_k, w_v):
    t, C = keys.shape
    x = token_table[token_id : token_id + 1] + position_table[t : t + 1]  # (1, C)
    keys, values = torch.vstack([keys, x @ w_k]), torch.vstack([values, x @ w_v])
    scores = torch.einsum("ic,tc->t", x @ w_q, keys) / C**0.5
    weights = torch.exp(scores - scores.max())
    return (weights[:, None] * values).sum(dim=0) / weights.sum(), keys, values
