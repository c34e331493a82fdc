"""Controls above pictures, for notebooks: move a slider, and see how your own text and your own model respond.

Only ipywidgets' core controls are used, so that they also work in Colab. Where no widget can be shown (GitHub, a
printed page), the first picture is shown instead.
"""

import dataclasses
import html
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ipywidgets
import tiktoken
import torch

from tinyllm.config import GenerationConfig, RunConfig
from tinyllm.course.interpretability import attention_weights
from tinyllm.generation.sampling import filter_logits
from tinyllm.model.evaluation_mode import evaluation_mode
from tinyllm.plots import Picture, heatmap, loss_curve, next_token_bars, token_rows, visible
from tinyllm.plots.picture import MimeBundle
from tinyllm.presets import get_preset
from tinyllm.run import Run, train
from tinyllm.text.bpe import PATTERN
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.training.history import read_history

_LONGEST = 120  # characters of a learner's sentence
_REDRAW_SECONDS = 2  # at least; drawing takes time from the training


class Explorer:
    """Some controls, and a picture that follows them. A subclass sets its controls, then says what to draw."""

    def __init__(self, *controls: ipywidgets.Widget):
        self._view = ipywidgets.HTML()
        self.box = ipywidgets.VBox([*controls, self._view])
        for control in controls:
            control.style.description_width = "9em"
            control.layout.width = "36em"
            control.observe(self._follow, "value")
        self._first = self.draw()
        self._view.value = _as_html(self._first)

    def draw(self) -> Picture:
        """The picture for the controls' current values."""
        raise NotImplementedError

    def _follow(self, _change: Any = None) -> None:
        try:
            self._view.value = _as_html(self.draw())
        except ValueError as error:  # such as a letter that a character vocabulary lacks
            self._view.value = _alert(error)

    def _repr_mimebundle_(self, **_: Any) -> MimeBundle:
        return _bundle(self._first, self.box)


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
        text, merges = self.text.value[:_LONGEST], self.merges.value
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


class AttentionViewer(Explorer):
    """What the tokens of your sentence attend to, in any layer and head (both from 1) of your own model.

    Of a sentence longer than the context, the end is shown.
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
        ids = _last_ids(self._run, self.text.value[:_LONGEST])
        names = [visible(tokenizer.decode([token]).encode()) for token in ids]
        weights = attention_weights(self._run.model, torch.tensor(ids))[layer - 1, head - 1]
        title = f"Layer {layer}, head {head}: where each token looks."
        future = torch.ones_like(weights, dtype=torch.bool).triu(1)
        picture = heatmap(
            weights.masked_fill(future, torch.nan), title, names, names, "this token looks ...", "... at this one"
        )
        picture.axes[0].tick_params(axis="x", rotation=90)
        mostly = [f"{names[row]} at {names[column]}" for row, column in enumerate(weights.argmax(1).tolist())]
        picture.alt = f"Heat map. {title} Mostly: {'; '.join(mostly)}."
        return picture


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
        self.box.children = [*self.box.children, self.sample, self.written]

    def draw(self) -> Picture:
        model, tokenizer = self._run.model, self._run.tokenizer
        ids = _last_ids(self._run, self.prompt.value)
        with torch.no_grad(), evaluation_mode(model):
            logits = model(torch.tensor([ids], device=model.device))[:, -1].cpu()  # (1, V)
        as_trained, now = logits[0].softmax(0), filter_logits(logits, self._settings())[0].softmax(0)
        likeliest = as_trained.topk(min(20, len(as_trained))).indices.tolist()
        names = [visible(tokenizer.decode([token]).encode()) for token in likeliest]
        return next_token_bars(names, as_trained[likeliest].tolist(), now[likeliest].tolist())

    def _settings(self) -> GenerationConfig:
        return GenerationConfig(
            temperature=self.temperature.value,
            top_k=self.top_k.value if self.top_k.value < self.top_k.max else None,
            top_p=self.top_p.value,
            maximum_length=self._tokens,
        )

    def _write(self, _button: Any) -> None:
        try:
            text = self._run.generate(self.prompt.value, **dataclasses.asdict(self._settings()))
        except ValueError as error:  # such as a letter that a character vocabulary lacks
            self.written.value = _alert(error)
            return
        style = "white-space: pre-wrap; word-break: normal; font-family: monospace"
        self.written.value = f'<p role="status" style="{style}">{html.escape(text)}</p>'


class TrainingDashboard:
    """Start a training, watch its loss fall from the baselines towards the floor, and stop and save it at any time.

    The training runs in a thread, so that other cells and the buttons work meanwhile. Start resumes what was saved.

    Args:
        config: the name of a preset, or a `RunConfig`.
        lines: horizontal lines to compare with, {label: nats per token}.
        overrides: any field of the configuration, as for `train`.
    """

    def __init__(
        self, config: str | RunConfig = "quickstart", lines: Mapping[str, float] | None = None, **overrides: Any
    ):
        self.config = (get_preset(config) if isinstance(config, str) else config).replace(**overrides)
        self.run: Run | None = None
        """The run so far, once the training has finished or been stopped."""
        self._lines, self._points, self._drawn = lines, read_history(Path(self.config.run_folder)), 0.0
        self._stopping, self._thread = threading.Event(), threading.Thread()
        self.start = ipywidgets.Button(description="Start")
        self.stop = ipywidgets.Button(description="Stop and save", disabled=True)
        self.status = ipywidgets.HTML()
        self._view = ipywidgets.HTML()
        self.start.on_click(self._begin)
        self.stop.on_click(lambda _: self._stopping.set())
        self.box = ipywidgets.VBox([ipywidgets.HBox([self.start, self.stop]), self.status, self._view])
        self._first = self._show("not started")

    def wait(self) -> None:
        """Return when no training is running."""
        if self._thread.is_alive():
            self._thread.join()

    def _begin(self, _button: Any) -> None:
        if self._thread.is_alive():
            return
        self.start.disabled, self.stop.disabled = True, False
        self._stopping.clear()
        self._points = []
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()

    def _train(self) -> None:
        try:
            self.run = train(self.config, on_step=self._follow, progress=False)
            self._points = self.run.history
            done = "finished" if self.run.finished else "stopped and saved; Start goes on from there"
            self._show(f"{done}, at iteration {self.run.iteration:,} of {self.config.training.max_iterations:,}")
        except Exception as error:  # shown in the status: nobody sees what a thread raises
            self._say(f"{type(error).__name__}: {error}")
        finally:
            self.start.disabled, self.stop.disabled = False, True

    def _follow(self, point: dict[str, Any]) -> bool:
        self._points.append(point)
        if time.monotonic() - self._drawn > _REDRAW_SECONDS and "tokens_per_second" in point:
            total, done = self.config.training.max_iterations, point["iteration"] + 1
            left = (total - done) * point["seconds"]
            speed = f"{point['tokens_per_second']:,.0f} tokens/s"
            self._show(f"iteration {done:,} of {total:,}, {speed}, about {left:,.0f} seconds left")
            self._drawn = time.monotonic()
        return self._stopping.is_set()

    def _show(self, status: str) -> Picture:
        self._say(status)
        picture = loss_curve(self._points, self._lines)
        picture.axes[0].set_xlim(0, self.config.training.max_iterations)
        self._view.value = _as_html(picture)
        return picture

    def _say(self, status: str) -> None:
        self.status.value = f'<p role="status">{html.escape(status)}</p>'

    def _repr_mimebundle_(self, **_: Any) -> MimeBundle:
        return _bundle(self._first, self.box)


def _last_ids(run: Run, text: str) -> list[int]:
    """What the model sees of a document that begins with `text`: as many tokens from its end as the context holds."""
    ids = [run.tokenizer.end_of_text_id, *run.tokenizer.encode(text)]
    return ids[-run.model.config.context_length :]


def _alert(error: ValueError) -> str:
    return f'<p role="alert">{html.escape(str(error))}</p>'


def _as_html(picture: Picture) -> str:
    alt, data = html.escape(picture.alt), picture.base64_png()
    return f'<img style="max-width: 100%" alt="{alt}" src="data:image/png;base64,{data}">'


def _bundle(first: Picture, box: ipywidgets.Widget) -> MimeBundle:
    """What a notebook saves: the first picture with its alt text, and the live controls where they can be shown."""
    data, metadata = first._repr_mimebundle_()
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    return data | {"application/vnd.jupyter.widget-view+json": view}, metadata
