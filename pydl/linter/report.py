"""What lint found, as text and for JSON."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass
from typing import Any

from pydl import notebook

_WIDTH = 110


@dataclass(frozen=True)
class Finding:
    """One thing that is probably wrong.

    Attributes:
        check: What was looked at, such as "dead ReLUs".
        text: What was found, with its numbers.
        advice: What to do.
    """

    check: str
    text: str
    advice: str


@dataclass(frozen=True)
class Report:
    """What :func:`pydl.lint` found. ``str()`` gives it as text.

    Attributes:
        model: The model's class.
        loss: The loss of the batch before any step.
        findings: The likeliest cause first.
        passed: The checks that found nothing.
        skipped: The checks that could not be made, and why.
    """

    model: str
    loss: float
    findings: tuple[Finding, ...]
    passed: tuple[str, ...]
    skipped: dict[str, str]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        count = len(self.findings)
        lines = [f"{self.model}, loss {self.loss:.4g}: {count or 'no'} {'finding' if count == 1 else 'findings'}"]
        for number, finding in enumerate(self.findings, 1):
            lines += ["", *_wrapped(f"{number}. {finding.check}: {finding.text}", "   ")]
            lines += _wrapped(f"   -> {finding.advice}", "      ")
        if self.passed:
            lines += ["", *_wrapped(f"fine: {', '.join(self.passed)}", "  ")]
        lines += [line for name, why in self.skipped.items() for line in _wrapped(f"not checked: {name} ({why})", "  ")]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return notebook.plain(str(self))


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent)
