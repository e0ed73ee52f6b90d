"""What came of a student's function: not attempted, raised, wrong or right, and why?"""

import contextlib
import copy
import functools
import inspect
import linecache
import math
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn

from labutils.base.digits import Digits, Split
from labutils.checks.plain import Foreign, Misfit, plain

LABUTILS = f"{Path(__file__).parents[1]}{os.sep}"
# Functions there that no exercise allows, whatever they are called by.
ANSWERS = tuple(LABUTILS + place for place in (f"checks{os.sep}", f"practice{os.sep}"))
FOLDERS = (*(Path(p).parents[1] for p in (__file__, torch.__file__)), sysconfig.get_path("stdlib"))
NOT_THE_STUDENTS = (*(f"{folder}{os.sep}" for folder in FOLDERS), "<frozen")
SMALL = 16  # elements of a tensor that is shown in full
BODY = "write the function's body in place of the line `raise NotImplementedError`"
NOTHING = "no `return`, or the return of a call that gives nothing, as print() or list.sort()"
WIDEST = 160  # characters of one value


class CheckFailed(AssertionError):
    """An exercise that is not right yet, told in lines a student can use."""

    def __init__(self, title: str, outcome: str, **lines: str) -> None:
        told = [f"  {name:<9} {text}" for name, text in lines.items() if text]
        super().__init__("\n".join([f"{title}: {outcome}", *told]))
        self.outcome = outcome  # "not attempted", "raised" or "wrong"


class Wrong(Exception):
    """What a judge of an exercise raises."""

    def __init__(self, expected: str, got: object, likely: str = "") -> None:
        super().__init__(expected)
        got = got if isinstance(got, str) else show(got)
        self.lines = {"expected": expected, "got": got, "likely": likely}


@dataclass(frozen=True)
class Attempt:
    """What one call of a student's function gave."""

    result: object = None  # in any case plain data, see `plain`
    error: str = ""  # what was raised, as "ValueError: ..."
    where: str = ""  # the line that raised it
    attempted: bool = True  # False where the function is still the stub
    changed_input: bool = False  # whether what it was given is no longer what it was
    shared: str = ""  # says which tensor of its network is also another's
    borrowed: tuple[str, ...] = ()  # functions of labutils that it called, but was to do without


class Exercise:
    """A check to call with the student's function, made by the decorator `exercise`."""

    def __init__(
        self,
        judge: Callable,
        title: str,
        cases: Callable[[], list[tuple]],
        instead: tuple[str, ...] | None = None,
    ) -> None:
        functools.update_wrapper(self, judge)
        self.judge, self.cases, self.instead = judge, cases, instead
        self.names = [*inspect.signature(judge).parameters][1:]
        self.title = f"{title}, {judge.__name__}"

    def __call__(self, function: Callable, cases: Iterable[tuple] | None = None) -> None:
        """Say what comes of the function: not attempted, raised, wrong or right.

        A notebook goes on whatever it is; the grading is told by a `CheckFailed`.
        """
        with telling(function):
            self.examine(function, cases)

    def examine(self, function: Callable, cases: Iterable[tuple] | None = None) -> None:
        """Try the function on these inputs, or on the visible ones.

        The first failure raises a `CheckFailed`, with the outcome, the input, what was
        expected, and the likely mistake.
        """
        if not callable(function):
            raise CheckFailed(self.title, "wrong", expected="a function", got=show(plain(function)))
        cases = self.cases() if cases is None else list(cases)
        for case in cases:
            self._try(function, case)
        print(f"{self.title}: right ({len(cases)} {'case' if len(cases) == 1 else 'cases'})")

    def _try(self, function: Callable, case: tuple) -> None:
        given = ", ".join(f"{n} = {show(v)}" for n, v in zip(self.names, case, strict=True))
        found = answered(self.title, given, function, case, self.instead)
        try:
            if found.result is None:
                raise Wrong("a value", "None", NOTHING)
            self.judge(found.result, *case)
            if found.changed_input:
                copied = "work on a copy: tensor.clone(), copy.deepcopy(network)"
                left = "what the function was given is left as it was"
                raise Wrong(left, "it was changed in place", copied)
            if found.shared:
                own = "tensors of its own: whoever changes one changes no other"
                copied = "copy what stays the same too: tensor.clone(), copy.deepcopy(layer)"
                raise Wrong(own, found.shared, copied)
        except Wrong as verdict:
            raise CheckFailed(self.title, "wrong", input=given, **verdict.lines) from None


def exercise(
    number: int, cases: Callable[[], list[tuple]], instead: tuple[str, ...] = ()
) -> Callable:
    """Turn a judge, called with the result and the inputs, into an `Exercise`.

    Functions of labutils that do it `instead` of the student are not to be called.
    """
    return lambda judge: Exercise(judge, f"Exercise {number}", cases, instead)


@contextlib.contextmanager
def telling(function: Callable) -> Iterator[None]:
    """Print what failed, so that the cells below run; raise it where the grading asks."""
    try:
        yield
    except CheckFailed as failure:
        if hasattr(type(function), "attempt_elsewhere"):
            raise
        print(failure)


def answered(
    title: str, given: str, function: Callable, case: tuple, instead: tuple[str, ...] | None = None
) -> Attempt:
    """Call a student's function; raise `CheckFailed` if it is a stub, raises or borrows."""
    found = attempt(function, *case, instead=instead)
    if not found.attempted:
        raise CheckFailed(title, "not attempted", next=BODY)
    if found.error:
        raise CheckFailed(title, "raised", input=given, error=found.error, at=found.where)
    if found.borrowed:
        what = f"calls {', '.join(found.borrowed)} of labutils"
        own = "that is there to go on with: write the function yourself"
        raise CheckFailed(title, "wrong", input=given, got=what, likely=own)
    return found


def attempt(
    function: Callable, *arguments: object, instead: tuple[str, ...] | None = None
) -> Attempt:
    """Call a student's function with copies; a function elsewhere is asked to do that itself."""
    elsewhere = getattr(type(function), "attempt_elsewhere", None)
    if elsewhere is not None:
        return elsewhere(function, *arguments, instead=instead)
    given = copy.deepcopy(arguments)
    try:
        with borrowing(instead) as borrowed:
            result = function(*given)
    except Exception as error:
        said, where = first_line(error), _where(error)
        # PyTorch raises it too, for what it cannot compute.
        if isinstance(error, NotImplementedError) and ("NotImplementedError" in where or not said):
            return Attempt(attempted=False)
        return Attempt(error=type(error).__name__ + (f": {said}" if said else ""), where=where)
    changed = not same(given, arguments, exactly=True)
    result, borrowed = plain(result), tuple(sorted(borrowed))
    return Attempt(result, changed_input=changed, shared=_shared(result, given), borrowed=borrowed)


def _shared(result: object, given: tuple) -> str:
    """Say which tensor of a network is also the given network's, or there twice."""
    if not isinstance(result, nn.Module):
        return ""
    states = [part.state_dict() for part in given if isinstance(part, nn.Module)]
    theirs = {t.untyped_storage().data_ptr(): n for state in states for n, t in state.items()}
    own: dict[int, str] = {}  # by address: parts of one vector are independent
    for name, tensor in result.state_dict().items():
        memory = tensor.untyped_storage().data_ptr()
        if memory in theirs:
            return f"{name} is the given network's {theirs[memory]}"
        if own.setdefault(tensor.data_ptr(), name) != name:
            return f"{name} is {own[tensor.data_ptr()]}"
    return ""


@contextlib.contextmanager
def borrowing(instead: tuple[str, ...] | None) -> Iterator[set[str]]:
    """Note which of these functions of labutils a block calls, by whatever name or way.

    The insides of labutils count too: functions with an underscore, what checks arguments, and
    what knows the answers, where something outside of labutils calls them. With None, as where
    everything is allowed, nobody looks.
    """
    found: set[str] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if event == "call" and file.startswith(LABUTILS):
            outside = frame.f_back and not frame.f_back.f_code.co_filename.startswith(LABUTILS)
            inner = name.startswith("_") and not name.endswith("__")
            inner = inner or file.endswith("given.py") or file.startswith(ANSWERS)
            inner = inner and frame.f_code is not borrowing.__wrapped__.__code__  # its own end
            if name in instead or (outside and inner):
                found.add(name)

    if instead is None:
        yield found
        return
    before = sys.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(before)
        threading.setprofile(None)


def first_line(error: Exception) -> str:
    """Return what an error says, in one short line."""
    return (str(error).splitlines() or [""])[0][:WIDEST]


def _where(error: Exception) -> str:
    """Return the last line of the student's own code that the error went through."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        if not file.startswith(NOT_THE_STUDENTS):
            place = f"line {line}: {linecache.getline(file, line).strip()}"
        trace = trace.tb_next
    return place[:WIDEST]


def likely(result: object, mistakes: dict[str, Callable[[], object]]) -> str:
    """Return the first mistake that gives just this result, or an empty string."""
    for text, wrong in mistakes.items():
        with contextlib.suppress(RuntimeError, ValueError, LookupError):  # not possible here
            if same(result, wrong()):
                return text
    return ""


def same(one: object, other: object, exactly: bool = False) -> bool:
    """Compare two values; fractions, unless exactly, up to what another order of sums changes."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        close = functools.partial(torch.allclose, rtol=1e-4, atol=1e-5, equal_nan=True)
        alike = one.shape == other.shape and one.dtype == other.dtype
        return alike and (torch.equal if exactly else close)(one, other)
    if isinstance(one, nn.Module):
        states = dict(one.state_dict()), dict(other.state_dict())
        return str(one) == str(other) and same(*states, exactly)
    if isinstance(one, (Split, Digits)):
        return same(vars(one), vars(other), exactly)
    if isinstance(one, (list, tuple)):
        return same(dict(enumerate(one)), dict(enumerate(other)), exactly)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k], exactly) for k in one)
    if isinstance(one, float) and not exactly:
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    return one == other


def show(value: object) -> str:
    """Return a value as one short line.

    >>> show(torch.tensor([[1.5, -2.0]])), show(torch.zeros(9, 9))
    ('[[1.5, -2]]', 'float32 tensor of 9 x 9')
    """
    text = _show(value)
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."


def show_with_type(value: object) -> str:
    """Return a value as one short line that tells a number from a tensor that holds it."""
    shown = show(value)
    return shown if isinstance(value, Foreign) else f"{shown}, of type {type(value).__name__}"


def show_keys(value: object) -> object:
    """Return a dict as a line with its keys alone, anything else as it is."""
    return f"a dict with the keys {show(list(value))}" if isinstance(value, dict) else value


def by(shape: Iterable[int]) -> str:
    """Return a shape as it is written in a sentence."""
    return " x ".join(map(str, shape))


def held_by_torch(network: object) -> str:
    """Say what to do where torch.nn.utils.prune computes a layer's weights from others."""
    shapes = network.shapes if isinstance(network, Misfit) else ()
    for layer in (n.removesuffix(".weight_orig") for n in shapes if n.endswith(".weight_orig")):
        return f'make the masks permanent: torch.nn.utils.prune.remove(network.{layer}, "weight")'
    return ""


def expect_tensor(
    result: object, shape: torch.Size, dtype: torch.dtype, hint: str = "", of: str = ""
) -> None:
    """Raise `Wrong` unless the result, `of` a layer where named, has this shape and type."""
    article = "an" if _name(dtype).startswith("int") else "a"
    wanted = f"{article} {_tensor(dtype, shape)}" + (f" for {of}" if of else "")
    if not isinstance(result, Tensor):
        hint = _to_a_tensor(result)
    elif result.dtype != dtype:
        hint = hint or f"the {'mask' if dtype == torch.bool else 'result'} has the wrong dtype"
    elif result.shape == shape:
        return
    else:
        as_many = result.numel() == shape.numel()
        hint = "as many elements as asked for, but in another shape" if as_many else ""
    raise Wrong(wanted, result, hint)


def _to_a_tensor(result: object) -> str:
    if isinstance(result, tuple) and any(torch.is_tensor(p) and p.dim() for p in result):
        return "take the tensor out of the tuple: [0], or .indices after sort and topk"
    numbers = isinstance(result, (list, tuple)) or result == Foreign("ndarray")
    return "make a tensor of it: torch.tensor(...)" if numbers else ""


def _show(value: object, digits: int = 6) -> str:
    kind = type(value).__name__
    if isinstance(value, Foreign):
        return f"an object of type {value.kind}"
    if isinstance(value, Misfit):
        return f"a {value.kind} whose layers do not fit together"
    if isinstance(value, Split):
        return f"Split of {len(value)} images"
    if isinstance(value, Tensor):
        if value.numel() > SMALL:
            return _tensor(value.dtype, value.shape)
        kind = "" if value.is_floating_point() else f" ({_name(value.dtype)})"
        return _show(value.tolist(), digits=4) + kind
    if isinstance(value, nn.Module):
        widths, count = getattr(value, "widths", None), len(list(value.children()))
        layers = f" of {count} {'layer' if count == 1 else 'layers'}"
        return kind + (f"(widths={widths})" if widths else layers)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_show(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        parts = ", ".join(_show(part, digits) for part in value[: SMALL + 1])
        return f"[{parts}]" if isinstance(value, list) else f"({parts})"
    return f"{value:.{digits}g}" if isinstance(value, float) else repr(value)


def _tensor(dtype: torch.dtype, shape: torch.Size) -> str:
    return f"{_name(dtype)} tensor of {by(shape) or 'no dimension'}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
