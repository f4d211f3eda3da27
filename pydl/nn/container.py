"""Modules that hold modules or parameters in order or by key."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydl.autograd import Tensor
from pydl.nn import text
from pydl.nn.activation import ReLU
from pydl.nn.batchnorm import BatchNorm1d, BatchNorm2d
from pydl.nn.conv import Conv2d
from pydl.nn.linear import Linear
from pydl.nn.module import Module
from pydl.nn.parameter import Parameter
from pydl.nn.pooling import MaxPool2d
from pydl.nn.syncbatchnorm import SyncBatchNorm

Self = TypeVar("Self", bound="_List")


def _place(container: Any, index: Any, length: int) -> int:
    name = type(container).__name__
    try:
        place = operator.index(index)
    except TypeError:
        raise TypeError(f"{name}: an index must be an integer or a slice, got {index!r}") from None
    if not -length <= place < length:
        raise IndexError(f"{name}: index {place} is out of range, it has {length} entries")
    return place % length


def _checked_module(container: Any, value: Any) -> Module:
    if not isinstance(value, Module):
        raise TypeError(f"{type(container).__name__}: takes Modules, got {value!r}; an op as a function is no Module")
    return value


def _entries(container: Any, values: Any) -> list[Any]:
    try:
        entries = iter(values)
    except TypeError:
        raise TypeError(f"{type(container).__name__}: takes a sequence of entries, got {values!r}") from None
    return list(entries)


class _List(Module):
    """Modules under the names "0", "1", ..."""

    def _values(self) -> list[Any]:
        own = self.__dict__
        return [own[name] for name in self._module_names]

    def _set_values(self, values: Iterable[tuple[str, Module]]) -> None:
        """Hold these modules under these names instead."""
        own = self.__dict__
        for name in self._module_names:
            del own[name]
        self._module_names.clear()
        for name, value in values:
            self.add_module(name, value)

    def _renumber(self, values: Iterable[Module]) -> None:
        self._set_values([(str(i), value) for i, value in enumerate(values)])

    def __len__(self) -> int:
        return len(self._module_names)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)._of_named(list(zip(self._module_names, self._values(), strict=True))[index])
        return self._values()[_place(self, index, len(self))]

    @classmethod
    def _of_named(cls: type[Self], entries: list[tuple[str, Module]]) -> Self:
        part = cls()
        part._renumber([module for _, module in entries])
        return part

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._module_names)[_place(self, index, len(self))]
        setattr(self, name, _checked_module(self, module))

    def __delitem__(self, index: int | slice) -> None:
        values = self._values()
        del values[index if isinstance(index, slice) else _place(self, index, len(values))]
        self._renumber(values)

    def append(self: Self, module: Module) -> Self:
        """Add a module at the end and return the container."""
        self.add_module(str(len(self)), _checked_module(self, module))
        return self

    def insert(self: Self, index: int, module: Module) -> Self:
        """Add a module before the one at `index` and return the container."""
        values = self._values()
        values.insert(operator.index(index), _checked_module(self, module))
        self._renumber(values)
        return self

    def extend(self: Self, modules: Iterable[Module]) -> Self:
        """Add modules at the end and return the container."""
        for module in _entries(self, modules):
            self.append(module)
        return self

    def pop(self, key: int | slice) -> Any:
        """Take the module at `key` out and return it."""
        taken = self[key]
        del self[key]
        return taken


class Sequential(_List):
    """Modules run one after another, each on the result of the one before.

    Args:
        *args: Modules, or one dict of names to modules.

    Raises:
        TypeError: An argument is not a Module.

    Example:
        >>> import pydl
        >>> model = Sequential(pydl.nn.Linear(4, 8), pydl.nn.ReLU(), pydl.nn.Linear(8, 2))
        >>> model(pydl.randn(3, 4)).shape
        pydl.Size([3, 2])
        >>> len(model[:2])
        2
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        named = args[0].items() if len(args) == 1 and isinstance(args[0], dict) else enumerate(args)
        for name, module in named:
            self.add_module(str(name), _checked_module(self, module))

    @classmethod
    def _of_named(cls, entries: list[tuple[str, Module]]) -> Any:
        return cls(dict(entries))

    def forward(self, input: Tensor) -> Tensor:
        """Return what the last module makes of it all.

        A ReLU goes into the kernel of the layer before it, or of the max-pooling behind it, with the same bits as a
        result, unless one of the two has hooks or a ``forward`` of its own.
        """
        own = self.__dict__
        modules = [own[name] for name in self._module_names]
        modules += (None, None)
        place, count = 0, len(modules) - 2
        while place < count:
            module, after, second = modules[place : place + 3]
            kind = type(module)
            if type(after) is ReLU and kind in _ENDS_WITH_RELU and type(second) is not MaxPool2d:
                fused = _is_plain(module) and _is_plain(after)
            else:
                fused = kind is ReLU and type(after) is MaxPool2d and _is_plain(module) and _is_plain(after)
                module = after if fused else module
            input = module(input, relu=True) if fused else module(input)
            place += 2 if fused else 1
        return input


_ENDS_WITH_RELU = (Linear, Conv2d, BatchNorm1d, BatchNorm2d, SyncBatchNorm)


def _is_plain(module: Module) -> bool:
    return not (module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)


class ModuleList(_List):
    """A list whose modules belong to the model; it has no forward.

    Args:
        modules: The modules to begin with.

    Example:
        >>> import pydl
        >>> layers = ModuleList(pydl.nn.Linear(4, 4) for _ in range(3))
        >>> len(layers), len(list(layers.parameters()))
        (3, 6)
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        lines: list[tuple[int, int, str]] = []  # first and last place, text
        for place, module in enumerate(self):
            shown = repr(module)
            if lines and lines[-1][2] == shown:
                lines[-1] = (lines[-1][0], place, shown)
            else:
                lines.append((place, place, shown))
        entries = [
            f"({first}): {shown}" if first == last else f"({first}-{last}): {last - first + 1} x {shown}"
            for first, last, shown in lines
        ]
        return text.layout("ModuleList", "", [entry.replace("\n", "\n  ") for entry in entries])


class ModuleDict(Module):
    """A dict whose modules belong to the model, in the order of insertion; it has no forward.

    Args:
        modules: A mapping of names to modules to begin with, or pairs of both.

    Example:
        >>> import pydl
        >>> choices = ModuleDict({"relu": pydl.nn.ReLU(), "tanh": pydl.nn.Tanh()})
        >>> list(choices)
        ['relu', 'tanh']
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update({} if modules is None else modules)

    def __getitem__(self, key: str) -> Any:
        if key not in self._module_names:
            raise KeyError(key)
        return self.__dict__[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, _checked_module(self, module))

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def __len__(self) -> int:
        return len(self._module_names)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._module_names))

    def __contains__(self, key: str) -> bool:
        return key in self._module_names

    def keys(self) -> list[str]:
        """Return the names."""
        return list(self._module_names)

    def values(self) -> list[Any]:
        """Return the modules."""
        return [self.__dict__[name] for name in self._module_names]

    def items(self) -> list[tuple[str, Any]]:
        """Return pairs of name and module."""
        return [(name, self.__dict__[name]) for name in self._module_names]

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, replacing those of the same name."""
        given = modules.items() if isinstance(modules, (Mapping, ModuleDict)) else modules
        try:
            pairs = [(name, module) for name, module in given]
        except (TypeError, ValueError):
            raise TypeError(
                f"ModuleDict: takes a mapping of names to Modules or pairs of both, got {modules!r}"
            ) from None
        for name, module in pairs:
            self[name] = module

    def pop(self, key: str) -> Any:
        """Take a module out and return it."""
        module = self[key]
        delattr(self, key)
        return module

    def clear(self) -> None:
        """Take all modules out."""
        for key in self:
            delattr(self, key)


class ParameterList(Module):
    """A list whose parameters belong to the model; tensors become Parameters.

    Args:
        values: The parameters to begin with.

    Example:
        >>> import pydl
        >>> weights = ParameterList([pydl.zeros(2, 3), pydl.zeros(3)])
        >>> [name for name, _ in weights.named_parameters()]
        ['0', '1']
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(() if values is None else values)

    def __len__(self) -> int:
        return len(self._parameter_names)

    def __iter__(self) -> Iterator[Parameter]:
        return iter([self.__dict__[name] for name in self._parameter_names])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return ParameterList(list(self)[index])
        return self.__dict__[str(_place(self, index, len(self)))]

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(_place(self, index, len(self))), _as_parameter(value))

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end and return the list."""
        self.register_parameter(str(len(self)), _as_parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end and return the list."""
        for value in _entries(self, values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def __repr__(self) -> str:
        lines = [
            f"({i}): Parameter containing: [pydl.{value.dtype} of size {'x'.join(map(str, value.shape))}]"
            for i, value in enumerate(self)
        ]
        return text.layout("ParameterList", "", lines)


def _as_parameter(value: Any) -> Parameter:
    if not isinstance(value, Tensor):
        raise TypeError(f"ParameterList: takes Parameters and tensors, got {type(value).__name__}")
    return value if isinstance(value, Parameter) else Parameter(value)
