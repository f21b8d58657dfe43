"""What has changed in a part since the keyframe before, as a patch that is much smaller than the part.

    0 new                        everything
    1 indices, patches           members of a row of the same length
    2 keys gone, keys, patches   members of a row of rows that begin with ascending numbers
    3 bytes                      exclusive or with the old bytes
    4 names, patches             values of a map with the same names
    5 indices, bytes             words, second members of pairs of a number and bytes: exclusive or, in a row

A patch is builtin types, and so is what it is made of. Values count as the same where Python says so, which
takes True for 1; whoever keeps a patch applies it once and looks whether the very bytes come of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, cast

from snapshots.errors import RecordingError

Patch: TypeAlias = "tuple[object, ...]"
Row: TypeAlias = "tuple[object, ...] | list[object]"
WHOLE, MEMBERS, KEYED, XOR, NAMED, WORDS = range(6)
NESTING_MAX = 16
WORDS_MIN = 2
SHORT = 16  # members of a row of mere numbers that is not worth looking into
CONTAINERS = frozenset({tuple, list, dict, bytes})
TUPLES = (tuple, list)


def patch_of(old: object, new: object, depth: int = 0) -> Patch:
    """Return what apply_patch() makes new of old with."""
    if depth == NESTING_MAX:
        return (WHOLE, new)
    if isinstance(new, TUPLES) and isinstance(old, TUPLES):
        if len(new) <= SHORT and CONTAINERS.isdisjoint(map(type, new)):
            return (WHOLE, new)
        if len(old) == len(new):
            return _members(old, new, depth + 1)
        if old and new and _is_keyed(old) and _is_keyed(new):
            return _keyed(old, new, depth + 1)
    elif isinstance(new, bytes) and isinstance(old, bytes) and len(old) == len(new):
        return (XOR, _xor(old, new))
    elif isinstance(new, dict) and isinstance(old, dict) and list(new) == list(old):
        names = [name for name in new if old[name] != new[name]]
        return (
            NAMED,
            tuple(names),
            tuple(patch_of(old[name], new[name], depth + 1) for name in names),
        )
    return (WHOLE, new)


def _members(old: Row, new: Row, depth: int) -> Patch:
    indices = [at for at, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]]
    words = _words(old, new, indices)
    if words:
        return (WORDS, tuple(indices), words)
    return (MEMBERS, tuple(indices), tuple(patch_of(old[at], new[at], depth) for at in indices))


def _words(old: Row, new: Row, indices: list[int]) -> bytes:
    """Return what changes the bytes of these pairs, nothing if they are no such pairs or not alike."""
    if len(indices) < WORDS_MIN:
        return b""
    before, after = [old[at] for at in indices], [new[at] for at in indices]
    if not all(isinstance(pair, TUPLES) and len(pair) == 2 for pair in (*before, *after)):
        return b""
    keys, words = zip(*before, strict=True)
    new_keys, new_words = zip(*after, strict=True)
    kinds = set(map(type, (*words, *new_words)))
    if keys != new_keys or kinds != {bytes} or list(map(len, words)) != list(map(len, new_words)):
        return b""
    return _xor(b"".join(words), b"".join(new_words))


def _is_keyed(rows: Row) -> bool:
    """Say whether every member is a row that begins with an int, greater than the one before."""
    last: int | None = None
    for row in rows:
        if not isinstance(row, TUPLES) or not row or type(row[0]) is not int:
            return False
        if last is not None and row[0] <= last:
            return False
        last = row[0]
    return True


def _keyed(old: Row, new: Row, depth: int) -> Patch:
    before = {cast("Row", row)[0]: row for row in old}
    after = {cast("Row", row)[0]: row for row in new}
    gone = tuple(key for key in before if key not in after)
    keys = [key for key, row in after.items() if before.get(key) != row]
    patches = tuple(patch_of(before.get(key), after[key], depth) for key in keys)
    return (KEYED, gone, tuple(keys), patches)


def _xor(one: bytes, other: bytes) -> bytes:
    mixed = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return mixed.to_bytes(len(one), "little")


def apply_patch(old: object, patch: object, depth: int = 0) -> object:
    """Return the new part. Raises RecordingError if the patch does not fit the old one."""
    if depth > NESTING_MAX:
        raise RecordingError(f"a patch of a part nests deeper than {NESTING_MAX} levels")
    if not isinstance(patch, TUPLES) or not patch:
        raise RecordingError(f"a patch of a part is {patch!r:.60}")
    kind, nr_members = patch[0], len(patch)
    if kind == WHOLE and nr_members == 2:
        return patch[1]
    if kind == XOR and nr_members == 2 and isinstance(old, bytes) and isinstance(patch[1], bytes):
        if len(old) == len(patch[1]):
            return _xor(old, patch[1])
    elif kind == MEMBERS and nr_members == 3 and isinstance(old, TUPLES):
        return _apply_members(old, _pairs(patch[1], patch[2]), depth + 1)
    elif kind == WORDS and nr_members == 3 and isinstance(old, TUPLES):
        return _apply_words(old, patch[1], patch[2])
    elif kind == KEYED and nr_members == 4 and isinstance(old, TUPLES) and _is_keyed(old):
        return _apply_keyed(old, patch[1], _pairs(patch[2], patch[3]), depth + 1)
    elif kind == NAMED and nr_members == 3 and isinstance(old, dict):
        return _apply_named(old, _pairs(patch[1], patch[2]), depth + 1)
    raise RecordingError(f"a patch of a part does not fit it: {patch!r:.60}")


def _pairs(keys: object, patches: object) -> Iterable[tuple[object, object]]:
    if not isinstance(keys, TUPLES) or not isinstance(patches, TUPLES) or len(keys) != len(patches):
        raise RecordingError("a patch of a part has not one change for each place")
    return zip(keys, patches, strict=True)


def _apply_members(old: Row, changes: Iterable[tuple[object, object]], depth: int) -> Row:
    rows = list(old)
    for at, inner in changes:
        if type(at) is not int or not 0 <= at < len(rows):
            raise RecordingError(f"a patch of a part changes member {at!r:.40} of {len(rows)}")
        rows[at] = apply_patch(rows[at], inner, depth)
    return tuple(rows)


def _apply_words(old: Row, indices: object, mixed: object) -> Row:
    if not isinstance(indices, TUPLES) or not isinstance(mixed, bytes):
        raise RecordingError("a patch of words has no places and bytes")
    rows = list(old)
    offset = 0
    for at in indices:
        row = rows[at] if type(at) is int and 0 <= at < len(rows) else None
        if not isinstance(row, TUPLES) or len(row) != 2 or not isinstance(row[1], bytes):
            raise RecordingError(f"a patch changes word {at!r:.40} of {len(rows)} rows")
        end = offset + len(row[1])
        rows[at] = (row[0], _xor(row[1], mixed[offset:end]))
        offset = end
    if offset != len(mixed):
        raise RecordingError(f"a patch of {len(mixed)} bytes is for words of {offset}")
    return tuple(rows)


def _apply_named(
    old: dict[object, object], changes: Iterable[tuple[object, object]], depth: int
) -> dict[object, object]:
    merged = dict(old)
    for name, inner in changes:
        if not isinstance(name, str | int | bytes) or name not in merged:
            raise RecordingError(f"a patch of a part changes {name!r:.40}, which is not there")
        merged[name] = apply_patch(merged[name], inner, depth)
    return merged


def _apply_keyed(
    old: Row, gone: object, changes: Iterable[tuple[object, object]], depth: int
) -> tuple[object, ...]:
    rows: dict[int, object] = {cast("int", cast("Row", row)[0]): row for row in old}
    for key in cast("Row", gone if isinstance(gone, TUPLES) else ()):
        if type(key) is not int or rows.pop(key, None) is None:
            raise RecordingError(f"a patch of a part drops row {key!r:.40}, which is not there")
    for key, inner in changes:
        if type(key) is not int:
            raise RecordingError(f"a patch of a part changes row {key!r:.40}")
        rows[key] = apply_patch(rows.get(key), inner, depth)
    return tuple(rows[key] for key in sorted(rows))
