"""What all optimisers share: groups of parameters with options, and state for each parameter."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydl import native
from pydl.autograd import Tensor, enable_grad
from pydl.suggest import Checked
from pydl.watch import watchers, within

Params = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class Optimizer(Checked):
    """Parameters in groups, each with its own options.

    Args:
        params: Tensors; or pairs of name and tensor; or groups: dicts with "params" and options of their own.
        defaults: The options of groups that do not say otherwise.

    Attributes:
        param_groups: One dict for each group: "params" and the options by name.
        state: What the optimiser keeps for each parameter.

    Raises:
        TypeError: `params` is a single tensor, or holds what is no tensor.
        ValueError: There are no parameters, one is no leaf or no floating-point tensor, or is given twice.
    """

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor):
            raise TypeError(f"{name}: params must be an iterable of tensors, got one tensor; put it into a list")
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        given: list[Any] = list(params)
        if not given:
            raise ValueError(f"{name}: got no parameters; model.parameters() can be read only once if kept")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: a dict with "params" and options that differ from the defaults.

        Raises:
            TypeError: It is no dict with tensors.
            ValueError: A parameter is no leaf, no floating-point tensor, or belongs to the optimiser already.
        """
        name = type(self).__name__
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f"{name}: a group must be a dict with 'params', got {type(param_group).__name__}")
        params = param_group["params"]
        listed = [params] if isinstance(params, Tensor) else list(params)
        names = [entry[0] for entry in listed if isinstance(entry, tuple)]
        tensors = [entry[1] if isinstance(entry, tuple) else entry for entry in listed]
        known = {id(tensor) for group in self.param_groups for tensor in group["params"]}
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"{name}: parameters must be tensors, got {type(tensor).__name__}")
            if not tensor.is_leaf:
                raise ValueError(f"{name}: can only change leaves, got the result of {tensor.grad_fn!r}")
            if tensor.dtype.kind != "f":
                raise ValueError(f"{name}: can only change floating-point tensors, got {tensor.dtype}")
            if id(tensor) in known:
                raise ValueError(f"{name}: a parameter of shape {tuple(tensor.shape)} is given twice")
            known.add(id(tensor))
        group = {**self.defaults, **param_group, "params": tensors}
        if names:
            group["param_names"] = names
        self._check_options(group)
        self.param_groups.append(group)

    def _check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError where an option of a group is out of range."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            for tensor in group["params"]:
                if set_to_none or tensor.grad is None:
                    tensor.grad = None
                else:
                    tensor.grad._array.fill(0)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient.

        Args:
            closure: Computes the loss anew, gradients included; called first.

        Returns:
            What the closure returned, or None.
        """
        if watchers:
            return within(f"{type(self).__name__}.step", (), self._step, closure)
        return self._step(closure)

    def _step(self, closure: Callable[[], Any] | None) -> Any:
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._step_groups()
        return loss

    def _step_groups(self) -> None:
        for group in self.param_groups:
            self._step_group(group)

    def _step_group(self, group: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no step()")

    def state_dict(self) -> dict[str, Any]:
        """Return options and state, the parameters by their numbers.

        Returns:
            {"state": {number: state of a parameter}, "param_groups": [options, with "params" a list of numbers]}.
        """
        numbers: dict[int, int] = {}
        for group in self.param_groups:
            for tensor in group["params"]:
                numbers[id(tensor)] = len(numbers)
        groups = [
            {**{name: value for name, value in group.items() if name != "params"}}
            | {"params": [numbers[id(tensor)] for tensor in group["params"]]}
            for group in self.param_groups
        ]
        return {
            "state": {numbers[id(tensor)]: dict(kept) for tensor, kept in self.state.items()},
            "param_groups": groups,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over options and state; tensors are copied into the memory order of their parameters.

        Args:
            state_dict: What :meth:`state_dict` returned.

        Raises:
            ValueError: The groups, the numbers of parameters or the shapes differ; nothing is changed then.
        """
        name = type(self).__name__
        groups = state_dict["param_groups"]
        sizes, given = [len(group["params"]) for group in self.param_groups], [len(group["params"]) for group in groups]
        if sizes != given:
            raise ValueError(f"{name}: the state_dict has groups of {given} parameters, the optimizer of {sizes}")
        tensors = {
            number: tensor
            for group, own in zip(groups, self.param_groups, strict=True)
            for number, tensor in zip(group["params"], own["params"], strict=True)
        }
        state: dict[Tensor, dict[str, Any]] = {}
        for number, kept in state_dict["state"].items():
            if number not in tensors:
                raise ValueError(f"{name}: the state_dict has state for parameter {number!r}, which is in no group")
            tensor = tensors[number]
            state[tensor] = {key: _placed(name, tensor, key, value) for key, value in kept.items()}
        for own, group in zip(self.param_groups, groups, strict=True):
            options = {key: copy.deepcopy(value) for key, value in group.items() if key != "params"}
            own.update(options)
        self.state = state

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name not in ("params", "param_names")]
        return "\n".join([*lines, ")"])


def _placed(name: str, tensor: Tensor, key: str, value: Any) -> Any:
    """Return a copy of state in the parameter's dtype and memory order; "step" is a number of its own."""
    if key == "step" or not isinstance(value, Tensor):
        return copy.deepcopy(value)
    if value.shape != tensor.shape:
        raise ValueError(
            f"{name}: the state_dict has state of shape {tuple(value.shape)} for a parameter of {tuple(tensor.shape)}"
        )
    return Tensor(native.copy(value._array, native.empty_like(tensor._array)))
