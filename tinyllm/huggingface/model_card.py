"""The model card: the README.md that goes with a model, with the numbers of its training."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from tinyllm.config import ModelConfig


@dataclass(frozen=True)
class Facts:
    """What is known of a model's training."""

    parameters: int
    data: str
    """The text: a corpus's name, or a path, of which the card gives the last part only."""
    iterations: int
    """Optimizer steps."""
    tokens: int
    """Tokens seen in training, repetitions included."""
    held_out_loss: float | None
    """Nats per token at this iteration, if it was measured."""
    init_from: str | None
    """The weights it started from."""
    answers: bool
    """Whether what was held out are dialogues, whose loss is that of the answers."""


def model_card(name: str, config: ModelConfig, facts: Facts) -> str:
    """The card, in Markdown. It names no licence: that is for the author to choose."""
    rows = {
        "parameters": f"{facts.parameters:,}",
        "trained on": _plain(facts.data),
        "started from": "random weights" if facts.init_from is None else _plain(facts.init_from),
        "optimizer steps": f"{facts.iterations:,}",
        "tokens seen": f"{facts.tokens:,}",
        "vocabulary": f"{config.vocab_size:,} tokens, byte-level BPE",
        "context": f"{config.context_length:,} tokens",
    }
    if facts.held_out_loss is not None:
        of = " of answers" if facts.answers else ""
        rows[f"held-out loss{of}"] = f"{facts.held_out_loss:.4f} nats per token"
        rows[f"perplexity per token{of}"] = f"{math.exp(min(facts.held_out_loss, 700)):.4g}"
    table = "\n".join(f"| {what} | {value} |" for what, value in rows.items())
    return _CARD.format(title=_plain(name), folder=json.dumps(name), table=table)


def _plain(text: str) -> str:
    """A name as text within a table: of a path that is on this machine, or absolute, only the last part."""
    path = Path(text).expanduser()
    shown = path.name if path.is_absolute() or path.exists() else text
    shown = shown.encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() and character not in "|`<>[]" else "?" for character in shown)


_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags:
- tinyllm
---

# {title}

A small language model, trained with tinyllm.

| | |
| --- | --- |
{table}

The author has yet to choose a licence: name it as `license:` between the lines at the top.

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({folder})
model = AutoModelForCausalLM.from_pretrained({folder})
inputs = tokenizer("Once", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=50)[0], skip_special_tokens=True))
```

In training `<|endoftext|>` precedes each document. So the tokenizer puts it before a text, unless it is called with
`add_special_tokens=False`.
"""
