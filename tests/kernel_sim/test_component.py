from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.component import TRANSIENT, from_plain, to_plain
from kernel_sim.errors import KernelBug


@dataclass(slots=True)
class Area:
    offset_bytes: int
    sizes: list[int]
    owner: str | None


@dataclass(slots=True)
class Chunk:
    base_addr: int
    immutable: bool
    areas: dict[int, Area]
    pairs: tuple[tuple[int, str], ...]
    image: bytes
    seen: dict[int, int] = field(default_factory=dict, metadata={TRANSIENT: True})


areas = st.builds(Area, st.integers(), st.lists(st.integers()), st.none() | st.text())
chunks = st.builds(
    Chunk,
    st.integers(),
    st.booleans(),
    st.dictionaries(st.integers(), areas),
    st.lists(st.tuples(st.integers(), st.text())).map(tuple),
    st.binary(),
)


@given(chunks)
def test_what_goes_out_comes_back(chunk: Chunk) -> None:
    plain = to_plain(chunk)
    assert from_plain(Chunk, plain) == chunk
    assert to_plain(from_plain(Chunk, plain)) == plain


def test_a_transient_field_is_left_out_and_begins_anew() -> None:
    chunk = Chunk(1, False, {}, (), b"", seen={1: 2})
    plain = to_plain(chunk)
    assert isinstance(plain, dict) and "seen" not in plain
    assert from_plain(Chunk, plain).seen == {}


def test_order_of_a_dict_is_part_of_the_state() -> None:
    one, two = Area(1, [], None), Area(2, [], None)
    forth = Chunk(0, True, {1: one, 2: two}, (), b"")
    back = Chunk(0, True, {2: two, 1: one}, (), b"")
    assert to_plain(forth) != to_plain(back)


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("base_addr", "0x1000", "Chunk.base_addr"),
        ("base_addr", True, "Chunk.base_addr"),
        ("immutable", 1, "Chunk.immutable"),
        ("areas", ((1, {"offset_bytes": 1, "sizes": (1, "x"), "owner": None}),), r"\.sizes\[1\]"),
        ("areas", ((1, {"offset_bytes": 1}),), "expected Area with offset_bytes, sizes, owner"),
        ("areas", ((1, 2, 3),), "a row of 2"),
        ("pairs", 7, "a list"),
        ("image", "text", "bytes"),
    ],
)
def test_what_a_stranger_changed_is_named_with_its_place(
    name: str, value: object, where: str
) -> None:
    plain = to_plain(Chunk(1, False, {}, (), b""))
    assert isinstance(plain, dict)
    with pytest.raises(KernelBug, match=where):
        from_plain(Chunk, plain | {name: value})


def test_a_key_that_stands_twice_is_refused() -> None:
    plain = to_plain(Chunk(1, False, {3: Area(1, [], None)}, (), b""))
    assert isinstance(plain, dict)
    plain["areas"] = (*plain["areas"], *plain["areas"])
    with pytest.raises(KernelBug, match="every key once"):
        from_plain(Chunk, plain)


def test_what_is_no_dataclass_cannot_be_state() -> None:
    with pytest.raises(TypeError, match="no dataclass"):
        to_plain(object())
