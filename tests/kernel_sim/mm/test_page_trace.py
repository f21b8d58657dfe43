from __future__ import annotations

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.config import MachineConfig
from kernel_sim.events import MmPageAlloc, MmPageFree
from kernel_sim.machine import Machine
from kernel_sim.machine_state import dump_parts, load_parts
from kernel_sim.mm.gfp import GFP_KERNEL
from tests.kernel_sim.conftest import FOREVER, small_config


def traced(kmem: bool) -> Machine:
    mapping = small_config().to_mapping() | {"trace": {"kmem": kmem}}
    return boot(MachineConfig.from_mapping(mapping, where="traced.toml"))


def allocate(machine: Machine, size: int) -> int:
    ptr = machine.run_call(machine.give(1, "pcpu_alloc", (size, 8, False, GFP_KERNEL, "f+0x1")))
    machine.run(FOREVER)
    return int(str(ptr))


def test_every_page_of_a_new_chunk_is_told_with_its_node() -> None:
    machine = traced(True)
    for _ in range(8):
        allocate(machine, 4096)
    told = [at.event for at in machine.take_events() if isinstance(at.event, MmPageAlloc)]
    assert len(told) >= 4 * machine.percpu.chunks[1].nr_populated > 0
    assert all(machine.pages.node_of_pfn(event.pfn) == event.node for event in told)


def test_what_goes_back_is_told_too() -> None:
    machine = traced(True)
    pfn = machine.run_call(machine.give(0, "alloc_pages", (2, GFP_KERNEL, 1)))
    machine.run_call(machine.give(0, "free_pages", (pfn, 2)))  # type: ignore[arg-type]
    rows = [at.event for at in machine.take_events()]
    assert rows == [MmPageAlloc(int(str(pfn)), 2, GFP_KERNEL, 1), MmPageFree(int(str(pfn)), 2)]


def test_without_the_switch_only_calls_for_pages_are_told() -> None:
    machine = traced(False)
    for _ in range(8):
        allocate(machine, 4096)
    assert not [at for at in machine.take_events() if isinstance(at.event, MmPageAlloc)]


def test_it_goes_back_and_forth_as_the_silent_one_does() -> None:
    machine = traced(True)
    before = dump_parts(machine)
    pointers = [allocate(machine, 4096) for _ in range(8)]
    after = dump_parts(machine)
    load_parts(machine, before)
    check_machine(machine)
    assert dump_parts(machine) == before
    assert [allocate(machine, 4096) for _ in range(8)] == pointers
    assert dump_parts(machine) == after
