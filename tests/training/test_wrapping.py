"""How a training step calls the model: compiled or not, with CUDA graphs or not. (Exchange: several_processes.)"""

import pytest
import torch
from small_runs import small_run

from tinyllm import GPT, PRESETS
from tinyllm.system.distributed import Processes
from tinyllm.training import wrapping
from tinyllm.training.micro_batches import Cut


@pytest.mark.parametrize(
    ("device", "blocks", "processes", "settings", "memory", "mode"),
    [
        ("cuda", 8, 1, {}, 16e9, "reduce-overhead"),
        ("cuda", 4, 1, {}, 16e9, None),  # the second pass would overwrite the gradients of the first
        ("cuda", 4, 2, {}, 16e9, None),
        ("cuda", 8, 1, {"deterministic": True}, 16e9, None),
        ("cuda", 8, 1, {"recompute": True}, 16e9, None),
        ("cuda", 8, 1, {}, 1e5, None),  # too little memory for a recording
        ("cpu", 8, 1, {}, 16e9, None),
    ],
)
def test_a_step_of_one_pass_is_launched_as_a_cuda_graph(monkeypatch, device, blocks, processes, settings, memory, mode):
    config = small_run("text", "folder", compile=True, embedding_dim=16, num_heads=2, **settings)
    modes = []
    monkeypatch.setattr(torch, "compile", lambda model, mode, dynamic: modes.append(mode) or model)
    monkeypatch.setattr(wrapping, "DistributedDataParallel", lambda model: model)
    monkeypatch.setattr(wrapping, "total_memory", lambda device: memory)
    with torch.device("meta"):
        model = GPT(config.model)
    wrapping.wrap(model, config, Processes(torch.device(device), 0, processes), Cut("here", blocks))
    assert modes == [mode]


@pytest.mark.parametrize(("gigabytes", "recorded"), [(80, True), (16, False)])
@pytest.mark.parametrize("preset", ["wikitext103", "wikitext103-modern"])
def test_the_full_model_is_recorded_where_memory_is_ample(monkeypatch, preset, gigabytes, recorded):
    monkeypatch.setattr(wrapping, "total_memory", lambda device: gigabytes * 1e9)
    config = PRESETS[preset]
    one = Processes(torch.device("cuda"), 0, 1)
    assert wrapping._recorded(config, one, Cut("here", config.training.global_batch)) is recorded
