"""A delta as builtin types that JSON and msgpack can hold, and back, checked.

value    7  "x"  None  ►  itself            bytes  ►  ["hex", "00ff"]
         (1, 2)        ►  ["row", 1, 2]     {k: v} ►  ["map", [k, v]]
change   ["swap", was, now]    ["patch", [at, was, now], …]    ["edits", kind, edit, …]
edit     ["splice", at_was, at_now, [was, …], [now, …]]        ["inside", at_was, at_now, change]
"""

from __future__ import annotations

from collections.abc import Sequence

from snapshots.diff.state_delta import (
    MAP,
    ROW,
    Change,
    Delta,
    Edits,
    Inside,
    Patch,
    PatchRun,
    Splice,
    Swap,
    members_of,
)
from snapshots.errors import InputError

NESTING_MAX = 64  # values within values; a machine's parts have ten
FIELDS = ("born", "died", "changed")
HEX = "hex"


def delta_to_builtin(delta: Delta) -> dict[str, object]:
    """Return the delta as lists, maps with text keys, texts and numbers."""
    return {
        "born": {name: _value_out(part) for name, part in delta.born.items()},
        "died": {name: _value_out(part) for name, part in delta.died.items()},
        "changed": {name: _change_out(change) for name, change in delta.changed.items()},
    }


def delta_from_builtin(data: object) -> Delta:
    """Return the delta that delta_to_builtin() wrote. Raises InputError for anything else."""
    if not isinstance(data, dict) or sorted(data) != sorted(FIELDS):
        raise InputError(f"a delta: {data!r:.60}; expected a map of {', '.join(FIELDS)}")
    born, died, changed = (_named(data[name], name) for name in FIELDS)
    return Delta(
        {name: _value_in(part, name) for name, part in born.items()},
        {name: _value_in(part, name) for name, part in died.items()},
        {name: _change_in(change, name) for name, change in changed.items()},
    )


def _named(data: object, where: str) -> dict[str, object]:
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise InputError(f"{where}: {data!r:.60}; expected parts by name")
    return data


# -- out -------------------------------------------------------------------------------------------


def _value_out(value: object) -> object:
    if isinstance(value, bytes):
        return [HEX, value.hex()]
    members = members_of(value)
    if members is None:
        return value
    if members[0] == ROW:
        return [ROW, *map(_value_out, members[1])]
    return [MAP, *([_value_out(key), _value_out(each)] for key, each in value.items())]  # type: ignore[attr-defined]


def _change_out(change: Change) -> list[object]:
    if isinstance(change, Swap):
        return ["swap", _value_out(change.was), _value_out(change.now)]
    if isinstance(change, Patch):
        return ["patch", *([run.at, run.was.hex(), run.now.hex()] for run in change.runs)]
    return ["edits", change.kind, *map(_edit_out, change.edits)]


def _edit_out(edit: Splice | Inside) -> list[object]:
    if isinstance(edit, Inside):
        return ["inside", edit.at_was, edit.at_now, _change_out(edit.change)]
    was, now = list(map(_value_out, edit.was)), list(map(_value_out, edit.now))
    return ["splice", edit.at_was, edit.at_now, was, now]


# -- in --------------------------------------------------------------------------------------------


def _value_in(data: object, where: str, depth: int = 0) -> object:
    if data is None or isinstance(data, bool | int | float | str):
        return data
    kind, *members = _tagged(data, where, depth)
    if kind == HEX and len(members) == 1:
        return _bytes_in(members[0], where)
    if kind == ROW:
        return tuple(_value_in(each, where, depth + 1) for each in members)
    if kind != MAP:
        raise InputError(f"{where}: {kind!r:.60}; expected {HEX}, {ROW} or {MAP}")
    pairs = [_list_of(each, 2, where) for each in members]
    result: dict[object, object] = {}
    for key, each in pairs:
        if key is not None and not isinstance(key, bool | int | float | str):
            raise InputError(f"{where}: {key!r:.60}; expected a text or number as a key")
        result[key] = _value_in(each, where, depth + 1)
    return result


def _change_in(data: object, where: str, depth: int = 0) -> Change:
    kind, *rest = _tagged(data, where, depth)
    if kind == "swap":
        was, now = _list_of(rest, 2, where)
        return Swap(_value_in(was, where), _value_in(now, where))
    if kind == "patch":
        return Patch(tuple(_run_in(each, where) for each in rest))
    if kind == "edits" and rest and rest[0] in (ROW, MAP):
        edits = tuple(_edit_in(each, where, depth + 1) for each in rest[1:])
        return Edits(str(rest[0]), edits)
    raise InputError(f"{where}: {kind!r:.60}; expected swap, patch or edits")


def _run_in(data: object, where: str) -> PatchRun:
    at, was, now = _list_of(data, 3, where)
    return PatchRun(_index_in(at, where), _bytes_in(was, where), _bytes_in(now, where))


def _edit_in(data: object, where: str, depth: int) -> Splice | Inside:
    kind, *rest = _tagged(data, where, depth)
    if kind == "inside":
        at_was, at_now, change = _list_of(rest, 3, where)
        indices = _index_in(at_was, where), _index_in(at_now, where)
        return Inside(*indices, _change_in(change, where, depth + 1))
    if kind != "splice":
        raise InputError(f"{where}: {kind!r:.60}; expected splice or inside")
    at_was, at_now, was, now = _list_of(rest, 4, where)
    return Splice(
        _index_in(at_was, where), _index_in(at_now, where), _row_in(was, where), _row_in(now, where)
    )


def _row_in(data: object, where: str) -> tuple[object, ...]:
    if not isinstance(data, list | tuple):
        raise InputError(f"{where}: {data!r:.60}; expected a list")
    return tuple(_value_in(each, where) for each in data)


def _tagged(data: object, where: str, depth: int) -> Sequence[object]:
    if depth > NESTING_MAX:
        raise InputError(f"{where}: nested deeper than {NESTING_MAX}")
    if not isinstance(data, list | tuple) or not data or not isinstance(data[0], str):
        raise InputError(f"{where}: {data!r:.60}; expected a list that begins with its kind")
    return data


def _list_of(data: object, length: int, where: str) -> Sequence[object]:
    if not isinstance(data, list | tuple) or len(data) != length:
        raise InputError(f"{where}: {data!r:.60}; expected a list of {length}")
    return data


def _index_in(data: object, where: str) -> int:
    if type(data) is not int or data < 0:
        raise InputError(f"{where}: {data!r:.60}; expected an index")
    return data


def _bytes_in(data: object, where: str) -> bytes:
    try:
        return bytes.fromhex(data) if isinstance(data, str) else bytes.fromhex("?")
    except ValueError as problem:
        raise InputError(f"{where}: {data!r:.60}; expected bytes in hex") from problem
