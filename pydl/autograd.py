"""Tensor, the tape and the walk back over it. Knows no op.

An op computes its result and calls :func:`record` with the closure that carries a gradient back::

    def negate(x: Tensor) -> Tensor:
        return record("negate", -x._array, (x,), lambda dy, needs: (-dy,))

What a model spends its time on goes a shorter way: :func:`make` gives a tensor that is an address and a layout until
somebody asks for its array, a kernel fills it, and :func:`attach` puts the op on the tape, with a closure of tensors.
A closure holds arrays or addresses and never a Tensor of its own result: reference counting alone frees the tape.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl import native
from pydl.grad_mode import (
    enable_grad as enable_grad,
    is_grad_enabled as is_grad_enabled,
    mode,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from pydl.hooks import Handle as Handle, on_gradient, on_whole, weak_setter
from pydl.native import Array, Layout
from pydl.watch import tell, watchers

if TYPE_CHECKING:
    from pydl.ops.methods import Methods
else:
    Methods = object  # ops/methods.py attaches the methods; type checkers read them there

Backward = Callable[..., Sequence[Any]]  # of tensors: (dy, needs), a Tensor or None for each input
ArrayBackward = Callable[..., Sequence[Array | None]]  # the same of arrays
Constant = tuple[int, "weakref.ref[Tensor]", Layout]  # which input, the tensor, how it lies

_counter = itertools.count()
HANDFUL = 9  # a result of so many elements at most leaves its values with its node


class _Array:
    """The array of a tensor that an op made: an address and a layout until somebody asks for it."""

    def __get__(self, x: Tensor, owner: type[Tensor] | None = None) -> Array:
        array = native.array_at(x._pointer, x._layout or layout_of(x))
        x.__dict__["_array"] = array  # found first from now on, since this class has no __set__
        return array


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
    _layout: Layout | None = None  # what layout_of() and pointer_of() found out about _array
    _pointer: Any = None
    if TYPE_CHECKING:
        _array: Array
    else:
        _array = _Array()
    _node: Node | None = None
    _index: int = 0  # which of the node's results
    _version: list[int] | None = None  # counts in-place changes; shared by all views of one memory
    _base: Tensor | None = None  # the tensor that this one is a view of
    _views: list[weakref.ref[Tensor]] | None = None  # its views, whose history changes with it

    def __init__(self, array: Any) -> None:
        if type(array) is not np.ndarray or not array.dtype.isnative or not array.flags.aligned:
            array = _as_array(array)
        self._array = array

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
        return Size((self._layout or layout_of(self)).shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        return (self._layout or layout_of(self)).dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len((self._layout or layout_of(self)).shape)

    @property
    def data(self) -> Tensor:
        """The same memory without the history; changes through it are not noticed by autograd."""
        return Tensor(self._array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if value._array.shape != self._array.shape:
            raise ValueError(f"data: expects shape {self._array.shape}, got {value._array.shape}")
        self._rebind(value._array)

    def _rebind(self, array: Array) -> None:
        """Take another array's memory."""
        self._array, self._layout, self._pointer = array, None, None

    def numpy(self) -> Array:
        """Return the array itself: shared memory, so a change of one is a change of the other.

        Raises:
            RuntimeError: The tensor requires a gradient (use ``.detach().numpy()``).
        """
        if self.requires_grad and mode.enabled:
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
        _walk_back([self], [gradient], retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call `hook` with this tensor's gradient in :meth:`backward`; what it returns, if not None, replaces it."""
        return on_gradient(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Handle:
        """Call ``hook(leaf)`` in :meth:`backward` as soon as all that this leaf gets has been added to its ``grad``."""
        return on_whole(self, hook)

    def retain_grad(self) -> None:
        """Keep :attr:`grad` although this is not a leaf."""
        if self._node is None:
            return
        self.register_hook(weak_setter(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("deepcopy: only leaves can be copied; detach() first")
        y = type(self).__new__(type(self))
        y.__dict__.update(self.__dict__)
        y._array, y._version, y._base = native.copy(self._array, native.empty_like(self._array)), None, None
        y._views = y._layout = y._pointer = None
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


_SHOWN = "constants", "value"


class Node:
    """One op on the tape: its name, where its inputs came from, and the closure that carries gradients back.

    An edge is a leaf, the node of an input's op (or that and which of its results the input is), or None where no
    gradient is needed.

    For the picture of the graph (:func:`pydl.plot.graph`), `value` is the result's memory while it is a handful of
    elements (an array, or layout and address; a list of arrays where there are several results), and `constants` are
    the inputs that need no gradient. Neither keeps a Tensor alive, and neither is set where there is none.
    """

    __slots__ = ("__weakref__", "backward", "edges", "fresh", "hooks", "name", "order", "results", "saved", *_SHOWN)
    constants: tuple[Constant, ...]
    value: Any

    def __init__(
        self, name: str, inputs: Sequence[Tensor | None], backward: Backward, results: int = 1, fresh: bool = False
    ) -> None:
        self.name, self.backward, self.results, self.fresh = name, backward, results, fresh
        self.order = next(_counter)
        edges: list[Any] = []
        self.edges = edges
        for x in inputs:  # a loop costs half of a comprehension here, and every op of a model passes by
            if x is None:
                edges.append(None)
            elif x.requires_grad:
                node = x._node
                edges.append(x if node is None else node if node.results == 1 else (node, x._index))
            else:
                constant = len(edges), weakref.ref(x), x._layout or layout_of(x)
                self.constants = (*getattr(self, "constants", ()), constant)
                edges.append(None)
        self.saved: Sequence[tuple[list[int], int]] = ()
        self.hooks: dict[int, Any] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} #{self.order}>"


# ---- memory ----


def layout_of(x: Tensor) -> Layout:
    """Find out how the tensor lies in memory: on the way of every op this is asked once, if it is not known."""
    layout = x._layout = native.layout(x._array)
    return layout


def pointer_of(x: Tensor) -> Any:
    """Find out where the tensor lies in memory, once; it must be dense."""
    pointer = x._pointer = native.address(x._array, x._layout or layout_of(x))
    return pointer


def wrap(array: Array) -> Tensor:
    """Return a tensor over an array of pydl's own making, unchecked."""
    y: Tensor = _new(Tensor)
    y._array = array
    return y


def make(layout: Layout) -> Tensor:
    """Return a tensor of uninitialised memory that lies as `layout` says, which is dense."""
    y: Tensor = _new(Tensor)
    y._layout = layout
    y._pointer = layout.allocate(layout.pointer_type, layout.count)
    return y


def lying(x: Tensor, layout: Layout) -> Any:
    """Return the address of the tensor's elements as `layout`, of the same shape, says: its own memory or a copy."""
    if (x._layout or layout_of(x)) is layout:
        return x._pointer or pointer_of(x)
    return native.address(x._array, layout)


_new = Tensor.__new__


# ---- recording ----


def needs_grad(*inputs: Tensor | None) -> bool:
    """Return whether an op on these inputs goes on the tape, so that it keeps what its gradient needs."""
    if mode.enabled:
        for x in inputs:
            if x is not None and x.requires_grad:
                return True
    return False


def record(
    name: str,
    array: Array,
    inputs: Sequence[Tensor | None],
    backward: ArrayBackward,
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
        if mode.enabled and (y._base._node is not None or not y._base.requires_grad):  # others cannot be overwritten
            _remember(y._base, y)
    if needs_grad(*inputs):
        attach(y, name, inputs, on_arrays(backward), (*saved, y) if save_result else saved)
        if array.size <= HANDFUL:
            node: Any = y._node
            node.value = array if view_of is None else array.copy()  # a view would keep all of its base's memory
    elif watchers:
        tell(name, inputs, (y,), saved)
    return y


def on_arrays(backward: ArrayBackward) -> Backward:
    """Return a closure of arrays as one of tensors."""

    def on_tensors(*arguments: Any) -> list[Tensor | None]:
        *dys, needs = arguments
        found = backward(*[None if dy is None else dy._array for dy in dys], needs)
        return [None if g is None else wrap(g) for g in found]

    return on_tensors


def attach(
    y: Tensor,
    name: str,
    inputs: Sequence[Tensor | None],
    backward: Backward,
    saved: Sequence[Tensor] = (),
    fresh: bool = False,
) -> None:
    """Put the op that made `y` on the tape.

    Args:
        y: The result.
        name: The op's public name, for error messages.
        inputs: The tensors it was computed from; None for an optional one that was left out.
        backward: Called as ``backward(dy, needs)``: `dy` a tensor of the result's shape and dtype, `needs` a bool for
            each input. Returns a tensor of the input's shape and dtype for each input, None where not needed; it may
            return `dy` itself or a view of it, and must not write into it.
        saved: The tensors whose values `backward` reads, `y` perhaps among them: changing one in place before it runs
            is an error.
        fresh: `backward` makes each of its results anew: none shares memory with `dy` or another one.
    """
    node = y._node = Node(name, inputs, backward, 1, fresh)
    y.requires_grad = True
    form = y._layout
    if form is not None and form.size <= HANDFUL:
        node.value = form, y._pointer
    if saved:
        node.saved = cells = []
        for x in saved:
            cell = x._version
            if cell is None:  # version(x), without a call
                cell = x._version = [0]
            cells.append((cell, cell[0]))
    if watchers:
        tell(name, inputs, (y,), saved)


def record_many(
    name: str,
    arrays: Sequence[Array],
    inputs: Sequence[Tensor | None],
    backward: ArrayBackward,
    saved: Sequence[Tensor] = (),
) -> tuple[Tensor, ...]:
    """Return several results of one op; `backward` is called as ``backward(dy0, dy1, ..., needs)``, None where unused.

    Results that are not floating-point (indices) take no part in the gradient.
    """
    ys = tuple([Tensor(array) for array in arrays])
    if needs_grad(*inputs):
        node = Node(name, inputs, on_arrays(backward), len(ys))
        node.saved = [(cell, cell[0]) for cell in map(version, saved)]
        node.value = [array.copy() if array.size <= HANDFUL else None for array in arrays]
        for index, y in enumerate(ys):
            if y._array.dtype.kind == "f":
                y._node, y._index, y.requires_grad = node, index, True
    if watchers:
        tell(name, inputs, ys, saved)
    return ys


def _remember(base: Tensor, view: Tensor) -> None:
    views = base._views = base._views or []
    views.append(weakref.ref(view))
    if len(views) >= 64 and len(views) & (len(views) - 1) == 0:
        views[:] = [reference for reference in views if reference() is not None]


def version(x: Tensor) -> list[int]:
    """Return the counter of in-place changes that `x` shares with its views."""
    if x._version is None:
        x._version = [0]
    return x._version


def _as_array(values: Any) -> Array:
    try:
        array = np.array(values)
    except ValueError as error:
        raise ValueError(f"Tensor: nested lists must have even lengths ({error})") from None
    if array.dtype == np.float64 and not isinstance(values, (np.ndarray, np.generic)):
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"Tensor: elements of {array.dtype} are not supported, got {type(values).__name__}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


from pydl.anomaly import (  # noqa: E402 (all of these are made of the classes above)
    detect_anomaly as detect_anomaly,
    is_anomaly_enabled as is_anomaly_enabled,
    set_detect_anomaly as set_detect_anomaly,
)
from pydl.function import Function as Function  # noqa: E402
from pydl.walk import backward as _walk_back, grad as grad  # noqa: E402
