"""Every picture: functions that return matplotlib Figures, which ``figure.savefig(path)`` writes to a file.

matplotlib is imported when the first picture is drawn; without it, that is an ImportError which says what to install.
"""

from pydl.plot.bench import roofline, shares, sweep
from pydl.plot.cost import layers_energy, layers_roofline
from pydl.plot.pictures import confusion, curves, filters, mistakes, summary
from pydl.plot.style import available, save

__all__ = [
    "available",
    "confusion",
    "curves",
    "filters",
    "layers_energy",
    "layers_roofline",
    "mistakes",
    "roofline",
    "save",
    "shares",
    "summary",
    "sweep",
]
