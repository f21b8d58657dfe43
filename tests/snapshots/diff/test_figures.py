"""Clock, figures, CPUs, calls, the log and TLBs side by side."""

from __future__ import annotations

from kernel_sim.machine_state import dump_parts
from snapshots.diff.figures import (
    call_rows,
    clock_rows,
    cpu_rows,
    log_rows,
    percpu_rows,
    tlb_rows,
)
from snapshots.diff.rows import DiffRow
from tests.kernel_sim.whole_machines import Whole


def told(rows: list[DiffRow]) -> list[tuple[object, ...]]:
    return [row[1:] for row in rows]


def test_the_clock_is_told_by_its_fields() -> None:
    was = (10, (0, 5, (), (1, 2)), -1, 0, ())
    now = (12, (1, 5, (), (1, 2)), 3, 0, (12, 0, "BUG", ()))
    assert told(list(clock_rows("clock", was, now))) == [
        ("changed", "step", "", 10, 12),
        ("changed", "last cpu", "scheduler", 0, 1),
        ("changed", "kworker queued on cpu", "", -1, 3),
        ("changed", "fault", "", None, "(12, 0, 'BUG', ())"),
    ]
    assert list(clock_rows("clock", (1,), (2,)))


def test_the_allocators_figures_lists_and_locks_are_told() -> None:
    whole = Whole()
    was = dump_parts(whole.machine)["percpu"]
    whole.use_up_ready_space()
    rows = told(list(percpu_rows("percpu", was, dump_parts(whole.machine)["percpu"])))
    assert ("changed", "chunks in order of birth", "", "(-1, 0)", "(-1, 0, 1)") in rows
    assert any(row[1:3] == ("nr_chunks", "percpu_stats") for row in rows)
    assert any(str(row[1]).startswith("list ") and row[2] == "chunks by free space" for row in rows)
    assert was is not None
    held = (*was[:4], 2, was[5])  # type: ignore[index]
    assert [row[1] for row in told(list(percpu_rows("percpu", was, held)))] == ["pcpu_lock holder"]
    more = (*was[:3], (*was[3], ()), *was[4:])  # type: ignore[index]
    assert [row[4] for row in told(list(percpu_rows("percpu", was, more)))] == ["()"]


def test_lines_of_the_log_are_printed_missing_or_others() -> None:
    was, now = ((4, "a"), (4, "b")), ((4, "a"), (6, "b"), (4, "c"))
    assert told(list(log_rows("log", was, now))) == [
        ("changed", "line 2", "", "<4>b", "<6>b"),
        ("born", "line 3", "", None, "<4>c"),
    ]
    assert [row.change for row in log_rows("log", now, now[:1])] == ["died", "died"]


def test_cpus_nodes_and_failures_are_told() -> None:
    was = (((0, True, 235, 7), (1, True, 235, 8)), (), ())
    now = (((0, True, 235, 7), (1, False, 0, 8)), (1,), (1, 86))
    assert told(list(cpu_rows("cpus", was, now))) == [
        ("changed", "online", "cpu 1", "True", "False"),
        ("changed", "hotplug_state", "cpu 1", 235, 0),
        ("born", "nodes that are not there yet", "[0]", None, 1),
        ("born", "told to fail: cpu and step", "[0]", None, "(1, 86)"),
    ]


def test_calls_under_way_are_told_by_cpu() -> None:
    whole = Whole()
    idle = dump_parts(whole.machine)["calls"]
    call = whole.give(1, "pcpu_alloc", 64, 8, False, 0xCC0, "f")
    whole.run_until_in(call, "pcpu_alloc")
    begun = dump_parts(whole.machine)["calls"]
    (row,) = list(call_rows("calls", idle, begun))
    assert row[:4] == ("calls", "born", "call 0", "cpu 1, on the CPU")
    assert row.now == " > ".join(call.frames())
    whole.machine.run(whole.machine.step + 1)
    rows = list(call_rows("calls", begun, dump_parts(whole.machine)["calls"]))
    assert all(row.change == "changed" and row.where.endswith("of cpu 1") for row in rows)
    assert [row.change for row in call_rows("calls", begun, idle)] == ["died"]


def test_translations_are_told_by_array_and_counters_by_name() -> None:
    whole = Whole()
    ptr = whole.alloc(64)
    was = whole.machine.tlbs[0].dump()
    whole.call("this_cpu_read", ptr, 8)
    rows = list(tlb_rows("tlb.0", was, whole.machine.tlbs[0].dump()))
    misses = [row for row in rows if row.what == "misses"]
    assert [(row.group, row.where) for row in misses] in ([("counters", "TLB of cpu 0")], [])
    assert rows
    one = {"profile": "none", "by_sets": False, "counters": {"misses": 1}}
    entry = (0x7000, 12, 9, 0x63)
    states = [
        one | {"sets": sets} for sets in ([], [(0, 3, [entry])], [(0, 3, [(*entry[:2], 8, 1)])])
    ]
    (born,) = list(tlb_rows("tlb.2", states[0], states[1]))
    assert born[:4] == ("TLBs", "born", "0x7000", "cpu 2 array 0, set 3")
    assert born.now == "pfn 0x9 PRESENT|RW|ACCESSED|DIRTY"
    assert [row.change for row in tlb_rows("tlb.2", states[1], states[2])] == ["changed"]
    assert [row.what for row in tlb_rows("tlb.2", states[0], states[0] | {"by_sets": True})] == [
        "by_sets of cpu 2"
    ]
