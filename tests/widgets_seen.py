"""What a widget shows, read as a browser would."""

import base64
import html
import re

import ipywidgets


def picture(widget) -> bytes:
    """The pixels."""
    return base64.b64decode(re.search(r'base64,([^"]+)"', widget._view.value)[1])


def words(widget) -> str:
    """The picture's alt text."""
    return html.unescape(re.search(r'alt="([^"]*)"', widget._view.value)[1])


def text_of(view: ipywidgets.HTML) -> str:
    """A line of text without its markup."""
    return html.unescape(re.sub(r"<[^>]+>", "", view.value))


def every(widget: ipywidgets.Widget) -> list[ipywidgets.Widget]:
    """A widget and all that is in it."""
    return [widget, *(one for child in getattr(widget, "children", ()) for one in every(child))]
