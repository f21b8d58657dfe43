from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tui.debugger.output import Output
from tui.debugger.render import output_json, output_text, printable, table_text
from tui.debugger.table import DEC, FLAG, HEX, Column, Table

TABLE = Table(
    "Two rows",
    (Column("n", DEC), Column("addr", HEX), Column("up", FLAG), Column("text")),
    ((1, 0x10, True, "a"), (1000, None, False, "b\x1b[31m")),
    ("a note",),
)


def test_numbers_stand_right_and_text_stands_left() -> None:
    assert table_text(TABLE).splitlines() == [
        "Two rows",
        "   n  addr  up   text",
        "   1  0x10  yes  a",
        "1000        no   b\\x1b[31m",
        "a note",
    ]


def test_json_keeps_numbers_and_knows_no_columns_width() -> None:
    body = json.loads(output_json(Output(table=TABLE)))
    assert body["rows"][0] == {"n": 1, "addr": 16, "up": True, "text": "a"}
    assert body["rows"][1]["addr"] is None
    assert body["ok"] is True


def test_lines_are_how_an_answer_reads_and_its_table_what_it_is() -> None:
    output = Output(("one line",), TABLE, ok=False)
    assert output_text(output) == "one line"
    assert json.loads(output_json(output))["title"] == "Two rows"


@given(st.text())
def test_nothing_that_a_terminal_would_obey_gets_through(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@given(st.text())
def test_json_is_plain_ascii_whatever_a_cell_holds(text: str) -> None:
    table = Table(text, (Column("c"),), ((text,),))
    encoded = output_json(Output(table=table))
    assert encoded.isascii() and encoded.isprintable()
    assert json.loads(encoded)["rows"][0]["c"] == text
