"""What is at fault in one case of an answer, in a sentence for the learner."""

import textwrap
import traceback
from types import CodeType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from tinyllm.course.checking import trials
from tinyllm.course.checking.comparing import Symptom, Unusable, difference
from tinyllm.course.checking.registry import Function
from tinyllm.course.checking.showing import kind_of, show
from tinyllm.course.checking.trials import Trial

Kind = Literal["not attempted", "correct", "wrong", "raised", "unusable", "timed out"]


class Fault(NamedTuple):
    """What is at fault, in a sentence, and the lines that show expected and got.

    `named`: whether the sentence says what is wrong with the answer, and not only that something is.
    """

    kind: Kind
    sentence: str
    results: str = ""
    named: bool = False

    def after(self, words: str) -> "Fault":
        """The same, where the sentence needs to be told when it holds."""
        return self._replace(sentence=f"{words}: {self.sentence}")


def value_fault(expected: Trial, got: Trial, answer: Function) -> Fault | None:
    """What is wrong with the value, if anything is."""
    if got.timed_out:
        return Fault("timed out", f"your code did not end within {trials.SECONDS:g} seconds. Does a loop never end?")
    if isinstance(got.error, Unusable):
        return _unusable(got.error)
    if got.error is not None:
        # PyTorch raises NotImplementedError too, for a type it cannot compute with, but says so in a message.
        stub = isinstance(got.error, NotImplementedError) and not got.error.args
        return Fault("not attempted" if stub else "raised", f"your code raised {_show_error(got.error, answer)}")
    try:
        where = difference(expected.value, got.value)
        shown = show(got.value) if where else ""
    except Unusable as error:
        return _unusable(error)
    except Exception as error:
        kind = kind_of(got.value)
        return Fault("unusable", f"your result, {kind}, cannot be compared: that raises {type(error).__name__}.")
    if not where:
        return None
    position = "" if where == "result" else f"\n  first difference: {where}"
    return Fault("wrong", "not right yet.", f"\n  expected: {show(expected.value)}\n  got: {shown}{position}")


def _unusable(error: Unusable) -> Fault:
    return Fault("unusable", str(error), named=not isinstance(error, Symptom))


def side_effect(expected: Trial, got: Trial) -> Fault | None:
    """What a right answer does that the reference does not: it alters something, or loses the gradients."""
    altered = sorted(got.changed - expected.changed)
    if altered:
        name, _, part = altered[0].partition(".")
        what = f"its argument `{name}`" + (f" ({part})" if part else "")
        return Fault("wrong", f"the result is right, but your function changes {what}. Work on a copy.")
    drawn = sorted(name for name in got.global_changes - expected.global_changes if "generator" in name)
    seeded = [name for name in drawn if name.startswith("the seed of")]
    if seeded:
        generator = seeded[0].removeprefix("the seed of ")
        return Fault("wrong", f"your function seeds {generator}, so all that is drawn later is the same each time.")
    if drawn and not any("generator" in name for name in expected.global_changes):
        return Fault(
            "wrong",
            f"your function seeds or draws from {drawn[0]}, which all other code shares. Take a generator of its own, "
            "if you need one.",
        )
    settings = sorted(name for name in got.global_changes - expected.global_changes if "generator" not in name)
    if settings:
        return Fault("wrong", f"your function changes {settings[0]}, and so what all later code does.")
    return _gradient_fault(expected, got)


def _gradient_fault(expected: Trial, got: Trial) -> Fault | None:
    if expected.gradients is None:
        return None
    if got.backward_error is not None:
        return Fault(
            "wrong",
            "the values are right, but `backward` through them fails, so a model could not learn. An in-place change "
            "(+=, x[...] = ...) may destroy what it needs: make new tensors.",
        )
    if got.gradients is None:
        return Fault(
            "wrong",
            "the values are right, but they carry no gradients, so a model could not learn through them. Numpy, "
            "detach, item, tolist, torch.tensor and no_grad cut them off.",
        )
    if any("generator" in name for name in expected.global_changes):  # no two calls have the same
        return None
    for name, gradient in expected.gradients.items():
        mine = got.gradients.get(name)
        if gradient is None or gradient.isnan().any() or (mine is None and not gradient.any()):
            continue
        if mine is None:
            return Fault("wrong", f"the values are right, but no gradient reaches `{name}`: it is cut off on the way.")
        if not _alike(gradient, mine):
            return Fault(
                "wrong", f"the values are right, but the gradient that reaches `{name}` is not. Is a part cut off?"
            )
    return None


def _alike(expected: Tensor, got: Tensor) -> bool:
    size = expected.abs().max().item() if expected.numel() else 0.0
    return torch.allclose(got.double(), expected.double(), rtol=1e-3, atol=1e-4 * (1 + size))


def narrow_fault(expected: Trial, got: Trial) -> Fault | None:
    """A result with fewer digits than its inputs have: of another dtype, or computed in one."""
    for right, mine in zip(trials.tensors(expected.value), trials.tensors(got.value), strict=False):
        if right.dtype != torch.float64:
            continue
        if mine.dtype != right.dtype and mine.dtype.is_floating_point:
            return Fault("wrong", f"your result is in {mine.dtype}: keep the dtype of what you are given.")
        finite = right[right.isfinite()]
        size = finite.abs().max().item() if finite.numel() else 0.0
        if right.shape == mine.shape and not torch.allclose(mine, right, rtol=_DIGITS, atol=_DIGITS * size):
            sentence = "only the first digits are right: a step on the way has fewer (a cast, .float()?), or a tiny "
            return Fault("wrong", sentence + "epsilon is missing or does not belong here.")
    return None


_DIGITS = 3e-9  # two sums in another order differ by 1e-15, and float32 by 1e-8 and more


def _show_error(error: BaseException, answer: Any) -> str:
    """An error's type and message, and the last line of the learner's own code on the way to it."""
    text = textwrap.shorten(" ".join(traceback.format_exception_only(error)), 240, placeholder=" ...")
    code = getattr(getattr(answer, "__wrapped__", answer), "__code__", None)  # a built-in function has none
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if isinstance(code, CodeType) and frame.filename == code.co_filename]
    if not theirs:  # the call itself failed
        return text
    return f"{text}\n  in line {theirs[-1].lineno}: {theirs[-1].line}"
