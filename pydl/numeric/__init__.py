"""Gradients from finite differences beside the analytic ones: a check of models, the lecture's table, the cost."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from pydl.numeric.cost import Cost, cost
from pydl.numeric.model import check_model
from pydl.numeric.report import Entry, ParameterCheck, Report
from pydl.numeric.table import Line, Table, table
from pydl.suggest import missing as _missing

__all__ = ["Cost", "Entry", "Line", "ParameterCheck", "Report", "Table", "check_model", "cost", "table"]

if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
