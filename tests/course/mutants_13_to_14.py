"""Lines of the package that notebooks 13 and 14 must notice when they are broken.

For each notebook and module: what is broken, the part of a line, and what stands there instead.
"""

MUTANTS = {
    ("13_finetuning", "text/turns"): {
        "questions are learned too": ("(within == self.assistant) |", "np.isin(within, self[2:]) |"),
        "the end of an answer is not learned": (
            "(within == self.assistant) |",
            "(within == self.assistant) & ~np.isin(tokens, self) |",
        ),
        "articles are not learned": ("(within == self.assistant) | in_document", "within == self.assistant"),
    },
    ("13_finetuning", "model/loss"): {
        "the mean over all targets": (
            "return (targets != IGNORED).sum().clamp(min=1)",
            "return (targets == targets).sum()",
        ),
    },
    ("13_finetuning", "model/lora"): {
        "the correction is not scaled": ("+ SCALE * linear(", "+ linear("),
        "what is merged pairs other directions": ("self.up @ self.down", "self.up @ self.down.flip(0)"),
    },
    ("13_finetuning", "training/gradient_step"): {
        "divided by the number of micro-batches": (
            "model(ids, targets) / (count / counts[index])",
            "model(ids, targets) / len(batches)",
        ),
    },
    ("14_reinforcement", "training/reinforce"): {
        "the score without its softmax": ("to(logits) - logits.softmax(-1)", "to(logits)"),
        "no division by the standard deviation": (
            "return centred.masked_fill(equal, 0.0) / spread",
            "return centred.masked_fill(equal, 0.0)",
        ),
        "k1 has the other sign": (
            "return -difference, difference.exp()",
            "return difference, difference.exp()",
        ),
        "k3 of the ratio turned round": ("difference.exp() - 1 - difference", "(-difference).exp() - 1 + difference"),
        "the larger product": ("return torch.minimum(", "return torch.maximum("),
        "the best policy forgets the base": ("return (base_log_probs + rewards", "return (rewards"),
        "no beta": ("F.logsigmoid(beta * margin)", "F.logsigmoid(margin)"),
        "the mean of an answer's tokens": ("* samples.counted).sum(1)", "* samples.counted).mean(1)"),
    },
}
