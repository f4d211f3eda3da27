"""Every picture: functions that return matplotlib Figures, which ``figure.savefig(path)`` writes to a file.

matplotlib is imported when the first picture is drawn; without it, that is an ImportError which says what to install.
:func:`graph` alone does without: what it returns writes SVG, HTML and DOT by itself.
"""

from typing import TYPE_CHECKING, Any

from pydl.plot.bench import roofline, shares, sweep
from pydl.plot.cost import layers_energy, layers_roofline
from pydl.plot.graph import Graph, graph
from pydl.plot.images import feature_maps, images, templates
from pydl.plot.layers import activations, update_ratios, weights
from pydl.plot.overlays import boxes, masks
from pydl.plot.panels import bars, decision_boundary, lines, matrix, scatter
from pydl.plot.pictures import confusion, curves, filters, mistakes, summary
from pydl.plot.style import SERIES, available, new_figure, save
from pydl.plot.timeline import timeline
from pydl.suggest import no_attribute as _no_attribute

__all__ = [
    "SERIES",
    "Graph",
    "activations",
    "available",
    "bars",
    "boxes",
    "confusion",
    "curves",
    "decision_boundary",
    "feature_maps",
    "filters",
    "graph",
    "images",
    "layers_energy",
    "layers_roofline",
    "lines",
    "masks",
    "matrix",
    "mistakes",
    "new_figure",
    "roofline",
    "save",
    "scatter",
    "shares",
    "summary",
    "sweep",
    "templates",
    "timeline",
    "update_ratios",
    "weights",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise _no_attribute("pydl.plot", __all__, name)
