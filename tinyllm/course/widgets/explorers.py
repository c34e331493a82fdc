"""Explorers: the learner's own text, some sliders, and a picture that follows them."""

import dataclasses
import itertools
from typing import Any

import ipywidgets
import tiktoken
import torch

from tinyllm.config import GenerationConfig
from tinyllm.course.interpretability import attention_weights
from tinyllm.course.widgets.live import Live, alert, as_html, status
from tinyllm.generation.sampling import filter_logits
from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.plots import Picture, heatmap, next_token_bars, token_rows, visible
from tinyllm.run import Run
from tinyllm.text.bpe import PATTERN
from tinyllm.text.subword_tokenizer import SubWordTokenizer

_MOST_CHARACTERS = 120  # of a sentence that is cut into tokens
_MOST_TOKENS = 24  # whose names can still be read beside a map of attention


class Explorer(Live):
    """A text of the learner's own, sliders, and a picture that follows them.

    A subclass sets its controls and then says what to draw.
    """

    def __init__(self, text: ipywidgets.Text, *sliders: ipywidgets.Widget):
        self.note = ipywidgets.HTML()
        """Below the text: how to make it count, and what of it does not."""
        self.middle = ipywidgets.VBox()
        """Between the controls and the picture."""
        self._view = ipywidgets.HTML()
        for control in (text, *sliders):
            control.style.description_width = "9em"
            control.layout.width, control.layout.max_width = "auto", "36em"
            control.observe(self._follow, "value")
        text.layout.max_width = None  # a sentence must not be cut
        first = self.draw()
        super().__init__(first, text, self.note, *sliders, self.middle, self._view)
        self._show(as_html(first), self.left_out())

    def draw(self) -> Picture:
        """The picture for the controls' current values."""
        raise NotImplementedError

    def left_out(self) -> str:
        """What of the text the picture does not show, in a sentence; "" if it shows all."""
        raise NotImplementedError

    def _follow(self, _change: Any = None) -> None:
        try:
            self._show(as_html(self.draw()), self.left_out())
        except ValueError as error:  # such as a letter that a character vocabulary lacks
            self._show(alert(error))

    def _show(self, view: str, left_out: str = "") -> None:
        self._view.value = view
        hint = f"Press Enter after a change. {left_out}"
        self.note.value = status(hint, "margin: 0 0 0 calc(9em + 8px)")


class TokenExplorer(Explorer):
    """Your sentence as characters, as byte pairs of a vocabulary you learned, and as GPT-2's tokens.

    Args:
        tokenizer: the learned vocabulary; a slider sets how many of its merges are used.
        text: the sentence to begin with; its first 120 characters are used.
        gpt2: GPT-2's vocabulary, for a third row; no such row by default.
    """

    def __init__(self, tokenizer: SubWordTokenizer, text: str, gpt2: SubWordTokenizer | None = None):
        self._tokens, self._gpt2 = tokenizer.tokens, gpt2
        merges = len(self._tokens) - 256
        self.text = ipywidgets.Text(text, description="Your sentence", continuous_update=False)
        self.merges = ipywidgets.IntSlider(merges, 0, merges, description="Merges")
        self.below = ipywidgets.Dropdown(options=["ids", "bytes"], description="Below a token")
        super().__init__(self.text, self.merges, self.below)

    def draw(self) -> Picture:
        text, merges = self.text.value[:_MOST_CHARACTERS], self.merges.value
        ranks = {token: rank for rank, token in enumerate(self._tokens[: 256 + merges])}
        learned = tiktoken.Encoding("learned", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
        characters = sorted(set(text))
        rows = {
            "characters": [(character.encode(), characters.index(character)) for character in text],
            f"byte pairs, {merges} merges": [
                (learned.decode_single_token_bytes(token), token) for token in learned.encode_ordinary(text)
            ],
        }
        if self._gpt2 is not None:
            rows["GPT-2"] = [(self._gpt2.tokens[token], token) for token in self._gpt2.encode(text)]
        return token_rows(rows, show_bytes=self.below.value == "bytes")

    def left_out(self) -> str:
        cut = len(self.text.value) > _MOST_CHARACTERS
        return f"Only the first {_MOST_CHARACTERS} characters are used." if cut else ""


class AttentionViewer(Explorer):
    """What the tokens of your sentence attend to, in any layer and head (both from 1) of your own model.

    The first 24 tokens are shown; no token sees what comes after it, so the rest would change nothing in them.
    """

    def __init__(self, run: Run, text: str, layer: int = 1, head: int = 1):
        self._run = run
        config = run.model.config
        self.text = ipywidgets.Text(text, description="Your sentence", continuous_update=False)
        self.layer = ipywidgets.IntSlider(layer, 1, config.num_layers, description="Layer")
        self.head = ipywidgets.IntSlider(head, 1, config.num_heads, description="Head")
        super().__init__(self.text, self.layer, self.head)

    def draw(self) -> Picture:
        tokenizer, layer, head = self._run.tokenizer, self.layer.value, self.head.value
        ids = self._ids()[: self._most()]
        names = [visible(tokenizer.decode([token]).encode()) for token in ids]
        weights = attention_weights(self._run.model, torch.tensor(ids))[layer - 1, head - 1]
        title = f"Layer {layer}, head {head}: where each token looks."
        shown = weights.masked_fill(torch.ones_like(weights, dtype=torch.bool).triu(1), torch.nan)
        picture = heatmap(shown, title, names, names, "this token looks ...", "... at this one", "weight")
        picture.axes[0].tick_params(axis="x", rotation=90)
        mostly = [f"{names[row]} at {names[column]}" for row, column in enumerate(weights.argmax(1).tolist())]
        picture.alt = f"Heat map. {title} Mostly: {'; '.join(mostly)}."
        return picture

    def left_out(self) -> str:
        tokens, most = len(self._ids()), self._most()
        return f"Only the first {most} of {tokens:,} tokens are shown." if tokens > most else ""

    def _ids(self) -> list[int]:
        return _ids(self._run, self.text.value)

    def _most(self) -> int:
        return min(_MOST_TOKENS, self._run.model.config.context_length)


class SamplingPlayground(Explorer):
    """The next token's probabilities under temperature, top-k and top-p; a button lets the model continue.

    Args:
        run: whose model and tokenizer to use.
        prompt: the text to begin with.
        tokens: the most tokens that the button writes.
    """

    def __init__(self, run: Run, prompt: str = "", tokens: int = 60):
        self._run, self._tokens = run, tokens
        self.prompt = ipywidgets.Text(prompt, description="Prompt", continuous_update=False)
        self.temperature = ipywidgets.FloatSlider(1.0, min=0.1, max=2.0, step=0.1, description="Temperature")
        self.top_k = ipywidgets.IntSlider(50, 1, 50, description="Top-k (50: all)")
        self.top_p = ipywidgets.FloatSlider(1.0, min=0.05, max=1.0, step=0.05, description="Top-p")
        super().__init__(self.prompt, self.temperature, self.top_k, self.top_p)
        self.sample = ipywidgets.Button(description="Sample")
        self.written = ipywidgets.HTML()
        self.sample.on_click(self._write)
        self.middle.children = [self.sample, self.written]  # below the picture it would be below the screen

    def draw(self) -> Picture:
        model, tokenizer = self._run.model, self._run.tokenizer
        ids = _ids(self._run, self.prompt.value)[-model.config.context_length :]
        with torch.no_grad(), evaluation_mode(model):
            logits = model(torch.tensor([ids], device=model.device))[:, -1].cpu()  # (1, V)
        as_trained, now = logits[0].softmax(0), filter_logits(logits, self._settings())[0].softmax(0)
        likeliest = as_trained.topk(min(20, len(as_trained))).indices.tolist()
        names = [visible(tokenizer.decode([token]).encode()) for token in likeliest]
        return next_token_bars(names, as_trained[likeliest].tolist(), now[likeliest].tolist())

    def left_out(self) -> str:
        context = self._run.model.config.context_length
        cut = len(_ids(self._run, self.prompt.value)) > context
        return f"The model sees the last {context} tokens only." if cut else ""

    def _settings(self) -> GenerationConfig:
        return GenerationConfig(
            temperature=self.temperature.value,
            top_k=self.top_k.value if self.top_k.value < self.top_k.max else None,
            top_p=self.top_p.value,
            maximum_length=self._tokens,
        )

    def _write(self, _button: Any) -> None:
        """Show the text as it is drawn; Jupyter's stop button ends it."""
        style = "white-space: pre-wrap; word-break: normal; font-family: monospace"
        text = self.prompt.value
        self.sample.disabled = True
        try:
            pieces = self._run.stream(text, **dataclasses.asdict(self._settings()))
            for piece in itertools.chain([""], pieces):
                text += piece
                self.written.value = status(text, style)
        except ValueError as error:  # such as a letter that a character vocabulary lacks
            self.written.value = alert(error)
        except KeyboardInterrupt:
            pass
        finally:
            self.sample.disabled = False


def _ids(run: Run, text: str) -> list[int]:
    """A document that begins with `text`, as the model reads it."""
    return [run.tokenizer.end_of_text_id, *run.tokenizer.encode(text)]
