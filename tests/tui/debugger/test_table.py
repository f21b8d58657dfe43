from __future__ import annotations

import dataclasses

import pytest

from tui.debugger.table import DEC, FLAG, HEX, TEXT, Cell, Column, Table, count


@pytest.mark.parametrize(
    ("kind", "cell", "text"),
    [
        (TEXT, "a", "a"),
        (TEXT, 12, "12"),
        (TEXT, True, "yes"),
        (DEC, 4096, "4096"),
        (DEC, -1, "-1"),
        (HEX, 4096, "0x1000"),
        (HEX, "??", "??"),
        (FLAG, 1, "yes"),
        (FLAG, False, "no"),
        *((kind, None, "") for kind in (TEXT, DEC, HEX, FLAG)),
    ],
)
def test_a_cell_reads_as_its_column_says(kind: str, cell: Cell, text: str) -> None:
    assert Column("c", kind).text_of(cell) == text


def test_programs_get_rows_by_column_name_with_numbers_as_numbers() -> None:
    table = Table("t", (Column("at", HEX), Column("up", FLAG)), ((4096, None), (0, True)), ("n",))
    assert table.to_json() == {
        "title": "t",
        "rows": [{"at": 4096, "up": None}, {"at": 0, "up": True}],
        "notes": ["n"],
    }


def test_a_row_that_does_not_fit_its_columns_is_a_defect_and_not_cut() -> None:
    for row in ((1,), (1, 2, 3)):
        with pytest.raises(ValueError, match="zip"):
            Table("t", (Column("a"), Column("b")), (row,)).to_json()


def test_a_table_does_not_change_once_it_is_made() -> None:
    table = Table("t", (), ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.title = "u"  # type: ignore[misc]


@pytest.mark.parametrize(("number", "text"), [(0, "0 pages"), (1, "1 page"), (2, "2 pages")])
def test_one_thing_has_no_s(number: int, text: str) -> None:
    assert count(number, "page") == text
