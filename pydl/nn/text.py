"""The text of modules: how a model prints, and how an error says which module it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydl.nn.module import Module

_OPEN = 30  # a model of so many modules is shown whole, a larger one closed


def layout(name: str, extra: str, lines: list[str]) -> str:
    """Return a module's text: one line without submodules, else one for each of them."""
    first = extra.split("\n")
    if len(first) == 1 and not lines:
        return f"{name}({extra})"
    return f"{name}(\n  " + "\n  ".join((first if extra else []) + lines) + "\n)"


def tree(module: Module) -> str:
    """Return a model for a notebook: a tree of its modules with their numbers of parameters."""
    from pydl import notebook

    few = sum(1 for _ in module.modules()) <= _OPEN

    def branch(name: str, module: Module, top: bool) -> str:
        extra = " ".join(module.extra_repr().split())
        below = [branch(f"({name}): ", child, False) for name, child in module.named_children()]
        kind = f"{name}{module._get_name()}({extra})" if extra or not below else f"{name}{module._get_name()}"
        return notebook.branch(kind, _counts(module), below, top or few)

    return f'<div style="font-family:monospace">{branch("", module, True)}</div>'


def _counts(module: Module) -> str:
    """Return how many parameters a module has, and how many of them get no gradient."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    count, frozen = sum(size for size, _ in sizes), sum(size for size, trained in sizes if not trained)
    if not count:
        return ""
    return f"{count:,} {'parameter' if count == 1 else 'parameters'}" + (f", {frozen:,} frozen" if frozen else "")


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
