"""How numbers and ops are written on a graph: symbols and local derivatives."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from pydl.native import Array

# Symbol, and the derivative with respect to each input: {0} and {1} are the inputs' names, x is the only one's.
_FORMULAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "add": ("+", ("1", "1")),
    "sub": ("-", ("1", "-1")),
    "mul": ("×", ("{1}", "{0}")),
    "div": ("÷", ("1/{1}", "-{0}/{1}²")),
    "pow": ("xⁿ", ("{1} {0}^({1} - 1)", "{0}^{1} ln {0}")),
    "maximum": ("max", ("1 if {0} > {1}, else 0", "1 if {1} > {0}, else 0")),
    "minimum": ("min", ("1 if {0} < {1}, else 0", "1 if {1} < {0}, else 0")),
    "neg": ("× -1", ("-1",)),
    "exp": ("exp", ("eˣ",)),
    "log": ("ln", ("1/x",)),
    "reciprocal": ("1/x", ("-1/x²",)),
    "square": ("x²", ("2x",)),
    "sqrt": ("√x", ("1/(2√x)",)),
    "abs": ("|x|", ("sign x",)),
    "sin": ("sin", ("cos x",)),
    "cos": ("cos", ("-sin x",)),
    "sigmoid": ("σ", ("σ(x) (1 - σ(x))",)),
    "tanh": ("tanh", ("1 - tanh² x",)),
    "relu": ("ReLU", ("1 if x > 0, else 0",)),
    "sum": ("sum", ("1",)),
    "mean": ("mean", ("1/n",)),
}
# What an op on whole tensors sends to its inputs where dy arrives.
_SENT: dict[str, tuple[str, ...]] = {
    "matmul": ("d{0} = dy {1}ᵀ", "d{1} = {0}ᵀ dy"),
    "linear": ("dx = dy W", "dW = dyᵀ x", "db = sum of dy"),
    "linear + relu": ("dx = dy W", "dW = dyᵀ x", "db = sum of dy", "dy = 0 where y = 0"),
    "conv2d": ("dx: dy convolved with W", "dW: x correlated with dy", "db: sum of dy"),
    "conv2d + relu": ("dx: dy convolved with W", "dW: x correlated with dy", "db: sum of dy", "dy = 0 where y = 0"),
    "max_pool2d": ("dx = dy at each maximum",),
    "max_pool2d + relu": ("dx = dy at each maximum > 0",),
    "cross_entropy": ("dx = (softmax x - target) / n",),
    "softmax": ("dx = y (dy - sum of y dy)",),
    "log_softmax": ("dx = dy - softmax x · sum of dy",),
}
# Symbol and derivative of an op of two operands where one is a constant, which is not known.
_UNKNOWN = {
    ("add", 0): ("+ c", "1"),
    ("add", 1): ("+ c", "1"),
    ("sub", 0): ("- c", "1"),
    ("sub", 1): ("c - x", "-1"),
    ("rsub", 0): ("c - x", "-1"),
    ("mul", 0): ("× a", "a"),
    ("mul", 1): ("× a", "a"),
    ("div", 0): ("÷ c", "1/c"),
    ("div", 1): ("c/x", "-c/x²"),
    ("pow", 0): ("xⁿ", "n xⁿ⁻¹"),
    ("pow", 1): ("cˣ", "cˣ ln c"),
}
_ACROSS = 4  # elements of a vector in one line
_FIGURE_SPACE = "\u2007"  # as wide as a digit
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def number(value: float) -> str:
    """Return a number in few digits: whole ones without a point, others with two decimals or two digits.

    Example:
        >>> [number(v) for v in (-4.0, 0.19661, 0.0123, 1234.5, float("nan"))]
        ['-4', '0.20', '0.012', '1234', 'nan']
    """
    if not math.isfinite(value):
        return str(value)
    if abs(value - round(value)) <= 1e-6 * abs(value) < 1:
        return str(round(value))
    if 0.095 <= abs(value) < 1000:
        return f"{value:.2f}"
    return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.2g}"


def values(array: Array) -> list[str]:
    """Return a handful of elements as lines: a row of a matrix or four numbers of a vector on each.

    All have the same number of decimals.

    Example:
        >>> values(np.array([[0.5, -2.0], [0.25, 0.004]]))
        ['[\u20070.50, -2.00]', '[\u20070.25, \u20070.00]']
    """
    if array.ndim == 0:
        return [number(float(array))]
    if not array.size:
        return [shape(array.shape)]
    rows = array.reshape(-1, array.shape[-1])
    elements = [float(element) for element in array.ravel()]
    largest = max([abs(element) for element in elements if math.isfinite(element)], default=0.0)
    if all(not math.isfinite(element) or number(element).lstrip("-").isdigit() for element in elements):
        style = ".0f"
    elif 1e-4 <= largest < 1e4:
        style = f".{2 if largest >= 0.095 else 1 - math.floor(math.log10(largest))}f"
    else:
        style = ".1e"
    words = [[format(float(element), style) for element in row] for row in rows]
    words = [[word if float(word) else word.lstrip("-") for word in row] for row in words]
    if len(words) == 1 and len(words[0]) <= _ACROSS:
        return [f"[{', '.join(words[0])}]"]
    width = max(len(word) for row in words for word in row)
    lines = [[word.rjust(width, _FIGURE_SPACE) for word in row] for row in words]
    if len(lines) > 1:
        return [f"[{', '.join(line)}]" for line in lines]
    parts = [", ".join(lines[0][i : i + _ACROSS]) for i in range(0, len(lines[0]), _ACROSS)]
    return [f"[{parts[0]},", *[f"{_FIGURE_SPACE}{part}," for part in parts[1:-1]], f"{_FIGURE_SPACE}{parts[-1]}]"]


def shape(lengths: Sequence[int]) -> str:
    """Return a shape in words."""
    return " × ".join(map(str, lengths)) if lengths else "scalar"


def lettered(name: str) -> str:
    """Return a name with its number as an index, if it is a letter and a number: w0 as w₀."""
    found = re.fullmatch(r"([A-Za-z])_?(\d{1,2})", name)
    return found[1] + found[2].translate(_LOWERED) if found else name


def symbol(name: str) -> str:
    """Return what is written on an op."""
    return _FORMULAS[name][0] if name in _FORMULAS else name


def derivatives(name: str, operands: Sequence[str]) -> list[str]:
    """Return the derivative of an op on single elements with respect to each input, nothing for other ops."""
    return [line.format(*operands, "b") for line in _FORMULAS[name][1]] if name in _FORMULAS else []


def sent(name: str, operands: Sequence[str]) -> list[str]:
    """Return what an op on whole tensors sends to its inputs, in words, nothing for other ops."""
    return [line.format(*operands, "b") for line in _SENT.get(name, ())]


def with_constant(name: str, position: int, before: Array | None, after: Array | None) -> tuple[str, str] | None:
    """Return symbol and derivative of an op on two operands of which one is a constant, None for other ops.

    The tape does not hold the constant: it follows from the values on both sides, where these are known.

    Args:
        name: The op's name.
        position: Which operand is not the constant.
        before: That operand's values.
        after: The result's values.
    """
    if (name, position) not in _UNKNOWN:
        return None
    c = None if before is None or after is None else _constant(name, position, before, after)
    if c is None:
        return _UNKNOWN[name, position]
    text = number(c)
    if name == "add" or (name == "sub" and position == 0):
        c = c if name == "add" else -c
        return f"{'-' if c < 0 else '+'} {number(abs(c))}", "1"
    if name in ("sub", "rsub"):
        return f"{text} - x", "-1"
    if name == "mul":
        return f"× {text}", text
    if name == "div":
        return (f"÷ {text}", f"1/{text}") if position == 0 else (f"{text}/x", f"{number(-c)}/x²")
    if position == 1:
        return f"{text}ˣ", f"{text}ˣ ln {text}"
    whole = abs(c - round(c)) < 1e-6
    if c == 2:
        return "x²", "2x"
    return (f"x{_raised(c)}", f"{text} x{_raised(c - 1)}") if whole else (f"x^{text}", f"{text} x^{number(c - 1)}")


def _raised(c: float) -> str:
    return str(round(c)).translate(_RAISED)


def _constant(name: str, position: int, before: Array, after: Array) -> float | None:
    """Return the one constant that leads from the values before to those after, None if there is none."""
    if before.shape != after.shape or not before.size:
        return None
    found = []
    for x, y in zip(before.astype(np.float64).ravel().tolist(), after.astype(np.float64).ravel().tolist(), strict=True):
        try:
            if name == "add":
                c = y - x
            elif name == "sub" and position == 0:
                c = x - y
            elif name in ("sub", "rsub"):
                c = y + x
            elif name == "mul":
                c = y / x
            elif name == "div":
                c = x / y if position == 0 else x * y
            else:
                c = math.log(y) / math.log(x) if position == 0 else y ** (1 / x)
        except (ZeroDivisionError, ValueError, OverflowError):  # this element says nothing about it
            continue
        if isinstance(c, complex) or not math.isfinite(c):
            return None
        found.append(c)
    if not found or max(found) - min(found) > 1e-4 * max(1.0, abs(found[0])):
        return None
    middle = sorted(found)[len(found) // 2]
    near = float(f"{middle:.4g}")
    return near if abs(near - middle) <= 1e-5 * abs(middle) else middle
