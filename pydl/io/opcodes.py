"""The tree that PyTorch writes beside its tensors, read without running anything that is written in it.

PyTorch describes what it saves in Python's pickle format, a program for a stack machine whose `REDUCE` calls whatever
function the file names. This reader knows the few operations that dicts, lists, numbers, text and tensors are written
with, and the few names that PyTorch gives to tensors; a file with anything else is refused where that stands.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

_DEEPEST, _MOST = 100, 1_000_000
_SCALARS = (str, int, float, bool, type(None))
_FIXED = {  # operations that are followed by one number, and how it is written
    ord("J"): struct.Struct("<i"),
    ord("K"): struct.Struct("<B"),
    ord("M"): struct.Struct("<H"),
    ord("G"): struct.Struct(">d"),
}
_CONSTANTS: dict[int, Callable[[], Any]] = {
    ord("N"): lambda: None,
    0x88: lambda: True,
    0x89: lambda: False,
    ord("}"): dict,
    ord("]"): list,
    ord(")"): tuple,
}
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3}
_TEXTS = {ord("X"): 4, 0x8C: 1, 0x8D: 8}  # and the bytes of its length
_PUTS = {ord("q"): 1, ord("r"): 4}
_GETS = {ord("h"): 1, ord("j"): 4}


class Name(NamedTuple):
    """A function or class that the file names, at which byte: a marker, and never the thing itself."""

    name: str
    place: int


class Storage(NamedTuple):
    """Where the numbers of a tensor are: what PyTorch calls a persistent id."""

    kind: str
    key: str
    length: int


class Reader:
    """Runs the few operations over a stack of plain values.

    Args:
        data: The bytes of the tree.
        made: What functions and classes stand for, by their names: each takes the arguments that the file gives it.
        values: What other names stand for.
        kinds: The names of storages' classes, which stand for nothing by themselves.
    """

    def __init__(
        self,
        data: bytes,
        made: Mapping[str, Callable[[tuple[Any, ...]], Any]],
        values: Mapping[str, Any],
        kinds: Collection[str],
    ) -> None:
        self.data, self.made, self.values, self.kinds = data, made, values, kinds
        self.place = self.start = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return the tree.

        Raises:
            ValueError: The bytes are no such tree; the text says at which one.
        """
        while True:
            self.start = self.place
            code = self._bytes(1)[0]
            if code == ord("."):
                if len(self.stack) != 1 or self.marks:
                    raise ValueError(f"the tree ends at byte {self.start} with {len(self.stack)} values on its stack")
                return _Walk(self.values).plain(self.stack[0], 0)
            self._step(code)

    def _step(self, code: int) -> None:
        if code in _CONSTANTS:
            self.stack.append(_CONSTANTS[code]())
        elif code in _FIXED:
            form = _FIXED[code]
            self.stack.append(form.unpack(self._bytes(form.size))[0])
        elif code in _TEXTS:
            self.stack.append(self._text(self._bytes(self._size(_TEXTS[code]))))
        elif code == 0x8A:
            self.stack.append(int.from_bytes(self._bytes(self._size(1)), "little", signed=True))
        elif code in _PUTS:
            self.memo[self._size(_PUTS[code])] = self._top()
        elif code == 0x94:
            self.memo[len(self.memo)] = self._top()
        elif code in _GETS:
            number = self._size(_GETS[code])
            if number not in self.memo:
                raise self._wrong(f"asks for value {number}, which it never kept")
            self.stack.append(self.memo[number])
        elif code == ord("("):
            self.marks.append(len(self.stack))
        elif code == ord("t"):
            self.stack.append(tuple(self._marked()))
        elif code in _TUPLES:
            self.stack.append(tuple(self._popped(_TUPLES[code])))
        elif code in (ord("s"), ord("u")):
            self._set_items(self._popped(2) if code == ord("s") else self._marked())
        elif code in (ord("a"), ord("e")):
            items = self._popped(1) if code == ord("a") else self._marked()
            self._container(list).extend(items)
        elif code in (ord("c"), 0x93):
            self._named(code)
        elif code == ord("R"):
            function, arguments = self._popped(2)
            self.stack.append(self._called(function, arguments))
        elif code == ord("Q"):
            self.stack.append(self._storage(*self._popped(1)))
        elif code == ord("b"):
            (state,) = self._popped(1)
            if not isinstance(state, dict):
                raise self._wrong("gives an object a state that is no dict")
            self._container(dict)  # a state dict's _metadata: versions of PyTorch's layers, of no use here
        elif code in (0x80, 0x95):
            self._bytes(1 if code == 0x80 else 8)  # the version of the format, or the length of a part
        else:
            raise self._wrong(f"has an operation ({code:#04x}) that plain tensors do not need")

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"the tree {what}, at byte {self.start}")

    def _bytes(self, count: int) -> bytes:
        found = self.data[self.place : self.place + count]
        if len(found) < count:
            raise self._wrong(f"is cut off: {count} bytes are due, {len(found)} are left")
        self.place += count
        return found

    def _size(self, count: int) -> int:
        return int.from_bytes(self._bytes(count), "little")

    def _text(self, data: bytes) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise self._wrong("has text that is not UTF-8") from None

    def _floor(self) -> int:
        return self.marks[-1] if self.marks else 0

    def _top(self) -> Any:
        if len(self.stack) <= self._floor():
            raise self._wrong("takes a value from an empty stack")
        return self.stack[-1]

    def _popped(self, count: int) -> list[Any]:
        if len(self.stack) - count < self._floor():
            raise self._wrong("takes a value from an empty stack")
        found = self.stack[-count:]
        del self.stack[-count:]
        return found

    def _marked(self) -> list[Any]:
        if not self.marks:
            raise self._wrong("ends a group that never began")
        first = self.marks.pop()
        found = self.stack[first:]
        del self.stack[first:]
        return found

    def _container(self, kind: type[Any]) -> Any:
        top = self._top()
        if type(top) is not kind:
            raise self._wrong(f"puts things into a {type(top).__name__} as if it were a {kind.__name__}")
        return top

    def _set_items(self, items: list[Any]) -> None:
        target = self._container(dict)
        if len(items) % 2:
            raise self._wrong("has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, _SCALARS):
                raise self._wrong(f"has a {type(key).__name__} as a key: keys are text, numbers or None")
            target[key] = value

    def _named(self, code: int) -> None:
        if code == ord("c"):
            parts = []
            for _ in range(2):
                end = self.data.find(b"\n", self.place)
                if end < 0:
                    raise self._wrong("is cut off in a name")
                parts.append(self._text(self._bytes(end - self.place)))
                self.place = end + 1
            name = ".".join(parts)
        else:
            parts = self._popped(2)
            if not all(isinstance(part, str) for part in parts):
                raise self._wrong("has a name that is no text")
            name = ".".join(parts)
        if name not in self.made and name not in self.values and name not in self.kinds:
            raise ValueError(refusal(name, self.start))
        self.stack.append(Name(name, self.start))

    def _called(self, function: Any, arguments: Any) -> Any:
        if type(function) is not Name or function.name not in self.made:
            raise self._wrong("calls what is no function")
        if type(arguments) is not tuple:
            raise self._wrong(f"calls {function.name} with arguments that are no tuple")
        try:
            return self.made[function.name](arguments)
        except (TypeError, ValueError, OverflowError, KeyError) as error:
            raise ValueError(f"{function.name} at byte {self.start}: {error}") from error

    def _storage(self, value: Any) -> Storage:
        if type(value) is tuple and len(value) == 5 and value[0] == "storage":
            _, kind, key, _, count = value
            if type(kind) is Name and kind.name in self.kinds and type(key) is str and type(count) is int:
                return Storage(kind.name, key, count)
        raise self._wrong("refers to something outside that is no storage")


def refusal(name: str, place: int) -> str:
    """Return what is said of a name that stands for no tensor."""
    if name.startswith("torch.") and name.endswith("Storage"):
        return f"{name[:200]} at byte {place} holds numbers of a kind that pydl lacks"
    return f"{name[:200]} at byte {place} is not a tensor; save with torch.save(model.state_dict(), path)"


class _Walk:
    """Copies the tree into one that refers to nothing twice and no deeper than a recursive reader can go."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values, self.count = values, 0

    def plain(self, value: Any, depth: int) -> Any:
        self.count += 1
        if depth > _DEEPEST or self.count > _MOST:
            raise ValueError(f"the tree has more than {_DEEPEST} levels or {_MOST:,} values")
        if type(value) is dict:
            return {key: self.plain(part, depth + 1) for key, part in value.items()}
        if type(value) is list:
            return [self.plain(part, depth + 1) for part in value]
        if type(value) is tuple:
            return tuple([self.plain(part, depth + 1) for part in value])
        if type(value) is Name:
            if value.name not in self.values:
                raise ValueError(refusal(value.name, value.place))
            return self.values[value.name]
        if type(value) is Storage:
            raise ValueError(
                f"a {value.kind} by itself is not a tensor; save with torch.save(model.state_dict(), path)"
            )
        return value
