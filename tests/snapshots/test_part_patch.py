"""Patches of parts: the new one comes out to the byte, a hostile patch is refused."""

from __future__ import annotations

import copy
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.errors import RecordingError
from snapshots.part_patch import NESTING_MAX, apply_patch, patch_of
from snapshots.state_codec import decode_part, encode_part
from tests.snapshots.conftest import mutated

SCALARS = st.one_of(
    st.integers(-(1 << 63), (1 << 64) - 1), st.text(max_size=3), st.binary(max_size=6), st.none()
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5).map(tuple),
        st.lists(inner, max_size=5),
        st.dictionaries(st.text(max_size=2) | st.integers(0, 9), inner, max_size=4),
        st.dictionaries(st.integers(0, 30), inner, max_size=5).map(
            lambda rows: tuple((key, rows[key]) for key in sorted(rows))
        ),
    ),
    max_leaves=20,
)


def as_kept(value: object) -> object:
    return decode_part(encode_part(value))


def patched(old: object, new: object) -> object:
    return apply_patch(as_kept(old), as_kept(patch_of(old, new)))


@given(VALUES, VALUES)
def test_the_new_part_comes_out_to_the_byte(old: object, new: object) -> None:
    assert encode_part(patched(old, new)) == encode_part(new)
    assert encode_part(patched(as_kept(old), as_kept(new))) == encode_part(new)


@given(VALUES, st.integers(0, 1 << 30))
def test_a_part_that_changed_a_little_comes_out_to_the_byte(old: object, seed: int) -> None:
    """Values that look alike and are of other types (1 and True) are the encoder's to notice."""
    chance = random.Random(seed)
    new = old
    for _ in range(chance.randrange(3)):
        new = mutated(_as_lists(new), chance)
    if old == new or _as_lists(old) == new:
        return
    before = copy.deepcopy(old)
    try:
        packed = encode_part(new)
    except OverflowError:
        return
    if repr(as_kept(new)).replace("True", "1") == repr(as_kept(new)):
        assert encode_part(patched(old, new)) == packed
    assert old == before


def _as_lists(value: object) -> object:
    if isinstance(value, tuple | list):
        return [_as_lists(each) for each in value]
    if isinstance(value, dict):
        return {key: _as_lists(inner) for key, inner in value.items()}
    return value


def test_a_small_change_is_a_small_patch() -> None:
    rows = tuple((key, "x" * 20, key * 3) for key in range(300))
    changed = (*rows[:7], (7, "y" * 20, 21), *rows[8:])
    gone = rows[:50] + rows[60:]
    came = (*rows, (900, "new", 1))
    for new in (changed, gone, came):
        assert len(encode_part(patch_of(rows, new))) < 60
        assert patched(rows, new) == new
    frame = bytes(4096)
    assert patched(frame, b"\1" + frame[1:]) == b"\1" + frame[1:]
    table = {name: (name,) for name in "abc"}
    assert len(encode_part(patch_of(table, table | {"b": (7,)}))) < 16


def test_what_nests_deep_is_written_whole_from_there() -> None:
    old: object = 1
    new: object = 2
    for _ in range(3 * NESTING_MAX):
        old, new = (old,), (new,)
    assert patched(old, new) == new


OLD: tuple[object, ...] = ((1, "a"), (2, "b"), (5, "c"))
HOSTILE: dict[str, tuple[object, object]] = {
    "nothing": (OLD, ()), "a number": (OLD, 7), "unknown kind": (OLD, (9, 1)),
    "whole without a value": (OLD, (0,)), "members of a number": (7, (1, (0,), ((0, 1),))),
    "member beyond": (OLD, (1, (3,), ((0, 1),))), "member below 0": (OLD, (1, (-1,), ((0, 1),))),
    "member by text": (OLD, (1, ("0",), ((0, 1),))), "member by truth": (OLD, (1, (True,), ((0, 1),))),
    "fewer patches": (OLD, (1, (0, 1), ((0, 1),))), "members are no row": (OLD, (1, 5, 5)),
    "keys of no rows": ((1, 2), (2, (), (1,), ((0, (1, 2)),))), "drops what is not": (OLD, (2, (9,), (), ())),
    "drops a map": (OLD, (2, ({},), (), ())), "drops twice": (OLD, (2, (1, 1), (), ())),
    "key is a map": (OLD, (2, (), ({},), ((0, 1),))), "key is a text": (OLD, (2, (), ("1",), ((0, 1),))),
    "bytes of another length": (b"ab", (3, b"abc")), "bytes on a row": (OLD, (3, b"abc")),
    "names of a row": (OLD, (4, ("a",), ((0, 1),))), "a name that is not": ({"a": 1}, (4, ("b",), ((0, 1),))),
    "a name that is a map": ({"a": 1}, (4, ({},), ((0, 1),))),
    "a patch inside that fits not": (OLD, (1, (0,), ((3, b"x"),))),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_patch_that_does_not_fit_is_refused(name: str) -> None:
    old, patch = HOSTILE[name]
    with pytest.raises(RecordingError, match="a patch of a part"):
        apply_patch(old, patch)


def test_a_patch_without_end_is_refused_before_the_stack_is() -> None:
    old: object = 1
    patch: object = (0, 2)
    for _ in range(400):
        old, patch = (old,), (1, (0,), (patch,))
    with pytest.raises(RecordingError, match="nests deeper"):
        apply_patch(old, patch)


@given(VALUES, VALUES, st.integers(0, 1 << 30))
def test_a_mutated_patch_raises_nothing_but_an_error_of_ours(
    old: object, new: object, seed: int
) -> None:
    patch = _as_lists(patch_of(old, new))
    chance = random.Random(seed)
    for _ in range(2):
        patch = mutated(patch, chance)
    try:
        kept = as_kept(patch)
    except OverflowError:
        return
    for base in (as_kept(old), as_kept(new), 7):
        try:
            apply_patch(base, kept)
        except RecordingError as problem:
            assert len(str(problem)) < 300


def test_a_large_patch_that_does_not_fit_is_refused_quickly() -> None:
    before = time.process_time()
    with pytest.raises(RecordingError) as caught:
        apply_patch(7, (1, tuple(range(200_000)), ((0, 1),) * 200_000))
    assert time.process_time() - before < 5 and len(str(caught.value)) < 300
