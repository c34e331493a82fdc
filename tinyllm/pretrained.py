"""Models that are ready for use: what can be done with any model and its tokenizer, and how to load one of any kind."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

from tinyllm.config import GenerationConfig, Precision
from tinyllm.evaluation import Evaluation, evaluate
from tinyllm.generation.answering import stream_answer
from tinyllm.generation.writing import generate_text, stream_text
from tinyllm.model.gpt import GPT
from tinyllm.system.device import pick_device
from tinyllm.system.precision import pick_precision
from tinyllm.text.dialogues import Dialogue
from tinyllm.text.sources import load_corpus
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.text.turns import Turns
from tinyllm.training.adapter import apply_adapter
from tinyllm.training.initial_weights import read_weights


class TrainedModel:
    """A model with its tokenizer: it writes, and it is scored."""

    model: GPT
    tokenizer: Tokenizer

    def generate(self, prompt: str = "", **settings: Any) -> str:
        """Continue `prompt`; settings are `GenerationConfig`'s fields."""
        return generate_text(self.model, self.tokenizer, prompt, GenerationConfig(**settings))

    def stream(self, prompt: str = "", **settings: Any) -> Iterator[str]:
        """What `generate` adds to the prompt, piece by piece as it is drawn."""
        return stream_text(self.model, self.tokenizer, prompt, GenerationConfig(**settings))

    @property
    def answers(self) -> bool:
        """Whether it has learned from dialogues."""
        return Turns.of(self.tokenizer) is not None

    def answer(self, question: str | Sequence[Mapping[str, str]], **settings: Any) -> str:
        """Answer a question, or the last of several messages with a role and content; settings as in `generate`.

        Raises ValueError for a model that has not learned from dialogues.
        """
        return "".join(self.stream_answer(question, **settings))

    def stream_answer(self, question: str | Sequence[Mapping[str, str]], **settings: Any) -> Iterator[str]:
        """What `answer` returns, piece by piece as it is drawn."""
        if not isinstance(question, Dialogue):  # a string as well: its template, filled in
            question = Dialogue([{"role": "user", "content": question}] if isinstance(question, str) else question)
        return stream_answer(self.model, self.tokenizer, question.messages, GenerationConfig(**settings))

    def evaluate(
        self,
        split: str = "validation",
        data: str | None = None,
        precision: Precision = "float32",
        text_field: str | None = None,
    ) -> Evaluation:
        """Score a text: a corpus by name, of which `split` is scored, or a file, all of which is.

        Of a table, the column `text_field` is scored, by default "text".

        Text of known entropy gives a `FloorEvaluation`. Products are exact float32; with `precision` "auto" they are
        what training uses by default, faster on a GPU. Raises ValueError for an unknown split, or without a text.
        """
        if data is None:
            raise ValueError("this model comes without a text: name one with data= (--data)")
        dtype = pick_precision(self.model.device, precision)
        corpus = load_corpus(data, text_field or "text")
        if len(corpus.splits) == 1:
            split = next(iter(corpus.splits))
        return evaluate(self.model, self.tokenizer, corpus, split, precision=dtype)


@dataclass(frozen=True)
class Pretrained(TrainedModel):
    """A model of any origin, without the history of its training: `load_pretrained` returns one."""

    model: GPT
    tokenizer: Tokenizer


def load_pretrained(
    source: str | PathLike[str], device: str = "auto", adapter: str | PathLike[str] | None = None
) -> Pretrained:
    """Load a model of any kind that `train(..., init_from=source)` starts from, with its tokenizer.

    `source` is a run folder, a checkpoint, a .safetensors file with tokenizer.json beside it, a folder in Hugging
    Face's layout (GPT-2 or Llama), or a name on the Hub ("gpt2"). Nothing in it can run code.

    With `adapter`, a file of `Run.save_adapter`, what LoRA learned on top of this model is merged into it.

    Raises FileNotFoundError if there is no such thing, ConnectionError if the Hub cannot be reached, ValueError for
    what cannot be used.
    """
    chosen = pick_device(device)
    model, tokenizer = read_weights(fspath(source))
    if adapter is not None:
        model, tokenizer = apply_adapter(model, tokenizer, fspath(adapter))
    return Pretrained(model.to(chosen).eval(), tokenizer)
