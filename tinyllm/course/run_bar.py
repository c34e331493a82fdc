"""What a learner sees of the course's own runs: a bar while they go on, and one line where they are interrupted."""

import contextlib
from collections.abc import Callable, Iterator

from tinyllm.system.bars import Bar


class Interrupted(KeyboardInterrupt):
    """A run was stopped before its end. A notebook shows this line instead of a traceback, and runs no further cell."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@contextlib.contextmanager
def watched(steps: int) -> Iterator[Callable[[], None]]:
    """A bar over so many steps, moved by one at each call of the function given.

    Raises Interrupted at Ctrl-C. A run that is cut off there is no result: unlike `train`'s, it is saved nowhere.
    """
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        bar.update()

    with Bar(total=steps, leave=False, disable=None) as bar:
        try:
            yield step
        except KeyboardInterrupt:
            raise Interrupted(
                f"Stopped after {done} of {steps} steps. The cells below need the whole run: run this cell again."
            ) from None
