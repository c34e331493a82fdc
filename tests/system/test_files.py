"""Files: whole or absent, whatever happens while they are written."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from tinyllm.system import files
from tinyllm.system.files import flush, new_folder, read_json, remove_folder, replace_text, sha256, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_sha256_is_that_of_the_content(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 100_000)
    assert sha256(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_json_is_written_readable_and_read_back(tmp_path):
    content = {"name": "Zoë", "list": [1, 2.5, None, True]}
    write_json(tmp_path / "file.json", content)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "file.json") == content
    assert '\n  "name": "Zoë",\n' in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 200_000], ids=["empty", "cut", "no UTF-8", "deep"])
def test_what_is_not_json_is_a_value_error(content, tmp_path):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(ValueError):
        read_json(tmp_path / "file.json")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "file.json")


# A folder


def test_a_new_folder_appears_when_its_block_ends(tmp_path):
    target = tmp_path / "deep" / "folder"
    with new_folder(target) as unfinished:
        assert unfinished.parent == target.parent  # the same disk, so that it can be renamed
        (unfinished / "file").write_text("content")
        assert not target.exists()
    assert (target / "file").read_text() == "content"
    assert names(target.parent) == ["folder"]


def test_a_new_folder_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "folder"
    for name in ("old", "new"):
        with new_folder(target) as unfinished:
            (unfinished / name).write_text("content")
            assert names(target) == ["old"] if name == "new" else not target.exists()
    assert names(target) == ["new"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_after_an_error_the_old_folder_is_as_it_was(error, tmp_path):
    target = tmp_path / "folder"
    with new_folder(target) as unfinished:
        (unfinished / "old").write_text("content")
    with pytest.raises(error), new_folder(target) as unfinished:
        (unfinished / "new").write_text("half")
        raise error
    assert names(target) == ["old"]
    assert names(tmp_path) == ["folder"]


def test_an_error_of_the_disk_names_the_folder(tmp_path):
    with pytest.raises(OSError, match=r"folder") as caught, new_folder(tmp_path / "folder"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "folder")
    assert names(tmp_path) == []


def test_everything_is_flushed_before_the_rename(tmp_path, monkeypatch):
    target, flushed = tmp_path / "folder", []
    monkeypatch.setattr(files, "flush", lambda path: flushed.append((path, target.exists())))
    with new_folder(target) as unfinished:
        (unfinished / "file").write_text("content")
    assert flushed == [(unfinished / "file", False), (unfinished, False), (tmp_path, True)]


def test_a_removed_folder_is_gone(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("content")
    remove_folder(folder)
    assert names(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        remove_folder(folder)


def test_a_folder_loses_its_name_before_its_content(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    removed = []
    monkeypatch.setattr(files.shutil, "rmtree", lambda path, **_: removed.append((path.name, folder.exists())))
    remove_folder(folder)
    ((name, still_there),) = removed
    assert name.startswith(".folder-")
    assert not still_there


# A text


def test_text_is_written_and_replaced(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    replace_text(path, "Zoë\n")
    assert path.read_bytes() == "Zoë\n".encode()
    replace_text(path, "other\n")
    assert path.read_bytes() == b"other\n"
    assert names(path.parent) == ["file.txt"]


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    replace_text(path, "old")

    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "flush", fail)
    with pytest.raises(OSError, match="Input/output"):
        replace_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_files_and_folders_can_be_flushed(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    (tmp_path / "file").write_text("content")
    flush(tmp_path / "file")
    flush(tmp_path)
    assert synced == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]


def test_any_file_name_is_the_same_once_written_and_read(tmp_path):
    names = ["caf\udce9.txt", "\udc80\udcff", "日 é.txt", "a\\udce9", "\ud800", 'quote" \n']
    write_json(tmp_path / "names.json", {"names": names})
    assert read_json(tmp_path / "names.json") == {"names": names}
    assert "日 é.txt" in (tmp_path / "names.json").read_text(encoding="utf-8")
