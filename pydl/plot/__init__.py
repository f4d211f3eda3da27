"""Every picture: functions that return matplotlib Figures, which ``figure.savefig(path)`` writes to a file.

matplotlib is imported when the first picture is drawn; without it, that is an ImportError which says what to install.
"""

from pydl.plot.bench import roofline, shares, sweep
from pydl.plot.images import feature_maps, images, templates
from pydl.plot.overlays import boxes, masks
from pydl.plot.panels import bars, decision_boundary, lines, matrix, scatter
from pydl.plot.pictures import confusion, curves, filters, mistakes, summary
from pydl.plot.style import SERIES, available, new_figure, save

__all__ = [
    "SERIES",
    "available",
    "bars",
    "boxes",
    "confusion",
    "curves",
    "decision_boundary",
    "feature_maps",
    "filters",
    "images",
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
]
