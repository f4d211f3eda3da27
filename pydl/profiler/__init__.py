"""Where the time of a script's steps goes: every op, forward and backward, as a table, a trace and a picture."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from pydl.profiler.record import Event as Event
from pydl.profiler.result import Profile as Profile, profile as profile
from pydl.profiler.rows import Row as Row
from pydl.suggest import missing as _missing

if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
