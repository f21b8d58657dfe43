"""Lines read piece by piece."""

from __future__ import annotations

import pytest

from snapshots.errors import InputError
from snapshots.proc.scan import (
    LINE_CHARS_MAX,
    LINES_MAX,
    LineScan,
    TextScan,
    row_lines,
    scan_lines,
    split_lines,
)


def test_pieces_are_read_in_order() -> None:
    scan = LineScan("f", 1, "Node 1, 7  8 ff")
    scan.word("Node ")
    assert scan.number() == 1
    scan.word(",")
    assert (scan.number(), scan.number()) == (7, 8)
    scan.spaces()
    assert scan.hexadecimal() == 255
    scan.end()


def test_what_is_wrong_is_named_with_line_and_column() -> None:
    scan = LineScan("f", 3, "Node x")
    scan.word("Node ")
    with pytest.raises(InputError, match=r"^f: line 3, column 6: 'x'; expected a number$"):
        scan.number()


@pytest.mark.parametrize("text", ["1" * 21, "", "-1", "a"])
def test_a_number_has_a_bound(text: str) -> None:
    with pytest.raises(InputError):
        LineScan("f", 1, text).number()


def test_a_text_that_ends_early_says_so() -> None:
    lines = TextScan.of("a\n", "f")
    lines.take_line("a")
    assert lines.at_end
    assert not lines.next_begins("")
    with pytest.raises(InputError, match=r"^f: ends after line 1; expected 'b'$"):
        lines.take_line("b")


def test_a_last_line_may_lack_its_newline() -> None:
    assert [scan.line for scan in scan_lines("a\nb", "f")] == ["a", "b"]
    assert list(scan_lines("", "f")) == []


def test_an_empty_line_is_no_row() -> None:
    with pytest.raises(InputError, match=r"^f: line 2, column 1: ''; expected a row"):
        list(row_lines("a\n\n", "f", "a row"))


def test_an_endless_line_is_refused() -> None:
    with pytest.raises(InputError, match=r"^f: line 2: 65537 characters"):
        list(scan_lines("a\n" + "b" * (LINE_CHARS_MAX + 1), "f"))


def test_an_endless_text_is_refused() -> None:
    with pytest.raises(InputError, match=r"^f: 2097153 lines; expected at most"):
        split_lines("\n" * (LINES_MAX + 1), "f")
