"""Training: the Trainer, its callbacks and checkpoints, and a model's answers to many samples."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from pydl.suggest import missing as _missing
from pydl.train.callbacks import Callback, Checkpoint, ClipGradients, EarlyStopping, Scheduler
from pydl.train.evaluation import predict
from pydl.train.history import History
from pydl.train.logs import CSVLog, LiveCurve, TensorBoardLog
from pydl.train.progress import Progress
from pydl.train.reporting import Report
from pydl.train.trainer import Trainer
from pydl.train.trials import DryRun, RateSearch

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "ClipGradients",
    "DryRun",
    "EarlyStopping",
    "History",
    "LiveCurve",
    "Progress",
    "RateSearch",
    "Report",
    "Scheduler",
    "TensorBoardLog",
    "Trainer",
    "predict",
]

if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
