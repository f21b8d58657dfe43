from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.events import PercpuAllocPercpu
from snapshots.logs.golden_ops import GoldenOps
from snapshots.timeline import Timeline


@pytest.fixture
def ops() -> GoldenOps:
    mapping: dict[str, Any] = {
        "name": "ops",
        "cpus": {"possible": "0-1"},
        "node": [{"memory_mib": 256}],
        "tlb": {"profile": "none"},
        "work": {"mode": "scripted"},
    }
    timeline = Timeline(boot(MachineConfig.from_mapping(mapping, where="test")))
    percpu = timeline.machine.percpu

    def number_of(base_addr: int) -> int | None:
        chunk = percpu.chunk_by_base.get(base_addr)
        return None if chunk is None else chunk.number

    return GoldenOps(timeline, number_of)


def alloc(ops: GoldenOps, number: int, size: int, align: int = 4, **expected: object) -> Any:
    row = {
        "op": "alloc", "id": number, "size": size, "align": align, "gfp": "kernel",
        "reserved": False, **expected,
    }  # fmt: skip
    return ops.alloc(row, lambda event: {"off": event.off})


def test_an_alloc_tells_what_the_file_expects_and_what_came(ops: GoldenOps) -> None:
    ops.line = 7
    expected, got = alloc(ops, 1, 64, off=5)
    assert expected == {"off": 5}
    percpu = ops.timeline.machine.percpu
    assert got["off"] == percpu.addr_of(ops.pointers[1]) - percpu.chunks[0].base_addr
    assert ops.timeline.input_at(0).line == 7


def test_what_is_refused_and_what_has_no_room_are_told_apart(ops: GoldenOps) -> None:
    _, got = alloc(ops, 1, 8, align=24)
    assert got["error"] == "EINVAL" and got["log"][0].startswith("WARN: illegal size (8)")
    ops.do("fail_pages", 0)
    for number in range(2, 20):
        _, got = alloc(ops, number, 32768)
        if "error" in got:
            break
    assert got["error"] == "ENOMEM"
    assert got["log"][0].startswith("<4>percpu: allocation failed, size=32768")


def test_events_of_chunks_are_rows_with_the_chunks_number_even_of_dead_ones(
    ops: GoldenOps,
) -> None:
    seen: list[dict[str, object]] = []
    for number in range(40):
        alloc(ops, number, 32768)
        seen += ops.events
    created = [row["chunk"] for row in seen if row["event"] == "create_chunk"]
    assert created == [1, 2]
    populated = next(row for row in seen if row["event"] == "populate")
    assert populated == {"event": "populate", "chunk": 1, "page_start": 0, "page_end": 8}
    for number in range(40):
        ops.do("free_percpu", ops.pointers.pop(number))
    ops.do("kworker")  # takes the pages of one away, which is free for all again then
    ops.do("kworker")
    destroyed = [row["chunk"] for row in ops.events if row["event"] == "destroy_chunk"]
    assert len(destroyed) == 1 and destroyed[0] in created
    assert destroyed[0] not in ops.timeline.machine.percpu.chunks


def test_the_work_runs_if_it_was_asked_for_as_often_as_the_file_says(ops: GoldenOps) -> None:
    asked = 0
    for number in range(12):
        _, got = alloc(ops, number, 4096)
        asked += bool(got.get("sched"))
    assert asked > 0
    assert ops.balance({"requested": asked + 1}) == (asked + 1, asked)
    ops.nr_requests = asked
    assert ops.balance({"requested": asked}) is None
    assert ops.nr_requests == ops.timeline.machine.work.nr_requests


def test_the_place_is_asked_of_the_event(ops: GoldenOps) -> None:
    events: list[PercpuAllocPercpu] = []
    row = {"id": 1, "size": 12, "align": 4, "gfp": "kernel", "reserved": False}
    ops.alloc(row, lambda event: events.append(event) or {})  # type: ignore[func-returns-value]
    assert [event.size for event in events] == [12]
