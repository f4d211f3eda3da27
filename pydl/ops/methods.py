"""The methods of Tensor: the ops, under the names that PyTorch gives them there."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydl.autograd import Tensor
from pydl.ops import (
    activation,
    compare,
    convert,
    create,
    elementwise,
    exchange,
    index,
    inplace,
    join,
    maths,
    ordering,
    printing,
    reduce,
    sample,
    shape,
    statistics,
)
from pydl.ops.matmul import bmm, dot, matmul, mm
from pydl.ops.softmax import log_softmax, softmax
from pydl.suggest import did_you_mean


def _rmatmul(input: Tensor, other: Any) -> Tensor:
    return matmul(create.as_tensor(other), input)


class Methods:
    """Every op that PyTorch has as a method; attached to :class:`pydl.Tensor` below."""

    # ---- operators ----

    __add__ = elementwise.add
    __radd__ = elementwise.add
    __sub__ = elementwise.sub
    __rsub__ = elementwise.rsub
    __mul__ = elementwise.mul
    __rmul__ = elementwise.mul
    __truediv__ = elementwise.div
    __rtruediv__ = elementwise.rdiv
    __floordiv__ = elementwise.floor_divide
    __rfloordiv__ = elementwise.rfloor_divide
    __mod__ = elementwise.remainder
    __rmod__ = elementwise.rremainder
    __pow__ = elementwise.pow
    __rpow__ = elementwise.rpow
    __neg__ = elementwise.neg
    __pos__ = elementwise.positive
    __abs__ = maths.abs
    __matmul__ = matmul
    __rmatmul__ = _rmatmul
    __iadd__ = inplace.add_
    __isub__ = inplace.sub_
    __imul__ = inplace.mul_
    __itruediv__ = inplace.div_
    __ipow__ = inplace.pow_
    __ifloordiv__ = inplace.floor_divide_
    __imod__ = inplace.remainder_
    __eq__ = compare.equals  # type: ignore[assignment] # objects give a bool
    __ne__ = compare.differs  # type: ignore[assignment]
    __lt__ = compare.lt
    __le__ = compare.le
    __gt__ = compare.gt
    __ge__ = compare.ge
    __and__ = compare.bitwise_and
    __rand__ = compare.bitwise_and
    __or__ = compare.bitwise_or
    __ror__ = compare.bitwise_or
    __xor__ = compare.bitwise_xor
    __rxor__ = compare.bitwise_xor
    __invert__ = compare.bitwise_not
    __getitem__ = index.getitem
    __setitem__ = index.setitem

    # ---- elementwise ----

    add = elementwise.add
    sub = elementwise.sub
    subtract = elementwise.subtract
    mul = elementwise.mul
    multiply = elementwise.multiply
    div = elementwise.div
    divide = elementwise.divide
    true_divide = elementwise.true_divide
    floor_divide = elementwise.floor_divide
    remainder = elementwise.remainder
    pow = elementwise.pow
    maximum = elementwise.maximum
    minimum = elementwise.minimum
    lerp = elementwise.lerp
    neg = elementwise.neg
    addcmul = elementwise.addcmul
    addcdiv = elementwise.addcdiv

    exp = maths.exp
    log = maths.log
    log1p = maths.log1p
    expm1 = maths.expm1
    sqrt = maths.sqrt
    rsqrt = maths.rsqrt
    reciprocal = maths.reciprocal
    sin = maths.sin
    cos = maths.cos
    erf = maths.erf
    abs = maths.abs
    absolute = maths.absolute
    sign = maths.sign
    square = maths.square
    floor = maths.floor
    ceil = maths.ceil
    trunc = maths.trunc
    round = maths.round
    clamp = maths.clamp
    clip = maths.clip

    relu = activation.relu
    relu_ = activation.relu_
    sigmoid = activation.sigmoid
    tanh = activation.tanh

    eq = compare.eq
    ne = compare.ne
    lt = compare.lt
    le = compare.le
    gt = compare.gt
    ge = compare.ge
    not_equal = compare.not_equal
    less = compare.less
    less_equal = compare.less_equal
    greater = compare.greater
    greater_equal = compare.greater_equal
    equal = compare.equal
    allclose = compare.allclose
    isclose = compare.isclose
    isnan = compare.isnan
    isinf = compare.isinf
    isfinite = compare.isfinite
    bitwise_and = compare.bitwise_and
    bitwise_or = compare.bitwise_or
    bitwise_xor = compare.bitwise_xor
    bitwise_not = compare.bitwise_not
    logical_and = compare.logical_and
    logical_or = compare.logical_or
    logical_xor = compare.logical_xor
    logical_not = compare.logical_not
    masked_fill = compare.masked_fill

    # ---- products ----

    matmul = matmul
    mm = mm
    bmm = bmm
    dot = dot
    softmax = softmax
    log_softmax = log_softmax

    # ---- in place ----

    add_ = inplace.add_
    sub_ = inplace.sub_
    mul_ = inplace.mul_
    div_ = inplace.div_
    pow_ = inplace.pow_
    remainder_ = inplace.remainder_
    floor_divide_ = inplace.floor_divide_
    addcmul_ = inplace.addcmul_
    addcdiv_ = inplace.addcdiv_
    lerp_ = inplace.lerp_
    exp_ = inplace.exp_
    log_ = inplace.log_
    sqrt_ = inplace.sqrt_
    neg_ = inplace.neg_
    abs_ = inplace.abs_
    round_ = inplace.round_
    sigmoid_ = inplace.sigmoid_
    tanh_ = inplace.tanh_
    clamp_ = inplace.clamp_
    clip_ = inplace.clip_
    fill_ = inplace.fill_
    zero_ = inplace.zero_
    copy_ = inplace.copy_

    uniform_ = sample.uniform_
    normal_ = sample.normal_
    bernoulli_ = sample.bernoulli_
    random_ = sample.random_
    bernoulli = sample.bernoulli
    multinomial = sample.multinomial

    # ---- reductions ----

    sum = reduce.sum
    mean = reduce.mean
    prod = reduce.prod
    max = reduce.max
    min = reduce.min
    amax = reduce.amax
    amin = reduce.amin
    argmax = reduce.argmax
    argmin = reduce.argmin
    all = reduce.all
    any = reduce.any
    count_nonzero = reduce.count_nonzero
    cumsum = reduce.cumsum

    var = statistics.var
    std = statistics.std
    norm = statistics.norm
    logsumexp = statistics.logsumexp

    sort = ordering.sort
    argsort = ordering.argsort
    topk = ordering.topk
    unique = ordering.unique
    bincount = ordering.bincount

    # ---- shapes ----

    reshape = shape.reshape
    view = shape.view
    view_as = shape.view_as
    reshape_as = shape.reshape_as
    flatten = shape.flatten
    unflatten = shape.unflatten
    squeeze = shape.squeeze
    unsqueeze = shape.unsqueeze
    permute = shape.permute
    transpose = shape.transpose
    t = shape.t
    movedim = shape.movedim
    expand = shape.expand
    expand_as = shape.expand_as
    broadcast_to = shape.broadcast_to
    repeat = shape.repeat
    contiguous = shape.contiguous
    clone = shape.clone
    is_contiguous = shape.is_contiguous
    stride = shape.stride
    size = shape.size
    numel = shape.numel
    dim = shape.dim
    element_size = shape.element_size
    data_ptr = shape.data_ptr
    is_floating_point = shape.is_floating_point

    nelement = shape.numel
    ndimension = shape.dim
    swapaxes = shape.transpose

    split = join.split
    chunk = join.chunk
    unbind = join.unbind
    flip = join.flip
    roll = join.roll
    tril = join.tril
    triu = join.triu

    gather = index.gather
    scatter = index.scatter
    scatter_ = index.scatter_
    scatter_add = index.scatter_add
    scatter_add_ = index.scatter_add_
    index_select = index.index_select
    take = index.take
    masked_select = index.masked_select
    masked_fill_ = index.masked_fill_
    nonzero = index.nonzero

    # ---- types ----

    to = convert.to
    type_as = convert.type_as
    cpu = convert.cpu
    float = convert.as_float
    double = convert.as_double
    int = convert.as_int
    long = convert.as_long
    bool = convert.as_bool
    byte = convert.as_byte

    def where(self: Any, condition: Tensor, other: Any) -> Any:
        """Return this tensor where the condition holds, else `other`."""
        return compare.where(condition, self, other)

    # ---- numbers and containers ----

    def item(self: Any) -> Any:
        """Return the only element as a Python number.

        Raises:
            ValueError: There is not exactly one.
        """
        if self._array.size != 1:
            raise ValueError(
                f"item: only a tensor with one element is a number, this one has shape {self._array.shape}"
            )
        return self._array.item()

    def tolist(self: Any) -> Any:
        """Return the elements as nested lists of Python numbers."""
        return self._array.tolist()

    def __len__(self: Any) -> builtins.int:
        if not self._array.ndim:
            raise TypeError("len: a tensor without dimensions has no length")
        return len(self._array)

    def __iter__(self: Any) -> Iterator[Tensor]:
        if not self._array.ndim:
            raise TypeError("iter: a tensor without dimensions cannot be iterated over")
        return iter(join.unbind(self))

    def __bool__(self: Any) -> builtins.bool:
        if self._array.size != 1:
            raise ValueError(
                f"bool: a tensor of shape {self._array.shape} is neither true nor false; use .any() or .all()"
            )
        return bool(self._array.item())

    def __float__(self: Any) -> Any:
        return float(self.item())

    def __int__(self: Any) -> Any:
        return int(self.item())

    def __index__(self: Any) -> Any:
        if self._array.dtype.kind == "f" or self._array.size != 1:
            raise TypeError(f"index: only an integer tensor with one element is an index, got {self!r}")
        return int(self._array.item())

    def __contains__(self: Any, element: Any) -> builtins.bool:
        return bool(compare.eq(self, element)._array.any())

    def __repr__(self: Any) -> str:
        return printing.text(self)

    def _repr_html_(self: Any) -> str:
        return printing.html(self)

    def __format__(self: Any, specification: str) -> str:
        if self._array.ndim == 0:
            return format(self._array.item(), specification)
        return object.__format__(self, specification)

    __hash__ = object.__hash__

    def __dlpack__(
        self: Any, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None
    ) -> Any:
        options = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
        return exchange.exported(self, options)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            public = () if name.startswith("_") else (known for known in dir(type(self)) if not known.startswith("_"))
            raise AttributeError(f"'Tensor' object has no attribute {name!r}{did_you_mean(name, public)}")

    def __dlpack_device__(self: Any) -> tuple[builtins.int, builtins.int]:
        return (1, 0)  # the CPU

    # ---- new tensors of the same dtype ----

    def new_tensor(
        self: Any, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Tensor:
        """Return `data` as a new tensor, of this one's dtype unless another is given."""
        return create.tensor(data, dtype=dtype or self._array.dtype, device=device, requires_grad=requires_grad)

    def new_empty(
        self: Any, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Tensor:
        """Return :func:`pydl.empty` of this tensor's dtype."""
        return create.empty(*size, dtype=dtype or self._array.dtype, device=device, requires_grad=requires_grad)

    def new_zeros(
        self: Any, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Tensor:
        """Return :func:`pydl.zeros` of this tensor's dtype."""
        return create.zeros(*size, dtype=dtype or self._array.dtype, device=device, requires_grad=requires_grad)

    def new_ones(
        self: Any, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Tensor:
        """Return :func:`pydl.ones` of this tensor's dtype."""
        return create.ones(*size, dtype=dtype or self._array.dtype, device=device, requires_grad=requires_grad)

    def new_full(
        self: Any,
        size: Any,
        fill_value: Any,
        *,
        dtype: Any = None,
        device: Any = None,
        requires_grad: builtins.bool = False,
    ) -> Tensor:
        """Return :func:`pydl.full` of this tensor's dtype."""
        return create.full(
            size, fill_value, dtype=dtype or self._array.dtype, device=device, requires_grad=requires_grad
        )

    # ---- properties ----

    T = property(shape.reverse_dims)
    mT = property(shape.transpose_matrices)  # noqa: N815

    @property
    def device(self) -> convert.device:
        """Where the tensor lives, which is the CPU."""
        return _CPU

    @property
    def is_cuda(self) -> builtins.bool:
        """Whether it lives on a GPU, which none does."""
        return False

    @property
    def itemsize(self: Any) -> builtins.int:
        """The bytes of one element."""
        return int(self._array.itemsize)

    @property
    def nbytes(self: Any) -> builtins.int:
        """The bytes of all elements."""
        return int(self._array.nbytes)


_CPU = convert.device()
_OWN = frozenset(vars(type("_Plain", (), {}))) | {"__firstlineno__", "__static_attributes__", "__annotations__"}
for _name, _function in vars(Methods).items():
    if _name not in _OWN:
        setattr(Tensor, _name, _function)
