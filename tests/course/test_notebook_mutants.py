"""Break one line of the package: the notebook that teaches it turns red, in an assert, before its ladder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from mutants_05_to_07 import MUTANTS as OF_05_TO_07
from mutants_08_to_12 import MUTANTS as OF_08_TO_12
from mutants_13_to_14 import MUTANTS as OF_13_TO_14

ROOT = Path(__file__).parents[2]
MUTANTS = {  # notebook and module -> what is broken: the part of a line, and what stands there instead
    ("01_tokenization", "text/bpe"): {
        "a word counts once": ("self.counts[pair] += self.frequencies[index]", "self.counts[pair] += 1"),
        "the first of equally frequent pairs": ("[_descending(token) for", '[token.decode("latin-1") for'),
        "overlapping pairs": ("            index += 2", "            index += 1"),
        "a space ends a word": (r" ?\p{L}++|", r"\p{L}++ ?|"),
    },
    ("01_tokenization", "text/subword_tokenizer"): {
        "shorter tokens rank first": ("zip(self.tokens, free,", "zip(sorted(self.tokens, key=len), free,"),
        "bytes are decoded as ASCII": ('decode("utf-8", errors="replace")', 'decode("ascii", errors="replace")'),
    },
    ("02_data", "text/batches"): {
        "targets not shifted": ("blocks[:, :-1], blocks[:, 1:]", "blocks[:, :-1], blocks[:, :-1]"),
        "targets shifted backwards": ("blocks[:, :-1], blocks[:, 1:]", "blocks[:, 1:], blocks[:, :-1]"),
    },
    ("02_data", "text/tokenized"): {
        "documents from the last to the first": ("encode_documents(texts)", "encode_documents(texts[::-1])"),
    },
    ("02_data", "model/loss"): {
        "the sum of the losses": ('reduction="sum") / counted(targets)\n    if', 'reduction="sum")\n    if'),
        "a loss in bits": ("return F.cross_entropy(", "return 1.4427 * F.cross_entropy("),
    },
    ("02_data", "text/articles"): {
        "recalled facts cost": ("sum(span.nats for", "sum(span.nats + span.forgotten for"),
    },
    ("03_attention", "model/attention"): {
        "no mask": ("is_causal=causal", "is_causal=False"),
        "no scale": ("is_causal=causal,", "is_causal=causal, scale=1.0,"),
        "heads cut without a transpose": ("return q.transpose(1, 2), k", "return q.reshape(B, -1, T, q.shape[3]), k"),
        "heads merged without a transpose": ("y.transpose(1, 2).reshape(B, T, C)", "y.reshape(B, T, C)"),
        "keys and values swapped": ("q, k, v = self.qkv(x)", "q, v, k = self.qkv(x)"),
    },
    ("04_transformer_block", "model/norm"): {
        "another eps": ("NORM_EPS = 1e-5", "NORM_EPS = 1e-6"),
    },
    ("04_transformer_block", "model/feedforward"): {
        "GELU's tanh form": ('"gelu": nn.GELU()', '"gelu": nn.GELU("tanh")'),
    },
    ("04_transformer_block", "model/gpt"): {
        "attention reads the stream": ("self.attention(self.attention_norm(x), cache)", "self.attention(x, cache)"),
        "one norm twice": ("self.feedforward(self.feedforward_norm(x))", "self.feedforward(self.attention_norm(x))"),
        "a residual is missing": ("x = x + self.dropout(self.feedforward", "x = self.dropout(self.feedforward"),
        "no dropout": ("x + self.dropout(self.feedforward(", "x + (self.feedforward("),
        "dropout does not rescale": (
            "x + self.dropout(self.feedforward(",
            "x + (1 - self.dropout.p * self.training) * self.dropout(self.feedforward(",
        ),
    },
    ("A2_backpropagation", "model/attention"): {
        "no mask": ("is_causal=causal", "is_causal=False"),
        "no scale": ("is_causal=causal,", "is_causal=causal, scale=1.0,"),
    },
    ("A2_backpropagation", "model/loss"): {
        "nothing is taken from the right token": ("scatter_add_(1, targets, -torch.ones_like(counts))", "clone()"),
        "the gradient of a sum": ("scale = grad_loss / count", "scale = grad_loss"),
    },
}
MUTANTS |= OF_05_TO_07 | OF_08_TO_12 | OF_13_TO_14
ALL = [(*place, broken) for place, lines in MUTANTS.items() for broken in lines]


def script_of(notebook: str) -> str:
    """The notebook's code up to its ladder, or else its summary."""
    code = []
    for cell in nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells:
        if "## The ladder" in cell.source or "## Summary" in cell.source:
            break
        if cell.cell_type == "code" and "bootstrap" not in cell.metadata.get("tags", ()):
            code.append(cell.source)
    return "\n\n".join(code)


@pytest.mark.parametrize(("notebook", "module", "broken"), ALL)
def test_what_is_broken_is_one_line_of_the_package(notebook, module, broken):
    line, instead = MUTANTS[notebook, module][broken]
    source = (ROOT / "tinyllm" / f"{module}.py").read_text(encoding="utf-8")
    assert source.count(line) == 1
    compile(source.replace(line, instead, 1), module, "exec")


@pytest.mark.slow
@pytest.mark.parametrize(("notebook", "module", "broken"), ALL)
def test_a_notebook_turns_red_when_what_it_teaches_is_broken(notebook, module, broken, tmp_path):
    line, instead = MUTANTS[notebook, module][broken]
    shutil.copytree(ROOT / "tinyllm", tmp_path / "tinyllm", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "figures").symlink_to(ROOT / "figures")
    path = tmp_path / "tinyllm" / f"{module}.py"
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace(line, instead, 1), encoding="utf-8")
    script = tmp_path / "notebook.py"
    script.write_text(script_of(notebook), encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])  # the broken package comes first
    variables = os.environ | {"PYTHONPATH": paths, "TINYLLM_HOME": str(tmp_path / "home"), "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode != 0, "the notebook does not notice"
    assert "AssertionError" in done.stderr, done.stderr[-800:]
