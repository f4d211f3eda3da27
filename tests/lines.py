"""Which lines of csrc/ a build made with gcc --coverage has run: python tests/lines.py BUILD [LEAST PERCENT].

A line that stands in several builds, of instruction sets and element types, has run if it has in one of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path


def counted(notes: Path) -> dict[str, dict[int, int]]:
    """Return how often each line of each of our files ran, as one object file's notes and counters have it."""
    done = subprocess.run(
        ["gcov", "--json-format", "--stdout", notes.name], cwd=notes.parent, check=True, capture_output=True, text=True
    )
    files: dict[str, dict[int, int]] = {}
    for file in json.loads(done.stdout)["files"]:
        path = Path(notes.parent, file["file"]).resolve()
        if "csrc" in path.parts:
            lines = files.setdefault(str(Path(*path.parts[path.parts.index("csrc") :])), {})
            for line in file["lines"]:
                number = line["line_number"]
                lines[number] = max(lines.get(number, 0), line["count"])
    return files


def ranges(numbers: list[int]) -> str:
    """Return line numbers in short: 3, 7-9."""
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def main(build: str, least: float = 0) -> str | None:
    merged: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    with ThreadPoolExecutor(4) as pool:
        for files in pool.map(counted, sorted(Path(build).rglob("*.gcno"))):
            for name, lines in files.items():
                for number, count in lines.items():
                    merged[name][number] += count
    total = ran = 0
    for name in sorted(merged):
        missed = sorted(number for number, count in merged[name].items() if not count)
        total, ran = total + len(merged[name]), ran + len(merged[name]) - len(missed)
        print(f"{name:44} {len(merged[name]):5} lines, {len(missed):3} not run  {ranges(missed)}".rstrip())
    share = 100 * ran / max(total, 1)
    print(f"{ran} of {total} lines ran: {share:.1f} %")
    return f"less than {least:g} %" if share < least else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(float, sys.argv[2:])))
