"""The text of modules: how a model prints, and how an error says which module it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydl.nn.module import Module


def layout(name: str, extra: str, lines: list[str]) -> str:
    """Return a module's text: one line without submodules, else one for each of them."""
    first = extra.split("\n")
    if len(first) == 1 and not lines:
        return f"{name}({extra})"
    return f"{name}(\n  " + "\n  ".join((first if extra else []) + lines) + "\n)"


def name_module(error: Exception, module: Module) -> None:
    """Put the path of the innermost module into the error's text, anew at each enclosing module it passes."""
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    innermost, text = error.__dict__.setdefault("_pydl_origin", (module, error.args[0]))
    if innermost is module:
        return
    path = next((path for path, found in module.named_modules() if found is innermost), None)
    if path is None:
        return
    kind = type(innermost).__name__
    op, _, rest = text.partition(": ")
    if rest and kind.lower().startswith(op.lower().replace("_", "")):
        text = rest  # "linear: expects ..." in a Linear
    error.args = (f"{kind} {path!r}: {text}",)
