"""The loss in chunks, against plain cross-entropy of all logits at once."""

import math
import shutil
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from fake_cuda import PlainIndexing
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from unchecked import run_unchecked

from tinyllm import GPT
from tinyllm.config import IGNORED
from tinyllm.model import loss
from tinyllm.model.loss import cross_entropy, softcap, token_losses

ROWS, WIDTH, VOCABULARY, CHUNK = 37, 16, 101, 8  # the last chunk has 5 rows


@pytest.fixture
def chunked(monkeypatch) -> None:
    """Take the path of large inputs also for the small ones of a test."""
    monkeypatch.setattr(loss, "chunk_rows", lambda *_: CHUNK)
    monkeypatch.setattr(loss, "THRESHOLD", 0)


def make_inputs(rows: int = ROWS, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    return hidden, weight, torch.randint(VOCABULARY, (rows,), generator=generator)


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy((hidden @ weight.T).float(), targets)


def capped(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """With a bound of 3, which many of these logits are beyond."""
    return F.cross_entropy(3 * torch.tanh((hidden @ weight.T).float() / 3), targets)


def ours_capped(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(hidden, weight, targets, 3.0)


def value_and_gradients(function, inputs, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    hidden, weight, targets = inputs
    value = function(hidden, weight, targets)
    return value.detach(), *torch.autograd.grad(value * scale, [hidden, weight])


@pytest.mark.parametrize("rows", [1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK, ROWS])
def test_value_and_both_gradients_equal_plain_cross_entropy(chunked, rows):
    inputs = make_inputs(rows)
    found, expected = value_and_gradients(cross_entropy, inputs), value_and_gradients(plain, inputs)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("threshold", [0, 1 << 40])
@pytest.mark.parametrize("rows", [1, CHUNK + 1, ROWS])
def test_a_soft_cap_equals_the_plain_one_in_value_and_gradients(chunked, monkeypatch, threshold, rows):
    monkeypatch.setattr(loss, "THRESHOLD", threshold)
    inputs = make_inputs(rows)
    assert (inputs[0] @ inputs[1].T).abs().max() > 6
    found, expected = value_and_gradients(ours_capped, inputs), value_and_gradients(capped, inputs)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    with torch.no_grad():
        assert ours_capped(*inputs).item() == pytest.approx(found[0].item(), rel=1e-6)
        assert token_losses(*inputs, 3.0).mean().item() == pytest.approx(found[0].item(), rel=1e-6)


def test_a_soft_cap_hardly_changes_small_logits_and_bounds_large_ones():
    logits = torch.tensor([-1e6, -40.0, -0.1, 0.0, 0.1, 40.0, 1e6])
    assert torch.equal(softcap(logits, None), logits)
    bounded = softcap(logits, 30.0)
    assert bounded.abs().max() == 30
    assert bounded[2:5].tolist() == pytest.approx([-0.1, 0, 0.1], rel=1e-4)
    assert bounded[5].item() == pytest.approx(30 * math.tanh(40 / 30))


def test_gradients_are_exact_derivatives(chunked):
    """Against central differences of a loss written out in float64."""
    hidden, weight, targets = make_inputs(rows=11)

    def slow(h: Tensor, w: Tensor) -> Tensor:
        logits = h.double() @ w.double().T
        return (logits.exp().sum(-1).log() - logits[torch.arange(11), targets]).mean()

    _, grad_hidden, grad_weight = value_and_gradients(cross_entropy, (hidden, weight, targets))
    step = torch.zeros(11, WIDTH, dtype=torch.float64)
    step[9, 3] = 1e-5
    difference = (slow(hidden + step, weight) - slow(hidden - step, weight)) / 2e-5
    assert grad_hidden[9, 3].item() == pytest.approx(difference.item(), rel=1e-4)
    step = torch.zeros(VOCABULARY, WIDTH, dtype=torch.float64)
    step[targets[9], 2] = 1e-5
    difference = (slow(hidden, weight + step) - slow(hidden, weight - step)) / 2e-5
    assert grad_weight[targets[9], 2].item() == pytest.approx(difference.item(), rel=1e-4)


def assert_equal_under_bfloat16(function, reference, inputs) -> None:
    """As exact as the reference is in bfloat16; the loss itself, of the same bfloat16 logits, is the same."""
    exact = value_and_gradients(reference, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = value_and_gradients(function, inputs), value_and_gradients(reference, inputs)
    for ours, theirs, true in zip(found, expected, exact, strict=True):
        assert ours.dtype == torch.float32
        error = (theirs - true).norm()  # what bfloat16 itself costs
        assert error > 0
        assert (ours - true).norm() <= 1.1 * error
    torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=0)


def as_on_cuda(logits: Tensor, *rest, fused: bool, original=loss._loss_and_gradient) -> tuple[Tensor, Tensor]:
    """The fused form on a CPU; asserts that it gets one chunk, in half precision with columns of padding up to 128."""
    assert len(logits) <= CHUNK
    assert logits.shape[1] == (VOCABULARY if logits.dtype == torch.float32 else 128)
    return original(logits, *rest, fused=True)


@pytest.mark.parametrize("form", ["reusing memory", "fused"])
@pytest.mark.parametrize(("function", "reference"), [(cross_entropy, plain), (ours_capped, capped)])
def test_equal_under_bfloat16_autocast(chunked, monkeypatch, function, reference, form):
    if form == "fused":
        monkeypatch.setattr(loss, "_loss_and_gradient", as_on_cuda)
    assert_equal_under_bfloat16(function, reference, make_inputs())


def test_products_run_in_the_autocast_format(chunked):
    """A loss that left autocast would be as exact as float32, and twice as slow on a GPU."""
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            if function is torch.ops.aten.mm.default:
                seen.append({argument.dtype for argument in arguments})
            return function(*arguments, **(options or {}))

    with Watch(), torch.autocast("cpu", torch.bfloat16):
        value_and_gradients(cross_entropy, make_inputs())
    assert len(seen) == 3 * -(-ROWS // CHUNK)  # logits and two gradients a chunk: no product twice
    assert all(dtypes == {torch.bfloat16} for dtypes in seen)


def test_a_scaled_loss_under_float16_keeps_its_small_gradients(chunked):
    """Half of the tokens are never right and have a probability of about 0.00005: a 4,096th of it is 0 in float16."""
    hidden, weight, targets = make_inputs(rows=4096)
    seldom = slice(VOCABULARY // 2, None)
    with torch.no_grad():
        hidden *= 0.3
        hidden[:, 0] = 4
        weight[:, 0] = 0
        weight[seldom, 0] = -1.5
    inputs = (hidden, weight, targets % (VOCABULARY // 2))
    assert 1e-5 < (hidden @ weight.T).softmax(-1)[:, seldom].mean() < 1e-4
    scale = 2.0**16  # as GradScaler does
    expected = value_and_gradients(plain, inputs, scale)
    with torch.autocast("cpu", torch.float16):
        found = value_and_gradients(cross_entropy, inputs, scale)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.isfinite().all()
        assert ((ours - theirs).norm() / theirs.norm()).item() < 2e-3
    ours, theirs = found[2][seldom], expected[2][seldom]
    assert ((ours - theirs).norm() / theirs.norm()).item() < 0.01


def test_gradients_scale_with_what_comes_after_the_loss(chunked):
    inputs = make_inputs()
    _, *once = value_and_gradients(cross_entropy, inputs)
    _, *scaled = value_and_gradients(cross_entropy, inputs, scale=-2.5)
    for one, other in zip(once, scaled, strict=True):
        torch.testing.assert_close(other, -2.5 * one)


def test_gradients_add_up_over_two_calls(chunked):
    """As in gradient accumulation, and with the embedding used both at the bottom and in the head."""
    hidden, weight, targets = make_inputs()
    for _ in range(2):
        cross_entropy(hidden, weight, targets).backward()
    _, grad_hidden, grad_weight = value_and_gradients(plain, make_inputs())
    torch.testing.assert_close(hidden.grad, 2 * grad_hidden, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(weight.grad, 2 * grad_weight, rtol=1e-5, atol=1e-7)


def test_a_models_gradients_are_the_same_in_chunks(monkeypatch, tiny_config):
    torch.manual_seed(0)
    model = GPT(tiny_config)
    ids, targets = torch.randint(tiny_config.vocab_size, (2, 3, 16))
    gradients = []
    for threshold in (1 << 40, 0):
        monkeypatch.setattr(loss, "chunk_rows", lambda *_: CHUNK)
        monkeypatch.setattr(loss, "THRESHOLD", threshold)
        gradients.append(torch.autograd.grad(model(ids, targets), list(model.parameters())))
    for whole, in_chunks in zip(*gradients, strict=True):
        torch.testing.assert_close(in_chunks, whole, rtol=1e-4, atol=1e-7)


def test_large_logits_do_not_overflow(chunked):
    hidden, weight, targets = make_inputs()
    inputs = ((1e4 * hidden.detach()).requires_grad_(), weight, targets)
    for ours, theirs in zip(
        value_and_gradients(cross_entropy, inputs), value_and_gradients(plain, inputs), strict=True
    ):
        assert ours.isfinite().all()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_token_losses_are_minus_log_p_of_each_target(chunked):
    hidden, weight, targets = make_inputs()
    log_p = (hidden.double() @ weight.double().T).log_softmax(-1)
    expected = [-log_p[row, target].item() for row, target in enumerate(targets)]
    assert token_losses(hidden, weight, targets).tolist() == pytest.approx(expected, rel=1e-5)
    assert cross_entropy(hidden, weight, targets).item() == pytest.approx(sum(expected) / ROWS, rel=1e-5)


@torch.no_grad()
def test_token_losses_in_half_precision_are_near_the_exact_ones(chunked):
    """There the vocabulary is padded, and what it is padded with must not take part."""
    hidden, weight, targets = make_inputs()
    inputs = hidden / 100, weight, targets  # all nearly as likely: a token more would change each loss
    with torch.autocast("cpu", torch.bfloat16):
        found = token_losses(*inputs)
    torch.testing.assert_close(found, token_losses(*inputs), rtol=0, atol=0.03)


class Largest(TorchDispatchMode):
    """Watch every operation, note the largest tensor that one returns and how many matrix products there are."""

    def __init__(self):
        super().__init__()
        self.numel = self.products = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        self.products += function is torch.ops.aten.mm.default
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("function", [cross_entropy, ours_capped])
def test_no_tensor_has_the_logits_of_all_rows(chunked, precision, backward, function):
    inputs = make_inputs(rows=40 * CHUNK)
    autocast = torch.autocast("cpu", precision, enabled=precision != torch.float32)
    with autocast, Largest() as ours, torch.set_grad_enabled(backward):
        value_and_gradients(function, inputs) if backward else function(*inputs)
    with autocast, Largest() as theirs:
        value_and_gradients(plain, inputs)
    assert theirs.numel >= 40 * CHUNK * VOCABULARY
    assert ours.numel <= 40 * CHUNK * max(WIDTH, VOCABULARY // 40 + 1)  # the inputs' own size, or a chunk's logits


def test_without_gradients_no_work_is_done_for_them(chunked):
    inputs = make_inputs()
    with torch.no_grad(), Largest() as watch:
        result = cross_entropy(*inputs)
    assert not result.requires_grad
    assert watch.products == -(-ROWS // CHUNK)  # the logits, a chunk at a time, and nothing else


@pytest.mark.parametrize("bound", [None, 3.0])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_of_a_frozen_head_no_gradient_is_computed_or_kept(chunked, bound, precision):
    hidden, weight, targets = make_inputs()
    kept = []
    autocast = torch.autocast("cpu", precision, enabled=precision != torch.float32)
    keeping = torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t
    )
    with autocast, keeping, Largest() as watch:
        found = cross_entropy(hidden, weight.detach(), targets, bound)
    with autocast:
        expected = value_and_gradients(lambda *inputs: cross_entropy(*inputs, bound), (hidden, weight, targets))
    assert watch.products == 2 * -(-ROWS // CHUNK)  # a chunk's logits and the gradient of its rows
    assert set(kept) == {hidden.numel(), 1}  # and how many targets count
    assert torch.equal(found, expected[0])
    assert torch.equal(torch.autograd.grad(found, hidden)[0], expected[1])


def test_the_threshold_is_a_count_of_logits(monkeypatch):
    """Just below it the loss uses one matrix; from there on, chunks."""
    monkeypatch.setattr(loss, "chunk_rows", lambda *_: CHUNK)
    for threshold, largest in ((ROWS * VOCABULARY + 1, ROWS * VOCABULARY), (ROWS * VOCABULARY, VOCABULARY * WIDTH)):
        monkeypatch.setattr(loss, "THRESHOLD", threshold)
        with Largest() as watch:
            value_and_gradients(cross_entropy, make_inputs())
        assert watch.numel == largest


def test_the_full_size_step_is_above_the_threshold():
    assert loss.THRESHOLD <= 8 * 512 * 50_257
    assert loss.chunk_rows(50_257, "cpu") == 512
    assert loss.chunk_rows(50_257, "cuda") == 4096


@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="needs a C compiler")
def test_compiled_gives_the_same_loss_and_gradients():
    run_unchecked("import test_loss; test_loss.check_compiled()")


def check_compiled() -> None:
    """As the model is on CUDA, in float32 and in half precision; the loop over chunks is unrolled: only two."""
    loss.chunk_rows, loss.THRESHOLD, loss._loss_and_gradient = lambda *_: CHUNK, 0, as_on_cuda
    inputs = make_inputs(rows=CHUNK + 3)
    found = value_and_gradients(torch.compile(cross_entropy, fullgraph=True), inputs)
    for ours, theirs in zip(found, value_and_gradients(plain, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert_equal_under_bfloat16(torch.compile(ours_capped, fullgraph=True), capped, inputs)
    hidden, weight, targets = inputs
    frozen = torch.compile(cross_entropy, fullgraph=True)(hidden, weight.detach(), targets)
    torch.testing.assert_close(torch.autograd.grad(frozen, hidden)[0], found[1], rtol=1e-5, atol=1e-7)


@torch.no_grad()
def test_gradients_of_the_loss_stay_on_the_inputs_device(monkeypatch):
    """Called past autograd, which a CPU build cannot run on fake CUDA tensors. The last chunk is not full."""
    monkeypatch.setattr(loss, "chunk_rows", lambda *_: 5)
    saved = []
    context = SimpleNamespace(save_for_backward=lambda *tensors: saved.extend(tensors), needs_input_grad=[True] * 2)
    with PlainIndexing(), FakeTensorMode():
        hidden, weight = torch.empty(8, 16, device="cuda"), torch.empty(97, 16, device="cuda")
        targets = torch.empty(8, dtype=torch.long, device="cuda")
        value = loss._ChunkedCrossEntropy.forward(context, hidden, weight, targets, None)
        context.saved_tensors = saved
        gradients = loss._ChunkedCrossEntropy.backward(context, torch.empty((), device="cuda"))[:2]
    assert [tensor.device.type for tensor in (value, *gradients)] == ["cuda"] * 3
    assert [tuple(tensor.shape) for tensor in (value, *gradients)] == [(), (8, 16), (97, 16)]


@pytest.mark.parametrize("bound", [None, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fused_form_equals_the_one_that_reuses_memory(bound, dtype):
    """CUDA takes the fused form; here both run on a CPU, on logits with three columns of padding."""
    logits, targets = torch.randn(7, 24).mul(4).to(dtype), torch.randint(21, (7,))
    both = [loss._loss_and_gradient(logits.clone(), targets, 21, bound, fused) for fused in (True, False)]
    losses, grads = zip(*both, strict=True)
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*grads)
    assert not grads[0][:, 21:].any()
    reference = logits[:, :21].float().requires_grad_()
    F.cross_entropy(loss.softcap(reference, bound), targets, reduction="sum").backward()
    torch.testing.assert_close(
        grads[0][:, :21].float(), reference.grad, rtol=2e-2, atol=2e-2 if dtype != torch.float32 else 1e-6
    )


def some_ignored(targets: Tensor) -> Tensor:
    """Every third target does not count, nor any of the whole second chunk."""
    targets = targets.clone()
    targets[::3] = IGNORED
    targets[CHUNK : 2 * CHUNK] = IGNORED
    return targets


@pytest.mark.parametrize("path", ["plain", "chunked"])
@pytest.mark.parametrize("bound", [None, 3.0])
def test_ignored_targets_do_not_count(request, path, bound):
    if path == "chunked":
        request.getfixturevalue("chunked")
    hidden, weight, targets = make_inputs()
    targets = some_ignored(targets)
    expected = value_and_gradients(plain if bound is None else capped, (hidden, weight, targets))
    found = value_and_gradients(lambda *inputs: cross_entropy(*inputs, bound), (hidden, weight, targets))
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy(hidden, weight, targets, bound), expected[0])
        losses = token_losses(hidden, weight, targets, bound)
    assert torch.equal(losses == 0, targets == IGNORED)


@pytest.mark.parametrize("path", ["plain", "chunked"])
def test_where_nothing_counts_the_loss_and_its_gradient_are_zero(request, path):
    if path == "chunked":
        request.getfixturevalue("chunked")
    hidden, weight, targets = make_inputs()
    for value in value_and_gradients(cross_entropy, (hidden, weight, torch.full_like(targets, IGNORED))):
        assert not value.any()
