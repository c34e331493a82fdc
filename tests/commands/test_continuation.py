"""`python -m tinyllm write`: what is typed is continued, and there is a way out of it at every moment."""

import io
import json
import sys
from collections.abc import Iterator

import pytest
from small_runs import small_run, write_text

from tinyllm import load_run, train
from tinyllm.__main__ import main
from tinyllm.commands import continuation
from tinyllm.pretrained import TrainedModel


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """A run whose vocabulary is that of its text's characters."""
    folder = tmp_path_factory.mktemp("write")
    text = write_text(folder / "words.txt", 500)
    config = small_run(text, folder / "run", tokenizer="character", vocab_size=100, max_iterations=2)
    return str(train(config, progress=False).folder)


class Keyboard:
    """Stands for a terminal: each line is typed when it is asked for; an exception is raised instead."""

    def __init__(self, *lines: str | type[BaseException], terminal: bool = True):
        self.lines, self.terminal = list(lines), terminal

    def isatty(self) -> bool:
        return self.terminal

    def readline(self, *_: int) -> str:
        line = self.lines.pop(0) if self.lines else ""
        if not isinstance(line, str):
            raise line
        return line


def write(monkeypatch, keyboard: Keyboard, *arguments: str) -> int:
    monkeypatch.setattr(sys, "stdin", keyboard)
    return main(["write", *arguments])


def test_each_line_begins_a_text_of_its_own_until_an_empty_one(folder, monkeypatch, capsys):
    options = [folder, "--maximum-length", "9", "--seed", "3", "--stop-tokens"]
    assert write(monkeypatch, Keyboard("alpha \n", "beta\n", "\n", "never read\n"), *options, "--json") == 0
    printed = capsys.readouterr()
    run = load_run(folder)
    expected = [run.generate(word, maximum_length=9, seed=3, stop_tokens=()) for word in ("alpha", "beta")]
    assert json.loads(printed.out) == {"texts": expected}
    assert all(text in printed.err for text in expected)
    assert "to continue, not to answer" in printed.err
    assert printed.err.count("> ") == 3


def test_a_pipe_is_read_to_its_end_without_a_word_to_its_sender(folder, monkeypatch, capsys):
    assert write(monkeypatch, Keyboard("alpha\n", "beta", terminal=False), folder, "--maximum-length", "0") == 0
    assert capsys.readouterr().out == "alpha\n\nbeta\n\n"
    assert write(monkeypatch, Keyboard(terminal=False), folder, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"texts": []}


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_ctrl_d_and_ctrl_c_at_the_prompt_leave(folder, monkeypatch, capsys, end):
    assert write(monkeypatch, Keyboard("alpha\n", end), folder, "--maximum-length", "2") == 0
    assert "alpha" in capsys.readouterr().out


def test_ctrl_c_while_it_writes_ends_that_text_only(folder, monkeypatch, capsys):
    def interrupted(*_, **__) -> Iterator[str]:
        yield " and so on"
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainedModel, "stream", interrupted)
    assert write(monkeypatch, Keyboard("one\n", "two\n"), folder, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"texts": ["one and so on", "two and so on"]}


def test_a_line_that_cannot_be_read_is_named_and_the_next_one_is_continued(folder, monkeypatch, capsys):
    assert write(monkeypatch, Keyboard("日本\n", "alpha\n"), folder, "--maximum-length", "0") == 0
    printed = capsys.readouterr()
    assert "日" in printed.err
    assert "alpha\n" in printed.out
    assert "Traceback" not in printed.err


def test_a_wrong_call_is_one_line(folder, monkeypatch, capsys):
    for arguments, wanted in (
        ([], "write models/quickstart"),
        (["nowhere"], "nowhere"),
        ([folder, "--temp", "1"], "--temperature"),
    ):
        assert write(monkeypatch, Keyboard(), *arguments) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert wanted in printed.err


class Terminal(io.StringIO):
    """Shows what is written once it is flushed."""

    shown = ""

    def flush(self) -> None:
        self.shown = self.getvalue()


def test_the_continuation_appears_while_it_is_drawn(monkeypatch):
    terminal, shown = Terminal(), []

    class Slow(TrainedModel):
        answers = False

        def stream(self, prompt: str = "", **settings: object) -> Iterator[str]:
            for piece in "abc":
                shown.append(terminal.shown)
                yield piece

    monkeypatch.setattr(sys, "stdin", Keyboard("go\n", terminal=False))
    monkeypatch.setattr(sys, "stdout", terminal)
    continuation.continue_lines(Slow(), continuation.GenerationConfig())
    assert shown == ["go", "goa", "goab"]
