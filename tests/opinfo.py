"""PyTorch's own samples of its ops and of wrong arguments (OpInfo): how one is carried over to pydl and judged.

``python tests/opinfo.py`` prints what became of them, as the table of docs/reliability.md.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

import pydl
from pydl.nn import functional as F

DTYPES = {
    getattr(torch, name): getattr(pydl, name)
    for name in ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
}
REFUSED = (ValueError, TypeError, IndexError, OverflowError, RuntimeError, MemoryError)
IN_WORDS = re.compile(r"\w+: |\w+\(\) got an unexpected keyword|Error\(s\)")
TOLERANCE = {torch.float32: (1.3e-5, 1e-5), torch.float64: (1e-7, 1e-7)}  # of values; of gradients four times as much

DRAWN = "values are drawn or left open: shape and dtype are compared"
OPEN = {
    *("empty", "empty_like", "new_empty", "rand_like", "randn", "randn_like", "randint", "normal", "bernoulli"),
    *("multinomial", "nn.functional.dropout", "nn.functional.dropout2d"),
}
ORDERED = {"sort", "argsort", "topk"}  # the order of equal elements is open
TYPES = {"float", "int", "bool", "double", "long", "short"}  # dtypes in pydl, too, and methods in PyTorch

# What pydl does not do, by op ("" is all), the words in which it says so, and why.
REASONS = [
    ("", r"expects float32 or float64, got", "products, convolutions, pools, norms and losses are of floats"),
    ("", r"numbers and not bools", "a bool is no number"),
    ("arange", r"must be a number, got (True|False)", "a bool is no number"),
    ("masked_fill", r"10 cannot be stored in a tensor of bool", "a number would lose its value"),
    ("nn.functional.instance_norm", r"running statistics", "running statistics of instance norm are not kept"),
    ("nn.functional.interpolate", r"expects \(N, C, H, W\) or \(N, C, L\)", "three-dimensional images are not there"),
    ("nn.functional.interpolate", r"got '(bicubic|trilinear)'", "two modes are not there"),
    ("nn.functional.multi_margin_loss", r"expects scores of|expect labels of", "scores without a batch"),
    ("nn.functional.avg_pool2d", r"divisor_override must be at least 1, got -2", "a negative divisor"),
    ("nn.functional.batch_norm", r"expects \(N, C, \.\.\.\), got shape \(0,\)", "an input without channels"),
    ("nn.functional.dropout2d", r"expects \(N, C, H, W\)", "PyTorch itself warns of this shape"),
    ("__rpow__", r"integers to a negative power", "has no integer result"),
    ("gather", r"index must have \d dimensions", "an index of another number of dimensions"),
    ("scatter", r"unexpected keyword argument 'reduce'", "deprecated in PyTorch"),
    ("normal", r"unexpected keyword argument", "options that are not there"),
    ("nn.functional.embedding", r"sparse=True asks for sparse gradients", "sparse gradients are not there"),
    ("zero_", r"a leaf that requires a gradient", "PyTorch refuses it too; its sample copies first"),
    ("norm", r"got 'nuc'", "norms of matrices are not there"),
    ("norm", r"no gradient", "p = 0 counts: the gradient is 0"),
    ("bernoulli", r"no gradient", "a draw has no gradient"),
    ("where", r"the condition must be bool", "a condition is a bool"),
]


class NotCarriedError(Exception):
    """A sample holds what pydl has no word for (complex numbers, sparse tensors); the text is the reason."""


def callables(op: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the places where pydl has an op of PyTorch's, and what is there."""
    name = op.name
    if name == "nn.functional.embedding":
        yield "functional", lambda weight, index, **options: F.embedding(index, weight, **options)
        return
    if name.startswith("nn.functional."):
        if name.removeprefix("nn.functional.") in vars(F):
            yield "functional", getattr(F, name.removeprefix("nn.functional."))
        return
    if (name, op.variant_test_name) == ("normal", "in_place"):
        yield "method", lambda x, *args, **options: x.clone().normal_(*args, **options)
        return
    if name == "where":
        yield "function", lambda x, condition, other: pydl.where(condition, x, other)
    elif name in vars(pydl) and name not in TYPES and callable(getattr(pydl, name)):
        yield "function", getattr(pydl, name)
    if hasattr(pydl.Tensor, name):
        member = getattr(pydl.Tensor, name)
        yield "method", (lambda x: member.__get__(x)) if isinstance(member, property) else member


OPS = [(op, where, function) for op in op_db for where, function in callables(op)]


def carried(value: Any) -> Any:
    """Return a sample's argument as pydl takes it: tensors with their strides, dtypes by name."""
    if isinstance(value, torch.Tensor):
        if value.dtype not in DTYPES:
            raise NotCarriedError(f"elements of {value.dtype}")
        if value.layout != torch.strided or value.device.type != "cpu":
            raise NotCarriedError(f"{value.layout} on {value.device.type}")
        if value.ndim > 64:
            raise NotCarriedError("more dimensions than NumPy has")
        return pydl.from_numpy(value.detach().resolve_conj().resolve_neg().numpy()).requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        if value not in DTYPES:
            raise NotCarriedError(f"elements of {value}")
        return DTYPES[value]
    if isinstance(value, (torch.layout, torch.memory_format)):
        raise NotCarriedError("layouts and memory formats")
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, complex):
        raise NotCarriedError("complex numbers")
    if isinstance(value, Mapping):
        return {key: carried(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([carried(part) for part in value])
    return value


def tensors(value: Any, kind: type) -> list[Any]:
    """Return all tensors in a value, in order."""
    if isinstance(value, kind):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return list(itertools.chain.from_iterable(tensors(part, kind) for part in parts))


def plain(value: Any) -> Any:
    """Return a result as nested tuples of arrays and numbers."""
    if isinstance(value, (torch.Tensor, pydl.Tensor)):
        return value.detach().numpy()
    return tuple(plain(part) for part in value) if isinstance(value, (list, tuple)) else value


def difference(ours: Any, theirs: Any, tolerance: tuple[float, float], values: bool = True) -> str:
    """Return in what two results differ, "" if in nothing."""
    if isinstance(theirs, tuple):
        if not isinstance(ours, tuple) or len(ours) != len(theirs):
            return f"{type(ours).__name__} instead of a tuple of {len(theirs)}"
        pairs = zip(ours, theirs, strict=True)
        return next((text for a, b in pairs if (text := difference(a, b, tolerance, values))), "")
    if not isinstance(theirs, np.ndarray):
        alike = type(ours) is type(theirs) and (not values or ours == theirs or ours != ours)
        return "" if alike else f"{ours!r} instead of {theirs!r}"
    if not isinstance(ours, np.ndarray):
        return f"{type(ours).__name__} instead of a tensor"
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"{ours.dtype} of {ours.shape} instead of {theirs.dtype} of {theirs.shape}"
    if values and not np.allclose(ours, theirs, *tolerance, equal_nan=True):
        return f"{ours.reshape(-1)[:5]} instead of {theirs.reshape(-1)[:5]}"
    return ""


def same_order(op: str, x: np.ndarray, ours: Any, theirs: Any, args: tuple[Any, ...], options: Any) -> str:
    """Compare orders: the elements in both are the same, and no place comes twice."""
    first, second = (ours, theirs) if op == "argsort" else (ours[1], theirs[1])
    if first.shape != second.shape or first.dtype != second.dtype:
        return f"{first.dtype} of {first.shape} instead of {second.dtype} of {second.shape}"
    dim = options.get("dim", next(iter(args[1:] if op == "topk" else args), -1))
    if not x.ndim:
        return ""
    (picked, again), (rows, _) = ((np.take_along_axis(x, index, dim), np.sort(index, dim)) for index in (first, second))
    if not np.array_equal(picked, rows, equal_nan=True) and op != "topk":
        return "other elements"
    if not np.array_equal(np.sort(picked, dim), np.sort(rows, dim), equal_nan=True):
        return "other elements"
    return "a place comes twice" if (np.diff(again, axis=dim) == 0).any() else ""


def reason(op: str, text: str) -> str:
    """Return why pydl refuses what it refuses in these words, "" if that is not known."""
    found = (why for name, words, why in REASONS if (not name or name == op) and re.search(words, text))
    return next(found, "")


def gradients(ours: Any, theirs: Any, mine: list[Any], given: list[Any], tolerance: tuple[float, float]) -> str:
    """Compare the gradients of one weighted sum of the results by all inputs."""
    results = [y for y in tensors(theirs, torch.Tensor) if y.requires_grad]
    found = [y for y in tensors(ours, pydl.Tensor) if y.requires_grad]
    if len(results) != len(found):
        return "no gradient" if not found else f"{len(found)} results with a gradient, not {len(results)}"
    inputs = [x for x in given if x.requires_grad]
    if not results or not inputs:
        return ""
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.5, 1.5, y.shape).astype(plain(y).dtype) for y in results]
    expected = torch.autograd.grad(results, inputs, [torch.tensor(w) for w in weights], allow_unused=True)
    total = sum(((y * pydl.from_numpy(np.asarray(w))).sum() for y, w in zip(found, weights, strict=True)), 0)
    total.backward()
    for ours_in, theirs_in, wanted in zip([x for x in mine if x.requires_grad], inputs, expected, strict=True):
        zero = np.zeros(tuple(theirs_in.shape), plain(theirs_in).dtype)
        got = zero if ours_in.grad is None else plain(ours_in.grad)
        text = difference(got, zero if wanted is None else plain(wanted), (tolerance[0] * 4, tolerance[1] * 4))
        if text:
            return f"gradient {text}"
    return ""


def outcome(op: Any, where: str, function: Callable[..., Any], dtype: Any, sample: Any) -> tuple[str, str]:
    """Take one sample through both: ("equal" | "refused" | "skipped" | "WRONG", why)."""
    try:
        args = [carried(part) for part in (sample.input, *sample.args)]
        options = carried(sample.kwargs)
    except NotCarriedError as error:
        return "skipped", str(error)
    theirs = op.op(sample.input, *sample.args, **sample.kwargs)
    try:
        ours = function(*args, **options)
        given, mine = tensors([sample.input, sample.args, sample.kwargs], torch.Tensor), [args, options]
        tolerance = TOLERANCE.get(dtype, (1.3e-5, 1e-5))
        if op.name in ORDERED:
            text = same_order(op.name, plain(sample.input), plain(ours), plain(theirs), sample.args, sample.kwargs)
        else:
            text = difference(plain(ours), plain(theirs), tolerance, op.name not in OPEN)
        if (
            not text
            and dtype.is_floating_point
            and op.supports_autograd
            and op.name not in ORDERED | OPEN - {"bernoulli"}
        ):
            text = gradients(ours, theirs, tensors(mine, pydl.Tensor), given, tolerance)
    except REFUSED as error:
        why = reason(op.name, str(error))
        return ("refused", why) if why and IN_WORDS.match(str(error)) else ("WRONG", f"{type(error).__name__}: {error}")
    if op.name == "nn.functional.layer_norm" and "e-05] instead of [-0.000244" in text:
        return "refused", "the gradient of one value is 0: both are rounding alone"
    return (
        ("WRONG", text)
        if text and not reason(op.name, text)
        else ("refused", reason(op.name, text))
        if text
        else ("equal", "")
    )


def outcomes(op: Any, where: str, function: Callable[..., Any]) -> Iterator[tuple[Any, Any, str, str]]:
    """Yield dtype, sample, what became of it and why, for all samples of an op."""
    for dtype in (dtype for dtype in DTYPES if dtype in op.dtypes):
        torch.manual_seed(0)
        for sample in op.sample_inputs("cpu", dtype, requires_grad=dtype.is_floating_point and op.supports_autograd):
            yield dtype, sample, *outcome(op, where, function, dtype, sample)


def error_outcomes(op: Any, function: Callable[..., Any]) -> Iterator[tuple[Any, str, str]]:
    """Yield each sample of wrong arguments, what became of it and why."""
    for wrong in op.error_inputs("cpu") if op.error_inputs_func else ():
        sample = wrong.sample_input
        if "out" in sample.kwargs:
            yield wrong, "skipped", "out= is not there"
            continue
        try:
            args, options = [carried(part) for part in (sample.input, *sample.args)], carried(sample.kwargs)
        except NotCarriedError as error:
            yield wrong, "skipped", str(error)
            continue
        numbers = [x for x in (sample.input, *sample.args) if isinstance(x, (int, float))]
        try:
            function(*args, **options)
        except REFUSED as error:
            yield wrong, "refused" if IN_WORDS.match(str(error)) else "WRONG", str(error)
        else:
            if numbers and not wrong.error_regex:
                yield wrong, "skipped", "pydl takes numbers where PyTorch asks for tensors"
            else:
                yield wrong, "WRONG", f"accepted, should be: {wrong.error_regex}"


def main() -> None:
    """Print the counts."""
    warnings.simplefilter("ignore")
    pydl.set_conv_precision("exact")
    samples: Counter[tuple[str, str]] = Counter()
    errors: Counter[tuple[str, str]] = Counter()
    for op, where, function in OPS:
        for *_, verdict, why in outcomes(op, where, function):
            samples[verdict, why] += 1
        for _, verdict, why in error_outcomes(op, function):
            errors[verdict, "" if verdict == "refused" else why] += 1
    for title, counts in (("samples", samples), ("wrong arguments", errors)):
        print(
            f"\n{len({op.name for op, *_ in OPS})} ops, {sum(counts.values()):,} {title} (torch {torch.__version__})\n"
        )
        print("| became | of them | why |\n| --- | ---: | --- |")
        for (verdict, why), count in sorted(counts.items(), key=lambda item: (item[0][0], -item[1])):
            print(f"| {verdict} | {count:,} | {why} |")


if __name__ == "__main__":
    main()
