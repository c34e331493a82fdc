"""Any file name as printable text."""

import os

import pytest
from tinyllm.system.names import shown


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
    assert shown(os.fsdecode(name)) == printed
    assert printed.isprintable()


def test_a_surrogate_that_is_no_byte_is_escaped_too():
    assert shown("\ud83d") == r"\ud83d"
