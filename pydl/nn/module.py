"""Module: parameters, buffers and submodules under names, and the call that runs ``forward``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

import numpy as np

from pydl.autograd import Handle, Tensor
from pydl.native import Array
from pydl.nn import state, text
from pydl.nn.parameter import Parameter
from pydl.suggest import Checked, did_you_mean
from pydl.watch import watchers, within

Self = TypeVar("Self", bound="Module")
Given = ParamSpec("Given")
Result = TypeVar("Result", covariant=True)


class Forward(Protocol[Given, Result]):
    """What a call of a module takes and returns, for type checkers: what its ``forward`` does."""

    def forward(self, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        """See the class."""


class Module(Checked):
    """The base of all layers and models.

    Parameters, submodules and tensors given to :meth:`register_buffer` are registered under the name of the attribute
    they are assigned to. Their values lie in the instance's own ``__dict__``, so reading one costs no more than reading
    any attribute; the tables here hold the names alone, in the order of registration.

    Attributes:
        training: Whether it is in training mode (dropout drops, batch norm takes the batch's statistics).

    Example:
        >>> class Scale(Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.factor = Parameter([2.0])
        ...
        ...     def forward(self, x):
        ...         return x * self.factor
        >>> [name for name, _ in Scale().named_parameters()]
        ['factor']
    """

    training: bool
    _parameter_names: dict[str, None]  # an ordered set
    _buffer_names: dict[str, bool]  # name: whether it belongs to state_dict
    _module_names: dict[str, None]
    _forward_hooks: dict[int, Any]
    _forward_pre_hooks: dict[int, Any]

    def __init__(self) -> None:
        self.__dict__.update(
            training=True,
            _parameter_names={},
            _buffer_names={},
            _module_names={},
            _forward_hooks={},
            _forward_pre_hooks={},
        )

    # ---- running ----

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's result; every subclass has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    if TYPE_CHECKING:

        def __call__(self: Forward[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
            """Run ``forward``."""

    else:

        def __call__(self, *args, **kwargs):
            """Run ``forward`` and the hooks; an error from a module inside another says which one it was."""
            try:
                if watchers:
                    return within(self, args, self._call_with_hooks, args, kwargs)
                if self._forward_hooks or self._forward_pre_hooks:
                    return self._call_with_hooks(args, kwargs)
                return self.forward(*args, **kwargs)
            except (ValueError, TypeError, IndexError, OverflowError, RuntimeError) as error:
                text.name_module(error, self)
                raise

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for pre_hook in list(self._forward_pre_hooks.values()):
            replaced = pre_hook(self, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
        result = self.forward(*args, **kwargs)
        for hook in list(self._forward_hooks.values()):
            replaced = hook(self, args, result)
            if replaced is not None:
                result = replaced
        return result

    def register_forward_hook(self, hook: Callable[[Any, Any, Any], Any]) -> Handle:
        """Call ``hook(module, args, result)`` after each forward; what it returns, if not None, replaces the result."""
        return Handle(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Callable[[Any, Any], Any]) -> Handle:
        """Call ``hook(module, args)`` before each forward; what it returns, if not None, replaces the arguments."""
        return Handle(self._forward_pre_hooks, hook)

    # ---- attributes ----

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._register("_parameter_names", name, value)
        elif isinstance(value, Module):
            self._register("_module_names", name, value)
        elif name in own.get("_parameter_names", ()):
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}: parameter {name!r} takes a Parameter or None, got {type(value).__name__}; "
                    "wrap it in pydl.nn.Parameter, or del the parameter first"
                )
            own[name] = None
        elif name in own.get("_module_names", ()):
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}: submodule {name!r} takes a Module or None, got {type(value).__name__}"
                )
            own[name] = None
        elif name in own.get("_buffer_names", ()):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"{type(self).__name__}: buffer {name!r} takes a Tensor or None, got {type(value).__name__}"
                )
            own[name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        if "_module_names" not in own:
            hint = "; its __init__ must call super().__init__() first"
        else:
            hint = did_you_mean(name, [known for known in (*own, *dir(type(self))) if not known.startswith("_")])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        for table in (self._parameter_names, self._buffer_names, self._module_names):
            table.pop(name, None)

    def _register(self, table: str, name: str, value: Any, mark: Any = None) -> None:
        own = self.__dict__
        if table not in own:
            what = "module" if table == "_module_names" else "parameter"
            raise AttributeError(
                f"cannot assign {what}s before Module.__init__() call: "
                f"the __init__ of {type(self).__name__} must begin with super().__init__()"
            )
        for other in ("_parameter_names", "_buffer_names", "_module_names"):
            if other != table:
                own[other].pop(name, None)
        own[table].setdefault(name, mark)
        own[name] = value

    def _checked_name(self, what: str, name: str, table: Mapping[str, Any]) -> str:
        if not isinstance(name, str):
            raise TypeError(f"{what}: the name must be a str, got {name!r}")
        if "." in name or not name:
            raise KeyError(f"{what}: the name must not be empty nor have a dot, got {name!r}")
        if name not in table and (name in self.__dict__ or hasattr(type(self), name)):
            raise KeyError(f"{what}: {type(self).__name__} has an attribute {name!r} already")
        return name

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None keeps the name for a parameter that is left out.

        Raises:
            KeyError: The name is empty, has a dot, or belongs to another attribute.
            TypeError: `param` is neither a Parameter nor None.
        """
        self._checked_name("register_parameter", name, self._parameter_names)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"register_parameter: {name!r} takes a Parameter or None, got {type(param).__name__}")
        self._register("_parameter_names", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module's state and is no parameter, such as batch norm's running mean.

        Args:
            name: The attribute's name.
            tensor: The tensor, or None to keep the name for one that is left out.
            persistent: Whether :meth:`state_dict` holds it.

        Raises:
            KeyError: The name is empty, has a dot, or belongs to another attribute.
            TypeError: `tensor` is neither a Tensor nor None.
        """
        self._checked_name("register_buffer", name, self._buffer_names)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer: {name!r} takes a Tensor or None, got {type(tensor).__name__}")
        self._register("_buffer_names", name, tensor, persistent)
        self._buffer_names[name] = persistent

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under a name.

        Raises:
            KeyError: The name is empty, has a dot, or belongs to another attribute.
            TypeError: `module` is neither a Module nor None.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: {name!r} takes a Module or None, got {type(module).__name__}")
        self._register("_module_names", self._checked_name("add_module", name, self._module_names), module)

    register_module = add_module

    def get_submodule(self, target: str) -> Module:
        """Return the submodule with a dotted path; "" is the module itself.

        Raises:
            AttributeError: There is no such submodule.
        """
        found = self
        for name in target.split(".") if target else ():
            if name not in found._module_names:
                hint = did_you_mean(name, found._module_names)
                raise AttributeError(f"{type(found).__name__} has no submodule {name!r} (looking for {target!r}){hint}")
            found = found.__dict__[name]
        return found

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter with a dotted path.

        Raises:
            AttributeError: There is no such parameter.
        """
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if name not in owner._parameter_names:
            hint = did_you_mean(name, owner._parameter_names)
            raise AttributeError(f"{type(owner).__name__} has no parameter {name!r} (looking for {target!r}){hint}")
        found: Parameter = owner.__dict__[name]
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer with a dotted path.

        Raises:
            AttributeError: There is no such buffer.
        """
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if name not in owner._buffer_names:
            hint = did_you_mean(name, owner._buffer_names)
            raise AttributeError(f"{type(owner).__name__} has no buffer {name!r} (looking for {target!r}){hint}")
        found: Tensor = owner.__dict__[name]
        return found

    # ---- what it holds ----

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the direct submodules with their names, a shared one once."""
        seen = set()
        for name in self._module_names:
            module = self.__dict__[name]
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the direct submodules, a shared one once."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it with their dotted paths, a shared one once unless told otherwise."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name in self._module_names:
            module = self.__dict__[name]
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, a shared one once."""
        for _, module in self.named_modules():
            yield module

    def _named_members(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any, Module]]:
        seen = set()
        owners = self.named_modules(None, prefix, remove_duplicate) if recurse else iter([(prefix, self)])
        for path, owner in owners:
            for name in owner.__dict__[table]:
                value = owner.__dict__[name]
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield f"{path}.{name}" if path else name, value, owner

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters with their dotted paths, a shared one once unless told otherwise."""
        for path, value, _ in self._named_members("_parameter_names", prefix, recurse, remove_duplicate):
            yield path, value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, a shared one once."""
        for _, value, _ in self._named_members("_parameter_names", "", recurse, True):
            yield value

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers with their dotted paths, a shared one once unless told otherwise."""
        for path, value, _ in self._named_members("_buffer_names", prefix, recurse, remove_duplicate):
            yield path, value

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, a shared one once."""
        for _, value, _ in self._named_members("_buffer_names", "", recurse, True):
            yield value

    # ---- changing all of it ----

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode (or, with False, evaluation mode) here and below, and return the module."""
        if not isinstance(mode, (bool, np.bool_)):
            raise ValueError(f"train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: Self) -> Self:
        """Set evaluation mode here and below, and return the module."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Set whether the parameters get gradients, and return the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for parameter in self.parameters():
            state.clear_gradient(parameter, set_to_none)

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every submodule, the deepest first, then on this module, and return the module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Change the floating-point dtype of parameters and buffers, and return the module.

        Takes what PyTorch takes: a dtype, a device (the CPU alone), or a tensor to be like; ``non_blocking`` and
        ``memory_format`` change nothing.

        Raises:
            TypeError: The dtype is not float32 or float64.
            RuntimeError: The device is not the CPU.
        """
        dtype = state.wanted_dtype(args, kwargs)
        return self if dtype is None else self._cast(dtype)

    def float(self: Self) -> Self:
        """Turn floating-point parameters and buffers into float32, and return the module."""
        return self._cast(np.dtype(np.float32))

    def double(self: Self) -> Self:
        """Turn floating-point parameters and buffers into float64, and return the module."""
        return self._cast(np.dtype(np.float64))

    def cpu(self: Self) -> Self:
        """Return the module, which is on the CPU."""
        return self

    def _cast(self: Self, dtype: np.dtype[Any]) -> Self:
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor._array.dtype.kind == "f":
                state.cast(tensor, dtype)
        return self

    # ---- saving and loading ----

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Tensor]:
        """Return parameters and persistent buffers by their dotted paths, in the order of registration.

        Args:
            destination: A dict to add them to; a new one if None.
            prefix: Text put before each path.
            keep_vars: Give the parameters themselves instead of tensors over their memory without history.
        """
        found = {} if destination is None else destination
        for path, tensor in state.entries(self, prefix):
            found[path] = tensor if keep_vars else tensor.detach()
        return found

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor | Array], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copy values into parameters and buffers; each keeps its own memory, memory order and dtype.

        Args:
            state_dict: What :meth:`state_dict` returned, or a mapping of paths to tensors or arrays.
            strict: Whether missing and unexpected paths are errors.
            assign: Take the given tensors' memory instead of copying (their dtype too).

        Returns:
            The named tuple ``(missing_keys, unexpected_keys)``.

        Raises:
            RuntimeError: Paths are missing or unexpected (with `strict`), or shapes or kinds of number differ. The text
                lists all of them, and the model is as it was.
        """
        return state.load(self, state_dict, strict, assign)

    # ---- text ----

    def extra_repr(self) -> str:
        """Return what the layer's own line in the model's text says."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        lines = [f"({name}): " + repr(self.__dict__[name]).replace("\n", "\n  ") for name in self._module_names]
        return text.layout(self._get_name(), self.extra_repr(), lines)

    _repr_html_ = text.tree
