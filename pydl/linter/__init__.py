"""What is wrong with a training, said before it has run for an hour: ``pydl.lint(model, loss, batch)``."""

from pydl.linter.report import Finding as Finding, Report as Report
from pydl.linter.run import lint as lint
