"""Pictures of tokens: boxes in lines, bytes made visible, and what the sampling settings leave."""

from sample_pictures import PICTURES, written

from tinyllm.plots import next_token_bars, token_rows, visible


def test_tokens_stand_in_boxes_with_their_ids_or_bytes_below():
    assert written(PICTURES["tokens"]()) == ["two ways: 2 tokens", "ab", "7", "·c", "300", "bytes: 1 token", "f0", "0"]
    assert "61 62" in written(token_rows({"one": [(b"ab", 7)]}, show_bytes=True))
    long = token_rows({"one": [(b"word", 1)] * 200})
    boxes = long.axes[0].patches
    assert len(boxes) == 200
    assert max(box.get_x() + box.get_width() for box in boxes) <= 100  # a new line begins where one is full
    assert len({box.get_y() for box in boxes}) > 3


def test_a_token_without_letters_in_the_font_is_shown_as_bytes():
    assert [visible(token) for token in (b" a\n", "é".encode(), "🙂".encode(), b"\xc3", b"\0")] == [
        "·a⏎", "é", "f0 9f 99 82", "c3", "00",
    ]  # fmt: skip


def test_next_token_bars_say_what_is_cut():
    picture = PICTURES["next"]()
    assert "1 of these 2 can be drawn" in picture.alt
    assert "b cut" in picture.alt
    assert written(picture) == ["100.0%", "cut"]


def test_next_token_bars_are_the_probabilities_given():
    axes = next_token_bars(["a", "b"], [0.75, 0.25], [0.9, 0.1]).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.1, 0.75, 0.25]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
