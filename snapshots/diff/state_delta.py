"""The difference of two states as a thing of its own: small, invertible, and enough to make one of the other.

    a ──► delta_of(a, b) ──► apply_delta(a, ·) is b          apply_delta(b, ·.inverse()) is a

    Delta     parts that were born, that died, that changed
      Swap    one value for another                           None ► 7
      Patch   runs of bytes in equally long bytes             at 0x18: 00 00 ► 63 01
      Edits   pieces taken out of a row and put in            [a b c] ► [a x c d]
                a Splice replaces members, Inside changes one member deep within

It knows nothing of machines: a state is names and builtin values. Two values are the same if their bytes
are (msgpack), so that a list and a tuple are, 1 and True are not, and the order of a map counts. Parts that
are the same object are not looked at. What they mean is read by state_diff.py.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from kernel_sim.machine_state import Parts
from snapshots.errors import InputError
from snapshots.state_codec import encode_part

PATCH_GAP_BYTES = 8  # equal bytes between two runs that cost less than a second run
NESTED_BYTES_MIN = 64  # members that are shorter are replaced as a whole
LOOKED_AHEAD = 64  # members of a row, until it goes on as the other does
ROW, MAP = "row", "map"


class Swap(NamedTuple):
    """One value instead of another."""

    was: object
    now: object


class PatchRun(NamedTuple):
    """Bytes from an offset on; both are equally long."""

    at: int
    was: bytes
    now: bytes


class Patch(NamedTuple):
    """Runs of changed bytes, ascending."""

    runs: tuple[PatchRun, ...]


class Splice(NamedTuple):
    """Members taken out, and those put in their place, at their index before and after."""

    at_was: int
    at_now: int
    was: tuple[object, ...]
    now: tuple[object, ...]


class Inside(NamedTuple):
    """One member that changed deep within, at its index before and after."""

    at_was: int
    at_now: int
    change: Change


class Edits(NamedTuple):
    """What became of a row's members, ascending; a map is a row of its (key, value) pairs."""

    kind: str  # ROW or MAP
    edits: tuple[Splice | Inside, ...]


Change: TypeAlias = "Swap | Patch | Edits"
Hunk: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Delta:
    """What has to be done to one state to get the other; false if nothing."""

    born: Mapping[str, object] = field(default_factory=dict)
    died: Mapping[str, object] = field(default_factory=dict)
    changed: Mapping[str, Change] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether the two states differ."""
        return bool(self.born or self.died or self.changed)

    @property
    def names(self) -> list[str]:
        """The parts that differ, in order of their names."""
        return sorted((*self.born, *self.died, *self.changed))

    def inverse(self) -> Delta:
        """Return the delta that leads back."""
        changed = {name: inverse_of(change) for name, change in self.changed.items()}
        return Delta(self.died, self.born, changed)


def delta_of(a: Parts, b: Parts) -> Delta:
    """Return what leads from state a to state b; empty if they are the same."""
    changed: dict[str, Change] = {}
    for name in sorted(a):
        if name in b and a[name] is not b[name]:
            change = change_of(a[name], b[name])
            if change is not None:
                changed[name] = change
    born = {name: b[name] for name in sorted(b) if name not in a}
    died = {name: a[name] for name in sorted(a) if name not in b}
    return Delta(born, died, changed)


def apply_delta(a: Parts, delta: Delta) -> Parts:
    """Return the state that the delta leads to from a; a stays as it is.

    Raises InputError if a, where the delta touches it, is not the state that the delta begins with.
    """
    for name, part in delta.died.items():
        _expect(name in a and is_equal(a[name], part), name)
    parts = {name: part for name, part in a.items() if name not in delta.died}
    for name, part in delta.born.items():
        _expect(name not in a, name)
        parts[name] = part
    for name, change in delta.changed.items():
        _expect(name in a, name)
        parts[name] = _changed(a[name], change, name)
    return parts


def is_equal(one: object, other: object) -> bool:
    """Say whether two values are the same in a state."""
    return one is other or encode_part(one) == encode_part(other)


def change_of(was: object, now: object) -> Change | None:
    """Return what leads from one value to another, None if they are the same."""
    if is_equal(was, now):
        return None
    if isinstance(was, bytes) and isinstance(now, bytes) and len(was) == len(now):
        return Patch(tuple(_patch_runs(was, now)))
    was_row, now_row = members_of(was), members_of(now)
    if was_row is None or now_row is None or was_row[0] != now_row[0]:
        return Swap(was, now)
    return Edits(was_row[0], tuple(_edits(was_row[1], now_row[1])))


def members_of(value: object) -> tuple[str, tuple[object, ...]] | None:
    """Return a container's kind and its members, a map's as (key, value) pairs; None if it is none."""
    if isinstance(value, dict):
        return MAP, tuple(value.items())
    return (ROW, tuple(value)) if isinstance(value, list | tuple) else None


def inverse_of(change: Change) -> Change:
    """Return the change that leads back."""
    if isinstance(change, Swap):
        return Swap(change.now, change.was)
    if isinstance(change, Patch):
        return Patch(tuple(PatchRun(run.at, run.now, run.was) for run in change.runs))
    return Edits(change.kind, tuple(_inverse_edit(edit) for edit in change.edits))


def _inverse_edit(edit: Splice | Inside) -> Splice | Inside:
    if isinstance(edit, Splice):
        return Splice(edit.at_now, edit.at_was, edit.now, edit.was)
    return Inside(edit.at_now, edit.at_was, inverse_of(edit.change))


# -- finding ---------------------------------------------------------------------------------------


def _patch_runs(was: bytes, now: bytes) -> Iterator[PatchRun]:
    """Yield the runs in which equally long bytes differ."""
    differing = int.from_bytes(was, "little") ^ int.from_bytes(now, "little")
    mask = differing.to_bytes(len(was), "little")
    start = end = -1
    for at, bits in enumerate(mask):
        if not bits:
            continue
        if start >= 0 and at - end > PATCH_GAP_BYTES:
            yield PatchRun(start, was[start:end], now[start:end])
            start = -1
        start = at if start < 0 else start
        end = at + 1
    if start >= 0:
        yield PatchRun(start, was[start:end], now[start:end])


def _edits(was: tuple[object, ...], now: tuple[object, ...]) -> Iterator[Splice | Inside]:
    for start, end, at, stop in _hunks(list(map(_key, was)), list(map(_key, now))):
        taken, put = was[start:end], now[at:stop]
        if len(taken) != len(put):
            yield Splice(start, at, taken, put)
            continue
        for index, (old, new) in enumerate(zip(taken, put, strict=True)):
            if not (_is_large(old) and _is_large(new)):
                yield Splice(start + index, at + index, (old,), (new,))
                continue
            change = change_of(old, new)
            if change is not None:
                yield Inside(start + index, at + index, change)


def _key(value: object) -> int | bytes:
    """Return what tells one member from another; plain numbers are quicker than their bytes."""
    return value if type(value) is int else encode_part(value)


def _is_large(value: object) -> bool:
    is_nested = isinstance(value, dict | list | tuple | bytes)
    return is_nested and len(encode_part(value)) >= NESTED_BYTES_MIN


def _hunks(was: list[int | bytes], now: list[int | bytes]) -> Iterator[Hunk]:
    """Yield (start, end, at, stop): was[start:end] stands where now has now[at:stop]. Ascending.

    Where the rows part, the nearest place is taken at which they go on alike: not always the fewest
    edits, but time that grows with the length.
    """
    hunk: Hunk | None = None
    for start, end, at, stop in _pieces(was, now):
        if hunk is not None and hunk[1] == start and hunk[3] == at:
            hunk = (hunk[0], end, hunk[2], stop)
            continue
        if hunk is not None:
            yield hunk
        hunk = (start, end, at, stop)
    if hunk is not None:
        yield hunk


def _pieces(was: list[int | bytes], now: list[int | bytes]) -> Iterator[Hunk]:
    places: dict[int | bytes, list[int]] = {}
    for at, key in enumerate(now):
        places.setdefault(key, []).append(at)
    i = j = 0
    while i < len(was) and j < len(now):
        if was[i] == now[j]:
            i, j = i + 1, j + 1
            continue
        next_i, next_j = _where_alike(was, places, i, j)
        yield i, next_i, j, next_j
        i, j = next_i, next_j
    if i < len(was) or j < len(now):
        yield i, len(was), j, len(now)


def _where_alike(
    was: list[int | bytes], places: Mapping[int | bytes, list[int]], i: int, j: int
) -> tuple[int, int]:
    """Return the nearest indices at which both rows have the same member."""
    limit = min(len(was), i + LOOKED_AHEAD)
    best, found = len(was) << 32, (limit, j)
    for index in range(i, limit):
        if index - i >= best:
            break
        known = places.get(was[index])
        if known is None:
            continue
        nearest = bisect_left(known, j)
        if nearest < len(known) and index - i + known[nearest] - j < best:
            best, found = index - i + known[nearest] - j, (index, known[nearest])
    return found


# -- applying --------------------------------------------------------------------------------------


def _expect(is_so: bool, where: str) -> None:
    if not is_so:
        raise InputError(
            f"{where}: the delta does not begin with this state; expected the one it was made from"
        )


def _changed(value: object, change: Change, where: str) -> object:
    if isinstance(change, Swap):
        _expect(is_equal(value, change.was), where)
        return change.now
    if isinstance(change, Patch):
        return _patched(value, change, where)
    members = members_of(value)
    if members is None or members[0] != change.kind:
        raise InputError(f"{where}: the delta expects a {change.kind} here")
    row = _edited(members[1], change.edits, where)
    if change.kind == ROW:
        return row
    _expect(
        all(isinstance(pair, tuple) and len(pair) == len(("key", "value")) for pair in row), where
    )
    return dict(row)  # type: ignore[arg-type]


def _patched(value: object, patch: Patch, where: str) -> bytes:
    if not isinstance(value, bytes):
        raise InputError(f"{where}: the delta expects bytes here")
    data = bytearray(value)
    for at, was, now in patch.runs:
        _expect(data[at : at + len(was)] == was and len(was) == len(now), where)
        data[at : at + len(was)] = now
    return bytes(data)


def _edited(
    row: tuple[object, ...], edits: tuple[Splice | Inside, ...], where: str
) -> tuple[object, ...]:
    result: list[object] = []
    done = 0
    for edit in edits:
        _expect(done <= edit.at_was <= len(row), where)
        result += row[done : edit.at_was]
        _expect(len(result) == edit.at_now, where)
        if isinstance(edit, Splice):
            done = edit.at_was + len(edit.was)
            _expect(is_equal(row[edit.at_was : done], edit.was), where)
            result += edit.now
        else:
            _expect(edit.at_was < len(row), where)
            done = edit.at_was + 1
            result.append(_changed(row[edit.at_was], edit.change, f"{where}[{edit.at_was}]"))
    return (*result, *row[done:])
