"""The system as a whole: what an access costs, the mail's 98 % on the real machine, rewinding."""

from __future__ import annotations

import pytest

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.errors import KernelBug
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.account import account_of
from kernel_sim.percpu.block_geometry import BLOCK_BYTES
from kernel_sim.percpu.reference_count import count_references
from kernel_sim.percpu.refill_workload import RefillWorkload
from kernel_sim.random_state import RandomState
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from tests.kernel_sim.percpu.block_kernel import BlockKernel, block_config

EIGHT_BLOCKS = {"start": "0xf8800000", "end": "0xf88d0fff"}  # 26 pages each, and a byte never used


@pytest.fixture(params=["i386", "x86-64"])
def kernel(request: pytest.FixtureRequest) -> BlockKernel:
    return BlockKernel(request.param)


def test_a_dynamic_copy_costs_one_reference_less_than_a_static_one(kernel: BlockKernel) -> None:
    ptr, static = kernel.alloc(8), kernel.system.percpu_start
    for owner in (None, 2):
        assert len(count_references(kernel.machine, 1, ptr, owner)) == 1
    assert len(count_references(kernel.machine, 1, static)) == 2


def test_a_copy_is_8192_bytes_a_cpu_away(kernel: BlockKernel) -> None:
    ptr = kernel.alloc(8)
    for owner in range(4):
        assert kernel.call("per_cpu_ptr", ptr, owner, cpu=1) == ptr + owner * BLOCK_BYTES
        assert kernel.system.copy_addr(ptr, owner) == ptr + owner * BLOCK_BYTES
    kernel.call("this_cpu_write", ptr, 77, 4, cpu=3)
    assert kernel.call("per_cpu", ptr, 3, 4) == 77
    assert kernel.call("per_cpu", ptr, 2, 4) == 0


def test_static_variables_are_as_they_were(kernel: BlockKernel) -> None:
    system, static = kernel.system, kernel.system.percpu_start
    kernel.call("this_cpu_write", static, 5, 4, cpu=2)
    addr = system.copy_addr(static, 2)
    assert addr is not None and kernel.bytes_at(addr, 1) == b"\x05"
    assert system.per_cpu_offset(2) == addr - static & kernel.machine.arch.address_mask


def test_it_knows_its_objects_and_its_figures(kernel: BlockKernel) -> None:
    ptr = kernel.alloc(60)
    system = kernel.system
    assert system.holds(ptr) and not system.holds(ptr + 4)
    assert list(system.live_areas()) == [(ptr, 60)]
    facts = dict(system.facts())
    assert (facts["blocks"], facts["objects"], facts["used_bytes"]) == (1, 1, 60)
    assert facts["firstnotfull"] == "block 0"
    nr_static = system.statics.nr_pages()
    assert system.nr_pages() == nr_static + 8
    kernel.free(ptr)
    assert not system.holds(ptr) and dict(system.facts())["firstnotfull"] == "blkhead"
    with pytest.raises(KernelBug, match="no background work"):
        system.work_path(0)


def test_every_byte_lies_on_its_node_and_is_accounted(kernel: BlockKernel) -> None:
    kernel.alloc(100)
    account = account_of(kernel.machine)
    geometry = kernel.percpu.geometry
    assert account.misplaced_bytes == 0
    assert account.by_kind["dynamic"] == 4 * 100
    assert account.by_kind["free"] == 4 * (BLOCK_BYTES - 100)
    assert account.by_kind["hole"] == 4 * BLOCK_BYTES + 4096
    assert account.by_kind["metadata"] >= geometry.management_bytes


@pytest.mark.parametrize("as_posted", [False, True])
def test_98_percent_after_random_frees(as_posted: bool) -> None:
    """The workload runs through the machine; the address space is what eight blocks take."""
    kernel = BlockKernel(
        possible="0-1",
        options={"as_posted": as_posted},
        vmalloc=EIGHT_BLOCKS,
        tlb={"profile": "none"},
    )
    RefillWorkload(RandomState.from_seed(1), nr_rounds=2).run(kernel.alloc, kernel.free)
    facts = dict(kernel.system.facts())
    assert facts["blocks"] == 8
    assert int(str(facts["used_bytes"])) / int(str(facts["room_bytes"])) >= 0.98
    kernel.check()


@pytest.mark.slow
def test_98_percent_after_all_rounds() -> None:
    kernel = BlockKernel(possible="0-1", vmalloc=EIGHT_BLOCKS, tlb={"profile": "none"})
    RefillWorkload(RandomState.from_seed(1)).run(kernel.alloc, kernel.free)
    facts = dict(kernel.system.facts())
    assert int(str(facts["used_bytes"])) / int(str(facts["room_bytes"])) >= 0.98
    kernel.check()


def test_a_recorded_run_is_the_same_wherever_one_comes_from() -> None:
    timeline = Timeline(boot(block_config()))
    for cpu, size in enumerate([8, 5000, 5000, 300]):
        timeline.give("pcpu_alloc", cpu, (size, 4, False, GFP_KERNEL, "f"))
        timeline.advance(timeline.step + 9)
    timeline.advance(NO_LIMIT)
    ptrs = [ptr for ptr, _ in timeline.machine.system.live_areas()]
    for cpu, ptr in enumerate(ptrs[1:]):
        timeline.give("free_percpu", cpu, (ptr,))
        timeline.advance(timeline.step + 20)
    timeline.advance(NO_LIMIT)
    steps = range(0, timeline.end_step, 13)
    digests: dict[int, str] = {}
    for step in (*steps, *reversed(steps), *steps):
        timeline.seek(step)
        assert digests.setdefault(step, state_digest(timeline.machine)) == state_digest(
            timeline.machine
        )
        check_machine(timeline.machine)
    straight = boot(block_config())
    for number in range(timeline.nr_inputs):
        given = timeline.input_at(number)
        straight.run(given.step)
        straight.give(given.cpu, given.do, given.args)
    straight.run(steps[-1])
    assert state_digest(straight) == digests[steps[-1]]
