"""Tensor, the tape and the walk back over it. Knows no op.

An op computes its result on raw arrays and calls :func:`record` with the closure that carries a gradient back::

    def relu(x: Tensor) -> Tensor:
        y = ...                                    # a kernel call on x._array
        return record("relu", y, (x,), lambda dy, needs: (relu_backward(dy, y),), save_result=True)

The closure holds raw arrays and never a Tensor of its own result, so that reference counting alone frees the tape.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl import native
from pydl.native import Array
from pydl.place import Place

if TYPE_CHECKING:
    from pydl.ops.methods import Methods
else:
    Methods = object  # ops/methods.py attaches the methods; type checkers read them there

Backward = Callable[..., tuple[Array | None, ...]]

_counter = itertools.count()


class _Mode(threading.local):
    enabled = True


_mode = _Mode()


class Tensor(Methods):
    """A NumPy array that remembers how it was computed.

    Args:
        array: The values. Shared, not copied, if it is an aligned array of native byte order; anything else that
            ``np.array`` takes becomes a new array (Python floats as float32).

    Attributes:
        requires_grad: Whether :meth:`backward` computes a gradient for it.
        grad: The gradient (a Tensor of the same shape and dtype) after :meth:`backward`, else None.
    """

    __array_ufunc__ = None  # ndarray * tensor must reach Tensor.__rmul__, or the gradient is lost without a word

    requires_grad: bool = False
    grad: Tensor | None = None
    _node: Node | None = None
    _index: int = 0  # which of the node's results
    _version: list[int] | None = None  # counts in-place changes; shared by all views of one memory
    _base: Tensor | None = None  # the tensor that this one is a view of
    _views: list[weakref.ref[Tensor]] | None = None  # its views, whose history changes with it

    def __init__(self, array: Any) -> None:
        if type(array) is not np.ndarray or not array.dtype.isnative or not array.flags.aligned:
            array = _as_array(array)
        self._array: Array = array

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user rather than by a recorded op."""
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The node of the tape that computed it, None for a leaf."""
        return self._node

    @property
    def shape(self) -> Size:
        """The length of each dimension."""
        return Size(self._array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    @property
    def data(self) -> Tensor:
        """The same memory without the history; changes through it are not noticed by autograd."""
        return Tensor(self._array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if value._array.shape != self._array.shape:
            raise ValueError(f"data: expects shape {self._array.shape}, got {value._array.shape}")
        self._array = value._array

    def numpy(self) -> Array:
        """Return the array itself: shared memory, so a change of one is a change of the other.

        Raises:
            RuntimeError: The tensor requires a gradient (use ``.detach().numpy()``).
        """
        if self.requires_grad and _mode.enabled:
            raise RuntimeError("numpy: the tensor requires a gradient, which an array cannot carry: use detach()")
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        if copy is False and dtype is not None and np.dtype(dtype) != array.dtype:
            raise ValueError(f"__array__: {array.dtype} to {np.dtype(dtype)} needs a copy, and copy=False was given")
        return np.array(array, dtype=dtype, copy=True) if copy else np.asarray(array, dtype=dtype)

    def detach(self) -> Tensor:
        """Return a tensor over the same memory that is cut off from the tape."""
        y = Tensor(self._array)
        y._version = version(self)
        return y

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set :attr:`requires_grad` of a leaf and return the tensor.

        Raises:
            RuntimeError: It is not a floating-point tensor, or not a leaf.
        """
        if requires_grad and self._array.dtype.kind != "f":
            raise RuntimeError(f"requires_grad_: only floating-point tensors have gradients, got {self._array.dtype}")
        if not requires_grad and self._node is not None:
            raise RuntimeError("requires_grad_: it is the result of an op; use detach() for a tensor without history")
        self.requires_grad = requires_grad
        return self

    def backward(self, gradient: Tensor | None = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Compute the gradient of this tensor with respect to every leaf below it and add it to their ``grad``.

        Args:
            gradient: The gradient with respect to this tensor, of its shape; may be left out where it has one element.
            retain_graph: Keep the tape, so that it can be walked again.
            create_graph: Refused: pydl has no gradients of gradients.

        Raises:
            RuntimeError: Nothing requires a gradient; the tape was walked before; a needed tensor was changed in place.
        """
        from pydl.walk import backward  # walk.py makes Tensors, so it comes after this module

        backward([self], [gradient], retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call `hook` with this tensor's gradient in :meth:`backward`; what it returns, if not None, replaces it."""
        if not self.requires_grad:
            raise RuntimeError("register_hook: the tensor requires no gradient")
        if self._node is None:
            hooks = self.__dict__.setdefault("_hooks", {})
            return Handle(hooks, hook)
        return Handle(self._node.hooks, (self._index, hook))

    def retain_grad(self) -> None:
        """Keep :attr:`grad` although this is not a leaf."""
        if self._node is None:
            return
        target = _weak_setter(self)
        self.register_hook(target)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("deepcopy: only leaves can be copied; detach() first")
        y = type(self).__new__(type(self))
        y.__dict__.update(self.__dict__)
        y._array, y._version, y._base = native.copy(self._array, native.empty_like(self._array)), None, None
        y._views = None
        y.grad = None if self.grad is None else self.grad.__deepcopy__(memo)
        memo[id(self)] = y
        return y


class Size(tuple[int, ...]):
    """A shape: a tuple with ``numel()``."""

    def numel(self) -> int:
        """Return the number of elements."""
        return int(np.prod(self, dtype=object)) if self else 1

    def __repr__(self) -> str:
        return f"pydl.Size({list(self)})"


class Handle:
    """What registering a hook returns; :meth:`remove` takes the hook away again."""

    _ids = itertools.count()

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks, self._id = hooks, next(Handle._ids)
        hooks[self._id] = hook

    def remove(self) -> None:
        """Take the hook away; doing so twice is harmless."""
        self._hooks.pop(self._id, None)


class Node:
    """One op on the tape: its name, where its inputs came from, and the closure that carries gradients back."""

    __slots__ = ("__weakref__", "backward", "edges", "hooks", "name", "needs", "order", "results", "saved")

    def __init__(self, name: str, inputs: Sequence[Tensor | None], backward: Backward, results: int = 1) -> None:
        self.name, self.backward, self.results = name, backward, results
        self.order = next(_counter)
        self.needs = tuple([x is not None and x.requires_grad for x in inputs])
        self.edges: list[Any] = [
            None if x is None or not x.requires_grad else (x._node, x._index) if x._node is not None else x
            for x in inputs
        ]
        self.saved: list[tuple[list[int], int]] = []
        self.hooks: dict[int, Any] = {}

    def __lt__(self, other: Node) -> bool:
        return self.order > other.order  # a heap gives the latest node first

    def __repr__(self) -> str:
        return f"<{self.name} #{self.order}>"


# ---- recording ----


def is_grad_enabled() -> bool:
    """Return whether ops of this thread are recorded."""
    return _mode.enabled


@contextmanager
def set_grad_enabled(enabled: bool) -> Iterator[None]:
    """Record ops of this thread, or not, within a ``with`` block or a decorated function."""
    before, _mode.enabled = _mode.enabled, bool(enabled)
    try:
        yield
    finally:
        _mode.enabled = before


def no_grad() -> Any:
    """Record nothing within a ``with`` block or a decorated function: for evaluation and for changing weights."""
    return set_grad_enabled(False)


def enable_grad() -> Any:
    """Record again within a block inside :func:`no_grad`."""
    return set_grad_enabled(True)


def needs_grad(*inputs: Tensor | None) -> bool:
    """Return whether an op on these inputs goes on the tape, so that it keeps what its gradient needs."""
    if _mode.enabled:
        for x in inputs:
            if x is not None and x.requires_grad:
                return True
    return False


def record(
    name: str,
    array: Array,
    inputs: Sequence[Tensor | None],
    backward: Backward,
    saved: Sequence[Tensor] = (),
    save_result: bool = False,
    view_of: Tensor | None = None,
) -> Tensor:
    """Return `array` as a Tensor, on the tape if any input requires a gradient.

    Args:
        name: The op's public name, for error messages.
        array: The result.
        inputs: The tensors it was computed from; None for an optional one that was left out.
        backward: Called as ``backward(dy, needs)``: `dy` an array of the result's shape and dtype, `needs` a bool for
            each input. Returns one array of the input's shape and dtype for each input, None where not needed; it may
            return `dy` itself or a view of it, and must not write into it.
        saved: The inputs whose values `backward` reads: changing one in place before is an error.
        save_result: `backward` reads the result's values too.
        view_of: The input whose memory the result shares, if any.
    """
    y = Tensor(array)
    if view_of is not None:
        y._version, y._base = version(view_of), view_of._base if view_of._base is not None else view_of
        if _mode.enabled and (y._base._node is not None or not y._base.requires_grad):  # others cannot be overwritten
            _remember(y._base, y)
    if needs_grad(*inputs):
        node = y._node = Node(name, inputs, backward)
        y.requires_grad = True
        node.saved = [(cell, cell[0]) for cell in map(version, (*saved, y) if save_result else saved)]
    return y


def record_many(
    name: str,
    arrays: Sequence[Array],
    inputs: Sequence[Tensor | None],
    backward: Backward,
    saved: Sequence[Tensor] = (),
) -> tuple[Tensor, ...]:
    """Return several results of one op; `backward` is called as ``backward(dy0, dy1, ..., needs)``, None where unused.

    Results that are not floating-point (indices) take no part in the gradient.
    """
    ys = tuple([Tensor(array) for array in arrays])
    if needs_grad(*inputs):
        node = Node(name, inputs, backward, len(ys))
        node.saved = [(cell, cell[0]) for cell in map(version, saved)]
        for index, y in enumerate(ys):
            if y._array.dtype.kind == "f":
                y._node, y._index, y.requires_grad = node, index, True
    return ys


def record_inplace(
    name: str, x: Tensor, inputs: Sequence[Tensor | None], backward: Backward, saved: Sequence[Tensor] = ()
) -> Tensor:
    """Note that `x` now holds the result of an op on `inputs` (x itself, as it was, among them), and return `x`.

    Call :func:`check_inplace` before writing into the array, and this after.
    """
    version(x)[0] += 1
    base = x._base
    if needs_grad(base, *inputs):
        if base is None:
            node = Node(name, inputs, backward)
            base = x
        else:
            node = _region_node(name, base, x, inputs, backward)
        node.saved = [(cell, cell[0]) for cell in map(version, saved)]
        base._node, base._index, base.requires_grad = node, 0, True
        views = [view for view in (reference() for reference in base._views or ()) if view is not None]
        for view in views if base is x else [x, *views]:
            place = Place(base._array, view._array)
            view._node, view._index, view.requires_grad = Node("view", (base,), place.scattered), 0, True
    return x


def check_inplace(name: str, x: Tensor, *others: Tensor | None) -> None:
    """Raise RuntimeError if `x` must not be changed in place: a recorded leaf, a view of one, read-only memory."""
    array = x._array
    if not array.flags.writeable:
        if 0 in array.strides and any(n > 1 and not step for n, step in zip(array.shape, array.strides, strict=True)):
            raise RuntimeError(f"{name}: the tensor is expanded, several elements share one place; clone() it first")
        raise RuntimeError(f"{name}: the tensor's memory is read-only; clone() it first")
    if not _mode.enabled:
        return
    if x.requires_grad and x._node is None:
        raise RuntimeError(f"{name}: a leaf that requires a gradient is changed in place; do it within no_grad()")
    base = x._base
    if base is None or not base.requires_grad:
        return
    if not x.requires_grad:
        raise RuntimeError(f"{name}: the tensor is a view made within no_grad(), of one with a history; make it anew")
    if base._node is None:
        raise RuntimeError(
            f"{name}: a view of a leaf that requires a gradient is changed in place; do it within no_grad()"
        )


# ---- views ----


def _region_node(name: str, base: Tensor, x: Tensor, inputs: Sequence[Tensor | None], backward: Backward) -> Node:
    """Return the node of an op that overwrote the part `x` of `base`: the other parts' gradient passes by."""
    place = Place(base._array, x._array)
    is_x = tuple([input is x for input in inputs])

    def backward_base(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dbase, part = place.copied(dy)
        own = tuple([needs[0] if same else need for same, need in zip(is_x, needs[1:], strict=True)])
        results = backward(native.copy(part, native.empty_like(part)), own)
        part.fill(0)
        for same, g in zip(is_x, results, strict=True):
            if same and g is not None:
                np.add(part, g, out=part)
        return (dbase, *[None if same else g for same, g in zip(is_x, results, strict=True)])

    return Node(
        name, (base, *[None if same else input for same, input in zip(is_x, inputs, strict=True)]), backward_base
    )


def _remember(base: Tensor, view: Tensor) -> None:
    views = base._views
    if views is None:
        base._views = [weakref.ref(view)]
        return
    views.append(weakref.ref(view))
    count = len(views)
    if count >= 64 and count & (count - 1) == 0:
        views[:] = [reference for reference in views if reference() is not None]


def version(x: Tensor) -> list[int]:
    """Return the counter of in-place changes that `x` shares with its views."""
    if x._version is None:
        x._version = [0]
    return x._version


def _weak_setter(y: Tensor) -> Callable[[Tensor], None]:
    reference = weakref.ref(y)

    def set_grad(g: Tensor) -> None:
        target = reference()
        if target is not None:
            target.grad = g

    return set_grad


def _as_array(values: Any) -> Array:
    array = np.array(values)
    if array.dtype == np.float64 and not isinstance(values, (np.ndarray, np.generic)):
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"Tensor: elements of {array.dtype} are not supported, got {type(values).__name__}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


from pydl.function import Function as Function  # noqa: E402 (both are made of the classes above)
from pydl.walk import grad as grad  # noqa: E402
