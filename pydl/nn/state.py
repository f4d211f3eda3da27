"""What happens to the state of a whole module: loading, casting, clearing gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pydl import dtypes, native
from pydl.autograd import Tensor
from pydl.native import Array
from pydl.suggest import did_you_mean

if TYPE_CHECKING:
    from pydl.nn.module import Module

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class IncompatibleKeys(NamedTuple):
    """What :meth:`Module.load_state_dict` did not find, and what it did not use."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def entries(module: Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and persistent buffers with their paths, a shared one under each of its names."""
    own = module.__dict__
    names = [*module._parameter_names, *(name for name, persistent in module._buffer_names.items() if persistent)]
    for name in names:
        if own[name] is not None:
            yield prefix + name, own[name]
    for name in module._module_names:
        if own[name] is not None:
            yield from entries(own[name], f"{prefix}{name}.")


def load(module: Module, given: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Copy the values of `given` into the module's state; see :meth:`Module.load_state_dict`."""
    if not isinstance(given, Mapping):
        raise TypeError(f"load_state_dict: expects a dict of names to tensors, got {type(given).__name__}")
    wanted = dict(entries(module))
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    problems: list[str] = []
    if strict and unexpected:
        problems.append("Unexpected key(s) in state_dict: " + ", ".join(f'"{name}"' for name in unexpected) + ". ")
    if strict and missing:
        problems.append("Missing key(s) in state_dict: " + ", ".join(f'"{name}"' for name in missing) + ". ")
    if problems:
        problems += _likely(given, missing, unexpected)
    plan: list[tuple[Tensor, Array]] = []
    for name, tensor in wanted.items():
        if name in given:
            value = given[name]
            array = value._array if isinstance(value, Tensor) else np.asarray(value)
            problem = _mismatch(tensor._array, array, assign)
            if problem:
                problems.append(f"{problem[0]} mismatch for {name}: {problem[1]}")
            plan.append((tensor, array))
    if problems:
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(problems))
    for tensor, array in plan:
        if assign:
            tensor._rebind(Tensor(array)._array)
        else:
            native.copy(array, tensor._array)
        changed(tensor)
    return IncompatibleKeys(missing, unexpected)


def _likely(given: Mapping[str, Any], missing: list[str], unexpected: list[str]) -> list[str]:
    """Return what the keys that do not fit were probably meant to be."""
    absent = set(missing)
    for name in unexpected:
        if isinstance(given[name], Mapping) and absent & set(given[name]):
            return [f'The weights are within "{name}": pass state_dict["{name}"]']
    for name in unexpected[:1]:
        prefix, dot, rest = name.partition(".")
        if dot and rest in absent and all(key.startswith(prefix + dot) for key in unexpected):
            return [
                f'The keys begin with "{prefix}.", the model\'s do not: remove it, as in key.removeprefix("{prefix}.")'
            ]
    near = [(name, did_you_mean(name, missing)) for name in unexpected[:5]]
    return [f'"{name}"{hint}' for name, hint in near if hint]


def _mismatch(own: Array, array: Array, assign: bool) -> tuple[str, str] | None:
    if own.shape != array.shape:
        return "size", f"the state_dict has shape {array.shape}, the model {own.shape}"
    if not np.can_cast(array.dtype, own.dtype, "same_kind"):
        return "dtype", f"the state_dict has {array.dtype}, the model {own.dtype}"
    if not own.flags.writeable and not assign:
        return "memory", "the model's array is read-only; pass assign=True"
    return None


@contextmanager
def in_mode(module: Module, training: bool) -> Iterator[None]:
    """Put a module into training or evaluation mode within the block; each one below is in its own mode again after."""
    modes = [(each, each.training) for each in module.modules()]
    module.train(training)
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode


def changed(tensor: Tensor) -> None:
    """Note that the tensor's memory was written, so that a tape which needs the old values refuses to go on."""
    if tensor._version is not None:
        tensor._version[0] += 1


def clear_gradient(tensor: Tensor, set_to_none: bool) -> None:
    """Drop a tensor's gradient, or fill it with zeros."""
    if set_to_none or tensor.grad is None:
        tensor.grad = None
    else:
        tensor.grad._array.fill(0)
        changed(tensor.grad)


def cast(tensor: Tensor, dtype: np.dtype[Any]) -> None:
    """Change the dtype of a tensor and its gradient, keeping the memory order."""
    if tensor._array.dtype != dtype:
        tensor._rebind(tensor._array.astype(dtype, order="K"))
        changed(tensor)
        if tensor.grad is not None:
            tensor.grad = Tensor(tensor.grad._array.astype(dtype, order="K"))


def wanted_dtype(args: tuple[Any, ...], kwargs: dict[str, Any]) -> np.dtype[Any] | None:
    """Return the dtype among the arguments of ``to()``, None if there is none."""
    known = {"device", "dtype", "tensor", "non_blocking", "copy", "memory_format"}
    for name in kwargs:
        if name not in known:
            raise TypeError(f"to: unknown argument {name!r}")
    dtype: Any = None
    for value in [*args, *(kwargs.get(name) for name in ("tensor", "device", "dtype"))]:
        if value is None or isinstance(value, bool):
            continue
        if isinstance(value, Tensor):
            dtype = value._array.dtype
        elif isinstance(value, (np.dtype, type)):
            dtype = value
        else:
            _check_device("to", value)
    return None if dtype is None else _checked_dtype("to", dtype)


def parameter_dtype(op: str, device: Any, dtype: Any) -> np.dtype[Any]:
    """Return the dtype of a new layer's parameters, float32 unless told otherwise; refuse any device but the CPU."""
    if device is not None:
        _check_device(op, device)
    return _FLOATS[0] if dtype is None else _checked_dtype(op, dtype)


def _checked_dtype(op: str, dtype: Any) -> np.dtype[Any]:
    kind = dtypes.checked(op, dtype)
    if kind not in _FLOATS:
        raise TypeError(f"{op}: parameters are float32 or float64, got {kind}")
    return kind


def _check_device(op: str, device: Any) -> None:
    if str(device).split(":")[0] != "cpu" and getattr(device, "type", None) != "cpu":
        raise RuntimeError(f"{op}: pydl computes on the CPU alone, got device {device!r}")
