"""The loss of one training step and its gradients, in each form that one could take, beside the one we take."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from on_cuda import CLASSIC, Bench
from torch import Tensor

from tinyllm.model.loss import cross_entropy
from tinyllm.system.device import pick_compile
from tinyllm.system.precision import autocast, pick_precision

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
REPEATS = 20


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """All logits at once; the vocabulary padded as in nanoGPT, so that tensor cores are fast."""
    padded = F.pad(weight, (0, 0, 0, -len(weight) % 64))
    return F.cross_entropy(F.linear(hidden, padded).float(), targets)


def of_torch(hidden: Tensor, weight: Tensor, targets: Tensor, options: str | None = None) -> Tensor:
    """torch's own function (2.13 and later), whose `options` choose whether it works in chunks."""
    dtype = torch.get_autocast_dtype("cuda")
    return F.linear_cross_entropy(hidden.to(dtype), weight.to(dtype), targets, options=options)


def of_liger(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Liger-Kernel's fused function, in half precision as under autocast."""
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    dtype = torch.get_autocast_dtype("cuda")
    return liger_fused_linear_cross_entropy(hidden.to(dtype), weight.to(dtype), targets)


def forms(bench: Bench) -> dict[str, Loss]:
    """Every form that runs here, by name."""
    compiled = partial(torch.compile, dynamic=False) if pick_compile(bench.device) else lambda function: function
    found: dict[str, Loss] = {
        "ours, compiled": compiled(cross_entropy), "ours": cross_entropy,
        "plain, padded, compiled": compiled(plain), "plain, padded": plain,
    }  # fmt: skip
    if hasattr(F, "linear_cross_entropy") and bench.device.type == "cuda":
        found |= {"torch's": of_torch, "torch's, in chunks": partial(of_torch, options="auto")}
    if find_spec("liger_kernel"):
        found["Liger's"] = of_liger
    return found


def loss_rows(bench: Bench) -> None:
    """For each form: milliseconds and memory of loss and gradients, and how far they are from float32's."""
    config = bench.config(CLASSIC)
    rows = config.training.global_batch * config.model.context_length
    generator = torch.Generator(bench.device).manual_seed(0)
    hidden = torch.randn(rows, config.model.embedding_dim, device=bench.device, generator=generator)
    weight = 0.02 * torch.randn(
        config.model.vocab_size, config.model.embedding_dim, device=bench.device, generator=generator
    )
    targets = torch.randint(config.model.vocab_size, (rows,), device=bench.device, generator=generator)
    given = hidden.requires_grad_(), weight.requires_grad_(), targets
    exact = _gradients(bench, cross_entropy, given, torch.float32)
    for name, loss in forms(bench).items():
        with bench.attempt("loss", name):
            _measure(bench, name, loss, given, exact)


def _measure(
    bench: Bench, name: str, loss: Loss, given: tuple[Tensor, Tensor, Tensor], exact: tuple[Tensor, ...]
) -> None:
    precision = pick_precision(bench.device)
    found = _gradients(bench, loss, given, precision)
    errors = [((a - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True)]
    del found
    on_cuda = bench.device.type == "cuda"
    before = torch.cuda.memory_allocated() if on_cuda else 0
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    repeats = 1 if bench.tiny else REPEATS

    def repeated() -> None:
        for _ in range(repeats):  # no list of them: it would hold all gradients in memory
            _gradients(bench, loss, given, precision)

    seconds = bench.seconds(repeated) / repeats
    peak = (torch.cuda.max_memory_allocated() - before) / 1e9 if on_cuda else None
    bench.row("loss", name, ms=1000 * seconds, peak_gb=peak, relative_errors_of_loss_hidden_weight=errors)


def _gradients(
    bench: Bench, loss: Loss, given: tuple[Tensor, Tensor, Tensor], precision: torch.dtype
) -> tuple[Tensor, ...]:
    """The loss, and its gradients with respect to hidden states and weights."""
    with autocast(bench.device, precision):
        value = loss(*given)
    return value.detach(), *torch.autograd.grad(value, given[:2])
