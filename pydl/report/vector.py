"""Pictures within a page: matplotlib figures as SVG in the page's own colours, images as PNG, both without a file."""

from __future__ import annotations

import base64
import io
import re
from html import escape
from typing import Any

from pydl.native import Array
from pydl.plot.style import BLUE, GREY, INK, ORANGE, PALE

_COLOURS = {INK: "ink", GREY: "soft", PALE: "line", BLUE: "blue", ORANGE: "orange", "#ffffff": "front"}
_NAMES = re.compile(r'(\bid="|url\(#|href="#)')


def svg(figure: Any, name: str, text: str) -> str:
    """Return a figure as SVG whose colours are the page's, light or dark.

    Args:
        figure: A matplotlib Figure.
        name: A word of its own within the page: ids begin with it.
        text: What it shows, for those who cannot see it.
    """
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None})
    drawn = stream.getvalue()
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.S)
    drawn = _NAMES.sub(lambda found: f"{found[0]}{name}-", drawn)
    for colour, word in _COLOURS.items():
        drawn = drawn.replace(f": {colour}", f": var(--{word})")
    opening = f'<svg role="img" aria-label="{escape(text)}"'
    return drawn.replace("<svg", opening, 1)


def picture(image: Array, text: str) -> str:
    """Return an image as an ``img`` that holds its PNG.

    Args:
        image: (1, H, W), drawn from black at its least value to white at its largest, or (3, H, W), colours of 0..1.
        text: What it shows, for those who cannot see it.
    """
    from matplotlib.image import imsave

    stream = io.BytesIO()
    if len(image) == 1:
        imsave(stream, image[0], cmap="gray", format="png")
    else:
        imsave(stream, image.transpose(1, 2, 0).clip(0, 1), format="png")
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(text)}" />'
