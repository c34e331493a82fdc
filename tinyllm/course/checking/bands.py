"""Numbers that were measured: right if they lie within a band."""

from typing import Any


def settle(measured: Any, *known: float, band: float = 0.1) -> Any:
    """The first known number that `measured` is as good as; `measured` itself if it is near none.

    What is drawn at random differs a little each time. Settled, it can be compared, and so can the number that a
    usual mistake gives. `band` is a share of the known number.
    """
    try:
        number = float(measured)
    except (TypeError, ValueError, RuntimeError):  # no number: the comparison will say so
        return measured
    return next((one for one in known if abs(number - one) <= band * abs(one)), measured)
