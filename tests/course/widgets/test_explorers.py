"""The explorers without a browser: controls are set as a learner would, and picture and words must follow."""

import dataclasses
import html
import re
from itertools import pairwise, product

import torch
from widgets_seen import picture, text_of, words

import tinyllm
from tinyllm.course.interpretability import attention_weights
from tinyllm.course.widgets import AttentionViewer, SamplingPlayground, TokenExplorer


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


ODD = ("", " ", "\n\n", "x" * 5000, "\ufffd", "语 \u200b \x00", "<|endoftext|>", "&<b>\"'", "$ $x_1$ $$")


def test_any_sentence_can_be_looked_at(widgets):
    fields = {"tokens": "text", "attention": "text", "sampling": "prompt"}
    for text, (name, field) in product(ODD, fields.items()):
        getattr(widgets[name], field).value = text
        assert "<img" in widgets[name]._view.value or 'role="alert"' in widgets[name]._view.value, (text, name)


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


def test_of_a_prompt_longer_than_the_context_the_end_is_seen_and_it_is_said(run):
    length = run.config.model.context_length
    prompt = "a long story . " * 200
    playground = SamplingPlayground(run, prompt)
    ids = run.tokenizer.encode(prompt)[-length:]
    with torch.no_grad():
        wanted = run.model.eval()(torch.tensor([ids]))[0, -1].softmax(0).topk(20).values
    shown = [bar.get_width() for bar in playground.draw().axes[0].patches[:20]]
    torch.testing.assert_close(torch.tensor(shown), wanted.double())
    assert f"The model sees the last {length} tokens only." in text_of(playground.note)
    playground.sample.click()
    assert html.unescape(playground.written.value).count("a long story . ") >= 200
    playground.prompt.value = "a story"
    assert "only" not in text_of(playground.note)


def test_of_a_long_sentence_the_map_shows_the_first_tokens_and_says_so(run, widgets):
    viewer = widgets["attention"]
    assert text_of(viewer.note) == "Press Enter after a change. "
    text = "The low river . " * 20
    ids = [run.tokenizer.end_of_text_id, *run.tokenizer.encode(text)]
    viewer.text.value = text
    assert text_of(viewer.note) == f"Press Enter after a change. Only the first 24 of {len(ids)} tokens are shown."
    axes = viewer.draw().axes[0]
    assert len(axes.get_yticklabels()) == len(axes.get_xticklabels()) == 24
    whole = attention_weights(run.model, torch.tensor(ids[: run.config.model.context_length]))[0, 0, :24, :24]
    rows, columns = torch.tril_indices(24, 24)
    torch.testing.assert_close(
        torch.tensor(axes.images[0].get_array().data)[rows, columns].float(), whole[rows, columns]
    )


def test_of_a_long_sentence_the_first_characters_are_cut_into_tokens_and_it_is_said(widgets):
    explorer = widgets["tokens"]
    explorer.text.value = "x" * 120
    assert text_of(explorer.note) == "Press Enter after a change. "
    explorer.text.value = "x" * 121
    assert text_of(explorer.note) == "Press Enter after a change. Only the first 120 characters are used."
    assert words(explorer).partition("byte pairs")[0].count("[x]") == 120


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


def test_the_text_is_shown_as_it_is_written_above_the_picture(widgets):
    playground = widgets["sampling"]
    seen = []
    playground.written.observe(
        lambda _: seen.append((text_of(playground.written), playground.sample.disabled)), "value"
    )
    playground.sample.click()
    texts = [text for text, _ in seen]
    assert texts[0] == " = Agatha"
    assert len(set(texts)) > 10
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert all(disabled for _, disabled in seen)  # a second click would wait in line
    assert not playground.sample.disabled
    children = playground.box.children
    assert children.index(playground.middle) < children.index(playground._view)
    assert playground.written in playground.middle.children


def test_jupyters_stop_button_ends_the_writing_and_keeps_the_text(widgets):
    playground = widgets["sampling"]

    def stop(_):
        if len(text_of(playground.written)) > 20:
            raise KeyboardInterrupt

    playground.written.observe(stop, "value")
    torch.manual_seed(0)  # of a draw that does not end by itself
    playground.sample.click()
    assert 20 < len(text_of(playground.written)) < 60
    assert not playground.sample.disabled


def test_a_prompt_that_cannot_be_encoded_gets_one_line(run, tiny_config):
    tokenizer = tinyllm.CharacterTokenizer.train("abc")
    model = tinyllm.GPT(dataclasses.replace(tiny_config, vocab_size=tokenizer.vocab_size))
    playground = SamplingPlayground(dataclasses.replace(run, model=model, tokenizer=tokenizer), "abc")
    playground.prompt.value = "xyz"
    playground.sample.click()
    for view in (playground._view, playground.written):
        assert re.fullmatch(r'<p role="alert">[^<]*character[^<]*</p>', view.value)


def test_drawing_leaves_the_model_in_its_mode(run):
    for training in (True, False):
        run.model.train(training)
        SamplingPlayground(run, " = Agatha")
        AttentionViewer(run, " = Agatha")
        assert all(module.training == training for module in run.model.modules())
