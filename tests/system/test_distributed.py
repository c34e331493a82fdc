"""The processes that train one model: one alone, or those that torchrun started. (Training: several_processes.)"""

import os
import socket
import subprocess
import sys

import pytest
import torch

from tinyllm.system.distributed import Processes, Votes, is_first_process, join_processes


def test_alone_there_is_no_process_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_processes("cpu") as processes:
        assert (processes.rank, processes.world_size, processes.first) == (0, 1, True)
        assert processes.any(True)
        assert not processes.any(False)
        assert processes.from_first(lambda: 3) == 3
        votes = Votes(processes)
        assert [votes.cast(True, False), votes.cast(False, True)] == [[True, False], [False, True]]
        assert not torch.distributed.is_initialized()


def test_several_gpus_in_a_notebook_are_named_with_the_line_that_uses_them(monkeypatch, caplog):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with join_processes("auto") as processes:
        assert processes.device == torch.device("cuda")
    (record,) = caplog.records
    line = record.getMessage()
    assert (record.levelname, record.name) == ("WARNING", "tinyllm.system.distributed")
    assert "\n" not in line
    assert "4 GPUs and one is used" in line
    assert "torchrun --nproc-per-node=4 -m tinyllm train" in line


@pytest.mark.parametrize(("rank", "first"), [(None, True), ("0", True), ("1", False), ("10", False)])
def test_the_first_process_is_told_by_torchruns_rank(rank, first, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_first_process() == first


def test_one_gpu_is_no_reason_to_warn(monkeypatch, caplog):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with join_processes("auto"):
        assert not caplog.records


def test_a_vote_is_waited_for_when_the_next_one_is_under_way(monkeypatch):
    happened = []

    class Ballot:
        def __init__(self, flags):
            self.flags = flags
            happened.append(f"vote {flags}")

        def tolist(self):
            happened.append(f"read {self.flags}")
            return list(map(float, self.flags))

    monkeypatch.setattr(Processes, "gather", lambda self, flags: Ballot(list(map(int, flags))))
    votes = Votes(Processes(torch.device("cpu"), 0, 2))
    assert [votes.cast(True, False), votes.cast(False, False)] == [[False, False], [True, False]]
    assert happened == ["vote [1, 0]", "vote [0, 0]", "read [1, 0]"]
    votes.forget()
    assert votes.cast(False, True) == [False, False]
    assert happened[3:] == ["vote [0, 1]"], "what was done has not to be read"
    assert votes.cast(False, False) == [False, True]


PROCESS = """
import torch
from tinyllm.system.distributed import Votes, join_processes
with join_processes("cpu") as here:
    alone, none = here.any(here.rank == 1), here.any(False)
    print(here.rank, here.world_size, here.first, alone, none, here.from_first(lambda: {"loss": 0.5 + here.rank}))
    votes = Votes(here)
    print([votes.cast(here.rank == 1, here.rank == step) for step in range(4)])
    try:
        here.from_first(lambda: [][0])
    except (IndexError, RuntimeError) as error:
        print(type(error).__name__, error)
assert not torch.distributed.is_initialized()
"""


def test_what_one_process_knows_or_fails_in_is_known_to_all():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    group = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    group["GLOO_SOCKET_IFNAME"] = "lo"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS], stdout=subprocess.PIPE, text=True, env=group | {"RANK": str(rank)}
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0].strip() for process in started]
    voted = [[False, False], [True, True], [True, True], [True, False]]  # in both, a vote late
    error = "list index out of range"
    assert outputs == [
        f"0 2 True True False {{'loss': 0.5}}\n{voted}\nIndexError {error}",
        f"1 2 False True False {{'loss': 0.5}}\n{voted}\nRuntimeError the first process failed: {error}",
    ]
    assert [process.returncode for process in started] == [0, 0]
