"""What a model costs: arithmetic and memory by layer, time against this machine's limits, and a model of its energy.

``from pydl import cost`` (``import pydl`` alone does not bring it).
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from pydl.cost.energy import Energy as Energy, energy as energy
from pydl.cost.ops import Op as Op, Work as Work
from pydl.cost.roofline import Roofline as Roofline, Timing as Timing, roofline as roofline
from pydl.cost.summary import Summary as Summary, summary as summary
from pydl.suggest import missing as _missing

if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
