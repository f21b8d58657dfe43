"""Facts that every view must keep, and one fact of each that only it shows."""

from __future__ import annotations

import asyncio

import pytest

from tui.debugger.commands.looking import view_names
from tui.debugger.console import execute
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.views.areas import areas_view
from tui.debugger.views.blocks import blocks_view
from tui.debugger.views.chunks import chunks_view
from tui.debugger.views.cpus import cpus_view
from tui.debugger.views.divergences import divergences_view
from tui.debugger.views.events import events_view
from tui.debugger.views.hexdump import hexdump_view
from tui.debugger.views.inferred import inferred_view
from tui.debugger.views.inputs import inputs_view
from tui.debugger.views.log import log_lines
from tui.debugger.views.offsets import offsets_view
from tui.debugger.views.run import run_view
from tui.debugger.views.slots import slots_view
from tui.debugger.views.stack import stack_view
from tui.debugger.views.stats import stats_lines, stats_view
from tui.debugger.views.vmalloc import vmalloc_view
from tui.debugger.views.walk import walk_view
from tui.debugger.views.work import work_view
from tui.debugger.views.zones import zones_view

ARGUMENTS = {"areas": "0", "blocks": "0", "stack": "0", "walk": "0", "whatis": "0", "x": "0"}


def _column(table, name: str) -> list:
    index = [column.name for column in table.columns].index(name)
    return [row[index] for row in table.rows]


@pytest.mark.parametrize("name", view_names())
def test_every_row_of_every_view_has_a_cell_for_every_column(busy: Session, name: str) -> None:
    for step in (0, 3, busy.end_step):
        busy.go_now(step)
        before = busy.digest()
        table = asyncio.run(execute(busy, f"{name} {ARGUMENTS.get(name, '')}")).table
        assert table is not None and len({column.name for column in table.columns}) == len(
            table.columns
        )
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert busy.digest() == before


def test_chunks_shows_the_boot_chunks_first_and_where_each_is_listed(busy: Session) -> None:
    table = chunks_view(busy)
    assert _column(table, "role") == ["reserved", "first", "dynamic"]
    lists = busy.machine.percpu.slots.lists
    for number, slot, place in zip(
        _column(table, "chunk"), _column(table, "slot"), _column(table, "place"), strict=True
    ):
        assert (slot, place) == (-1, None) or lists[slot][place].number == number


def test_cpus_reads_per_cpu_offset_from_simulated_memory(session: Session) -> None:
    assert _column(cpus_view(session), "per_cpu_offset") == _column(cpus_view(session), "gs_base")
    machine = session.machine
    phys = machine.space.translate(machine.symbols["__per_cpu_offset"] + 8)
    machine.memory.write(phys, (0x1234).to_bytes(8, "little"))
    assert _column(cpus_view(session), "per_cpu_offset")[1] == 0x1234


def test_cpus_gives_unit_bases_in_the_chunk_asked_for(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[1]
    wanted = [chunk.base_addr + offset for offset in busy.machine.places.unit_offsets]
    assert _column(cpus_view(busy, 1), "unit_base") == wanted
    assert _column(offsets_view(busy), "chunk 1") == wanted


def test_cpus_shows_call_stack_and_what_it_waits_for(session: Session, tell) -> None:
    tell("alloc 0 8 later", "alloc 1 8 later", "step 3")
    table = cpus_view(session)
    assert _column(table, "call") == ["pcpu_alloc", "pcpu_alloc", None, None]
    assert _column(table, "waits_for")[1] == "pcpu_alloc_mutex, held by cpu 0"


def test_stack_has_the_innermost_function_first(session: Session, tell) -> None:
    tell("kworker 2", "alloc 2 32000 later")
    for _ in range(50):
        if len(stack_view(session, 2).rows) < 2:
            tell("step")
    functions = _column(stack_view(session, 2), "function")
    assert functions[-1] == "pcpu_alloc" and functions[0] != "pcpu_alloc"
    with pytest.raises(CommandError, match="0 to 3"):
        stack_view(session, 4)


def test_walk_reads_the_entries_that_are_there(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[1]
    table = walk_view(busy, chunk.base_addr)
    assert _column(table, "level") == ["PGD", "PUD", "PMD", "PTE"]
    memory = busy.machine.memory
    entries = [memory.read_u64(phys) for phys in _column(table, "entry_phys")]
    assert entries == _column(table, "entry")
    assert _column(table, "points_to")[-1] == busy.machine.space.translate(chunk.base_addr)
    assert [pfn << 12 for pfn in _column(table, "table_pfn")[1:]] == _column(table, "points_to")[
        :-1
    ]


def test_walk_of_nothing_ends_in_a_page_fault(session: Session) -> None:
    assert walk_view(session, 0).notes[0].startswith("page fault: not present")


def test_events_marks_the_present(busy: Session) -> None:
    busy.go_now(busy.event(1).step)
    table = events_view(busy)
    for when, step in zip(_column(table, "when"), _column(table, "step"), strict=True):
        assert when == ("" if step < busy.step else "now" if step == busy.step else "later")
    assert "now" in _column(table, "when") and "later" in _column(table, "when")


def test_events_shows_no_more_than_was_asked_for(busy: Session) -> None:
    busy.go_now(busy.event(2).step)
    assert _column(events_view(busy, 2, 1), "number") == [1, 2, 3]
    assert _column(events_view(busy, 0, 0), "number") == []


def test_areas_names_who_made_each(busy: Session) -> None:
    table = areas_view(busy, 0)
    chunk = busy.machine.percpu.chunks[0]
    assert _column(table, "offset") == [bit * 4 for bit, _ in chunk.areas()]
    assert set(_column(table, "call_site")) == {"kmemscope"}
    with pytest.raises(CommandError, match="there are: -1 0 1"):
        areas_view(busy, 5)


def test_blocks_begins_with_the_hints_of_the_whole_chunk(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[1]
    table = blocks_view(busy, 1)
    assert table.rows[0][:8] == ("chunk_md", *chunk.md.row())
    assert len(table.rows) == 1 + chunk.nr_pages
    assert sum(bool(cell) for cell in _column(table, "populated")) == chunk.nr_populated


def test_slots_lists_every_chunk_but_the_reserved_one_once(busy: Session) -> None:
    listed = " ".join(_column(slots_view(busy), "chunks")).split()
    assert sorted(map(int, listed)) == [
        number for number in busy.machine.percpu.chunks if number >= 0
    ]


def test_zones_accounts_for_every_page(busy: Session) -> None:
    table = zones_view(busy)
    for row in table.rows:
        _, _, present, free, reserved, allocated, *blocks = row
        assert present == free + reserved + allocated
        assert free == sum(count << order for order, count in enumerate(blocks))


def test_vmalloc_names_the_chunk_that_lives_in_an_area(busy: Session) -> None:
    table = vmalloc_view(busy)
    assert _column(table, "chunk") == [1, 1] and _column(table, "group") == [0, 1]


def test_log_lines_bear_their_level(session: Session) -> None:
    assert log_lines(session)[0].startswith("<6>")
    assert len(log_lines(session)) == len(session.machine.kernel_log)


def test_stats_reads_as_debugfs_prints_it(busy: Session) -> None:
    lines = stats_lines(busy)
    assert lines[:4] == (
        "Percpu Memory Statistics",
        "Allocation Info:",
        "----------------------------------------",
        "  unit_size           :      1048576",
    )
    headings = [line for line in lines if line.startswith("Chunk")]
    assert headings[0] == "Chunk: <- Reserved Chunk"
    assert sorted(headings[1:]) == ["Chunk:", "Chunk: <- First Chunk"]
    assert all(len(line) == 36 for line in lines if line.startswith("  "))


def test_stats_rows_and_text_cannot_disagree(busy: Session) -> None:
    printed = [line.split(":") for line in stats_lines(busy) if line.startswith("  ")]
    rows = [(row[2], row[3]) for row in stats_view(busy).rows]
    assert sorted(rows) == sorted((name.strip(), int(value)) for name, value in printed)


def test_work_shows_what_is_queued_and_where(session: Session, tell) -> None:
    tell("alloc 3 24000 later")  # leaves fewer empty pages than an atomic request may need
    for _ in range(50):
        if session.machine.work.queued_cpu < 0:
            tell("step")
    facts = dict(work_view(session).rows)
    assert (facts["queued"], facts["queued_on_cpu"]) == (True, 3)


def test_inputs_tells_given_from_later_ones(busy: Session) -> None:
    busy.go_now(busy.timeline.input_at(2).step)
    whens = _column(inputs_view(busy), "when")
    assert whens == ["", ""] + ["later"] * (busy.timeline.nr_inputs - 2)


def test_rows_of_a_strangers_recording_are_shown_whatever_they_hold(session: Session) -> None:
    session.origin.inferred = [[1, "kind", 2, "text"], [], [None, {"a": 1}], "no list"]  # type: ignore[list-item]
    session.origin.divergences = [[5, 6, "place", "a", "b", "around", "more"]]
    assert inferred_view(session).rows == (
        (1, "kind", 2, "text"),
        (None, None, None, None),
        (None, "{'a': 1}", None, None),
        ("no list", None, None, None),
    )
    assert divergences_view(session).rows == ((5, 6, "place", "a", "b", "around"),)


def test_hexdump_shows_question_marks_where_nothing_is_mapped(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[1]
    hole = chunk.base_addr + chunk.nr_populated * 4096
    table = hexdump_view(busy, hole - 2, 4)
    assert table.rows == ((hole - 2, "00 00 ?? ??", "...."),)
    assert table.notes == ("2 bytes are not mapped",)


def test_run_counts_what_is_in_the_run(busy: Session) -> None:
    facts = dict(run_view(busy).rows)
    assert facts["inputs"] == busy.timeline.nr_inputs and facts["chunks created"] == 1
