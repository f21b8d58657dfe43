from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.debugger.errors import CommandError
from tui.debugger.place import Place, is_place, parse_place

TEXTS = st.text(st.characters(exclude_categories=("C", "Z")), max_size=20)


def test_a_place_reads_as_people_write_it() -> None:
    assert parse_place("run.kms#step=812&pane=chunks&sel=chunk:1:0x340") == Place(
        "run.kms", "812", "", "chunks", "chunk:1:0x340"
    )
    assert parse_place("/tmp/a b.kms#step=50%25") == Place("/tmp/a b.kms", "50%")
    assert parse_place("run.kms") == Place("run.kms")


def test_a_place_is_written_so_that_it_can_be_pasted() -> None:
    place = Place("my run.kms", "812", "atomic", "chunks", "chunk:1:0x340")
    assert str(place) == "my%20run.kms#step=812&branch=atomic&pane=chunks&sel=chunk:1:0x340"
    assert str(Place("run.kms")) == "run.kms"


@given(st.builds(Place, TEXTS.filter(bool), TEXTS, TEXTS, TEXTS, TEXTS))
def test_what_is_written_is_what_is_read(place: Place) -> None:
    assert parse_place(str(place)) == place


@pytest.mark.parametrize(
    "text",
    ["", "#step=1", "a.kms#", "a.kms#step", "a.kms#step=", "a.kms#mood=good", "a.kms#step=1&step=2",
     "a.kms#step=1&", "a.kms#step=%ff", "a.kms#step=%00", "a" * 9000],
)  # fmt: skip
def test_what_is_no_place_is_refused_in_words(text: str) -> None:
    with pytest.raises(CommandError, match=r"expected|UTF-8|print"):
        parse_place(text)


@given(st.text(max_size=60))
def test_any_text_gives_a_place_or_an_error(text: str) -> None:
    try:
        parse_place(text)
    except CommandError as problem:
        assert len(str(problem)) < 700


def test_a_file_name_is_told_from_a_place() -> None:
    assert is_place("a.kms#step=1") and is_place("a.kms#branch=b1")
    assert not is_place("a#b.kms")
