"""What commands print, on terminals of any encoding and to strict parsers of JSON."""

import io
import json
import math
import sys

import numpy as np
import pytest

import tinyllm
from tinyllm.__main__ import main
from tinyllm.commands.printing import any_terminal, as_json, perplexity
from tinyllm.evaluation import Evaluation

SIZES = {"vocab_size": 300, "context_length": 16, "embedding_dim": 16, "num_layers": 1, "num_heads": 2,
         "feedforward_dim": 32, "batch_size": 2, "gradient_accumulation_steps": 1, "max_iterations": 2}  # fmt: skip


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> str:
    """A run of two steps on accents, Chinese and emoji: it draws bytes at random, mostly no whole characters."""
    folder = tmp_path_factory.mktemp("untrained")
    (folder / "text.txt").write_text("Où est le café ? 日本語の本。 🙂 naïve\n\n" * 200, encoding="utf-8")
    tinyllm.train("laptop", data=str(folder / "text.txt"), run_folder=str(folder / "run"), progress=False, **SIZES)
    return str(folder / "run")


class Terminal:
    """What a command prints where standard output and error have this encoding, strictly."""

    def __init__(self, monkeypatch, encoding: str):
        self.streams = {name: io.TextIOWrapper(io.BytesIO(), encoding, "strict") for name in ("stdout", "stderr")}
        for name, stream in self.streams.items():
            monkeypatch.setattr(sys, name, stream)

    def text(self, name: str) -> str:
        self.streams[name].flush()
        return self.streams[name].buffer.getvalue().decode(self.streams[name].encoding)


PROMPT = "é 日本 🙂 \ufffd"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
@pytest.mark.parametrize(
    "command",
    [["sample", "--prompt", PROMPT, "--maximum-length", "20"], ["sample", "--number", "2"], ["evaluate"]],
    ids=["sample", "several", "evaluate"],
)
def test_a_terminal_of_any_encoding_shows_every_command(encoding, command, untrained, monkeypatch):
    terminal = Terminal(monkeypatch, encoding)
    assert main([command[0], untrained, *command[1:]]) == 0
    assert terminal.text("stderr") == ""
    printed = terminal.text("stdout")
    assert printed.endswith("\n")
    if PROMPT in command:
        assert printed.startswith(PROMPT.encode(encoding, "backslashreplace").decode(encoding))
    assert [stream.errors for stream in terminal.streams.values()] == ["strict"] * 2, "the caller's streams as before"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["sample", "日本"], 1), (["évaluer"], 1), (["train", "laptop", "--data", "café/日.txt"], 1), (["doctor"], 0)],
)
def test_errors_and_reports_are_shown_in_any_encoding(encoding, arguments, status, monkeypatch):
    terminal = Terminal(monkeypatch, encoding)
    assert main(arguments) == status
    if status:
        assert terminal.text("stdout") == ""
        assert terminal.text("stderr").startswith("tinyllm: ")
        assert terminal.text("stderr").count("\n") == 1


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_help_is_shown_in_any_encoding(encoding, monkeypatch):
    terminal = Terminal(monkeypatch, encoding)
    with pytest.raises(SystemExit) as end:
        main(["sample", "--help"])
    assert end.value.code == 0
    assert "--number" in terminal.text("stdout")


@pytest.mark.parametrize("more", [[], ["--number", "2"], ["--json"]], ids=["one", "two", "json"])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_prompt_with_a_lone_surrogate_is_refused_in_one_line(more, encoding, untrained, monkeypatch):
    terminal = Terminal(monkeypatch, encoding)
    assert main(["sample", untrained, "--prompt", "caf\udce9", *more]) == 1
    assert terminal.text("stdout") == ""
    assert terminal.text("stderr").startswith("tinyllm: character 3 of the text is the lone surrogate")
    assert terminal.text("stderr").count("\n") == 1


def strict_json(text: str) -> dict:
    """The one object of a text, by RFC 8259: no NaN, no lone surrogate, nothing else."""

    def refuse(literal: str) -> None:
        raise ValueError(literal)

    content = json.loads(text, parse_constant=refuse)
    json.dumps(content, ensure_ascii=False).encode("utf-8")
    assert isinstance(content, dict)
    assert text.count("\n") == 1
    return content


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-16"])
def test_sampled_text_comes_whole_as_json_in_any_encoding(encoding, untrained, monkeypatch):
    terminal = Terminal(monkeypatch, encoding)
    assert main(["sample", untrained, "--prompt", PROMPT, "--seed", "1", "--maximum-length", "50", "--json"]) == 0
    result = strict_json(terminal.text("stdout"))
    expected = tinyllm.load_run(untrained).generate(PROMPT, seed=1, maximum_length=50)
    assert result == {"text": expected, "texts": [expected]}


def test_several_samples_are_different_draws_from_one_seed(untrained, capsys):
    call = ["sample", untrained, "--prompt", "a", "--number", "3", "--seed", "7", "--maximum-length", "20"]
    assert main([*call, "--json"]) == 0
    texts = strict_json(capsys.readouterr().out)["texts"]
    assert len(set(texts)) == 3
    run = tinyllm.load_run(untrained)
    config = tinyllm.GenerationConfig(maximum_length=20, seed=7)
    assert texts == tinyllm.generate_texts(run.model, run.tokenizer, "a", config, 3)
    assert main(call) == 0
    wanted = "".join(f"=== {index} of 3 ===\n{text}\n" for index, text in enumerate(texts, 1))
    assert capsys.readouterr().out == wanted
    for bad in ("0", "-1", "2.5", "many"):
        assert main(["sample", untrained, "--number", bad]) == 1
        assert "number must be a whole number" in capsys.readouterr().err


def test_stop_strings_on_the_command_line(untrained, capsys):
    call = ["sample", untrained, "--prompt", "a", "--seed", "3", "--maximum-length", "60"]
    assert main(call) == 0
    free = capsys.readouterr().out[:-1]
    stop = free[10:13]
    assert main([*call, "--stop", "never", "--stop", stop]) == 0
    assert capsys.readouterr().out == free[: free.index(stop, 1)] + "\n"


def test_json_has_null_for_what_is_no_number_and_no_half_characters():
    content = {"a": math.nan, "b": [math.inf, (-math.inf, 1.5)], "c": {"\ud800": "x\udce9y🙂"}, "d": 1e300, "e": True}
    content |= {"f": np.float32(0.5), "g": np.int64(3)}
    text = as_json(content)
    assert text.isascii()
    assert strict_json(text + "\n") == {
        "a": None, "b": [None, [None, 1.5]], "c": {"\ufffd": "x\ufffdy🙂"}, "d": 1e300, "e": True, "f": 0.5, "g": 3,
    }  # fmt: skip


def test_a_perplexity_that_means_nothing_is_not_a_number_with_64_digits(untrained, monkeypatch, capsys):
    assert perplexity(1e6).strip() == "1000000.00"
    for value in (1.1e6, 1e64, math.inf):
        assert perplexity(value) == "above 1,000,000: the text is not predicted"
    monkeypatch.setattr(tinyllm.Run, "evaluate", lambda *_: Evaluation(nats=1e5, tokens=30_000, words=1, bytes=10**5))
    assert main(["evaluate", untrained]) == 0
    printed = capsys.readouterr().out
    assert "perplexity per word   above 1,000,000: the text is not predicted\n" in printed
    assert "perplexity per token       28.03\n" in printed
    assert main(["evaluate", untrained, "--json"]) == 0
    assert strict_json(capsys.readouterr().out)["perplexity_per_word"] is None


def test_a_stream_that_is_closed_meanwhile_is_no_error(monkeypatch):
    terminal = Terminal(monkeypatch, "ascii")
    with any_terminal():
        terminal.streams["stdout"].close()
