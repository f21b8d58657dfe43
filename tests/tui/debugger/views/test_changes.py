from __future__ import annotations

from snapshots.history.change_index import Change
from snapshots.history.compiled import compile_text
from snapshots.history.fields import CATALOGUE
from snapshots.history.life import LifeRow
from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, TEXT
from tui.debugger.views.changes import (
    change_text,
    changes_view,
    fields_view,
    life_view,
    value_text,
    value_view,
    watches_view,
)

ROW = Change(7, 10, 12, 1, "free_percpu", ("percpu_free_percpu", "console"))


def test_a_change_reads_as_a_sentence_in_its_unit(busy: Session) -> None:
    of = compile_text("chunk[0].free_bytes", busy.machine)
    assert change_text(of, ROW) == "chunk[0].free_bytes: 10 → 12 at step 7, by free_percpu on cpu 1"
    assert change_text(of, ROW._replace(do="", cpu=-1, old=None)).startswith(
        "chunk[0].free_bytes: missing →"
    )
    addr = compile_text("chunk[0].base_addr", busy.machine)
    assert value_text(addr, 0xFFFF) == "0xffff" and value_text(of, True) == "true"
    assert value_text(addr, (16, None, "aa")) == "0x10 missing aa"


def test_numbers_stay_numbers_in_a_table_and_rows_become_texts(busy: Session) -> None:
    of = compile_text("chunk[0].free_bytes", busy.machine)
    table = changes_view(busy, of, (ROW, ROW._replace(cpu=-1, do="")), "title")
    assert table.rows[0] == (7, 10, 12, 1, "free_percpu", "percpu_free_percpu console")
    assert table.rows[1][3:5] == (None, None)
    assert table.columns[1].kind == DEC and table.columns[1].help == "bytes"
    row = compile_text("percpu[0x1000]", busy.machine)
    listed = changes_view(busy, row, (ROW._replace(old=(1, 2), new=(1, 3)),), "title")
    assert listed.rows[0][1:3] == ("0x1 0x2", "0x1 0x3") and listed.columns[1].kind == TEXT
    pte = compile_text("pte[0x1000]", busy.machine)
    assert changes_view(busy, pte, (), "title").columns[2].kind == HEX


def test_a_value_a_life_and_watches_are_tables_too(busy: Session) -> None:
    of = compile_text("chunk[0].free_bytes", busy.machine)
    assert value_view(busy, of, 5).rows == ((busy.step, "chunk[0].free_bytes", 5),)
    rows = (LifeRow("there", 0, -1, 8, "", -1), LifeRow("freed", 9, 2, None, "", 4))
    assert life_view(busy, 16, rows).rows == (
        ("there", 0, None, 8, None, None), ("freed", 9, 2, None, None, 4)
    )  # fmt: skip
    assert watches_view(busy).title == "0 watches"
    busy.watches.add("step")
    assert (watches_view(busy).title, watches_view(busy).rows) == ("1 watch", ((1, "step"),))


def test_every_component_has_its_rows(busy: Session) -> None:
    nr_rows = sum(len(each.rows) + (each.value is not None) for each in CATALOGUE)
    assert len(fields_view(busy).rows) == nr_rows
    assert [row[0] for row in fields_view(busy, "work").rows] == [
        "work.queued_cpu",
        "work.nr_requests",
    ]
    assert len(fields_view(busy, "percpu").rows) > len(fields_view(busy, "work").rows)
