"""Which bar a process has; that of a notebook is in test_notebook_bar."""

from tqdm.std import tqdm

from tinyllm.system.bars import Bar


def test_elsewhere_it_is_the_usual_one():
    assert issubclass(Bar, tqdm) and Bar.__module__.startswith("tqdm")
