"""No difference without a row, no row without a difference; and known actions read as people say them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.config import MachineConfig
from kernel_sim.machine_state import Parts, dump_parts
from snapshots.diff.rows import GROUPS, DiffRow, DiffSide, shown
from snapshots.diff.state_delta import delta_of
from snapshots.diff.state_diff import READERS, diff_slices, diff_states, in_order, summary_of
from snapshots.state_codec import decode_part, encode_part
from snapshots.timeline import Timeline
from tests.kernel_sim.whole_machines import KINDS, Whole
from tests.snapshots.conftest import CONFIGS, GFP_KERNEL, SCHEDULES, Action, places_in, recorded


def side_of(whole: Whole) -> DiffSide:
    return DiffSide.of(whole.machine, dump_parts(whole.machine))


def brief(rows: tuple[DiffRow, ...], *groups: str) -> list[tuple[str, str, str]]:
    return [(row.change, row.what, row.where) for row in rows if row.group in groups]


def lived_in(kind: str) -> Whole:
    """A machine in which every part is there and not as at boot."""
    whole = Whole(kind)
    ptr = whole.alloc(64)
    whole.alloc(4096, cpu=1)
    whole.call("this_cpu_write", ptr, 7, 8)
    whole.load("plain", "init: a = pcpu_alloc 64 8")
    whole.call("vmalloc", 9000)
    whole.call("kmalloc_node", 100, GFP_KERNEL, 0)
    whole.call("alloc_pages", 1, GFP_KERNEL, 0)
    whole.call("cpu_down", 3)
    return whole


# -- laws ------------------------------------------------------------------------------------------


def moments(timeline: Timeline, *steps: int) -> Iterator[DiffSide]:
    for step in steps:
        timeline.seek(step)
        yield DiffSide.of(timeline.machine, dump_parts(timeline.machine))


@settings(max_examples=40, deadline=None)
@given(CONFIGS, SCHEDULES, st.data())
def test_there_are_rows_just_if_there_is_a_delta(
    config: MachineConfig, actions: list[Action], data: st.DataObject
) -> None:
    timeline = recorded(config, actions)
    steps = st.integers(0, timeline.end_step)
    one, other = moments(timeline, data.draw(steps), data.draw(steps))
    rows = diff_states(one, other)
    assert bool(rows) == bool(delta_of(one.parts, other.parts))
    assert not diff_states(one, one)
    assert bool(diff_states(other, one)) == bool(rows)
    assert [GROUPS.index(row.group) for row in rows] == sorted(
        GROUPS.index(row.group) for row in rows
    )


def changed_at(value: object, path: tuple[object, ...], new: object) -> object:
    """Return a value with another one at a place within; what is not on the way is shared."""
    if not path:
        return new
    if isinstance(value, dict):
        return {
            key: changed_at(each, path[1:], new) if key == path[0] else each
            for key, each in value.items()
        }
    assert isinstance(value, list | tuple)
    return tuple(
        changed_at(each, path[1:], new) if at == path[0] else each for at, each in enumerate(value)
    )


def leaf_at(value: Any, path: tuple[object, ...]) -> object:
    for key in path:
        value = value[key]
    return value


def as_lists(value: object) -> object:
    """Return a value with lists, which places_in() goes into."""
    if isinstance(value, dict):
        return {key: as_lists(each) for key, each in value.items()}
    return [as_lists(each) for each in value] if isinstance(value, list | tuple) else value


def another(leaf: object, chance: random.Random) -> object:
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, int):
        return leaf + chance.choice([1, 2, 8])
    if isinstance(leaf, bytes) and leaf:
        at = chance.randrange(len(leaf))
        return leaf[:at] + bytes([leaf[at] ^ 1 << chance.randrange(8)]) + leaf[at + 1 :]
    return f"{leaf}x" if isinstance(leaf, str) else leaf


@pytest.mark.parametrize("kind", ["x86-64", "i386"])
def test_any_leaf_that_changes_is_in_a_row(kind: str) -> None:
    """Whatever number of whatever part is another one: some row is about it, and one part is its cause."""
    whole = lived_in(kind)
    one = side_of(whole)
    chance = random.Random(7)
    for name, part in one.parts.items():
        kind_of_part = name.partition(".")[0]
        paths = places_in(as_lists(part))
        for path in chance.sample(paths, min(len(paths), 12 if kind_of_part != "frame" else 1)):
            leaf = leaf_at(part, path)
            new = another(leaf, chance)
            if new == leaf or _is_structure(name, path):
                continue
            other = DiffSide.of(whole.machine, one.parts | {name: changed_at(part, path, new)})
            assert diff_states(one, other), (name, path, leaf, new)


def _is_structure(name: str, path: tuple[object, ...]) -> bool:
    """Say whether a number there says how long or where something else is, so that none could be."""
    is_index = len(path) == len(("rows", "row", "index")) and path[2] == 0 and path[0] in (3, 4, 5)
    return name.startswith("chunk.") and (path in [(0, 2), (0, 0)] or is_index)


def test_every_part_has_a_reader_and_every_reader_a_part() -> None:
    there: dict[str, None] = {}
    for kind in KINDS:
        there |= dict.fromkeys(
            name.partition(".")[0] for name in dump_parts(lived_in(kind).machine)
        )
    there |= dict.fromkeys(["module_space", "fixmap", "system"])
    assert sorted(there) == sorted(READERS)


def test_parts_from_a_file_are_the_same_as_those_in_memory() -> None:
    one = side_of(lived_in("x86-64"))
    parts: Parts = {name: decode_part(encode_part(part)) for name, part in one.parts.items()}
    assert not diff_states(one, DiffSide(parts, one.boot_parts, one.root_pfn, one.mode))


def test_a_part_without_reader_is_told_place_by_place() -> None:
    one = side_of(Whole())
    made = [
        DiffSide(one.parts | {"new": part}, one.boot_parts, one.root_pfn, one.mode)
        for part in ((1, {"a": (5, 6)}), (1, {"a": (5, 7)}))
    ]
    assert diff_states(*made) == (
        DiffRow("other", "changed", "part new", "[1]", "{'a': (5, 6)}", "{'a': (5, 7)}"),
    )
    assert [row[:4] for row in diff_states(one, made[0])] == [("other", "born", "part new", "")]


def test_the_slices_are_the_rows_with_pauses() -> None:
    one, other = side_of(Whole()), side_of(lived_in("x86-64"))
    found = list(diff_slices(one, other))
    assert None in found
    assert in_order(row for row in found if row is not None) == diff_states(one, other)


# -- what actions look like ------------------------------------------------------------------------


def test_an_allocation_and_its_free() -> None:
    whole = Whole()
    before = side_of(whole)
    ptr = whole.alloc(64)
    after = side_of(whole)
    where = ("area of 64 bytes", "the first chunk +0x770")
    assert brief(diff_states(before, after), "areas") == [("born", *where)]
    assert brief(diff_states(after, before), "areas") == [("died", *where)]
    whole.call("free_percpu", ptr)
    rows = diff_states(after, side_of(whole))
    assert brief(rows, "areas") == [("died", *where)]
    assert ("changed", "nr_dealloc", "percpu_stats") in brief(rows, "counters")
    assert summary_of(rows).startswith("1 area died, ")


def test_a_write_to_memory() -> None:
    whole = Whole()
    ptr = whole.alloc(64)
    before = side_of(whole)
    whole.call("this_cpu_write", ptr, 0xABCD, 8)
    rows = diff_states(before, side_of(whole))
    (row,) = [row for row in rows if row.group == "memory"]
    assert (row.change, row.what, row.was, row.now) == ("changed", "2 bytes", "00 00", "cd ab")
    first = whole.machine.percpu.chunks[0].base_addr
    at = first + 0x770 + whole.machine.places.unit_offsets[0]
    assert row.where.startswith(f"{at:#x}, page 0x")


def test_a_chunk_that_is_created() -> None:
    whole = Whole()
    before = side_of(whole)
    whole.use_up_ready_space()
    rows = diff_states(before, side_of(whole))
    assert [row[2] for row in rows if row.group == "chunks" and row.change == "born"] == ["chunk 1"]
    pages = [row for row in rows if row.group == "chunk pages"]
    assert [row.change for row in pages] == ["populated"]
    assert pages[0].where.startswith("chunk 1 +0x0-0x")
    ptes = [row for row in rows if row.group == "page tables" and row.what == "PTE"]
    assert len(ptes) == 4 * int(str(pages[0].now)), "a page for every CPU"
    assert all("PRESENT|RW|" in str(row.now) and row.was is None for row in ptes)
    base = whole.machine.percpu.chunks[1].base_addr
    assert any(row.where.startswith(f"{base:#x}, entry ") for row in ptes)
    assert next(row.what for row in rows if row.group == "vmalloc") == "vmalloc area"
    assert ", 1 chunk born, " in summary_of(rows)
    back = diff_states(side_of(whole), before)
    assert [row.change for row in back if row.group == "chunk pages"] == ["depopulated"]


def test_vmalloc_and_its_lazy_free() -> None:
    whole = Whole()
    before = side_of(whole)
    addr = whole.call("vmalloc", 8192)
    after = side_of(whole)
    (area,) = [row for row in diff_states(before, after) if row.group == "vmalloc"]
    assert area[:4] == ("vmalloc", "born", "vmalloc area", f"{addr:#x}-{addr + 12287:#x}")
    whole.call("vfree", addr)
    rows = diff_states(after, side_of(whole))
    assert ("born", "lazily freed vmalloc area", f"{addr:#x}") in brief(rows, "vmalloc")
    died = [row for row in rows if row.group == "page tables" and row.change == "died"]
    assert [row.now for row in died] == [None, None]


def test_a_module_that_is_loaded() -> None:
    whole = Whole()
    before = side_of(whole)
    whole.load("plain", "init: a = pcpu_alloc 64 8")
    rows = diff_states(before, side_of(whole))
    (module,) = [row for row in rows if row.group == "modules" and row.what.startswith("module ")]
    assert module.change == "born"
    assert str(module.now).startswith("MODULE_STATE_LIVE, ")
    assert int(module.where, 16) == whole.machine.modules.modules[0].core_addr
    assert ("born", "area of 64 bytes", "the first chunk +0x770") in brief(rows, "areas")


def test_a_cpu_that_goes_down() -> None:
    whole = Whole()
    before = side_of(whole)
    whole.call("cpu_down", 3)
    rows = diff_states(before, side_of(whole))
    cpus = [row[2:] for row in rows if row.group == "CPUs"]
    assert ("online", "cpu 3", "True", "False") in cpus
    assert ("hotplug_state", "cpu 3", 235, 0) in cpus


def test_a_line_of_the_log() -> None:
    whole = Whole()
    before = side_of(whole)
    whole.machine.printk(0, 4, "percpu: something")
    (row,) = diff_states(before, side_of(whole))
    nr_lines = len(whole.machine.kernel_log)
    assert row == ("kernel log", "born", f"line {nr_lines}", "", None, "<4>percpu: something")
    assert summary_of([row]) == "1 line printed"


def test_the_summary_counts_pages_and_says_when_there_is_nothing() -> None:
    rows = [
        DiffRow("chunk pages", "populated", "pages 0-4", "", None, 5),
        DiffRow("chunk pages", "populated", "page 7", "", None, 1),
        DiffRow("memory", "changed", "8 bytes", "", "", ""),
        DiffRow("memory", "changed", "8 bytes", "", "", ""),
        DiffRow("CPUs", "changed", "online", "", "", ""),
    ]
    assert summary_of(rows) == "6 pages populated, 2 runs of bytes changed, 1 difference in CPUs"
    assert summary_of([]) == "the same"
    assert shown(bytes(20)) == " ".join(["00"] * 16) + "…"
