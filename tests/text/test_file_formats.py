"""What a file is, by its name and its first bytes, and its text, unpacked."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from local_texts import SENTENCE, compress, read, write

from tinyllm.text.file_formats import ending_of, is_path_like, looks_like_utf8, open_text, why_unreadable
from tinyllm.text.sources import load_corpus

TEXT = SENTENCE + "Zoë spoke of 日本 .\n"


def archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("a.txt", TEXT)
    else:
        with tarfile.open(fileobj=buffer, mode="w") as file:
            member = tarfile.TarInfo("a.txt")
            member.size = len(TEXT.encode())
            file.addfile(member, io.BytesIO(TEXT.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize("ending", [".gz", ".zst", ".GZ"])
def test_compressed_text_is_the_same_text(tmp_path, ending):
    path = tmp_path / f"my.txt{ending}"
    path.write_bytes(compress(("\ufeff" + TEXT.replace("\n", "\r\n") * 30_000).encode(), ending))
    with open_text(path) as file:
        assert file.read() == TEXT * 30_000


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("content", ["cut", "spoilt", b"not compressed"])
def test_a_damaged_compressed_file_is_one_line(tmp_path, ending, content):
    path = tmp_path / f"my.txt{ending}"
    whole = compress(TEXT.encode() * 1000, ending)
    spoilt = whole[:20] + bytes(byte ^ 255 for byte in whole[20:60]) + whole[60:]
    path.write_bytes({"cut": whole[:-12], "spoilt": spoilt}.get(content, content))
    with pytest.raises(ValueError, match=rf"my\.txt\{ending} (cannot be unpacked .*again|is not UTF-8)") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_bytes_that_are_not_utf8_are_found_in_compressed_text_too(tmp_path):
    path = tmp_path / "my.txt.gz"
    path.write_bytes(gzip.compress(b"good\n" * 50_000 + b"caf\xe9\n"))
    with pytest.raises(ValueError, match=r"my\.txt\.gz is not UTF-8 text: .* byte 250003, in line 50001; convert"):
        read(path)


REFUSED = {
    "a.pdf": b"%PDF-1.7 ...",
    "b.docx": archive("zip"),
    "c.epub": b"any",
    "d.zip": archive("zip"),
    "e.tar": archive("tar"),
    "f.tar.gz": gzip.compress(archive("tar")),
    "g.7z": b"any",
    "h.ipynb": b"{}",
    "i.rtf": b"{\\rtf1 text}",
    "j.txt": archive("zip"),
    "k": archive("tar"),
    "l.jsonl": gzip.compress(b'{"text": "a"}'),
    "m.txt": compress(TEXT.encode(), ".zst"),
    "n.txt": TEXT.encode("utf-16"),
    "o.txt": TEXT.encode("utf-16-le"),
    "p.csv": TEXT.encode("utf-16-be"),
    "q.txt": b"\x89PNG\r\n\0\0 \xff",
    "v.txt": bytes(range(20)) * 9,
    "r.txt.bz2": b"BZh9",
    "s.parquet.gz": b"any",
    "t.md": b"%PDF-1.7",
    "u.txt": b"PAR1....",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line_with_what_can(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(REFUSED[name])
    with pytest.raises(ValueError, match=rf"{name} is .+, and cannot be read; .*\.jsonl.*\.parquet") as error:
        load_corpus(str(path))
    assert "\n" not in str(error.value)
    if name in ("n.txt", "o.txt", "p.csv"):
        assert "UTF-16, to be converted to UTF-8" in str(error.value)


@pytest.mark.parametrize(
    "name", ["a.md", "b.rst", "c.py", "d.html", "e.tex", "f", "Makefile", "g.toml", "h.v2", "i.TXT"]
)
def test_any_text_is_read_as_it_stands(tmp_path, name):
    text = '# <b>"Title"</b>\n\n' + TEXT
    assert read(write(tmp_path / name, text)) == [text]


def test_no_name_and_no_regular_file(tmp_path):
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        load_corpus("/dev/null")


def test_endings_are_without_compression_and_case():
    assert [ending_of(Path(name)) for name in ("a.TXT", "a.txt.GZ", "a.b.json.zst", "a.gz", "a", ".gz")] == [
        *(".txt", ".txt", ".json", "", "", ""),
    ]
    assert all(map(is_path_like, ["a/b.txt", "a/b.pdf", "a/b.gz", "./a/b", "~/a", "../b", "a/b.md"]))
    assert not any(map(is_path_like, ["roneneldan/TinyStories", "a/wikitext-2.5", "a/b:c"]))


def test_the_first_bytes_may_end_within_a_character(tmp_path):
    path = write(tmp_path / "a.dat", "x" * 8191 + "é" * 10)
    assert why_unreadable(path) is None
    assert looks_like_utf8(path)
    path.write_bytes(b"x" * 100 + b"\xe9")
    assert not looks_like_utf8(path)
