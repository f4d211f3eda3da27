"""Gradients from finite differences beside the analytic ones: a check of models, the lecture's table, the cost."""

from pydl.numeric.cost import Cost, cost
from pydl.numeric.model import check_model
from pydl.numeric.report import Entry, ParameterCheck, Report
from pydl.numeric.table import Line, Table, table

__all__ = ["Cost", "Entry", "Line", "ParameterCheck", "Report", "Table", "check_model", "cost", "table"]
