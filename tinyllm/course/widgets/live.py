"""What every widget is: live controls, and a picture of its own that outlives them."""

import html

import ipywidgets
from IPython.display import display

from tinyllm.plots import Picture

# The saved picture is the output after the controls'. While these live, JupyterLab hides it: they show a newer one.
_HIDE_SAVED_PICTURE = (
    '<style class="tinyllm-live">'
    ".jp-OutputArea-child:has(.tinyllm-live) + .jp-OutputArea-child { display: none }"
    "</style>"
)


class Live:
    """Controls that a cell shows, and the first picture as an output of its own, which stays when they are gone.

    A notebook saves of a widget only its name; opened again, with another kernel, there is nothing by that name.
    """

    def __init__(self, first: Picture, *controls: ipywidgets.Widget):
        self._first = first
        style = ipywidgets.HTML(_HIDE_SAVED_PICTURE, layout=ipywidgets.Layout(display="none"))
        self.box = ipywidgets.VBox([style, *controls])

    def _ipython_display_(self) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        display({"application/vnd.jupyter.widget-view+json": view}, raw=True)  # type: ignore[no-untyped-call]  # untyped there
        display(self._first)  # type: ignore[no-untyped-call]


def as_html(picture: Picture) -> str:
    """The picture with its alt text, for a widget."""
    data, metadata = picture._repr_mimebundle_()
    source = f"data:image/png;base64,{data['image/png']}"
    attributes = {"style": "max-width: 100%", **metadata["image/png"], "src": source}
    written = [f'{name}="{html.escape(str(value))}"' for name, value in attributes.items()]
    return f"<img {' '.join(written)}>"


def status(text: str, style: str = "") -> str:
    """A line that a screen reader reads out when it changes."""
    return f'<p role="status" style="line-height: 1.4; {style}">{html.escape(text)}</p>'


def alert(error: ValueError) -> str:
    """What is wrong with what the learner put in."""
    return f'<p role="alert">{html.escape(str(error))}</p>'
