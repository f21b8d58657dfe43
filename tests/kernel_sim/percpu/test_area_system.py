"""Chunks with area maps behind the protocol: access, figures, and a run that is the same from everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.account import account_of
from kernel_sim.percpu.reference_count import count_references
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from tests.kernel_sim.percpu.area_kernel import AreaKernel, area_config

STAGES = ("mail", "v1", ".31", ".32")


@pytest.mark.parametrize("arch", ["x86-64", "i386"])
@pytest.mark.parametrize("stage", STAGES)
def test_static_variables_and_areas_are_reached_the_same_way(arch: str, stage: str) -> None:
    kernel = AreaKernel(arch=arch, stage=stage)
    machine = kernel.machine
    area, static = kernel.alloc(8), kernel.system.percpu_start
    for ptr in (area, static):
        assert len(count_references(machine, 1, ptr)) == 1, "through fs or gs: the datum alone"
        assert len(count_references(machine, 1, ptr, 2)) == 2, "of another CPU: its offset first"
        kernel.call("this_cpu_write", ptr, 50, 4, cpu=3)
        assert kernel.call("per_cpu", ptr, 3, 4) == 50
        assert kernel.call("per_cpu", ptr, 2, 4) == 0
        kernel.call("this_cpu_write", ptr, 0, 4, cpu=3)
    assert kernel.system.copy_addr(area, 17) is None


def test_written_chunks_are_known_wherever_the_unit_is() -> None:
    kernel = AreaKernel(nr_nodes=2, percpu={"atom_bytes": 2 << 20})
    chunk = kernel.new_chunk()
    assert not chunk.written
    ptr = kernel.percpu.ptr_of(chunk.base_addr)
    addr = kernel.system.copy_addr(ptr, 3)
    assert addr is not None and kernel.system.chunk_around(addr) is chunk
    assert kernel.system.chunk_around(kernel.percpu.base_addr) is None
    kernel.system.note_written(3, addr)
    assert chunk.written and chunk.is_changed


def test_its_figures() -> None:
    kernel = AreaKernel()
    ptr = kernel.alloc(65536, 1)
    kernel.alloc(100, 8, reserved=True)
    facts = dict(kernel.system.facts())
    assert (facts["stage"], facts["first_chunk"], facts["chunks"]) == (".32", "embed", 2)
    assert facts["unit_bytes"] == 65536 and facts["nr_slots"] == 16
    assert facts["free_bytes"] == 8192 - 100 + 23068
    assert facts["slot_0"] == "chunk 1" and facts["slot_12"] == "chunk 0"
    assert list(kernel.system.live_areas()) == [(ptr, 65536)], "modules' sections are no such areas"
    assert kernel.system.nr_pages() == 4 * (12 + 16)
    assert kernel.system.holds(ptr) and not kernel.system.holds(ptr + 1)


@pytest.mark.parametrize("stage", STAGES)
def test_every_byte_lies_on_its_node_and_is_accounted(stage: str) -> None:
    kernel = AreaKernel(nr_nodes=2, stage=stage, percpu={"atom_bytes": 2 << 20}, mib=256)
    kernel.alloc(30000, 4)
    account = account_of(kernel.machine)
    assert account.misplaced_bytes == 0
    assert account.by_kind["dynamic"] == 4 * 30000
    assert account.total_bytes >= kernel.system.nr_pages() * 4096


def test_the_linear_numbering_of_the_mail() -> None:
    kernel = AreaKernel(stage="mail")
    ptr = kernel.alloc(6144, 4)
    assert kernel.system.linear_offset(ptr) == 131072
    assert kernel.system.linear_offset(ptr + 1) is None


def record(**wishes: Any) -> Timeline:
    timeline = Timeline(boot(area_config(**wishes)))
    for cpu, size in enumerate([8, 65000, 40000, 60000]):
        timeline.give("pcpu_alloc", cpu, (size, 4, False, GFP_KERNEL, "f"))
        timeline.advance(timeline.step + 9)
    timeline.advance(NO_LIMIT)
    timeline.give("fail_pages", 0, (20,))
    timeline.give("pcpu_alloc", 1, (65536, 4, False, GFP_KERNEL, "f"))
    timeline.advance(NO_LIMIT)
    timeline.give("fail_pages", 0, (-1,))
    for cpu, (ptr, _) in enumerate(list(timeline.machine.system.live_areas())[:3]):
        timeline.give("free_percpu", cpu, (ptr,))
        timeline.advance(timeline.step + 20)
    timeline.advance(NO_LIMIT)
    if timeline.machine.system.work_function:
        timeline.give("kworker", 2, ())
        timeline.advance(NO_LIMIT)
    return timeline


@pytest.mark.parametrize(
    "wishes", [{"stage": "v1"}, {"stage": ".32"}, {"system": "percpu-km-2010"}, {"arch": "i386"}]
)
def test_a_recorded_run_is_the_same_wherever_one_comes_from(wishes: dict[str, Any]) -> None:
    timeline = record(**wishes)
    steps = range(0, timeline.end_step, max(timeline.end_step // 12, 1))
    digests: dict[int, str] = {}
    for step in (*steps, *reversed(steps), *steps):
        timeline.seek(step)
        digest = state_digest(timeline.machine)
        assert digests.setdefault(step, digest) == digest
        check_machine(timeline.machine)
    again = record(**wishes)
    assert again.end_step == timeline.end_step
    timeline.seek(timeline.end_step)
    assert state_digest(again.machine) == state_digest(timeline.machine)


def test_a_request_that_no_unit_of_the_mail_can_hold_is_refused_unseen() -> None:
    """Else each would make a chunk in vain, which the first stages never give back."""
    kernel = AreaKernel(percpu={"static_bytes": 6000}, stage="mail", unit_bytes=16384)
    assert not kernel.alloc(20000, 4)
    assert list(kernel.chunks) == [0]
    assert kernel.alloc(16384, 4)
