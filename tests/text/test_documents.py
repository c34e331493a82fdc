"""Documents: articles found whole, and text without titles cut into bounded pieces."""

from pathlib import Path

import pytest
from hub_server import rows_of
from hypothesis import example, given
from hypothesis import strategies as st
from local_texts import lines_of, read

from tinyllm.text.documents import PIECE, has_titles, split_articles

TITLES = ["Alder Point Light", "E = mc2 ( 1931 play )", "47 Marrow Street", "Pale sorrel moth"]
LARGE = PIECE  # characters of a document without titles


def slow_titles(lines: list[str]) -> list[int]:
    """The indices of the titles, found by hand: one equals sign each side, and a blank line before and after."""
    blank = [line.strip(" \n") == "" and len(line) <= 2 for line in lines]
    indices = []
    for index, line in enumerate(lines):
        alone = (index == 0 or blank[index - 1]) and (index + 1 == len(lines) or blank[index + 1])
        framed = line.startswith(" = ") and line.endswith(" = \n") and len(line) >= len(" =  = \n")
        section = line.startswith(" = = ") or line.endswith(" = = \n")
        if alone and framed and not section:
            indices.append(index)
    return indices


@pytest.fixture
def text(sample_text: Path) -> str:
    return sample_text.read_bytes().decode("utf-8")


def test_each_article_of_the_sample_is_one_document(sample_text, text):
    documents = read(sample_text)
    assert [document.strip("\n").splitlines()[0] for document in documents] == [f" = {title} = " for title in TITLES]
    assert "".join(documents) == text


def test_the_sample_holds_its_traps(text):
    # Lines that look like titles, but are not between two blank lines; they stay where they are.
    assert "\n = 2 + 2 = \n" in text
    assert "\n\n = m times c squared = \n ( from" in text
    assert "\n = = = Keepers = = = \n" in text


def test_blank_lines_of_the_files_and_rows_of_the_hub_are_the_same_text(text):
    plain = list(split_articles(lines_of(text)))
    files = [" \n" if line == "\n" else line for line in lines_of(text)]  # the original files' blank line
    rows = rows_of(text)
    assert files.count(" \n") == rows.count("") == text.count("\n\n") + 1 > 20
    assert list(split_articles(files)) == plain
    assert list(split_articles(rows)) == plain


LINES = st.sampled_from(
    [
        *("\n", "\n", " \n", "  \n", " prose , and more \n", "é\u2028\x85 \n", " = 2 + 2 = \n"),
        *(" = A = \n", " = B 2 = \n", " = a = b = \n", " =  = \n", "= A = \n", " = A =\n"),
        *(" = = S = = \n", " = =  = \n", " = = = T = = = \n", " = = U = \n", " = U = = \n"),
    ]
)


@given(st.lists(LINES, max_size=30))
@example([" prose \n", " = A = \n", "\n"])
@example(["\n", "\n", " = A = \n"])
def test_documents_begin_at_titles_and_joined_are_the_text(lines):
    text = "".join("\n" if line == " \n" else line for line in lines)
    documents = list(split_articles(lines))
    if not text.strip():
        assert documents == []
        return
    assert "".join(documents) == text
    starts = [0]
    for index in slow_titles(lines):
        before = "".join(lines[:index])
        if before.strip():
            starts.append(len("".join("\n" if line == " \n" else line for line in lines[:index])))
    lengths = [0]
    for document in documents[:-1]:
        lengths.append(lengths[-1] + len(document))
    assert lengths == starts
    assert all(document.strip() for document in documents)


@given(
    st.lists(st.one_of(st.just("\n"), st.integers(1, 100_000).map(lambda n: "x" * n + "\n"), st.text()), max_size=40)
)
@example(["x" * LARGE + "\n", "\n", "\n"])  # blank lines after a full piece
@example(["x" * (3 * LARGE), "end"])
def test_text_without_titles_is_cut_at_line_ends_into_bounded_pieces(parts):
    lines = lines_of("".join(parts))
    lines = ["\n" if line == " \n" else line for line in lines]
    pieces = list(split_articles(lines))
    if "".join(lines).strip():
        assert "".join(pieces) == "".join(lines)
    ends = {0}
    for line in lines:
        ends.add(max(ends) + len(line))
    reached = 0
    for piece in pieces:
        reached += len(piece)
        assert reached in ends
        longest = max(map(len, lines_of(piece)))
        assert len(piece.rstrip()) < LARGE + longest
        assert piece.strip()
    assert all(len(piece) >= LARGE for piece in pieces[:-1])


def test_a_long_article_is_still_one_document(text):
    lines = ["\n", " = Long = \n", "\n", *[" prose and more prose \n"] * 60_000, *lines_of(text)]
    documents = list(split_articles(lines))
    assert len(documents) == 1 + len(TITLES)
    assert len(documents[0]) > 5 * LARGE


def test_articles_are_read_one_by_one():
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 3
            yield from ["\n", " = Title = \n", "\n"]

    documents = split_articles(endless())
    for _ in range(5):
        next(documents)
    assert taken < 30


STORIES = ["Once upon a time.\n\nThe end.\n", "A cat sat.\n", "Last."]


@pytest.mark.parametrize(
    "text",
    [
        "<|endoftext|>\n".join(STORIES),  # TinyStories' files
        "<|endoftext|>".join(STORIES),
        "<|endoftext|>" + "<|endoftext|>\n<|endoftext|>\n \n<|endoftext|>".join(STORIES) + "<|endoftext|>\n",
    ],
)
def test_separators_end_documents_and_are_not_in_them(text):
    assert list(split_articles(lines_of(text))) == STORIES


def test_separators_and_titles_together():
    article = " = Title = \n\n prose \n"
    lines = lines_of(f"before<|endoftext|>\n{article}<|endoftext|>\n" + "x\n" * LARGE + "<|endoftext|>")
    first, second, *pieces = split_articles(lines)
    assert (first, second) == ("before", article)
    assert len(pieces) == 2  # a title in one document does not keep the next one whole


def test_titles_are_lines_between_blank_ones():
    assert has_titles(["", " = A = \n", "\n"])
    assert not has_titles(["prose\n", " = A = \n", "\n"])
    assert not has_titles(["", " = = A = = \n", "a = b = c\n"])
