"""What a notebook shows: pixels, and alt text for a reader who cannot see them."""

import base64
import io
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image, ImageDraw

# Colour-blind safe (Okabe and Ito, "Color Universal Design", 2008); shape or text always says the same as the colour.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"

MimeBundle = tuple[dict[str, Any], dict[str, Any]]
"""What IPython displays: data by MIME type, and metadata by MIME type."""

# Of a picture as a notebook shows it, in CSS pixels; a file has two pixels for each.
_INCH, _PADDING, _CORNER = 100, 12, 12

_PACKAGE = Path(__file__).parent.parent


class Picture(Figure):
    """A figure that a notebook shows without pyplot, with alt text: a white card, on light and dark pages alike."""

    alt = ""

    @property
    def css_width(self) -> int:
        """How wide a page shows the picture, in CSS pixels; its file has twice as many."""
        return round(_INCH * self.get_figwidth()) + 2 * _PADDING

    def base64_png(self) -> str:
        """The picture as text, for a notebook or a web page, to be shown `css_width` wide."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=2 * _INCH, facecolor="white")
        drawn = Image.open(buffer)
        card = Image.new("RGBA", (2 * self.css_width, drawn.height + 4 * _PADDING))
        whole = (0, 0, card.width - 1, card.height - 1)
        ImageDraw.Draw(card).rounded_rectangle(whole, 2 * _CORNER, fill="white")
        card.paste(drawn, (2 * _PADDING, 2 * _PADDING))
        return base64.b64encode(flat_png(card, 256)).decode()

    def _repr_mimebundle_(self, **_: Any) -> MimeBundle:
        return _mime_bundle(self.base64_png(), self.alt, self.css_width)


def flat_png(picture: Image.Image, colours: int) -> bytes:
    """A PNG of few colours, a third in size. One of them is transparent: what is less than half opaque."""
    opacity = picture.getchannel("A")
    on_white = Image.new("RGB", picture.size, "white")
    on_white.paste(picture, mask=opacity)
    flat = on_white.quantize(colours - 1, dither=Image.Dither.NONE)
    known = flat.getpalette() or []
    flat.putpalette((known + 3 * colours * [255])[: 3 * colours])  # with an entry for the colour that is none
    flat.paste(colours - 1, mask=opacity.point([255] * 128 + [0] * 128))
    buffer = io.BytesIO()
    flat.save(buffer, format="png", optimize=True, transparency=colours - 1)
    return buffer.getvalue()


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
        return _mime_bundle(self.png, self.alt, 800)


def _mime_bundle(png: str, alt: str, css_width: int) -> MimeBundle:
    """The pixels, and the alt text twice: as plain output, and on the image itself."""
    return {"image/png": png, "text/plain": alt}, {"image/png": {"alt": alt, "width": css_width}}
