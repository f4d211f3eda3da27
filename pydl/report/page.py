"""The page of a report: its frame, its look in light, in dark and on paper, and its parts in their order."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from pydl import config
from pydl.io import atomic
from pydl.nn import Module
from pydl.report import parts
from pydl.report.answers import Answers

if TYPE_CHECKING:
    from pydl.cost import Summary
    from pydl.profiler import Profile

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --back: #f3f4f6; --front: #ffffff; --ink: #22262b; --soft: #6b7280; --line: #e3e6ea;
  --blue: #1f5fa8; --orange: #d9661f; --right: 31, 95, 168; --wrong: 217, 102, 31; }
@media (prefers-color-scheme: dark) { :root { --back: #0c0f13; --front: #161b22; --ink: #e8eaed; --soft: #9aa3af;
  --line: #2c333d; --blue: #6aa9ec; --orange: #f08c4a; --right: 88, 150, 220; --wrong: 240, 140, 74; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 "Helvetica Neue", Helvetica, Arial,
  "Liberation Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 10px; }
h3 { font-size: 14px; margin: 16px 0 6px; color: var(--soft); font-weight: 600; }
p { margin: 0 0 10px; }
.soft { color: var(--soft); }
section { background: var(--front); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin-top: 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 18px; }
.tile { background: var(--front); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.tile b { display: block; font-size: 22px; line-height: 1.25; }
.tile span { color: var(--soft); font-size: 13px; }
.scroll { overflow: auto; max-height: 480px; }
svg { display: block; max-width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { text-align: right; padding: 3px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .word { text-align: left; padding-left: 0; }
tfoot td { font-weight: 600; border-bottom: 0; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
.facts td:first-child { color: var(--soft); white-space: nowrap; }
.matrix td, .matrix th { text-align: center; border: 1px solid var(--front); padding: 4px 7px; min-width: 34px; }
.matrix th { border: 0; }
.matrix tbody th { text-align: right; }
.pair { display: flex; flex-wrap: wrap; gap: 12px 44px; align-items: flex-start; }
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 14px 10px; }
.faces figure { margin: 0; font-size: 12px; line-height: 1.35; overflow-wrap: anywhere; }
.faces img { width: 84px; height: 84px; object-fit: contain; image-rendering: pixelated; display: block;
  background: #000; border-radius: 4px; margin-bottom: 4px; }
pre { margin: 6px 0 10px; padding: 10px 12px; background: var(--back); border-radius: 8px; overflow-x: auto;
  font: 13px/1.5 "DejaVu Sans Mono", Menlo, Consolas, monospace; }
@media print {
  :root { --back: #ffffff; --front: #ffffff; --ink: #22262b; --soft: #555c66; --line: #d5d9de; --blue: #1f5fa8;
    --orange: #d9661f; --right: 31, 95, 168; --wrong: 217, 102, 31; color-scheme: light; }
  body { font-size: 11px; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  section { border: 0; padding: 8px 0; }
  h2, h3 { break-after: avoid; }
  figure, svg, tr, .tile { break-inside: avoid; }
  .scroll { overflow: visible; max-height: none; }
  table { font-size: 10px; }
  pre { white-space: pre-wrap; border: 1px solid var(--line); }
}
"""


@dataclass(frozen=True)
class Facts:
    """What a report is made of.

    Attributes:
        title: A line over everything.
        history: The figures of each epoch, as ``Trainer.history`` has them.
        settings: What the run was made of, by names of one's own.
        data: What it learned from, and what it was judged by.
        model: The model, as it is at the end.
        summary: What its layers cost; None where it is not known.
        batch: Inputs to see activations of; None for no such picture.
        answers: A classifier's answers to what it was judged by; None where it is no classifier.
        names: Of the classes; their numbers if None.
        profile: Some training steps, the last of which is drawn; None for no such picture.
        resume: How to go on; "" where there is no checkpoint.
        again: What else one may do with the run: a line of text and a command each.
    """

    title: str
    history: Sequence[Mapping[str, float]]
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    model: Module
    summary: Summary | None = None
    batch: Any = None
    answers: Answers | None = None
    names: Sequence[str] | None = None
    profile: Profile | None = None
    resume: str = ""
    again: Sequence[tuple[str, str]] = ()


def write(facts: Facts, path: str | os.PathLike[str]) -> None:
    """Write the page; it holds all that it shows, and loads and runs nothing.

    Args:
        facts: What it is made of.
        path: The file; it appears whole or not at all. Its folder must be there.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: The file cannot be written.
        ValueError: There is no epoch.
    """
    atomic.write(path, page(facts).encode())


def page(facts: Facts) -> str:
    """Return the page as text.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There is no epoch.
    """
    if not facts.history:
        raise ValueError("report: there is no epoch to show")
    host = config.report()
    title = escape(facts.title)
    when = f"{datetime.now():%Y-%m-%d %H:%M}"
    threads = host["threads"]["chosen"]
    where = f"{host['cpu']}, {host['instruction_sets']['chosen']} kernels, {threads} thread{'s'[: threads > 1]}"
    sections = [
        parts.learning(facts.history),
        parts.confusion(facts.answers, facts.names),
        parts.mistakes(facts.answers, facts.names),
        parts.weights(facts.model, facts.batch),
        parts.model(facts.summary),
        parts.step(facts.profile),
        parts.table("Settings", facts.settings),
        parts.table("Data", facts.data),
        parts.table("Machine and versions", parts.machine(host)),
        parts.going_on(facts.resume, facts.again),
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8" />',
            '<meta name="viewport" content="width=device-width, initial-scale=1" />',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}" />',
            f"<title>{title}</title>",
            f"<style>{_STYLE}</style></head>",
            f'<body><main><header><h1>{title}</h1><p class="soft">{when}, pydl {host["versions"]["pydl"]} on '
            f"{escape(where)}</p></header>",
            parts.tiles(facts.history, facts.summary),
            *[section for section in sections if section],
            "</main></body></html>",
            "",
        ]
    )
