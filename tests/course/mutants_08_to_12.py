"""Lines of the package that notebooks 08 to 12 must notice when they are broken.

For each notebook and module: what is broken, the part of a line, and what stands there instead.
"""

MUTANTS = {
    ("08_wikitext103", "estimation"): {
        "the micro-batches are not counted": (
            "training.global_batch * config.model",
            "training.batch_size * config.model",
        ),
    },
    ("08_wikitext103", "evaluation"): {
        "perplexity per word of a token": ("_exp(self.nats / max(1, self.words))", "_exp(self.nats / self.tokens)"),
    },
    ("09_modern_recipe", "model/norm"): {
        "LayerNorm for RMSNorm": ('config.norm == "rmsnorm"', 'config.norm == "none"'),
    },
    ("09_modern_recipe", "model/rotary"): {
        "no rotation": ("first * cos - second * sin", "first * cos + second * sin"),
        "other speeds": ("ROTARY_BASE = 10_000.0", "ROTARY_BASE = 1_000.0"),
    },
    ("09_modern_recipe", "model/attention"): {
        "no norm of the keys": ("self.key_norm(k.to(dtype))", "k.to(dtype)"),
        "values are turned too": (
            "q, k = rotate(q, table), rotate(k, table)",
            "q, k, v = rotate(q, table), rotate(k, table), rotate(v, table)",
        ),
        "no mask": ("is_causal=causal", "is_causal=False"),
    },
    ("09_modern_recipe", "model/feedforward"): {
        "ReLU, not squared": ("F.relu(x).square()", "F.relu(x)"),
        "the other half is the gate": (
            "self.activation(self.gate(x)) * hidden",
            "self.gate(x) * self.activation(hidden)",
        ),
    },
    ("09_modern_recipe", "model/loss"): {
        "the cap is 1": ("bound * torch.tanh(logits / bound)", "torch.tanh(logits / bound)"),
    },
    ("09_modern_recipe", "model/gpt"): {
        "no start at zero": ("scale = 0 if self.config.zero_init", "scale = 0.5 if self.config.zero_init"),
    },
    ("09_modern_recipe", "training/schedule"): {
        "a share of the steps after the warm-up": (
            "round(config.decay_fraction * end)",
            "round(config.decay_fraction * (end - warmup))",
        ),
    },
    ("09_modern_recipe", "training/muon"): {
        "no momentum": (
            "torch._foreach_lerp_(means, gradients, 1 - momentum)",
            "torch._foreach_copy_(means, gradients)",
        ),
        "no look ahead": ("return torch._foreach_lerp(gradients, means, momentum)", "return tuple(means)"),
        "the shorter side": ("0.2 * math.sqrt(max(shape))", "0.2 * math.sqrt(min(shape))"),
        "four steps of Newton-Schulz": (
            "for _ in range(5):\n        square = x @ x.mT\n        polynomial",
            "for _ in range(4):\n        square = x @ x.mT\n        polynomial",
        ),
    },
    ("10_inside_the_model", "course/interpretability"): {
        "heads of every H-th number": (
            "columns = [head * D + n for layer, head",
            "columns = [n * model.config.num_heads + head for layer, head",
        ),
        "zeros for the means": ("= 0 if means is None else means[number, columns]", "= 0"),
        "a vector is added, not exchanged": ("x[:, position] = vector", "x[:, position] += vector"),
        "a lens without the norm": (
            "model.head(model.final_norm(residual_stream(model, token_ids)))",
            "model.head(residual_stream(model, token_ids))",
        ),
        "the current token, not what followed": ("followed[:, 1:] = same[:, :-1]", "followed[:, :] = same"),
    },
    ("10_inside_the_model", "course/circuits"): {
        "parts keep their mean": ("{name: part - part.mean() for", "{name: part for"),
        "another head's columns": ("_outputs(block)[head].T", "_outputs(block)[head - 1].T"),
    },
    ("11_bug_clinic", "course/clinic/small_gpt"): {
        "a leaky mask": (".tril(keys - queries)", ".tril(keys - queries + 1)"),
        "large embeddings": (
            "nn.init.normal_(self.embedding.weight, std=0.02)",
            "nn.init.normal_(self.embedding.weight)",
        ),
    },
    ("11_bug_clinic", "course/clinic/patients"): {
        "patient 1 is healthy": (".tril(keys - queries + 1)", ".tril(keys - queries)"),
        "patient 2 is healthy": ("ids.masked_fill(targets == IGNORED, IGNORED)", "targets"),
        "patient 3 is healthy": ("return articles[:40], articles[40:]", "return articles[:40], list(range(8, 16))"),
    },
    ("12_scaling", "estimation"): {
        "the head is counted twice": (
            "return config.vocab_size * C + positions",
            "return 2 * config.vocab_size * C + positions",
        ),
        "the head's products are left out": (
            "_block_matrices(config) + config.vocab_size * config.embedding_dim\n",
            "_block_matrices(config)\n",
        ),
        "attention's products are left out": ("3 * (attention + corrections)", "3 * corrections"),
        "backward costs as much as forward": (
            "2 * ((2 if config.lora else 3) * matrices + 3 * (attention + corrections))",
            "2 * (2 * matrices + 2 * (attention + corrections))",
        ),
    },
    ("12_scaling", "course/scaling_laws"): {
        "a curve without its floor": ("predicted = floors + np.exp", "predicted = 0 * floors + np.exp"),
        "the worst floor": ("best = int(misfit.argmin())", "best = int(misfit.argmax())"),
        "the scale's logarithm": ("float(np.exp(heights[best]))", "float(heights[best])"),
    },
}
