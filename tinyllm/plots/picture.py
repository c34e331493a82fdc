"""What a notebook shows: pixels, and alt text for a reader who cannot see them."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

# Colour-blind safe (Okabe and Ito, "Color Universal Design", 2008); shape or text always says the same as the colour.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"

MimeBundle = tuple[dict[str, Any], dict[str, Any]]
"""What IPython displays: data by MIME type, and metadata by MIME type."""

_PACKAGE = Path(__file__).parent.parent


class Picture(Figure):
    """A figure that a notebook shows without pyplot, with alt text."""

    alt = ""

    def base64_png(self) -> str:
        """The picture as text, for a notebook or a web page."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return base64.b64encode(buffer.getvalue()).decode()

    def _repr_mimebundle_(self, **_: Any) -> MimeBundle:
        return _mime_bundle(self.base64_png(), self.alt)


def figures_folder() -> Path:
    """Where the course's drawings are, and the measured numbers that it shows."""
    folders = (_PACKAGE / "figures", _PACKAGE.parent / "figures")  # as installed, and in a checkout
    return next(folder for folder in folders if (folder / "alt.json").exists())


class Drawing:
    """One of the course's drawings, by the name of its file without `.png`, with its alt text."""

    def __init__(self, name: str):
        folder = figures_folder()
        self.alt: str = json.loads((folder / "alt.json").read_text(encoding="utf-8"))[f"{name}.png"]
        self.png = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()

    def _repr_mimebundle_(self, **_: Any) -> MimeBundle:
        return _mime_bundle(self.png, self.alt, {"width": 800})


def _mime_bundle(png: str, alt: str, size: Mapping[str, int] | None = None) -> MimeBundle:
    """The pixels, and the alt text twice: as plain output, and on the image itself."""
    return {"image/png": png, "text/plain": alt}, {"image/png": {"alt": alt, **(size or {})}}
