"""The pictures that README and the notebooks show are the ones figures/drawing draws today, and say what is true."""
# ruff: noqa: E402 (the folder of the pictures is put on the path before they are imported)

import json
import math
import re
import struct
import sys
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

FOLDER = Path(__file__).parent.parent
FIGURES = FOLDER / "figures"
sys.path.insert(0, str(FIGURES / "drawing"))

import attention_pictures
import draw
import finetuning_pictures
import gradient_pictures
import laptop
import model_pictures
import quickstart
import reference_model
import sampling_pictures
import style
import text_pictures
import training_pictures

from tinyllm import ModelConfig, SubWordTokenizer, TrainingConfig
from tinyllm.course.exercises.ch13_finetuning import learned_targets
from tinyllm.estimation import count_parameters
from tinyllm.model.lora import LoRALinear
from tinyllm.text import tinywiki
from tinyllm.text.articles import LABELS
from tinyllm.text.tinywiki_grammar import FIELDS


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    with matplotlib.rc_context(style.STYLE):
        return draw.pictures()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> dict[str, Path]:
    return {path.name: path for path in draw.draw_all(tmp_path_factory.mktemp("figures"))}


def words(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def row(figure: Figure, y: float) -> list[str]:
    """The texts on a picture's card at one height, from left to right."""
    texts = [text for text in figure.axes[0].texts if abs(text.get_position()[1] - y) < 0.01]
    return [text.get_text() for text in sorted(texts, key=lambda text: text.get_position()[0])]


def shown(values, decimals: int) -> list[str]:
    return [f"{round(float(value), 6) + 0.0:.{decimals}f}".replace("-", "−") for value in values]


# All pictures


def test_every_committed_picture_is_drawn_and_small(drawn):
    assert sorted(path.name for path in FIGURES.glob("*.png")) == sorted(drawn)
    for name in drawn:
        assert (FIGURES / name).stat().st_size < 80_000, name


def test_outside_the_round_corners_of_a_card_is_nothing(drawn):
    """On a dark page a white corner would show."""
    for paths in (drawn.values(), FIGURES.glob("*.png")):
        for path in paths:
            picture = np.asarray(Image.open(path).convert("RGBA"))
            assert picture[[0, 0, -1, -1], [0, -1, 0, -1], 3].tolist() == [0] * 4, path
            assert picture[20:-20, 20:-20, 3].min() == 255, path


def test_committed_pictures_are_the_ones_drawn_now(drawn):
    for name, path in drawn.items():
        # Means over 32 x 32 pixels. Letters that matplotlib 3.9 to 3.11 set differently move most by 9 of 255 at most;
        # a floor drawn at 0.34 for 0.32, losses 3% higher, a block less or another blue move one by 15 or more.
        fresh, committed = (np.asarray(Image.open(p).convert("RGB").reduce(32), float) for p in (path, FIGURES / name))
        assert fresh.shape == committed.shape, name
        assert np.abs(fresh - committed).max() < 12, (
            f"{name} is not what draw.py draws: run python figures/drawing/draw.py"
        )


def test_drawing_twice_gives_the_same_bytes(drawn, tmp_path):
    for path in draw.draw_all(tmp_path):
        assert path.read_bytes() == drawn[path.name].read_bytes()


def test_no_text_is_small_cut_off_or_on_another_text(figures):
    for name, figure in figures.items():
        with matplotlib.rc_context(style.STYLE):
            figure.draw_without_rendering()
        scale = figure.dpi / 72
        texts = [text for axes in figure.axes for text in axes.texts if text.get_text()]
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
        assert min(text.get_fontsize() for text in texts) >= 11, name
        for text, box in boxes:
            inside = box.x0 > 8 * scale and box.x1 < figure.bbox.x1 - 8 * scale
            assert inside and box.y0 > 4 * scale and box.y1 < figure.bbox.y1 - 8 * scale, f"{name}: {text} is cut off"
        for (one, box), (other, other_box) in combinations(boxes, 2):
            width = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
            height = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
            assert min(width, height) < 3 * scale, f"{name}: {one!r} lies on {other!r}"


def test_every_picture_has_alt_text(drawn):
    alt = json.loads((FIGURES / "alt.json").read_text(encoding="utf-8"))
    assert list(alt) == list(drawn)
    for name, text in alt.items():
        assert 60 < len(text) < 500, name
        assert not set('[]"\n') & set(text), f"{name}: these signs end an alt text in Markdown or HTML"
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[([^\]]*)\]\(figures/([^)]*)\)", readme)
    assert pictures
    for text, name in pictures:
        if not name.startswith("widgets/"):  # screenshots, made by tests/browser
            assert " ".join(text.split()) == alt[name], name


# The course


def test_the_map_names_the_chapters_as_readme_does(figures):
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    chapters = re.findall(r"^\| \[?(\d\d|A\d) ([^\]|]+?)\]?(?:\([^)]*\))? \|", readme, re.MULTILINE)
    assert len(chapters) == 17
    assert {f"{number}  {title}" for number, title in chapters} <= set(words(figures["course_map.png"]))


# Tokenization and data


def test_the_merge_tree_joins_the_most_frequent_pair_and_splits_as_tiktoken():
    text = ["hug"] * 5 + ["pug"] * 3 + ["lower"] * 2 + ["newest", "bun", "hugs"]
    found = words(text_pictures.merge_tree(text, 7))
    split = [list(word) for word in text]
    for rank in range(7):
        counts = Counter(pair for pieces in split for pair in pairwise(pieces))
        left, right = max(counts, key=lambda pair: (counts[pair], pair))
        assert found[3 + 4 * rank : 7 + 4 * rank] == [
            str(rank + 1), f"{left} + {right}", f"→  {left + right}", f"{counts[left, right]} times",
        ]  # fmt: skip
        for pieces in split:
            while (left, right) in (pairs := list(pairwise(pieces))):
                index = pairs.index((left, right))
                pieces[index : index + 2] = [left + right]
    for word in ("lower", "newest"):
        tokens = len(SubWordTokenizer.train("\n".join(text), 256 + 1 + 7).encode(word))
        assert any(text.startswith(f"{word}: {tokens} token") for text in found)


def test_a_piece_of_the_merge_tree_is_made_of_its_parts():
    merges = [(b"o", b"w"), (b"l", b"ow"), (b"e", b"r"), (b"low", b"er")]
    (piece,) = text_pictures.build(b"lower", merges)
    assert (piece.token, piece.rank, piece.height) == (b"lower", 4, 3)
    assert [part.token for part in piece.parts] == [b"low", b"er"]
    assert [part.token for part in text_pictures.build(b"slow", merges)] == [b"s", b"low"]


def test_the_block_is_cut_from_the_stream_and_its_targets_are_one_position_on(figures):
    stream = []
    for article in tinywiki.generate(3):
        stream += ["<|endoftext|>", *re.findall(r"\n|\S+", article.text)]
    shown = [word.replace("\n", "\\n") for word in stream]
    figure = figures["shifted_blocks.png"]
    second = [index for index, word in enumerate(stream) if word == "<|endoftext|>"][1]
    first = second - second % 6
    assert row(figure, 187) == shown[first : first + 6]
    assert row(figure, 99) == shown[first + 1 : first + 7]
    places = [text.get_position() for text in figure.axes[0].texts]
    inputs, targets = ({x for x, y in places if y == height} for height in (187, 99))
    assert inputs == targets  # each target is below the token that is asked for it
    assert any(f"{len(stream)} tokens, {(len(stream) - 1) // 6} blocks of 6" in text for text in words(figure))


# Gradients


def test_the_numbers_of_the_graph_are_those_of_the_formula(figures):
    """The derivatives of (w x - y)^2 + w^2, worked out by hand."""
    w, x, y = 0.5, -3.0, 1.25
    e = w * x - y
    graph = gradient_pictures.weight_graph(w, x, y)
    expected = {
        "x": 2 * e * w, "w": 2 * e * x + 2 * w, "y": -2 * e, "p": 2 * e, "e": 2 * e, "s": 1, "r": 1, "loss": 1,
    }  # fmt: skip
    assert {name: node.gradient for name, node in graph.items()} == pytest.approx(expected)
    values = {"x": x, "w": w, "y": y, "p": w * x, "e": e, "s": e * e, "r": w * w, "loss": e * e + w * w}
    assert {name: node.value for name, node in graph.items()} == pytest.approx(values)
    assert graph["p"].slopes == {"w": x, "x": w}
    assert graph["e"].slopes == {"p": 1, "y": -1}
    assert (graph["s"].slopes, graph["r"].slopes) == ({"e": 2 * e}, {"w": 2 * w})
    found = words(figures["backprop_graph.png"])
    assert "w is used twice:  −4 · 2 + 1 · 3 = −5" in found
    for text in ("p = w · x", "× −4", "6.25"):
        assert text in found


# The model


def test_the_attention_row_is_pytorchs_attention(figures):
    q, k, v = attention_pictures.example()
    expected = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0, 3]
    weights = F.scaled_dot_product_attention(q[None], k[None], torch.eye(6)[None], is_causal=True)[0, 3]
    steps = attention_pictures.attend(q, k, v, 3)
    torch.testing.assert_close(steps["mix"], expected)
    torch.testing.assert_close(steps["weights"], weights)
    found = words(figures["attention_row.png"])
    for numbers, decimals in ((q[3], 1), (k.flatten(), 1), (v.flatten(), 1), (weights, 2), (expected, 2)):
        assert not Counter(shown(numbers, decimals)) - Counter(found)
    assert found.count("−∞") == 2
    assert row(figures["attention_row.png"], 328) == shown((k @ q[3]) / 3**0.5, 2)


def test_heads_cut_the_queries_keys_and_values_and_not_the_tokens(figures):
    axes = figures["heads.png"].axes[0]
    for head in range(3):
        centre = 222 + 104 * (1 - head)
        near = [text for text in axes.texts if abs(text.get_position()[1] - centre) < 33]
        taken = [text.get_text() for text in near if 274 < text.get_position()[0] < 306]
        assert taken == [str(6 * t + 2 * head + d) for t in range(4) for d in range(2)]
    assert words(figures["heads.png"]).count("(3, 4, 2)") == 2

    def colours(left: float) -> set[tuple[float, ...]]:
        """Of the cells of the column that begins here, in whatever matrices."""
        cells = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_x() == left]
        return {patch.get_facecolor() for patch in cells}

    tokens, queries = ([colours(first + 16 * index) for index in range(6)] for first in (28, 154))
    assert tokens == [{to_rgba(style.PLAIN)}] * 6
    assert queries == [{to_rgba(pale)} for _, pale in attention_pictures.HEAD_COLOURS for _ in range(2)]


def test_the_head_is_the_embedding_matrix(figures):
    matrix, hidden = model_pictures.tied_example()
    embedding, head = torch.nn.Embedding(6, 4), torch.nn.Linear(4, 6, bias=False)
    head.weight = embedding.weight = torch.nn.Parameter(matrix)
    with torch.no_grad():
        vector, logits = embedding(torch.tensor(2)), head(hidden)
    found = Counter(words(figures["tied_head.png"]))
    wanted = shown(matrix.flatten(), 1) + shown(vector, 1) + shown(hidden, 1)
    assert not Counter(wanted + shown(logits, 2) + shown(logits.softmax(0), 2)) - found


def test_the_architecture_picture_states_what_the_code_counts():
    """Another model gives another picture: each number in it is counted, none is typed."""
    config = ModelConfig(
        vocab_size=9000, context_length=700, embedding_dim=96, num_layers=3, num_heads=4, feedforward_dim=160
    )
    attention, feedforward, norms = 4 * 96 * 97, 2 * 96 * 160 + 160 + 96, 4 * 96
    block = attention + feedforward + norms
    total = 9000 * 96 + 700 * 96 + 3 * block + 2 * 96
    assert total == count_parameters(config)
    found = words(reference_model.architecture(config))
    assert f"The reference model: {total:,} parameters" in found
    for number in (9000 * 96, 700 * 96, attention, feedforward):
        assert f"{number / 1e6:.2f}M" in found, number
    for text in ("3 × block", f"{block / 1e6:.2f}M each", "4 heads of 24", "96 → 160", "GELU → 96"):
        assert text in found, text
    assert any("T = 700 " in text and "C = 96 " in text and "V = 9,000 " in text for text in found)
    strip = (f"0.86M  ({9000 * 96 / total:.1%})", f"0.07M  ({700 * 96 / total:.1%})", f"({3 * block / total:.1%})")
    for share in strip:
        assert any(share in text for text in found), share
    reference = "".join(words(reference_model.architecture(ModelConfig())))
    for number in ("51,213,824", "50,257", "25.7M", "0.26M", "3.15M", "8 × block"):
        assert number in reference
        assert not any(number in text for text in found), number


# Training


def test_the_optimizer_step_is_adamws_formula():
    config = TrainingConfig(gradient_accumulation_steps=3, max_gradient_norm=0.5, betas=(0.8, 0.99), weight_decay=0.2)
    generator = torch.Generator().manual_seed(1)
    weights, first, second = np.array([0.5, -0.3]), np.zeros(2), np.zeros(2)
    for number in (1, 2, 3):
        gradients = (torch.randn(3, 2, generator=generator) * 1.5 + 1).numpy().round(1)
        mean, before = gradients.sum(0) / 3, weights
        clipped = mean * min(1, 0.5 / np.linalg.norm(mean))
        first, second = 0.8 * first + 0.2 * clipped, 0.99 * second + 0.01 * clipped**2
        change = (first / (1 - 0.8**number)) / (np.sqrt(second / (1 - 0.99**number)) + 1e-8)
        weights = before - 0.1 * 0.2 * before - 0.1 * change
    step = training_pictures.take_step(config, 0.1)
    expected = (gradients, mean, clipped, first, second, before, weights)
    for name, value in zip(vars(step), expected, strict=True):
        np.testing.assert_allclose(getattr(step, name).detach().numpy(), value, rtol=1e-4, atol=1e-5, err_msg=name)
    found = words(training_pictures.optimizer_step(config))
    assert not Counter(text for value in expected for text in shown(np.ravel(value), 2)) - Counter(found)
    for text in ("sum / 3", "norm 0.50", "0.8 × old", "+ 0.2 × new", "0.99 × old", "+ 0.01 × new"):
        assert text in found, text
    assert {"step, after correction:", "0.1 × mean / √squares"} <= set(found)  # as `change` above
    assert [text for text in found if text.startswith("micro-batch")] == [f"micro-batch {index}" for index in range(3)]


def test_the_schedule_picture_draws_the_rates_of_its_run():
    config = TrainingConfig(max_iterations=5000, warmup_iterations=1000, max_learning_rate=8e-3, min_learning_rate=2e-4)
    figure = training_pictures.schedule(config)
    found = words(figure)
    for text in ("maximum  0.008", "minimum  0.0002", "warm-up ends at step 1,000"):
        assert text in found, text
    steps, rates = figure.axes[1].lines[0].get_data()
    curve = dict(zip(steps, rates, strict=True))
    assert curve[0] == pytest.approx(8e-3 / 1001)
    assert curve[1000] == pytest.approx(8e-3)
    assert curve[2000] == pytest.approx(2e-4 + 7.8e-3 * (1 + math.cos(math.pi / 4)) / 2)
    assert curve[5000] == pytest.approx(2e-4)


def test_the_bits_are_those_of_ieee_754():
    for value in (0.1, -3.25, 1 / 3):
        single = f"{struct.unpack('>I', struct.pack('>f', value))[0]:032b}"
        half = f"{struct.unpack('>H', struct.pack('>e', value))[0]:016b}"
        assert training_pictures.bits(value, torch.float32) == single
        assert training_pictures.bits(value, torch.float16) == half
        rounded = int(single[:16], 2) + (int(single[16:], 2) > 1 << 15)  # the upper half of float32, to the nearest
        assert training_pictures.bits(value, torch.bfloat16) == f"{rounded:016b}"
    assert [training_pictures.parts(dtype) for dtype in training_pictures.FORMATS] == [(8, 23), (8, 7), (5, 10)]


def test_the_precision_picture_states_what_the_formats_hold(figures):
    found = words(figures["precision.png"])
    # A format with e exponent and f fraction bits: largest (2 - 2^-f) * 2^(2^(e-1) - 1), smallest 2^(2 - 2^(e-1)).
    for exponent, fraction in ((8, 23), (8, 7), (5, 10)):
        largest, smallest = (2 - 2**-fraction) * 2.0 ** (2 ** (exponent - 1) - 1), 2.0 ** (2 - 2 ** (exponent - 1))
        assert (f"{largest:,.0f}" if exponent == 5 else f"{largest:.1e}") in found
        assert f"{smallest:.1e}" in found
        assert f"{2.0**-fraction:.2g}" in found
    assert "70,000 as inf" in found
    assert "70,000 as 70,144" in found  # 137 steps of 512


# Sampling


@pytest.mark.parametrize(("top_k", "top_p"), [(5, 0.8), (3, 0.9)])
def test_the_sampling_picture_shows_the_towns_probabilities_and_cuts(top_k, top_p):
    texts = sampling_pictures.sampling_cuts(top_k, top_p).axes[0].texts
    start = np.array([1 / rank for rank in range(1, len(FIELDS["town"].options) + 1)])
    assert [text.get_text() for text in texts[2 : 2 + len(start)]] == list(FIELDS["town"].options)
    for left, temperature in ((142, 0.5), (362, 1), (582, 2)):
        found = [text.get_text() for text in texts if left <= text.get_position()[0] <= left + 190]
        probabilities = start ** (1 / temperature) / (start ** (1 / temperature)).sum()
        kept = 1 + int((probabilities.cumsum() < top_p).sum())
        assert found[0].startswith(f"temperature {temperature:g}")
        assert found[1:] == [*shown(probabilities, 2), f"top-k {top_k}", f"top-p {top_p:g} keeps {kept}"]


def test_the_cache_picture_counts_what_a_model_computes(figures):
    assert sampling_pictures.rows_computed(5, 3, cached=False) == [5, 6, 7]
    assert sampling_pictures.rows_computed(5, 3, cached=True) == [5, 1, 1]
    found = words(figures["kv_cache.png"])
    assert "3 + 4 + 5 + 6 = 18 computed" in found
    assert "3 + 1 + 1 + 1 = 6 computed" in found


# Fine-tuning


def test_the_targets_of_a_dialogue_stand_below_their_inputs_and_only_the_answers_count(figures):
    figure = figures["loss_mask.png"]
    words = ["<|endoftext|>", "<|user|>", "Who", "sings", "?", "<|assistant|>", "My", "aunt", "<|endoftext|>"]
    assert row(figure, 249) == words[:-1]
    assert row(figure, 149) == words[1:]
    ids = dict(zip(words, map(int, row(figure, 231)), strict=False))
    roles = {"user": ids["<|user|>"], "assistant": ids["<|assistant|>"]}
    targets = learned_targets([ids[word] for word in words], roles, ids["<|endoftext|>"])
    assert targets == [-100] * 5 + [ids["My"], ids["aunt"], ids["<|endoftext|>"]]
    assert row(figure, 131) == [str(target).replace("-", "−") for target in targets]
    lower = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_y() == 122]
    grey, green = to_rgba(style.PLAIN), to_rgba(style.FEEDFORWARD)
    assert [patch.get_facecolor() for patch in lower] == [grey] * 5 + [green] * 3
    assert any(
        "mean over these 3 targets, not over all 8" in text
        for text in [text.get_text() for text in figure.axes[0].texts]
    )


def test_the_lora_picture_counts_the_weights_of_a_corrected_layer():
    for size, rank in ((512, 8), (96, 3)):
        layer = LoRALinear(size, size, bias=False, rank=rank)
        sizes = dict.fromkeys((True, False), 0)
        for weight in layer.parameters():
            sizes[weight.requires_grad] += weight.numel()
        found = words(finetuning_pictures.lora(size, rank))
        assert f"frozen: {sizes[False]:,} weights" in found
        assert f"A and B learn: {sizes[True]:,} weights" in found
    axes = finetuning_pictures.lora().axes[0]
    cells = Counter(patch.get_facecolor() for patch in axes.patches if isinstance(patch, Rectangle))
    size, rank = finetuning_pictures.SIZE, finetuning_pictures.RANK
    assert cells[to_rgba(style.PLAIN)] == 2 * size * size  # W, twice
    assert cells[to_rgba(style.EMBEDDING)] == 2 * 2 * size * rank  # A and B, twice


# The measured run


def test_the_lines_of_the_measured_pictures_are_labelled_with_their_values():
    numbers = draw.numbers("quickstart") | {"floor": 0.21, "forgetful": 0.87, "choice_floor": 1.43}
    curve, kinds = "\n".join(words(quickstart.loss_curve(numbers))), "\n".join(words(quickstart.kinds(numbers)))
    assert "floor  0.21" in curve
    assert "forgetful writer  0.87" in curve
    assert f"uniform guess  {np.log(numbers['vocab_size']):.2f}" in curve
    assert "floor  1.43" in kinds
    assert all(kind in kinds for kind in LABELS)


def test_the_curve_of_the_hour_counts_tokens_and_labels_its_lines():
    numbers = draw.numbers("laptop") | {"unigram": 6.54, "tokens_per_second": 2048}
    figure = laptop.loss_curve(numbers)
    shown = "\n".join(words(figure))
    million = len(numbers["training"]) * numbers["tokens_per_iteration"] / 1e6
    assert f"About {million * 1e6 / 2048 / 60:.0f} minutes of work for two CPU cores" in shown
    assert "unigram, counted  6.54" in shown
    assert f"held-out articles  {numbers['held_out'][-1]:.2f}" in shown
    marks = next(line for line in figure.axes[1].lines if line.get_marker() == "o").get_xydata()
    assert marks[-1] == pytest.approx([million, numbers["held_out"][-1]])


def test_the_model_s_writing_is_shown_whole_each_word_in_the_colour_of_its_kind(figures):
    written = draw.numbers("quickstart")["writing"]
    shown = [text for text in figures["writing.png"].axes[0].texts if "Mono" in text.get_family()[0]]
    assert [text.get_text() for text in shown] == written.split()
    kind_of = {colour: kind for kind, colour in quickstart.KIND_COLOURS.items()}
    kinds = [kind_of.get(text.get_color(), "prompt") for text in shown]
    pairs = list(zip(written.split(), kinds, strict=True))
    assert pairs[:4] == [("=", "prompt"), ("Agatha", "prompt"), ("Elderford", "choice"), ("=", "grammar")]
    assert [kind for word, kind in pairs if word == "Elderford"] == ["choice", "recall", "recall", "recall"]
    assert ("Thrum", "world") in pairs


def test_the_measured_curve_is_a_real_one():
    numbers = draw.numbers("quickstart")
    assert numbers["iterations"][0] == 0
    assert len(numbers["training"]) == numbers["iterations"][-1]
    assert numbers["floor"] < numbers["held_out"][-1] < 1.1 * numbers["floor"]
    assert numbers["held_out"][0] == pytest.approx(np.log(numbers["vocab_size"]), rel=0.02)
    for kind, losses in numbers["by_label"].items():
        floor = numbers["choice_floor"] if kind == "choice" else 0
        assert floor < losses[-1] < floor + 0.1, kind
