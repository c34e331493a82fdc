"""The progress bar of this process: tqdm's, in a terminal; in a notebook one that leaves nothing broken behind."""

from typing import Any

from tqdm.auto import tqdm

Bar: Any = tqdm
if any(base.__name__ == "tqdm_notebook" for base in tqdm.__mro__):  # asked by name: importing it imports all widgets
    from tinyllm.system.notebook_bar import NotebookBar

    Bar = NotebookBar
