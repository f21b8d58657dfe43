"""State as plain data, and back: one pair of functions for every dataclass, driven by its type hints.

    @dataclass class Block: base_addr: int; bits: list[int]; owner: str | None
    to_plain(block)            ──►  {"base_addr": …, "bits": (…), "owner": None}
    from_plain(Block, plain)   ──►  Block, or KernelBug that says where what was found instead

Fields may be int, bool, str, bytes, another dataclass, X | None, list[X], tuple[X, ...], tuple[X, Y], and
dict[int, X] or dict[str, X], in order. What comes from a file is a stranger's: every value is held
against its type, so that nobody later meets a text where a number belongs. Fields with TRANSIENT in their
metadata are left out and get their default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from kernel_sim.config_table import shown
from kernel_sim.errors import KernelBug

T = TypeVar("T")
Reader = Callable[[object, str], object]
TRANSIENT = "transient"
"""Key of dataclasses.field(metadata=…): not part of the state."""


def to_plain(value: object) -> object:
    """Return a value as builtin types; equal values give equal results."""
    if value is None or isinstance(value, int | str | bytes):
        return value
    if isinstance(value, list | tuple):
        return tuple(map(to_plain, value))
    if isinstance(value, Mapping):
        return tuple((key, to_plain(each)) for key, each in value.items())
    return {
        name: to_plain(getattr(value, name)) for name in _state_fields(cast("Any", type(value)))
    }


def from_plain(kind: type[T], plain: object, where: str = "") -> T:
    """Return the value of a dataclass that to_plain() described.

    Raises KernelBug naming the place of the first value that is not as its type says.
    """
    return cast("T", _reader_of(cast("Any", kind))(plain, where or kind.__name__))


@cache
def _state_fields(kind: Any) -> tuple[str, ...]:
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} cannot be part of a state: it is no dataclass")
    return tuple(field.name for field in fields(kind) if not field.metadata.get(TRANSIENT))


@cache
def _reader_of(hint: Any) -> Reader:
    origin = get_origin(hint)
    if hint in (int, str, bytes, bool, NoneType):
        return _plain_reader(hint)
    if origin in (Union, UnionType):
        return _either_reader(get_args(hint))
    if origin is list or (origin is tuple and get_args(hint)[-1] is Ellipsis):
        return _row_reader(origin, get_args(hint)[0])
    if origin is tuple:
        return _fixed_reader(get_args(hint))
    if origin is dict:
        return _dict_reader(*get_args(hint))
    if is_dataclass(hint):
        return _dataclass_reader(cast("type", hint))
    raise TypeError(f"{hint} cannot be part of a state")


def _wrong(where: str, found: object, expected: str) -> KernelBug:
    return KernelBug(f"{where}: {shown(found)}; expected {expected}")


def _plain_reader(kind: type) -> Reader:
    def read(plain: object, where: str) -> object:
        if type(plain) is not kind:
            raise _wrong(where, plain, kind.__name__)
        return plain

    return read


def _either_reader(kinds: tuple[Any, ...]) -> Reader:
    """Return the reader of X | None; the one that is not None says what is wrong."""
    others = [_reader_of(kind) for kind in kinds if kind is not NoneType]
    if len(others) != 1:
        raise TypeError("a state may have X | None, no other union")

    def read(plain: object, where: str) -> object:
        return None if plain is None else others[0](plain, where)

    return read


def _row_reader(row_type: type, kind: Any) -> Reader:
    read_one = _reader_of(kind)

    def read(plain: object, where: str) -> object:
        if not isinstance(plain, list | tuple):
            raise _wrong(where, plain, "a list")
        return row_type(read_one(each, f"{where}[{at}]") for at, each in enumerate(plain))

    return read


def _fixed_reader(kinds: tuple[Any, ...]) -> Reader:
    readers = [_reader_of(kind) for kind in kinds]

    def read(plain: object, where: str) -> object:
        if not isinstance(plain, list | tuple) or len(plain) != len(readers):
            raise _wrong(where, plain, f"a row of {len(readers)}")
        pairs = zip(readers, plain, strict=True)
        return tuple(one(each, f"{where}[{at}]") for at, (one, each) in enumerate(pairs))

    return read


def _dict_reader(key_kind: Any, kind: Any) -> Reader:
    read_rows = _row_reader(tuple, tuple[key_kind, kind])

    def read(plain: object, where: str) -> object:
        rows = cast("tuple[tuple[object, object], ...]", read_rows(plain, where))
        found = dict(rows)
        if len(found) != len(rows):
            raise _wrong(where, plain, "every key once")
        return found

    return read


def _dataclass_reader(kind: type) -> Reader:
    names = _state_fields(kind)
    hints = get_type_hints(kind)
    readers = {name: _reader_of(hints[name]) for name in names}

    def read(plain: object, where: str) -> object:
        if not isinstance(plain, dict) or plain.keys() != readers.keys():
            raise _wrong(where, plain, f"{kind.__name__} with {', '.join(names)}")
        values = {name: one(plain[name], f"{where}.{name}") for name, one in readers.items()}
        made: object = object.__new__(kind)
        return _filled(made, kind, values)

    return read


def _filled(made: Any, kind: type, values: dict[str, object]) -> object:
    """Set the fields without calling __init__, which may compute what the state already has."""
    for field in fields(kind):
        if field.name in values:
            object.__setattr__(made, field.name, values[field.name])
        elif callable(field.default_factory):
            object.__setattr__(made, field.name, field.default_factory())
        else:
            object.__setattr__(made, field.name, field.default)
    return made
