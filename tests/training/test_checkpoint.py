"""Checkpoints: whole or absent, refused by name where they are not, and unable to run code."""

import dataclasses
import errno
import json
import pickle
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from saved_checkpoints import FILES, Malice, contents, model_and_optimizer, names, rewrite
from small_runs import checkpoints, equal, small_run

from tinyllm import GPT, CharacterTokenizer, SubWordTokenizer, WordTokenizer, load_model, load_run
from tinyllm.model.weights import build_model, save_model
from tinyllm.system import files
from tinyllm.training.checkpoint import (
    find_checkpoint,
    load_checkpoint_tokenizer,
    load_training_state,
    read_checkpoint,
    save_checkpoint,
)


def test_round_trip_of_everything(tmp_path, tiny_config, tokenizer):
    model, optimizer = model_and_optimizer(tiny_config)
    config = dataclasses.replace(small_run(Path("my text.txt"), tmp_path / "run", betas=(0.8, 0.9)), model=tiny_config)
    scaler = torch.amp.GradScaler("cpu", init_scale=32.0)
    state = {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}
    folder = save_checkpoint(12, 3.25, config, model, tokenizer, state, "0123abcd")
    assert folder == tmp_path / "run" / "step-000012"
    assert names(folder) == sorted([*FILES, "checksums.json"])
    found = read_checkpoint(folder)
    assert (found.iteration, found.validation_loss, found.config, found.text_checksum) == (12, 3.25, config, "0123abcd")
    assert equal(dict(load_model(folder, "cpu").state_dict()), dict(model.state_dict()))
    assert equal(load_training_state(found), state)
    again = load_checkpoint_tokenizer(found)
    assert again.fingerprint == tokenizer.fingerprint
    assert again.encode("a cat é😀?") == tokenizer.encode("a cat é😀?")


@pytest.mark.parametrize("kind", [CharacterTokenizer, WordTokenizer])
def test_other_tokenizers_travel_with_the_model_too(kind, tmp_path, tiny_config):
    tokenizer = kind.train("a cat and a dog")
    config = small_run(Path("text.txt"), tmp_path / "run")
    folder = save_checkpoint(1, None, config, GPT(tiny_config), tokenizer, {})
    again = load_checkpoint_tokenizer(read_checkpoint(folder))
    assert type(again) is kind
    assert again.encode("a dog") == tokenizer.encode("a dog")


def test_gpt2s_vocabulary_is_whole_in_the_checkpoint(tmp_path, tiny_config, gpt2_tokenizer, monkeypatch):
    folder = save_checkpoint(1, None, small_run(Path("t"), tmp_path), GPT(tiny_config), gpt2_tokenizer, {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "empty"))  # and conftest leaves no network
    text = "Sampling needs no network 😀"
    assert load_checkpoint_tokenizer(read_checkpoint(folder)).encode(text) == gpt2_tokenizer.encode(text)


def test_checksums_are_those_of_the_files(saved):
    folder = saved.folder / "step-000003"
    checksums = json.loads((folder / "checksums.json").read_text())
    for name in FILES:
        printed = subprocess.run(["sha256sum", folder / name], capture_output=True, text=True, check=True).stdout
        assert checksums[name] == printed.split()[0]


# --- What is damaged is refused by name, and the one before is used ---


def truncate(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def delete(path: Path, other: Path) -> None:
    path.unlink()


def replace_by_another_runs(path: Path, other: Path) -> None:
    shutil.copy(other / path.name, path)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, delete, replace_by_another_runs])
@pytest.mark.parametrize("name", FILES)
def test_damage_is_named_refused_and_passed_over(saved, name, damage, tmp_path, tokenizer, caplog):
    other_config = dataclasses.replace(saved.config, run_folder=str(tmp_path / "other"))
    other_tokenizer = SubWordTokenizer.train("something else", 257)
    other = save_checkpoint(3, 1.0, other_config, GPT(saved.config.model), other_tokenizer, {"optimizer": {}})
    folder = saved.folder / "step-000003"
    damage(folder / name, other)
    with pytest.raises(ValueError) as refusal:
        read_checkpoint(folder)
    message = str(refusal.value)
    assert "\n" not in message
    assert str(folder) in message
    assert f"{name} is {'missing' if damage is delete else 'torn or altered'}" in message
    assert find_checkpoint(saved.folder).iteration == 2
    assert len(caplog.messages) == 1
    assert name in caplog.messages[0]
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        load_model(folder)
    assert equal(  # the run folder still gives a model
        dict(load_model(saved.folder, which="latest").state_dict()),
        dict(load_model(saved.folder / "step-000002").state_dict()),
    )


def test_a_file_that_may_not_be_read_is_no_damage_and_nothing_older_is_used(saved, monkeypatch):
    """The tests may run as root, who may read anything."""
    path, path_open = saved.folder / "step-000003" / "model.safetensors", Path.open

    def forbidden(self, *arguments, **settings):
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return path_open(self, *arguments, **settings)

    monkeypatch.setattr(Path, "open", forbidden)
    for load in (read_checkpoint, load_model, lambda folder: load_run(folder.parent, "latest")):
        with pytest.raises(PermissionError) as refusal:
            load(path.parent)
        assert str(refusal.value) == (
            f"checkpoint {path.parent} cannot be read: this user has no permission to read model.safetensors; its "
            "owner can give it"
        )


def test_the_files_of_a_checkpoint_have_the_same_rights(saved):
    rights = {path.name: oct(path.stat().st_mode) for path in (saved.folder / "step-000003").iterdir()}
    assert set(rights) == {*FILES, "checksums.json"}
    assert len(set(rights.values())) == 1, rights


def test_what_stopping_left_goes_at_the_next_save(saved):
    """Otherwise a run that was stopped would end with other checkpoints than one that was not."""
    saved(4, 5.0, stopped=True)
    assert checkpoints(saved.folder) == ["step-000001", "step-000002", "step-000003", "step-000004"]
    saved(5, 5.0, stopped=True)
    assert checkpoints(saved.folder) == ["step-000001", "step-000002", "step-000003", "step-000005"]
    saved(6, 6.0)
    assert checkpoints(saved.folder) == ["step-000001", "step-000003", "step-000006"]
    saved(7, 1.0, stopped=True)
    saved(8, 6.0)
    assert checkpoints(saved.folder) == ["step-000006", "step-000007", "step-000008"]  # 7 is the best


@pytest.mark.parametrize("content", [None, "", "[]", "{}", "null", '"text"', '{"config.json": 1}', "\x00\xff"])
def test_a_damaged_list_of_checksums_is_named(saved, content):
    path = saved.folder / "step-000003" / "checksums.json"
    path.unlink() if content is None else path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"step-000003 cannot be used: checksums\.json is (missing|torn or altered)"):
        load_model(path.parent)
    assert find_checkpoint(saved.folder).iteration == 2


def test_a_checkpoint_of_another_version_is_refused(saved):
    folder = saved.folder / "step-000003"
    content = json.loads((folder / "config.json").read_text())
    rewrite(folder, "config.json", json.dumps(content | {"format": 99}).encode())
    with pytest.raises(ValueError, match=r"config\.json.*format is 99"):
        read_checkpoint(folder)
    content["run"]["model"]["rotary"] = True
    rewrite(folder, "config.json", json.dumps(content).encode())
    with pytest.raises(ValueError, match=r"config\.json.*rotary"):
        read_checkpoint(folder)


def test_all_damaged_is_an_error_not_a_fresh_start(saved):
    for folder in saved.folder.glob("step-*"):
        (folder / "config.json").unlink()
    with pytest.raises(ValueError, match="none of the 3 checkpoints"):
        find_checkpoint(saved.folder)


def test_what_is_not_a_checkpoint_is_left_alone(saved, tmp_path):
    (saved.folder / "step-9").mkdir()
    (saved.folder / "notes.txt").write_text("mine")
    assert find_checkpoint(saved.folder).iteration == 3
    saved(4, 5.0)
    assert {"step-9", "notes.txt"} <= set(names(saved.folder))
    assert find_checkpoint(tmp_path / "nowhere") is None


# --- Which ones are kept, and which one is meant ---


def test_the_newest_two_and_the_best_are_kept(saved):
    kept = {}
    for iteration, loss in [(4, 1.5), (5, None), (6, 2.5), (7, 1.4), (8, 9.0), (9, 9.0), (1_000_000, 9.5)]:
        saved(iteration, loss)
        kept[iteration] = [int(name[5:]) for name in names(saved.folder)]
    assert kept == {
        4: [3, 4], 5: [4, 5], 6: [4, 5, 6], 7: [6, 7], 8: [7, 8], 9: [7, 8, 9], 1_000_000: [7, 9, 1_000_000],
    }  # fmt: skip


def test_best_and_latest(saved):
    assert find_checkpoint(saved.folder, "latest").iteration == 3
    assert find_checkpoint(saved.folder, "best").iteration == 1
    best = load_model(saved.folder / "step-000001")
    assert equal(dict(load_model(saved.folder).state_dict()), dict(best.state_dict()))  # best is the default
    shutil.rmtree(saved.folder / "step-000001")
    assert find_checkpoint(saved.folder, "best").iteration == 2


def test_without_any_measured_loss_the_latest_is_the_best(saved):
    shutil.rmtree(saved.folder)
    saved(1)
    saved(2)
    assert find_checkpoint(saved.folder, "best").iteration == 2


def test_iterations_past_six_digits_are_ordered_as_numbers(saved):
    shutil.rmtree(saved.folder)
    saved(999_999, 1.0)
    saved(1_000_000, 2.0)
    saved(1_000_001, 3.0)
    saved(1_000_002, 4.0)
    assert find_checkpoint(saved.folder).iteration == 1_000_002
    assert names(saved.folder) == ["step-1000001", "step-1000002", "step-999999"]


# --- A disk that is full (more of it in reliability/test_disk.py) ---


@pytest.mark.parametrize(
    "limit", [3000, 60_000]
)  # the weights do not fit; the weights do, the optimizer's state does not
def test_a_file_that_really_cannot_be_written_is_an_oserror(saved, limit):
    """safetensors and torch make errors of their own of a full disk. Here the system itself refuses large files."""
    sizes = {name: (saved.folder / "step-000003" / name).stat().st_size for name in FILES}
    assert sizes["model.safetensors"] < 60_000 < sizes["training_state.pt"]
    before = contents(saved.folder)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match="step-000004"):
            saved(4, 1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert contents(saved.folder) == before
    assert names(saved.folder) == ["step-000001", "step-000002", "step-000003"]


def test_what_a_killed_process_left_half_written_is_removed(saved):
    unfinished = saved.folder / ".step-000004-0123456789abcdef"
    unfinished.mkdir()
    (unfinished / "model.safetensors").write_bytes(b"half of it")
    assert find_checkpoint(saved.folder).iteration == 3
    saved(4, 9.0)
    assert not unfinished.exists()
    assert find_checkpoint(saved.folder).iteration == 4


def test_everything_is_on_the_disk_before_the_name_is_given(saved, monkeypatch):
    """A power cut after the rename must not find empty files under the final name."""
    events = []
    flush, rename = files.flush, Path.rename
    monkeypatch.setattr(files, "flush", lambda path: (events.append(path.name), flush(path)))
    monkeypatch.setattr(Path, "rename", lambda self, target: (events.append("rename"), rename(self, target))[1])
    saved(4, 9.0)
    renamed = events.index("rename")
    assert {*FILES, "checksums.json"} < set(events[:renamed])
    assert events[renamed - 1].startswith(".step-000004-")  # the folder's own entries
    assert events[renamed + 1] == "run"  # the new name, before an old checkpoint goes


# --- load_model ---


def test_load_model_from_each_kind_of_path(saved, tmp_path):
    expected = dict(load_model(saved.folder / "step-000001").state_dict())
    single = tmp_path / "model.safetensors"
    shutil.copy(saved.folder / "step-000001" / "model.safetensors", single)  # its configuration is in its metadata
    for path in (saved.folder, str(saved.folder), saved.folder / "step-000001", single, str(single)):
        model = load_model(path, "cpu")
        assert equal(dict(model.state_dict()), expected)
        assert model.config == saved.config.model
        assert not model.training
    with safe_open(single, "pt") as file:
        assert json.loads(file.metadata()["config"]) == dataclasses.asdict(saved.config.model)


def test_load_model_has_no_head_of_its_own(saved):
    """Tied: the token embedding is stored once and is the head."""
    with safe_open(saved.folder / "step-000003" / "model.safetensors", "pt") as file:
        shapes = [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    assert shapes.count((97, 24)) == 1


def one_line(error: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_load_model_of_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load_model(tmp_path / "nothing")
    assert "nothing" in one_line(error)
    with pytest.raises(FileNotFoundError) as error:
        load_model(tmp_path)
    assert str(tmp_path) in one_line(error)


@pytest.mark.parametrize("content", [b"", b"garbage that is no model", bytes(1000), b'{"__metadata__":{}}'])
def test_load_model_of_garbage_names_the_file(tmp_path, content):
    path = tmp_path / "rubbish.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        load_model(path)
    assert "rubbish.safetensors" in one_line(error)


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"config": "{"}, {"config": "[]"},
                                      {"config": '{"depth": 3}'}, {"config": '{"num_heads": 0}'}])  # fmt: skip
def test_load_model_of_a_file_without_a_usable_configuration(tmp_path, metadata):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2, 2)}, path, metadata)
    with pytest.raises(ValueError) as error:
        load_model(path)
    assert "other.safetensors" in one_line(error)


@pytest.mark.parametrize(
    ("changes", "tensor"),
    [
        ({"vocab_size": 98}, "token_embedding.weight"),
        ({"context_length": 8}, "position_embedding.weight"),
        ({"num_layers": 3}, "blocks.2.attention.projection.bias"),
        ({"num_layers": 1}, "blocks.1.attention.projection.bias"),
        ({"feedforward_dim": 40}, "blocks.0.feedforward.expand.bias"),
    ],
)
def test_weights_of_another_shape_name_the_tensor(tmp_path, tiny_config, changes, tensor):
    path = tmp_path / "wrong.safetensors"
    claimed = dataclasses.asdict(dataclasses.replace(tiny_config, **changes))
    save_file(GPT(tiny_config).state_dict(), path, {"config": json.dumps(claimed)})
    with pytest.raises(ValueError) as error:
        load_model(path)
    assert "wrong.safetensors" in one_line(error)
    assert f"{tensor} has shape" in one_line(error)


def test_build_model_names_the_first_tensor_that_does_not_fit(tiny_config):
    source = GPT(dataclasses.replace(tiny_config, vocab_size=98))
    with pytest.raises(ValueError, match=r"token_embedding\.weight has shape \(98, 24\), expected \(97, 24\)"):
        build_model(tiny_config, source.state_dict(), "there")


def test_save_model_and_load_model(tmp_path, tiny_config):
    model = GPT(tiny_config)
    save_model(model, tmp_path / "mine.safetensors")
    again = load_model(tmp_path / "mine.safetensors", "cpu")
    ids = torch.arange(10)[None]
    assert torch.equal(again(ids), model.eval()(ids))


# --- Safety, and other devices ---


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", ["torch.save", "pickle"])
def test_a_training_state_that_would_run_code_is_refused(saved, tmp_path, write):
    folder, trace = saved.folder / "step-000003", tmp_path / "trace"
    bad = tmp_path / "bad.pt"
    if write == "torch.save":
        torch.save({"optimizer": Malice(trace)}, bad)
    else:
        bad.write_bytes(pickle.dumps({"optimizer": Malice(trace)}))
    rewrite(folder, "training_state.pt", bad.read_bytes())
    with pytest.raises(ValueError) as error:
        load_training_state(read_checkpoint(folder))  # the checksum itself is in order
    assert "training_state.pt is refused" in one_line(error)
    assert not trace.exists()
    if write == "torch.save":  # the file is what it pretends to be: loaded carelessly it does run
        torch.load(bad, weights_only=False)
    else:
        pickle.loads(bad.read_bytes())
    assert trace.exists()


def test_torch_load_is_only_called_with_weights_only(saved, monkeypatch):
    calls = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: calls.append(k) or load(*a, **k))
    for name in ("step-000001", "step-000003"):
        load_training_state(read_checkpoint(saved.folder / name))
    load_model(saved.folder)
    assert calls == [{"map_location": "cpu", "weights_only": True}] * 2


def test_a_state_saved_on_a_gpu_loads_on_the_cpu(saved, tmp_path, monkeypatch):
    """A GPU's tensors are marked with their device in the file; here the mark is set by hand."""
    path = tmp_path / "gpu.pt"
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        torch.save({"optimizer": {"state": torch.arange(3.0)}, "scaler": {}}, path)
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(path, weights_only=True)  # so the mark is there
    rewrite(saved.folder / "step-000003", "training_state.pt", path.read_bytes())
    state = load_training_state(read_checkpoint(saved.folder / "step-000003"))
    assert torch.equal(state["optimizer"]["state"], torch.arange(3.0))
    assert next(load_model(saved.folder).parameters()).device.type == "cpu"


def test_a_model_loads_without_any_pickle(saved):
    """Sampling from somebody else's checkpoint must not even open its pickle."""
    script = (
        "import sys, torch, pickle, tinyllm\n"
        "torch.load = pickle.loads = pickle.load = lambda *a, **k: sys.exit('a pickle was opened')\n"
        "print(tinyllm.load_model(sys.argv[1], 'cpu').config.vocab_size)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, saved.folder], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("97\n", 0), done.stderr
