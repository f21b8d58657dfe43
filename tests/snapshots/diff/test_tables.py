"""Page tables side by side: entries with their addresses and flags; memory by runs of bytes."""

from __future__ import annotations

import struct

import pytest

from kernel_sim.machine_state import Parts, dump_parts
from kernel_sim.mm.page_leaves import leaves
from kernel_sim.mm.paging import KERNEL_TABLE, PAGE_KERNEL
from kernel_sim.mm.paging_modes import paging_mode
from snapshots.diff.rows import DiffRow, DiffSide
from snapshots.diff.tables import (
    canonical,
    entry_text,
    frame_rows,
    mapped_at,
    table_rows,
    tables_of,
)
from tests.kernel_sim.whole_machines import KINDS, Whole

MODE = paging_mode("x86-64", 4)
LOW = 512 * 8


def page(entries: dict[int, int]) -> bytes:
    data = bytearray(4096)
    for index, entry in entries.items():
        struct.pack_into("<Q", data, index * 8, entry)
    return bytes(data)


def side_of(pte: dict[int, int], **more: bytes) -> DiffSide:
    """Tables 1 (PGD) ► 2 (PUD) ► 3 (PMD) ► 4 (PTE), all through the last entry but for the PGD's 256th."""
    parts: Parts = {
        "frame.1": page({256: 2 << 12 | KERNEL_TABLE}),
        "frame.2": page({0: 3 << 12 | KERNEL_TABLE}),
        "frame.3": page({5: 4 << 12 | KERNEL_TABLE}),
        "frame.4": page(pte),
    }
    parts |= {name.replace("_", "."): data for name, data in more.items()}
    return DiffSide(parts, {}, 1, MODE)


def rows_of(one: DiffSide, other: DiffSide) -> list[DiffRow]:
    names = [n for n in {**one.parts, **other.parts} if one.parts.get(n) != other.parts.get(n)]
    return [row for _, row in frame_rows(one, other, names)]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_tables_are_found_where_the_machine_walks(kind: str) -> None:
    whole = Whole(kind)
    whole.alloc(64)
    side = DiffSide.of(whole.machine, dump_parts(whole.machine))
    tables = tables_of(side)
    assert sorted(tables) == sorted(whole.machine.space.table_pfns)
    bottom = {canonical(at.virt, side.mode) for at in tables.values() if at.level.shift == 12}
    mask = (1 << 12) * (4096 // side.mode.entry_bytes) - 1
    assert {leaf.virt & ~mask for leaf in leaves(whole.machine.space) if leaf.shift == 12} <= bottom


def test_an_entry_is_born_changes_and_dies_at_its_address() -> None:
    one = side_of({1: 7 << 12 | PAGE_KERNEL, 2: 8 << 12 | PAGE_KERNEL})
    other = side_of({2: 9 << 12 | PAGE_KERNEL, 3: 7 << 12 | PAGE_KERNEL})
    rows = rows_of(one, other)
    base = 0xFFFF800000000000 + 5 * (2 << 20)
    assert [(row.change, row.where) for row in rows] == [
        (word, f"{base + index * 4096:#x}, entry {index} of table 0x4")
        for index, word in ((1, "died"), (2, "changed"), (3, "born"))
    ]
    assert {row.what for row in rows} == {"PTE"}
    flags = "PRESENT|RW|ACCESSED|DIRTY|GLOBAL|NX"
    assert rows[1].was == f"{8 << 12 | PAGE_KERNEL:#x} pfn 0x8 {flags}"
    assert rows[1].now == f"{9 << 12 | PAGE_KERNEL:#x} pfn 0x9 {flags}"


def test_a_table_of_a_higher_level_names_it() -> None:
    one, other = side_of({}), side_of({}, frame_2=page({0: 3 << 12 | KERNEL_TABLE, 1: 0x83}))
    (row,) = rows_of(one, other)
    assert (row.what, row.where) == ("PUD", "0xffff800040000000, entry 1 of table 0x2")
    assert entry_text(0, MODE.levels[0], MODE) is None


def test_memory_is_told_by_runs_of_bytes() -> None:
    data = bytearray(4096)
    data[0x10], data[0x800] = 1, 2
    rows = rows_of(side_of({}), side_of({}, frame_9=bytes(data)))
    assert [row[1:] for row in rows] == [
        ("changed", "1 byte", "page 0x9 +0x10", "00", "01"),
        ("changed", "1 byte", "page 0x9 +0x800", "00", "02"),
    ]
    spread = bytes(1 if at % 16 == 0 else 0 for at in range(4096))
    many = rows_of(side_of({}), side_of({}, frame_9=spread))
    assert len(many) == 17
    assert many[-1][2:] == ("240 bytes", "page 0x9 +0x100 and on", None, "in 240 more runs")


def test_memory_is_told_at_the_address_it_is_mapped_at() -> None:
    pte = {7: 9 << 12 | PAGE_KERNEL}
    (row,) = rows_of(side_of(pte), side_of(pte, frame_9=b"\x05" + bytes(4095)))
    assert row.where == f"{0xFFFF800000000000 + 5 * (2 << 20) + 7 * 4096:#x}, page 0x9 +0x0"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_frames_are_mapped_where_the_leaves_say(kind: str) -> None:
    whole = Whole(kind)
    whole.alloc(64)
    side = DiffSide.of(whole.machine, dump_parts(whole.machine))
    expected: dict[int, int] = {}
    for leaf in leaves(whole.machine.space):
        for pfn in range(leaf.pfn, leaf.pfn + (1 << leaf.shift - 12)):
            virt = leaf.virt + (pfn - leaf.pfn << 12)
            expected[pfn] = max(expected.get(pfn, 0), virt)
    pfns = [*sorted(expected)[::7], 1 << 40]
    assert mapped_at(side, tables_of(side), pfns) == {pfn: expected[pfn] for pfn in pfns[:-1]}


def test_a_page_written_with_zeros_is_told() -> None:
    one, other = side_of({}), side_of({}, frame_9=bytes(4096))
    (row,) = rows_of(one, other)
    assert row[:3] == ("memory", "born", "page 0x9")
    assert rows_of(other, one)[0].change == "died"


def test_a_page_that_was_data_and_is_a_table_is_told_as_bytes() -> None:
    one = side_of({}, frame_5=b"\x07" * 4096)
    other = side_of(
        {},
        frame_3=page({5: 4 << 12 | KERNEL_TABLE, 6: 5 << 12 | KERNEL_TABLE}),
        frame_5=page({0: 99}),
    )
    groups = [row.group for row in rows_of(one, other)]
    assert groups[0] == "page tables"
    assert "memory" in groups


def test_pages_become_tables_and_none_any_more() -> None:
    one, other = side_of({}), side_of({})
    one.parts["tables"], other.parts["tables"] = (1, 2, 3, 9), (1, 2, 4, 3)
    rows = [row[1:] for _, row in table_rows(one, other, ["tables"])]
    assert rows == [
        ("died", "page table", "", "page 0x9", None),
        ("born", "PTE table", "for 0xffff800000a00000", None, "page 0x4"),
    ]
