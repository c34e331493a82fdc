"""What a learner sees of the course's own runs: a bar while they go on, and one line where they are interrupted."""

import contextlib
from collections.abc import Callable, Iterator

from tqdm.auto import tqdm
from tqdm.notebook import tqdm_notebook


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

    with _bar(steps) as bar:
        try:
            yield step
        except KeyboardInterrupt:
            raise Interrupted(
                f"Stopped after {done} of {steps} steps. The cells below need the whole run: run this cell again."
            ) from None


@contextlib.contextmanager
def _bar(steps: int) -> Iterator[tqdm]:
    """A bar that leaves no trace: in a terminal it clears its line; none where nobody looks, as in a pipe.

    A notebook keeps what it shows, and would say "0%" on GitHub, and "model not found" when opened again. So it shows
    the bar without its text, and replaces it by nothing at the end.
    """
    if not issubclass(tqdm, tqdm_notebook):
        with tqdm(total=steps, leave=False, disable=None) as bar:
            yield bar
        return
    from IPython.display import display  # there is one in a notebook

    with tqdm(total=steps, leave=False, display=False) as bar:
        view = {"version_major": 2, "version_minor": 0, "model_id": bar.container.model_id}
        data = {"application/vnd.jupyter.widget-view+json": view}
        shown = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        try:
            yield bar
        finally:
            shown.update({}, raw=True)
