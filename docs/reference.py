"""The directive ``public``: a table of a module's public names, and the text of those that are documented there."""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from public import find, homes, public_names
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import get_node_source

from pydl.nn import Module


def summary(value: Any) -> str:
    """Return the first paragraph of a docstring, in one line, without links."""
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    return re.sub(r":[a-z]+:`~?([^`]*)`", r"``\1``", text)


class Public(SphinxDirective):
    """``.. public:: pydl.nn``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the section of a module."""
        name = self.arguments[0]
        module = import_module(name)
        self.env.note_dependency(str(module.__file__))
        rows, documented = [], {}
        for own in public_names(module):
            value = getattr(module, own)
            if inspect.ismodule(value):
                continue
            home = homes().get(id(value))
            if home is None:  # a constant
                rows.append((f"``{own}``", f"``{value!r}``" if len(repr(value)) < 80 else type(value).__name__))
                continue
            rows.append((f":py:obj:`{own} <{home}>`", summary(value)))
            if home == f"{name}.{own}":
                documented[own] = value
        lines = [f".. py:module:: {name}", "", *inspect.getdoc(module).splitlines(), ""]
        lines += [".. list-table::", "   :class: names", "   :widths: 30 70", ""]
        for row in rows:
            lines += [f"   * - {row[0]}", f"     - {row[1]}"]
        for own, value in documented.items():
            lines += ["", *(directive_of(f"{name}.{own}", value))]
        node = nodes.section()
        node.document = self.state.document
        self.state.nested_parse(StringList(lines, source=name), 0, node)
        return node.children


def directive_of(name: str, value: Any) -> list[str]:
    """Return the lines that document a function or a class; of Tensor's methods, those that are ops are listed."""
    if not inspect.isclass(value):
        return [f".. autofunction:: {name}", ""]
    ops = {
        own: homes()[id(member)]
        for own, member in vars(value).items()
        if own[0] != "_" and inspect.isfunction(member) and id(member) in homes()
    }
    lines = [f".. autoclass:: {name}", "   :members:"]
    if any(id(base) in homes() or base.__module__ == "builtins" for base in value.__mro__[1:-1]):
        lines.append("   :show-inheritance:")
    if issubclass(value, Module) and value is not Module:  # what the class's text says
        return [*lines, "   :exclude-members: forward, extra_repr", ""]
    if not ops:
        return [*lines, ""]
    lines += [
        f"   :exclude-members: {', '.join(ops)}",
        "",
        "   Functions that are methods, too, of their first argument:",
    ]
    links = [f":py:obj:`{own} <{home}>`" for own, home in sorted(ops.items())]
    return [*lines, "", f"   {', '.join(links)}.", ""]


def skip_fields(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples, which their class's text describes."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def show_public_bases(app: Sphinx, name: str, obj: Any, options: Any, bases: list[Any]) -> None:
    """Show those bases in place of one that is not public which it has itself."""
    while hidden := [
        base for base in bases if getattr(base, "__module__", "")[:4] == "pydl" and id(base) not in homes()
    ]:
        at = bases.index(hidden[0])
        bases[at : at + 1] = [base for base in hidden[0].__bases__ if base is not object] or [object]


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> nodes.Node | None:
    """Link a name to where it is documented; what is there and not public stays plain text.

    A name is looked for as it is, in the class and the module that the page is about, in the file that the docstring
    comes from, and in the files of the package.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    module, own = node.get("py:module"), node.get("py:class")
    file = re.match(r".*/(pydl/[\w/]+)\.py:docstring of", get_node_source(node) or "")
    contexts = [
        f"{module}.{own}" if own else None,
        module,
        file and file[1].replace("/", ".").removesuffix(".__init__"),
        *[name for name in sys.modules if name.startswith(f"{module}.")],  # an annotation has no file
    ]
    for name in (target, *(f"{context}.{target}" for context in contexts if context)):
        try:
            found = find(name)
        except AttributeError:
            continue
        home = homes().get(id(found))
        if home is None:
            return content
        return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", home, node, content)
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.add_directive("public", Public)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("autodoc-process-bases", show_public_bases)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
