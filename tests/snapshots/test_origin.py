"""Where a run came from: comes back, and is refused in other types."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.errors import RecordingError
from snapshots.origin import Origin
from tests.snapshots.conftest import JUNK

TEXTS = st.text(max_size=9)
ROWS = st.lists(st.lists(TEXTS | st.integers(0, 9), max_size=4), max_size=3)
ORIGINS = st.builds(
    Origin, TEXTS, TEXTS, TEXTS, st.lists(TEXTS, max_size=3), ROWS, ROWS,
    st.dictionaries(TEXTS, st.integers(0, 9), max_size=3), st.integers(0, 1 << 40),
)  # fmt: skip


@given(ORIGINS)
def test_an_origin_comes_back(origin: Origin) -> None:
    assert Origin.from_body(msgpack.unpackb(msgpack.packb(origin.to_body()))) == origin


def test_names_of_a_newer_program_are_passed_over_and_missing_ones_as_they_were() -> None:
    assert Origin.from_body({"kind": "trace", "mood": "good"}) == Origin(kind="trace")
    assert Origin.from_body({}) == Origin()
    assert Origin.from_body({}).notes is not Origin.from_body({}).notes


@pytest.mark.parametrize("name", Origin.__slots__)
def test_a_value_of_another_type_is_refused(name: str) -> None:
    right = type(getattr(Origin(), name))
    for junk in JUNK:
        if type(junk) is not right:
            with pytest.raises(RecordingError, match=f"origin: {name} is"):
                Origin.from_body({name: junk})


@pytest.mark.parametrize("body", [None, 7, [], "origin", b""])
def test_what_is_no_map_is_refused(body: object) -> None:
    with pytest.raises(RecordingError, match="origin is not a map"):
        Origin.from_body(body)
