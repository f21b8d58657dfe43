"""What a record may carry: builtin values, packed as msgpack, bounded before they are built.

    bytes ── size ── items ── structure ──▶ build ── types, nesting ──▶ value
             len()   counted   msgpack        msgpack   level by level
                     by first  skips over it
                     byte      unbuilt

Nothing is built before its cost is known: msgpack allocates an array as long as it *claims* to be,
so the claims are first checked against the bytes that are really there. Ext types, and the
timestamps hidden among them, are refused: a value is nothing but None, bool, int of 64 bits, float,
str, bytes, list and dict. A tuple may be written; it comes back as a list.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import msgpack

from snapshots.container import limits
from snapshots.errors import RecordingError

_CONTAINERS = frozenset({list, tuple, dict})
_BUILTINS = frozenset({type(None), bool, int, float, str, bytes}) | _CONTAINERS
_KEYS = frozenset({str, int, bytes})


def _item_widths() -> list[int]:
    """Return for each first byte the bytes up to the next item; 0 where a length must be read."""
    widths = [1] * 256  # small ints, nil, bools, and the heads of small arrays and maps
    for first_byte in range(0xA0, 0xC0):  # fixstr
        widths[first_byte] = 1 + first_byte - 0xA0
    for first_byte in (0xC1, *range(0xC4, 0xCA), *range(0xD4, 0xDC)):
        widths[first_byte] = 0  # unused, bin, ext, str 8 to 32
    for first_byte, width_bytes in (
        *((0xCA, 5), (0xCB, 9)),  # float
        *((0xCC, 2), (0xCD, 3), (0xCE, 5), (0xCF, 9)),  # uint
        *((0xD0, 2), (0xD1, 3), (0xD2, 5), (0xD3, 9)),  # int
        *((0xDC, 3), (0xDD, 5), (0xDE, 3), (0xDF, 5)),  # heads of larger arrays and maps
    ):
        widths[first_byte] = width_bytes
    return widths


_ITEM_WIDTHS = _item_widths()
_MAP_HEADS = bytes((*range(0x80, 0x90), 0xDE, 0xDF))
_LENGTH_WIDTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}  # bin and str


def pack_body(value: object) -> bytes:
    """Return a builtin value as msgpack.

    Raises: RecordingError if the value could not be read back: a foreign type, an int beyond 64
    bits, or more than a body may hold.
    """
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise RecordingError(f"a record cannot carry this value: {error}") from error
    _check_size(packed)
    _check_types(value)
    return packed


def unpack_body(packed: bytes, *, items_max: int | None = None) -> object:
    """Return the value that pack_body() packed; every call builds a fresh one.

    Raises: RecordingError, and nothing else, whatever the bytes are.
    """
    _check_size(packed, items_max)
    _check_structure(packed)
    try:
        value: object = msgpack.unpackb(
            packed, raw=False, use_list=True, strict_map_key=False, ext_hook=_refuse_ext
        )
    except (ValueError, TypeError) as error:  # TypeError: a list as a map key
        raise RecordingError(f"the body is not a value of builtin types: {error}") from error
    _check_types(value)
    return value


def _check_size(packed: bytes, items_max: int | None = None) -> None:
    items_max = limits.BODY_ITEMS_MAX if items_max is None else items_max
    if len(packed) > limits.BODY_BYTES_MAX:
        raise RecordingError(
            f"the body has {len(packed)} bytes, a record holds at most {limits.BODY_BYTES_MAX}"
        )
    if len(packed) > items_max:  # else even items of one byte each are not too many
        _count_items(packed, items_max, items_max)


def check_items(packed: bytes, *, items_max: int, maps_max: int) -> None:
    """Raise RecordingError if msgpack has more items, or more maps among them, than that.

    An empty map is one byte here and 64 in memory. Counting goes item by item, so it is done only where
    there are bytes enough for too many.
    """
    nr_heads = len(packed) - len(packed.translate(None, _MAP_HEADS))
    if len(packed) > items_max or nr_heads > maps_max:
        _count_items(packed, items_max, maps_max)


def _count_items(packed: bytes, items_max: int, maps_max: int) -> None:
    """Count items without a stack: an item inside another still follows it in the bytes."""
    offset_bytes = 0
    nr_items = 0
    nr_maps = 0
    while offset_bytes < len(packed):
        nr_items += 1
        if nr_items > items_max:
            raise RecordingError(f"the body has more than {items_max} items")
        first_byte = packed[offset_bytes]
        if first_byte in _MAP_HEADS:
            nr_maps += 1
            if nr_maps > maps_max:
                raise RecordingError(f"the body has more than {maps_max} maps")
        width_bytes = _ITEM_WIDTHS[first_byte]
        if not width_bytes:
            if first_byte not in _LENGTH_WIDTHS:
                raise RecordingError(f"the body has an ext type or no msgpack ({first_byte:#x})")
            head_bytes = 1 + _LENGTH_WIDTHS[first_byte]
            length = packed[offset_bytes + 1 : offset_bytes + head_bytes]
            width_bytes = head_bytes + int.from_bytes(length, "big")
        offset_bytes += width_bytes


def _check_structure(packed: bytes) -> None:
    """Refuse arrays and strings longer than the bytes that are there, building nothing."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(packed), 1))
    unpacker.feed(packed)
    try:
        unpacker.skip()
    except (ValueError, msgpack.OutOfData) as error:
        raise RecordingError(f"the body is not msgpack: {error or type(error).__name__}") from error
    if unpacker.tell() != len(packed):
        raise RecordingError(
            f"the body has {len(packed)} bytes, its value ends after {unpacker.tell()}"
        )


def _check_types(value: object) -> None:
    """Go through a value level by level; `map(type, …)` takes no Python step for an item."""
    level: list[object] = [[value]]
    for _ in range(limits.BODY_NESTING_MAX + 1):
        inner: list[object] = []
        for container in level:
            items: Iterable[object]
            if isinstance(container, dict):
                _refuse_types(set(map(type, container)) - _KEYS, "as a map key")
                items = container.values()
            else:
                assert isinstance(container, list | tuple)
                items = container
            types = set(map(type, items))
            _refuse_types(types - _BUILTINS, "as a value")
            if types & _CONTAINERS:
                inner.extend(item for item in items if type(item) in _CONTAINERS)
        if not inner:
            return
        level = inner
    raise RecordingError(f"the body nests deeper than {limits.BODY_NESTING_MAX} levels")


def _refuse_types(foreign: set[type], where: str) -> None:
    if foreign:
        names = ", ".join(sorted(kind.__name__ for kind in foreign))
        raise RecordingError(f"the body has {names} {where}; only builtin types are recorded")


def _refuse_ext(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"ext type {code} ({len(data)} bytes) has no place in a recording")
