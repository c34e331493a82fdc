"""A disk that fails: at any step of a save, for the history, for the cache. What was good stays good."""

import contextlib
import dataclasses
import errno
import itertools
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from disk import Disk, assert_all_whole, steps_of
from saved_checkpoints import contents, model_and_optimizer, names
from small_runs import assert_same_end, quietly, small_run, written

from tinyllm.__main__ import main
from tinyllm.config import DataConfig
from tinyllm.course import check
from tinyllm.text.prepared import prepare
from tinyllm.training import checkpoint
from tinyllm.training.checkpoint import find_checkpoint, save_checkpoint


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES], ids=["ENOSPC", "EACCES"])
def test_a_save_that_fails_at_any_step_leaves_the_good_checkpoints_as_they_were(saved, monkeypatch, number):
    """Iteration 4 becomes the best: a save that succeeds drops 1 and 2."""
    original = saved.folder.with_name("original")
    shutil.copytree(saved.folder, original)
    before = contents(original)

    def fail(paths):
        raise OSError(number, os.strerror(number), *paths)

    refused, steps = 0, steps_of(lambda: saved(4, 0.5), monkeypatch)
    for step in range(steps):
        shutil.rmtree(saved.folder)
        shutil.copytree(original, saved.folder)
        with monkeypatch.context() as patch:
            Disk(patch, step, fail)
            try:
                saved(4, 0.5)
            except OSError as error:
                refused += 1
                assert os.strerror(number) in str(error)
                assert "step-000004" in str(error)
        if "step-000004" not in names(saved.folder):
            assert contents(saved.folder) == before
        assert_all_whole(saved.folder)
        saved(5, 0.1)  # once there is room again
        assert names(saved.folder)[-1] == "step-000005"
        assert_all_whole(saved.folder)
    assert refused > 10


def test_a_save_that_has_no_room_does_not_begin(saved, monkeypatch):
    before = contents(saved.folder)
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 1000, 1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(OSError, match="MB free"):
            saved(4, 1.0)
    assert contents(saved.folder) == before


def test_with_lora_a_save_asks_for_no_more_room_than_it_takes(tmp_path, tiny_config, tokenizer, monkeypatch):
    """Of what is frozen there are no averages to save."""
    model, optimizer = model_and_optimizer(dataclasses.replace(tiny_config, vocab_size=5000, lora=1))
    config = small_run(Path("text.txt"), tmp_path / "run", init_from="anything", lora=1)
    state = {"optimizer": optimizer.state_dict()}
    folder = save_checkpoint(1, None, config, model, tokenizer, state)
    taken = sum((folder / name).stat().st_size for name in ("model.safetensors", "training_state.pt"))
    for share, enough in ((1.1, True), (0.9, False)):
        usage = namedtuple("usage", "total used free")(10**9, 0, int(share * taken))
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        with contextlib.nullcontext() if enough else pytest.raises(OSError, match="MB free"):
            save_checkpoint(2, None, config, model, tokenizer, state)


def test_an_old_checkpoint_that_cannot_be_removed_is_no_reason_to_stop(saved, monkeypatch, caplog):
    def refuse(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(checkpoint, "remove_folder", refuse)
    saved(4, 0.5)
    assert find_checkpoint(saved.folder).iteration == 4
    assert any("step-000001" in message and "cannot be removed" in message for message in caplog.messages)


def fill_the_disk(patch: pytest.MonkeyPatch, times: range) -> None:
    """From here on, these openings of `history.jsonl` to write really open a full disk."""
    path_open, opened = Path.open, itertools.count()

    def wrapped(path, mode="r", *arguments, **settings):
        full = "history.jsonl" in path.name and mode != "rb" and next(opened) in times
        return path_open(Path("/dev/full") if full else path, mode, *arguments, **settings)

    patch.setattr(Path, "open", wrapped)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, as Linux has it")
@pytest.mark.parametrize("times", [range(1, 2), range(1, 9)], ids=["a moment", "several steps"])
def test_a_history_that_cannot_be_written_does_not_stop_the_run(
    text, tmp_path, uninterrupted, times, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        fill_the_disk(patch, times)
        run = quietly(small_run(text, tmp_path))
    assert run.finished
    said = [line for line in capsys.readouterr().out.splitlines() if "history.jsonl" in line]
    assert len(said) == 1
    assert "No space left" in said[0]
    assert written(tmp_path) == run.history
    assert_same_end(tmp_path, uninterrupted)


def one_line(capsys: pytest.CaptureFixture) -> str:
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1, printed
    return printed


NOT_A_FOLDER = "/dev/null/folder"  # cannot be made, not even by root


def test_a_run_folder_that_cannot_be_written_is_one_line(capsys, text):
    assert main(["train", "quickstart", "--run-folder", NOT_A_FOLDER]) == 1
    line = one_line(capsys)
    assert NOT_A_FOLDER in line
    assert "give another run_folder" in line


def test_a_cache_that_cannot_be_written_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("TINYLLM_HOME", NOT_A_FOLDER)
    assert main(["prepare", "quickstart"]) == 1
    line = one_line(capsys)
    assert NOT_A_FOLDER in line
    assert "set TINYLLM_HOME" in line


@pytest.fixture
def no_home(monkeypatch):
    """A container whose user has neither HOME nor an entry in the user database."""
    for name in ("TINYLLM_HOME", "XDG_CACHE_HOME", "HOME", "TIKTOKEN_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    import pwd

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_a_missing_home_folder_is_one_line(capsys, no_home):
    assert main(["prepare", "quickstart"]) == 1
    assert "set TINYLLM_HOME" in one_line(capsys)


def test_the_doctor_knows_what_to_do_without_a_home_folder(capsys, no_home):
    main(["doctor"])
    assert "set TINYLLM_HOME" in capsys.readouterr().out


@pytest.mark.parametrize("trouble", ["no home", "not a folder"])
def test_a_verdict_needs_no_disk(trouble, monkeypatch, request, capsys):
    if trouble == "no home":
        request.getfixturevalue("no_home")
    else:
        monkeypatch.setenv("TINYLLM_HOME", NOT_A_FOLDER)
    check("data.next_token_pairs", lambda ids: ids)
    assert capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, as Linux has it")
def test_a_corpus_that_does_not_fit_on_the_disk_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path))
    path_open = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(
            Path,
            "open",
            lambda path, *rest, **more: path_open(Path("/dev/full") if path.suffix == ".bin" else path, *rest, **more),
        )
        with pytest.raises(OSError, match="No space left") as refusal:
            prepare(DataConfig(data="tinywiki"), 300, progress=False)
    assert str(tmp_path) in str(refusal.value)
    assert [path.suffix for path in (tmp_path / "prepared").iterdir()] == [".lock"]
    assert prepare(DataConfig(data="tinywiki"), 300, progress=False).splits
