"""The model card: what it gives away, and what it withstands."""

import os

import pytest

from tinyllm import ModelConfig
from tinyllm.huggingface.model_card import Facts, model_card

CONFIG = ModelConfig(300, 8, 4, num_layers=1, num_heads=1, feedforward_dim=4)


def card(**facts) -> str:
    known = {
        "parameters": 1,
        "data": "tinywiki",
        "iterations": 0,
        "tokens": 0,
        "held_out_loss": None,
        "init_from": None,
        "answers": False,
    }
    return model_card("my model", CONFIG, Facts(**known | facts))


def test_paths_of_this_machine_are_not_published(tmp_path):
    text = card(data=str(tmp_path / "diary.txt"), init_from=str(tmp_path))
    assert "| trained on | diary.txt |" in text
    assert f"| started from | {tmp_path.name} |" in text
    assert str(tmp_path) not in text
    named = card(data="roneneldan/TinyStories", init_from="someone/small")
    assert "| trained on | roneneldan/TinyStories |" in named
    assert "| started from | someone/small |" in named


@pytest.mark.parametrize("name", ["a|b`c\n<script>.txt", os.fsdecode(b"caf\xe9.txt"), "[x](y)\r.txt", "日記.txt"])
def test_any_name_of_a_file_stays_within_its_cell(name):
    text = card(data=name)
    text.encode("utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| trained on"))
    assert row.count("|") == 3
    assert row.endswith(".txt |")
    assert not {"<", "[", "`"} & set(row)


def test_what_was_not_measured_is_left_out_and_what_is_infinite_is_written():
    assert "held-out" not in card()
    assert "perplexity" not in card()
    assert "| held-out loss | 1000.0000 nats per token |" in card(held_out_loss=1000.0)
    assert "| started from | random weights |" in card()
    answers = card(held_out_loss=0.0, answers=True)
    assert "| held-out loss of answers | 0.0000 nats per token |" in answers
    assert "| perplexity per token of answers | 1 |" in answers
