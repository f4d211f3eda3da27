"""The command line: ``python -m pydl`` and ``pydl`` with the commands that ``pydl --help`` lists."""

from pydl.cli.run import main as main
