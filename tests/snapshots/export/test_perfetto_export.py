"""The trace is valid JSON of the Trace Event Format, its slices nest, and nothing is left out."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.events import EVENT_NAMES
from snapshots.export.perfetto_export import COUNTERS_EVERY_STEPS, perfetto_pieces
from snapshots.recording import Origin
from snapshots.timeline import NO_LIMIT, Timeline
from tests.snapshots.conftest import (
    BUSY,
    CONFIGS,
    SCHEDULES,
    Action,
    events_of,
    recorded,
    small_config,
)

Row = dict[str, Any]
NEEDED = {
    "M": {"name", "pid", "tid", "args"},
    "X": {"name", "cat", "pid", "tid", "ts", "dur"},
    "i": {"name", "cat", "pid", "tid", "ts", "s", "args"},
    "C": {"name", "pid", "ts", "args"},
}


def trace_of(timeline: Timeline) -> Row:
    found: Row = json.loads("".join(perfetto_pieces(timeline, Origin())))
    return found


def rows_of(timeline: Timeline, phase: str) -> list[Row]:
    return [row for row in trace_of(timeline)["traceEvents"] if row["ph"] == phase]


def check_form(rows: list[Row]) -> None:
    for row in rows:
        assert row.keys() - {"ph", "args"} == NEEDED[row["ph"]] - {"args"}
        assert all(isinstance(row.get(name, 0), int) for name in ("pid", "tid", "ts", "dur"))
        assert row.get("dur", 0) >= 0 and row.get("s", "t") == "t"
        if row["ph"] == "C":
            assert all(isinstance(value, int) for value in row["args"].values())


def check_nesting(slices: list[Row]) -> None:
    """Two slices of a track are apart, or one lies in the other."""
    for track in {row["tid"] for row in slices}:
        spans = sorted(
            ((row["ts"], row["ts"] + row["dur"]) for row in slices if row["tid"] == track),
            key=lambda span: (span[0], -span[1]),
        )
        open_ends: list[int] = []
        for begin, end in spans:
            while open_ends and open_ends[-1] <= begin:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1]
            open_ends.append(end)


@settings(max_examples=30, deadline=None)
@given(CONFIGS, SCHEDULES)
def test_form_nesting_and_completeness(config: MachineConfig, actions: list[Action]) -> None:
    timeline = recorded(config, actions)
    rows = trace_of(timeline)["traceEvents"]
    check_form(rows)
    check_nesting([row for row in rows if row["ph"] == "X"])
    told = [(row["ts"], row["tid"] - 1, row["name"]) for row in rows if row["ph"] == "i"]
    assert told == [(at.step, at.cpu, EVENT_NAMES[type(at.event)]) for at in events_of(timeline)]
    calls = [row for row in rows if row["ph"] == "X" and row["cat"] == "call"]
    given_calls = [row for row in calls if row["args"]["context"] == "task"]
    inputs = [timeline.input_at(number).do for number in range(timeline.nr_inputs)]
    assert len(given_calls) == sum(do in ("pcpu_alloc", "free_percpu", "this_cpu_write")
                                   for do in inputs)  # fmt: skip
    assert all(timeline.first_step <= row["ts"] for row in calls)
    assert all(row["ts"] + row["dur"] <= timeline.end_step for row in calls)


def test_the_first_rows_name_machine_and_cpus_in_order() -> None:
    timeline = recorded(small_config(cpus=2), [("alloc", 1, 24, 8, 0xCC0), ("drain",)])
    trace = trace_of(timeline)
    assert trace["displayTimeUnit"] == "ms"
    assert trace["otherData"]["machine"] == "small"
    assert trace["traceEvents"][:5] == [
        {"ph": "M", "name": "process_name", "pid": 1, "tid": 1, "args": {"name": "small"}},
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {"name": "CPU 0"}},
        {"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": 1, "args": {"sort_index": 0}},
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": 2, "args": {"name": "CPU 1"}},
        {"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": 2, "args": {"sort_index": 1}},
    ]
    [call] = [row for row in trace["traceEvents"] if row.get("cat") == "call"]
    assert (call["name"], call["tid"], call["ts"], call["dur"]) == ("pcpu_alloc", 2, 0, 4)
    assert call["args"] == {
        "0": 24, "1": 8, "2": False, "3": 3264, "4": "here", "context": "task",
    }  # fmt: skip
    [event] = rows_of(timeline, "i")
    assert event["args"]["base_addr"].startswith("0xffff8880") and event["args"]["size"] == 24


def test_kernel_functions_lie_in_their_call() -> None:
    slices = rows_of(recorded(small_config(cpus=3), BUSY), "X")
    functions = [row for row in slices if row["cat"] == "function"]
    assert {"pcpu_create_chunk", "pcpu_populate_chunk"} <= {row["name"] for row in functions}
    for row in functions:
        assert any(
            call["tid"] == row["tid"]
            and call["ts"] <= row["ts"]
            and row["ts"] + row["dur"] <= call["ts"] + call["dur"]
            for call in slices
            if call["cat"] == "call"
        )


def test_counters_are_the_machines_figures_and_not_too_many() -> None:
    timeline = recorded(small_config(cpus=3), BUSY)
    counters = rows_of(timeline, "C")
    machine = timeline.machine
    last = {row["name"]: row["args"]["value"] for row in counters}
    assert last == {
        "per-CPU free bytes": sum(each.free_bytes for each in machine.percpu.chunks.values()),
        "per-CPU chunks": len(machine.percpu.chunks),
        "free pages": machine.pages.nr_free_pages,
    }
    steps = sorted({row["ts"] for row in counters})
    assert len(steps) > 4
    assert all(b - a >= COUNTERS_EVERY_STEPS for a, b in pairwise(steps[:-1]))


def test_interrupts_and_a_call_that_never_ends_are_slices() -> None:
    mapping = small_config(cpus=3).to_mapping() | {"tlb": {"profile": "skylake"}}
    timeline = Timeline(boot(MachineConfig.from_mapping(mapping, where="test")))
    timeline.give("vmalloc", 0, (8 * 4096,))
    timeline.advance(NO_LIMIT)
    timeline.give("flush_tlb_all", 0)
    timeline.give("pcpu_alloc", 1, (24, 8, False, 0xCC0, "here"), by="ip-7")
    timeline.advance(timeline.step + 4)
    slices = rows_of(timeline, "X")
    check_nesting(slices)
    contexts = {row["args"]["context"] for row in slices if row["cat"] == "call"}
    assert contexts == {"task", "irq"}
    assert any(row.get("args", {}).get("task") == "ip-7" for row in slices)


def test_progress_is_told_and_the_timeline_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapshots.export.perfetto_export.BREATH_STEPS", 10)
    timeline = recorded(small_config(), BUSY)
    timeline.seek(7)
    told: list[int] = []
    pieces = list(perfetto_pieces(timeline, Origin(), lambda here, goal: told.append(here)))
    assert told == list(range(10, timeline.end_step + 1, 10))
    assert pieces.count("") == len(told) and timeline.step == 7
