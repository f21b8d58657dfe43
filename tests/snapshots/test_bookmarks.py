"""Bookmarks: the last of a name counts, and a stranger's are refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.bookmarks import (
    BOOKMARKS_MAX,
    NAME,
    NOTE_CHARS_MAX,
    Bookmark,
    gone_body,
    read_bookmarks,
)
from snapshots.errors import RecordingError
from tests.snapshots.conftest import JUNK

BOOKMARKS = st.builds(
    Bookmark, st.from_regex(NAME, fullmatch=True), st.integers(0, 9), st.integers(0, 1 << 62),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
)  # fmt: skip


@given(st.lists(BOOKMARKS, max_size=20))
def test_of_several_of_one_name_the_last_counts(marks: list[Bookmark]) -> None:
    bodies: list[object] = [mark.to_body() for mark in marks]
    assert read_bookmarks(bodies) == {mark.name: mark for mark in marks}


def test_what_was_taken_back_is_gone_until_it_is_set_again() -> None:
    mark = Bookmark("a", 0, 5)
    assert read_bookmarks([mark.to_body(), gone_body("a")]) == {}
    assert read_bookmarks([gone_body("a"), mark.to_body()]) == {"a": mark}


def test_a_bookmark_of_an_older_program_has_no_branch_and_no_note() -> None:
    assert read_bookmarks([{"name": "a", "step": 5}]) == {"a": Bookmark("a", 0, 5, "")}


GOOD: dict[str, object] = Bookmark("a", 0, 5, "note").to_body()
BAD: list[object] = [
    None, 7, [], {}, *({**GOOD, "name": name} for name in ("", "1a", "a b", "ä", "x" * 65, "a\n", 5, None)),
    *({**GOOD, "branch": branch} for branch in (-1, True, "0", None, 1.0)),
    *({**GOOD, "step": step} for step in (-1, True, "0", None)), {"name": "a"},
    *({**GOOD, "note": note} for note in (None, 5, b"x", "x" * (NOTE_CHARS_MAX + 1), "\x1b[2J", "a\nb")),
]  # fmt: skip


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_what_is_no_bookmark_is_refused(body: object) -> None:
    with pytest.raises(RecordingError, match="bookmark") as caught:
        read_bookmarks([GOOD, body])
    assert len(str(caught.value)) < 300


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), st.sampled_from(JUNK)))
def test_any_map_is_a_bookmark_or_refused(changed: dict[str, object]) -> None:
    try:
        marks = read_bookmarks([{**GOOD, **changed}])
    except RecordingError:
        return
    assert all(NAME.fullmatch(name) and mark.step >= 0 for name, mark in marks.items())


def test_more_than_can_be_made_are_refused() -> None:
    bodies: list[object] = [Bookmark(f"b{n}", 0, n).to_body() for n in range(BOOKMARKS_MAX)]
    assert len(read_bookmarks(bodies)) == BOOKMARKS_MAX
    with pytest.raises(RecordingError, match=f"more than {BOOKMARKS_MAX}"):
        read_bookmarks([*bodies, Bookmark("one_more", 0, 0).to_body()])
