"""Where the time of a script's steps goes: every op, forward and backward, as a table, a trace and a picture."""

from pydl.profiler.record import Event as Event
from pydl.profiler.result import Profile as Profile, profile as profile
from pydl.profiler.rows import Row as Row
