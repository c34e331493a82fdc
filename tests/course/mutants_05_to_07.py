"""Lines of the package that notebooks 05 to 07 must notice when they are broken.

For each notebook and module: what is broken, the part of a line, and what stands there instead.
"""

MUTANTS = {
    ("05_gpt", "model/gpt"): {
        "no positions": ("x = x + self.position_embedding(positions)", "x = x + 0"),
        "positions from 1": (
            "torch.arange(T, device=token_ids.device) if",
            "1 + torch.arange(T, device=token_ids.device) if",
        ),
        "projections are not scaled": ("std=0.02 * scale if", "std=0.02 if"),
        "the root of L, not of 2 L": ("1 / math.sqrt(2 * self", "1 / math.sqrt(self"),
        "no final norm": ("x = self.final_norm(x)", "x = x + 0"),
        "a louder head": ("softcap(linear(hidden, self.token", "softcap(1.01 * linear(hidden, self.token"),
        "the head does not learn": (
            "return cross_entropy(hidden.flatten(0, 1), weight, ",
            "return cross_entropy(hidden.flatten(0, 1), weight.detach(), ",
        ),
        "one block is left out": ("for block in self.blocks:", "for block in self.blocks[1:]:"),
    },
    ("05_gpt", "model/attention"): {
        "no mask": ("is_causal=causal", "is_causal=False"),
    },
    ("06_training", "training/optimizers"): {
        "no weight decay": (
            "groups = parameter_groups(model, config.weight_decay)",
            "groups = parameter_groups(model, 0.0)",
        ),
        "everything decays": ('"weight_decay": 0.0}', '"weight_decay": weight_decay}'),
        "other betas": ("torch.optim.AdamW(groups, lr=rate, betas=config.betas,", "torch.optim.AdamW(groups, lr=rate,"),
    },
    ("06_training", "training/schedule"): {
        "no warm-up": ("if iteration < warmup:", "if iteration < 0:"),
        "the first rate is 0": ("max_learning_rate * (iteration + 1)", "max_learning_rate * iteration"),
        "the cosine ends at 0": ("config.min_learning_rate + span * (1 +", "span * (1 +"),
    },
    ("06_training", "training/gradient_step"): {
        "no clipping": ("(model.parameters(), max_gradient_norm)", "(model.parameters(), 1e9)"),
        "clipping to another norm": (
            "(model.parameters(), max_gradient_norm)",
            "(model.parameters(), 1.1 * max_gradient_norm)",
        ),
        "micro-batches are not divided": ("model(ids, targets) / (count / counts[index])", "model(ids, targets)"),
        "gradients are not cleared": ("    optimizer.zero_grad()\n", ""),
    },
    ("07_sampling", "generation/sampling"): {
        "no temperature": ("logits.float() / config.temperature", "logits.float()"),
        "multiplied by the temperature": ("logits.float() / config.temperature", "logits.float() * config.temperature"),
        "top-k keeps one more": ("min(config.top_k, logits", "min(config.top_k + 1, logits"),
        "top-p drops the token that crosses": ("probabilities.cumsum(-1) - probabilities", "probabilities.cumsum(-1)"),
        "top-p from the unlikeliest": ("logits.sort(descending=True,", "logits.sort(descending=False,"),
        "greedy draws": ("if config.temperature == 0:", "if config.temperature < 0:"),
        "the generator is forgotten": (", 1, generator=generator)", ", 1)"),
    },
    ("07_sampling", "model/kv_cache"): {
        "the position starts again": ("arange(self.length, self.length + new,", "arange(0, new,"),
        "the cache is overwritten": (
            "self.values[layer, :, :, self.length : end] = values",
            "self.values[layer, :, :, : keys.shape[2]] = values",
        ),
        "new tokens see later ones": (".tril(self.length)", ".tril(self.length + 1)"),
    },
}
