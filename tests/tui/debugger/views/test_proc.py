from __future__ import annotations

import json

import pytest

from kernel_sim.proc.catalogue import text_of
from tests.tui.debugger.views.conftest import column
from tui.debugger.errors import CommandError
from tui.debugger.render import output_json
from tui.debugger.session import Session
from tui.debugger.views.proc import proc_lines, proc_names, proc_view


@pytest.mark.parametrize("name", proc_names())
def test_every_file_is_printed_to_the_letter_and_has_rows(busy: Session, tell, name: str) -> None:
    text = text_of(busy.machine, name)
    assert proc_lines(busy, name) == tuple(text.splitlines())
    output = tell(f"proc {name}")
    assert output.lines == proc_lines(busy, name)
    told = json.loads(output_json(output))
    assert bool(told["rows"]) == bool(text)


@pytest.mark.parametrize("name", proc_names())
def test_files_of_an_i386_have_rows_too(boot_example, name: str) -> None:
    table = proc_view(boot_example("i386-highmem"), name)
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_plain_rows_become_columns(busy: Session) -> None:
    table = proc_view(busy, "buddyinfo")
    assert [each.name for each in table.columns][:3] == ["node", "zone", "order0"]
    for row, zone in zip(table.rows, busy.machine.pages.zones, strict=True):
        assert row[2:] == tuple(zone.buddy.free_blocks(order) for order in range(11))


def test_pairs_and_lists_read_in_one_cell(session: Session, tell) -> None:
    tell("vmalloc 8192")
    table = proc_view(session, "vmallocinfo")
    assert column(table, "node_pages") == ["0=2"] and column(table, "flags") == ["vmalloc"]


def test_nested_rows_become_a_row_a_figure(busy: Session) -> None:
    items = dict(proc_view(busy, "zoneinfo").rows)
    zone = busy.machine.pages.zones[0]
    assert items["node 0 DMA min"] == busy.machine.pages.marks_of(zone).min_pages
    stats = dict(proc_view(busy, "percpu_stats").rows)
    assert stats["nr_chunks"] == busy.machine.percpu.statistics.nr_chunks


def test_a_file_that_is_not_there_is_refused_with_those_that_are(session: Session) -> None:
    with pytest.raises(CommandError, match="buddyinfo zoneinfo"):
        proc_view(session, "cpuinfo")
