"""Any path that a system allows can be read, printed, and copied into a shell."""

import os
import subprocess
from pathlib import Path

import pytest

from tinyllm.system.paths import full_path, shell_word, shown, shown_name, user_path, utf8_path

NAMES = [
    "plain.txt", "two words.txt", "it's.txt", 'a "quote".txt', "new\nline.txt", "-dash.txt", "~tilde.txt", "日本.txt",
    "caf\udce9.txt", "back\\slash.txt", "$HOME.txt", "caf\udce9 it's \\ 日.txt", "a\u00a0b\u202ec",
]  # fmt: skip


def test_a_tilde_is_the_home_folder_unless_it_is_a_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert user_path("~/my runs/one") == user_path(Path("~/my runs/one")) == tmp_path / "my runs" / "one"
    assert user_path("~nobody-of-that-name.txt") == Path("~nobody-of-that-name.txt")
    assert user_path("a/~b") == Path("a/~b")


def test_a_full_path_has_no_dots_and_keeps_its_links(tmp_path, monkeypatch):
    (tmp_path / "blob").write_text("")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "data.csv").symlink_to(tmp_path / "blob")
    monkeypatch.chdir(tmp_path / "a")
    assert full_path("../a/./data.csv") == tmp_path / "a" / "data.csv"


@pytest.mark.skipif(os.name == "nt", reason="its shells quote otherwise")
def test_a_shell_reads_each_word_as_the_path():
    words = [shell_word(name) for name in NAMES]
    assert words[0] == "plain.txt"
    for word in words:
        word.encode("utf-8")
        assert "\n" not in word
    found = subprocess.run(["bash", "-c", "printf '%s\\0' " + " ".join(words)], capture_output=True, check=True)
    wanted = [f"./{name}" if name.startswith("-") else name for name in NAMES]
    assert found.stdout.split(b"\0")[:-1] == [os.fsencode(name) for name in wanted]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_library_that_wants_utf8_reads_the_same_file(tmp_path):
    for name in ("日.txt", "caf\udce9.txt"):
        path = tmp_path / name
        path.write_text(name[:3])
        with utf8_path(path) as readable:
            str(readable).encode("utf-8")
            assert readable.read_text() == name[:3]
            assert (readable == path) == (name == "日.txt")
        assert path.exists()


def test_a_name_that_is_no_text_can_be_shown():
    assert shown("caf\udce9 日.txt") == "caf\\xe9 日.txt"
    assert shown("\ud800") == "\\ud800"


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        (b"plain name-1.txt", "plain name-1.txt"),
        ("日本".encode(), "日本"),
        (b"caf\xe9.txt", r"caf\xe9.txt"),
        (b"two\nlines\t", r"two\nlines\t"),
        (b"\x1b[31mred", r"\x1b[31mred"),
    ],
)
def test_names_are_printable_in_one_line(name, printed):
    assert shown_name(os.fsdecode(name)) == printed
    assert printed.isprintable()


def test_a_surrogate_that_is_no_byte_is_escaped_too():
    assert shown_name("\ud83d") == r"\ud83d"
