from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.errors import BadAccess
from kernel_sim.percpu.catalogue import ENTRIES
from kernel_sim.percpu.reference_count import count_references
from tests.kernel_sim.percpu.any_system import machine_of_system

Build = Callable[..., Any]


def test_with_a_base_register_the_datum_is_all_there_is_to_read(small_kernel: Build) -> None:
    kernel = small_kernel()
    ptr = kernel.alloc(8)
    kernel.call("this_cpu_write", ptr, 1234, 8, cpu=2)
    (datum,) = count_references(kernel.machine, 2, ptr)
    assert datum.is_datum and datum.value == 1234 and datum.report.tlb == "L1"
    assert datum.addr == kernel.machine.system.copy_addr(ptr, 2)


def test_another_cpus_copy_is_found_through_the_table(small_kernel: Build) -> None:
    kernel = small_kernel()
    machine, ptr = kernel.machine, kernel.alloc(4)
    kernel.call("this_cpu_write", ptr, 77, 4, cpu=3)
    entry, datum = count_references(machine, 0, ptr, 3, size_bytes=4)
    assert entry.addr == machine.symbol("__per_cpu_offset") + 3 * 8
    assert entry.value == machine.system.per_cpu_offset(3) and not entry.is_datum
    assert (datum.value, datum.size_bytes, datum.node) == (77, 4, machine.topology.node_of_cpu[3])


def test_the_cpus_own_tlb_remembers_and_a_trial_does_not(small_kernel: Build) -> None:
    kernel = small_kernel()
    machine, ptr = kernel.machine, kernel.alloc(8)
    before = machine.tlbs[1].dump()
    trial = count_references(machine, 1, ptr, 0, access=machine.access.trial(1))
    assert machine.tlbs[1].dump() == before
    assert count_references(machine, 1, ptr, 0) == trial
    assert machine.tlbs[1].counters.misses == sum(each.report.tlb == "miss" for each in trial) > 0


def test_a_way_into_nowhere_faults(small_kernel: Build) -> None:
    kernel = small_kernel()
    with pytest.raises(BadAccess):
        count_references(kernel.machine, 0, kernel.alloc(8) + (1 << 40))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_on_any_system_both_ways_lead_to_the_copy(entry: Any) -> None:
    machine = machine_of_system(entry)
    call = machine.give(0, "pcpu_alloc", (64, 8, False, 0xCC0, "f"))
    ptr = machine.run_call(call)
    assert isinstance(ptr, int) and ptr
    for owner in machine.online_cpus():
        copy = machine.system.copy_addr(ptr, owner)
        machine.access.write_int(0, copy, 100 + owner, 4)
        for cpu, asked in ((owner, None), (0, owner)):
            *way, datum = count_references(machine, cpu, ptr, asked, size_bytes=4)
            assert datum.is_datum and datum.addr == copy and datum.value == 100 + owner
            assert not any(each.is_datum for each in way)
