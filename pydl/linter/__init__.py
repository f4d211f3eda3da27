"""What is wrong with a training, said before it has run for an hour: ``pydl.lint(model, loss, batch)``."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from pydl.linter.report import Finding as Finding, Report as Report
from pydl.linter.run import lint as lint
from pydl.suggest import missing as _missing

if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
