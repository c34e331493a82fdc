"""A progress bar in a notebook, which keeps what a cell shows.

Of tqdm's own bar it keeps "0%" for readers on GitHub, and for the learner who opens the notebook again "Error
displaying widget: model not found".
"""

from typing import Any

from tqdm.notebook import tqdm_notebook

VIEW = "application/vnd.jupyter.widget-view+json"


class NotebookBar(tqdm_notebook):  # type: ignore[misc]  # tqdm ships no types
    """tqdm's widget, without a text beside it; once closed, a line that says how far it came, or nothing."""

    def __init__(self, *arguments: Any, disable: bool | None = False, **settings: Any):
        super().__init__(*arguments, disable=bool(disable), display=False, **settings)
        self._shown = None
        if not self.disable:
            from IPython.display import display  # there is one in a notebook

            view = {"version_major": 2, "version_minor": 0, "model_id": self.container.model_id}
            self._shown = display({VIEW: view}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Put a line in the bar's place where it is to be left, else nothing."""
        if (shown := getattr(self, "_shown", None)) is not None:
            self._shown = None
            shown.update({"text/plain": f"{self.n:,} of {self.total:,}"} if self.leave else {}, raw=True)
        super().close()
