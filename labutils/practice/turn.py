"""How does a lesson answer what its reader wrote? As the assignment does."""

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterable
from functools import partial, update_wrapper

import numpy as np
import torch
from torch import Tensor, nn

from labutils.checks.verdict import Exercise, Wrong, likely, same, show, show_with_type


class Turn(Exercise):
    """A check of a lesson, made by the decorator `turn`.

    What the reader's function gives is compared with what the decorated one gives; each of the
    `mistakes` is a function too, that gives what the mistake gives.
    """

    def __init__(
        self,
        right: Callable,
        cases: Callable[[], list[tuple]],
        mistakes: dict[str, Callable],
        in_place: bool,
    ) -> None:
        super().__init__(self._compare, "Your turn", cases)
        update_wrapper(self, right)
        self.right, self.mistakes, self.in_place = right, mistakes, in_place
        self.names = [*inspect.signature(right).parameters]
        self.title = f"Your turn, {right.__name__}"

    def examine(self, function: Callable, cases: Iterable[tuple] | None = None) -> None:
        """Try the function; what it makes of its first argument, if it works in place."""
        super().examine(self._tried(function) if callable(function) else function, cases)

    def _tried(self, function: Callable) -> Callable:
        return partial(bare, partial(changed, function) if self.in_place else function)

    def _compare(self, result: object, *case: object) -> None:
        expected = self._tried(self.right)(*copy.deepcopy(case))
        result = like(result, expected)
        if same(result, expected):
            return

        def made(wrong: Callable) -> object:
            return like(self._tried(wrong)(*copy.deepcopy(case)), expected)

        why = {text: partial(made, wrong) for text, wrong in self.mistakes.items()}
        if self.in_place:
            why["nothing was changed"] = partial(made, lambda *_: None)
        alike = show(result) == show(expected)
        shown = show_with_type if alike or isinstance(result, str) else show
        raise Wrong(shown(expected), shown(result), likely(result, why))


def turn(
    cases: Callable[[], list[tuple]], mistakes: dict[str, Callable], in_place: bool = False
) -> Callable:
    """Turn the right function into a `Turn`; with `in_place` its first argument is the result."""
    return lambda right: Turn(right, cases, mistakes, in_place)


def bare(function: Callable, *given: object) -> object:
    """Return what a function gives, NumPy's arrays as tensors and ranges as lists."""
    return _bare(function(*given))


def _bare(value: object) -> object:
    if isinstance(value, range):
        return list(value)
    if isinstance(value, np.ndarray):
        with contextlib.suppress(TypeError):  # of objects
            return torch.tensor(value)
    if type(value) in (list, tuple):
        return type(value)(map(_bare, value))
    return value


def changed(function: Callable, first: object, *others: object) -> object:
    """Return what a function makes of a copy of its first argument; of a network, its tensors."""
    work = copy.deepcopy(first)
    function(work, *others)
    return dict(work.state_dict()) if isinstance(work, nn.Module) else work


def like(result: object, expected: object) -> object:
    """Return a result in the form of what is expected where that is a matter of form alone.

    >>> like(torch.tensor([1, 2]), [1, 2]), like((1.0, 2), [1, 2]), like(2, 2.0)
    ([1, 2], [1, 2], 2.0)
    """
    if isinstance(result, Tensor) and not isinstance(expected, Tensor):
        result = result.tolist()
    if isinstance(expected, Tensor) and isinstance(result, (list, tuple, float, int)):
        with contextlib.suppress(TypeError, ValueError, RuntimeError):  # no tensor can be made
            result = torch.tensor(result)
    if isinstance(expected, (tuple, list)) and isinstance(result, (tuple, list)):
        parts = [like(*pair) for pair in zip(result, expected, strict=False)]
        return type(expected)([*parts, *result[len(parts) :]])
    if isinstance(expected, float) and type(result) is int:
        return float(result)
    if type(expected) is int and isinstance(result, float) and result.is_integer():
        return int(result)
    if isinstance(expected, Tensor) and isinstance(result, Tensor):
        fractions = expected.is_floating_point() and result.is_floating_point()
        return result.to(expected.dtype) if fractions else result
    return result
