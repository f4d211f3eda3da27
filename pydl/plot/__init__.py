"""Every picture: functions that return matplotlib Figures, which ``figure.savefig(path)`` writes to a file.

matplotlib is imported when the first picture is drawn; without it, that is an ImportError which says what to install.
:func:`graph` alone does without: what it returns writes SVG, HTML and DOT by itself.
"""

from pydl.plot.bench import roofline, shares, sweep
from pydl.plot.graph import Graph, graph
from pydl.plot.pictures import confusion, curves, filters, mistakes, summary
from pydl.plot.style import available, save

__all__ = [
    "Graph",
    "available",
    "confusion",
    "curves",
    "filters",
    "graph",
    "mistakes",
    "roofline",
    "save",
    "shares",
    "summary",
    "sweep",
]
