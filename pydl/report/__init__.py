"""One HTML page that says what there is to see of a training; :class:`pydl.train.Report` writes it."""

from pydl.report.answers import Answers as Answers, answers as answers
from pydl.report.page import Facts as Facts, write as write
