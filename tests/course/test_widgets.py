"""The widgets without a browser: controls are set as a learner would, and the picture and its alt text must follow."""

import base64
import dataclasses
import html
import math
import re
import time

import ipywidgets
import pytest
import torch

import tinyllm
from tinyllm import SubWordTokenizer
from tinyllm.course.interpretability import attention_weights
from tinyllm.course.widgets import AttentionViewer, SamplingPlayground, TokenExplorer, TrainingDashboard
from tinyllm.text import tinywiki

SETTINGS = {"embedding_dim": 32, "num_layers": 2, "num_heads": 2, "feedforward_dim": 64, "batch_size": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("widgets") / "run"
    return tinyllm.train("quickstart", max_iterations=30, run_folder=str(folder), progress=False, **SETTINGS)


@pytest.fixture(scope="module")
def tokenizer():
    return SubWordTokenizer.train([article.text for article in tinywiki.articles("train")[:100]], vocab_size=357)


def picture(widget) -> bytes:
    return base64.b64decode(re.search(r'base64,([^"]+)"', widget._view.value)[1])


def words(widget) -> str:
    return html.unescape(re.search(r'alt="([^"]*)"', widget._view.value)[1])


def every(widget: ipywidgets.Widget) -> list[ipywidgets.Widget]:
    return [widget, *(one for child in getattr(widget, "children", ()) for one in every(child))]


@pytest.fixture
def widgets(run, tokenizer, tmp_path):
    return {
        "tokens": TokenExplorer(tokenizer, "The low river."),
        "attention": AttentionViewer(run, " = Agatha Otterford ="),
        "sampling": SamplingPlayground(run, " = Agatha"),
        "training": TrainingDashboard("quickstart", run_folder=str(tmp_path / "run"), lines={"uniform guess": 6.93}),
    }


@pytest.mark.parametrize("name", ["tokens", "attention", "sampling", "training"])
def test_each_has_a_live_view_a_still_picture_and_words(widgets, name):
    data, metadata = widgets[name]._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widgets[name].box.model_id
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == metadata["image/png"]["alt"] == words(widgets[name])
    assert len(data["text/plain"]) > 30


@pytest.mark.parametrize("name", ["tokens", "attention", "sampling", "training"])
def test_every_control_has_a_label(widgets, name):
    controls = [one for one in every(widgets[name].box) if isinstance(one, ipywidgets.ValueWidget | ipywidgets.Button)]
    controls = [one for one in controls if not isinstance(one, ipywidgets.HTML)]
    assert len(controls) >= 2
    assert all(one.description for one in controls)


def test_only_core_controls_are_used(widgets):
    for widget in widgets.values():
        for one in every(widget.box):
            assert type(one).__module__.startswith("ipywidgets.")
            assert not isinstance(one, ipywidgets.Output)


def test_tokens_follow_the_sentence_and_the_merges(tokenizer):
    explorer = TokenExplorer(tokenizer, "The low river.")
    assert words(explorer).count("[") == 14 + len(tokenizer.encode("The low river."))
    before = picture(explorer)
    explorer.merges.value = 0
    assert "byte pairs, 0 merges: [T] [h] [e] [·] [l] [o] [w]" in words(explorer)
    assert picture(explorer) != before
    explorer.text.value = "é🙂"
    assert "characters: [é] [f0 9f 99 82]. byte pairs, 0 merges: [c3] [a9] [f0] [9f] [99] [82]." in words(explorer)
    before = picture(explorer)
    explorer.below.value = "bytes"
    assert picture(explorer) != before


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "x" * 5000, "\ufffd", "语 \u200b \x00", "<|endoftext|>", "&<b>\"'", "$ $x_1$ $$"]
)
def test_any_sentence_can_be_looked_at(widgets, text):
    for name in ("tokens", "attention"):
        widgets[name].text.value = text
        assert "<img" in widgets[name]._view.value or 'role="alert"' in widgets[name]._view.value
    widgets["sampling"].prompt.value = text
    assert "<img" in widgets["sampling"]._view.value or 'role="alert"' in widgets["sampling"]._view.value


def test_gpt2s_tokens_are_the_third_row(tokenizer, gpt2_tokenizer):
    explorer = TokenExplorer(tokenizer, "The unlikeliest river.", gpt2_tokenizer)
    assert "GPT-2: [The] [·unlike] [liest] [·river] [.]" in words(explorer)


def test_the_attention_shown_is_that_of_the_layer_and_head(run, widgets):
    viewer = widgets["attention"]
    ids = [run.tokenizer.end_of_text_id, *run.tokenizer.encode(" = Agatha Otterford =")]
    weights = attention_weights(run.model, torch.tensor(ids))
    for layer, head in ((1, 1), (2, 1), (2, 2)):
        viewer.layer.value, viewer.head.value = layer, head
        shown = [text.get_text() for text in viewer.draw().axes[0].texts if text.get_text()]
        rows, columns = torch.tril_indices(len(ids), len(ids))
        assert shown == [f"{value:.2f}" for value in weights[layer - 1, head - 1][rows, columns].tolist()]
        assert f"Layer {layer}, head {head}" in words(viewer)


def test_of_a_text_longer_than_the_context_the_end_is_seen(run):
    length = run.config.model.context_length
    assert length < 240
    assert len(run.tokenizer.encode("ÿ" * 120)) == 240
    viewer = AttentionViewer(run, "ÿ" * 120)
    assert len(viewer.draw().axes[0].get_yticklabels()) == length
    prompt = "a long story . " * 200
    playground = SamplingPlayground(run, prompt)
    ids = run.tokenizer.encode(prompt)[-length:]
    with torch.no_grad():
        wanted = run.model.eval()(torch.tensor([ids]))[0, -1].softmax(0).topk(20).values
    shown = [bar.get_width() for bar in playground.draw().axes[0].patches[:20]]
    torch.testing.assert_close(torch.tensor(shown), wanted.double())
    playground.sample.click()
    assert html.unescape(playground.written.value).count("a long story . ") >= 200


def test_the_bars_follow_the_sliders(run, widgets):
    playground = widgets["sampling"]
    ids = [run.tokenizer.end_of_text_id, *run.tokenizer.encode(" = Agatha")]
    with torch.no_grad():
        logits = run.model.eval()(torch.tensor([ids]))[0, -1]
    assert "20 of these 20" in words(playground)
    playground.top_k.value = 3
    assert "3 of these 20" in words(playground)
    playground.top_k.value = 50
    playground.temperature.value = 0.5
    wanted = (logits / 0.5).softmax(0).topk(20).values
    bars = playground.draw().axes[0].patches[:20]
    torch.testing.assert_close(torch.tensor([bar.get_width() for bar in bars]), wanted.double())
    playground.top_p.value = 0.05
    assert words(playground).count(" cut") >= 1


def test_the_button_lets_the_model_write(widgets):
    playground = widgets["sampling"]
    playground.temperature.value = 0.1
    playground.sample.click()
    text = html.unescape(re.search(r"<p [^>]*>(.*)</p>", playground.written.value, re.DOTALL)[1])
    assert text.startswith(" = Agatha")
    assert len(text) > 20


def test_a_prompt_that_cannot_be_encoded_gets_one_line(run, tiny_config):
    tokenizer = tinyllm.CharacterTokenizer.train("abc")
    model = tinyllm.GPT(dataclasses.replace(tiny_config, vocab_size=tokenizer.vocab_size))
    playground = SamplingPlayground(dataclasses.replace(run, model=model, tokenizer=tokenizer), "abc")
    playground.prompt.value = "xyz"
    playground.sample.click()
    for view in (playground._view, playground.written):
        assert re.fullmatch(r'<p role="alert">[^<]*character[^<]*</p>', view.value)


def dashboard(folder, **settings):
    return TrainingDashboard(
        "quickstart", run_folder=str(folder), lines={"uniform guess": math.log(1024)}, **SETTINGS | settings
    )


def test_a_training_is_watched_to_its_end(tmp_path):
    watched = dashboard(tmp_path / "run", max_iterations=20)
    empty = picture(watched)
    assert "not started" in watched.status.value
    watched.start.click()
    assert watched.start.disabled and not watched.stop.disabled
    watched.wait()
    assert "finished, at iteration 20 of 20" in watched.status.value
    assert watched.run.finished
    assert picture(watched) != empty
    assert watched.stop.disabled and not watched.start.disabled
    assert len([point for point in watched._points if "training_loss" in point]) == 20


def test_the_stop_button_saves_and_start_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("tinyllm.course.widgets._REDRAW_SECONDS", 0)
    watched = dashboard(tmp_path / "run", max_iterations=300)
    watched.start.click()
    deadline = time.monotonic() + 60
    while "iteration" not in watched.status.value and time.monotonic() < deadline:
        time.sleep(0.05)
    assert re.search(r"iteration \d+ of 300, [\d,]+ tokens/s, about \d+ seconds left", watched.status.value)
    watched.stop.click()
    watched.wait()
    assert "stopped and saved; Start goes on from there" in watched.status.value
    stopped = watched.run.iteration
    assert 0 < stopped < 300
    assert tinyllm.load_run(tmp_path / "run", "latest").iteration == stopped
    again = dashboard(tmp_path / "run", max_iterations=300)
    assert len(again._points) >= stopped  # what was there is drawn before anything starts
    again.start.click()
    while "iteration" not in again.status.value and time.monotonic() < deadline:
        time.sleep(0.05)
    again.stop.click()
    again.wait()
    assert again.run.iteration > stopped


def test_an_error_is_shown_where_the_learner_looks(tmp_path):
    missing = dashboard(tmp_path / "run", max_iterations=1, data=str(tmp_path / "missing.txt"))
    missing.start.click()
    missing.wait()
    assert "missing.txt" in missing.status.value
    assert not missing.start.disabled and missing.stop.disabled


def test_drawing_leaves_the_model_in_its_mode(run):
    for training in (True, False):
        run.model.train(training)
        SamplingPlayground(run, " = Agatha")
        AttentionViewer(run, " = Agatha")
        assert all(module.training == training for module in run.model.modules())
