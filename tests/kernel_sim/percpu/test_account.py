from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.percpu.account import account_of, count_table_pages
from kernel_sim.percpu.catalogue import ENTRIES
from kernel_sim.percpu.stretch import DATA_KINDS, DYNAMIC, HOLE, SHARED, STATIC
from tests.kernel_sim.percpu.any_system import machine_of_system

Build = Callable[..., Any]


def busy_kernel(small_kernel: Build, **options: Any) -> Any:
    kernel = small_kernel(**options)
    kernel.use_up_ready_space()
    for size in (4096, 60, 8192):
        assert kernel.alloc(size)
    return kernel


def test_what_an_area_takes_is_told_by_kind_and_cpu(small_kernel: Build) -> None:
    kernel = small_kernel()
    before = account_of(kernel.machine)
    assert kernel.alloc(60)
    after = account_of(kernel.machine)
    assert after.by_kind[DYNAMIC] - before.by_kind[DYNAMIC] == 4 * 60
    assert before.free_bytes - after.free_bytes == 4 * 60
    assert after.total_bytes == before.total_bytes
    assert after.per_cpu[2][DYNAMIC] - before.per_cpu[2].get(DYNAMIC, 0) == 60
    assert after.per_cpu[2][STATIC] == kernel.machine.system.static_bytes
    assert SHARED in after.per_cpu  # the offsets table is nobody's


def test_every_byte_is_counted_once_on_the_node_where_it_lies(small_kernel: Build) -> None:
    """Against the slow way: each page of each stretch asked by itself."""
    machine = busy_kernel(small_kernel).machine
    account = account_of(machine)
    by_node: Counter[int] = Counter()
    pages: dict[int, dict[tuple[int, int], None]] = {}
    for stretch in machine.system.stretches():
        if stretch.kind == HOLE:
            continue
        for at in range(stretch.addr, stretch.end, 4):
            phys = machine.space.translate(at)
            by_node[machine.pages.node_of_pfn(phys >> 12)] += 4
            if stretch.cpu >= 0 and stretch.kind in DATA_KINDS:
                shift = machine.space.find_translation(at).shift
                pages.setdefault(stretch.cpu, {})[at >> shift, shift] = None
    assert account.per_node == dict(by_node)
    assert {cpu: len(each) for cpu, each in pages.items()} == account.translations
    assert account.tlb_entries(0) == len(pages[0]) and account.tlb_entries(99) == 0
    assert sum(account.per_node.values()) == account.total_bytes - account.struct_bytes


def test_only_address_space_of_its_own_has_tables_of_its_own(small_kernel: Build) -> None:
    machine = small_kernel().machine
    assert account_of(machine).page_table_pages == 0  # the first chunk lies in the direct map
    kernel = busy_kernel(small_kernel)
    before = kernel.machine.space.nr_table_pages
    assert 0 < account_of(kernel.machine).page_table_pages < before


def test_table_pages_are_counted_once_however_many_ranges_they_map(small_kernel: Build) -> None:
    machine = busy_kernel(small_kernel).machine
    chunk = machine.percpu.chunks[max(machine.percpu.chunks)]
    start = chunk.base_addr
    one = count_table_pages(machine, [(start, start + 4096)])
    assert one == 3  # PUD, PMD and PTE tables
    assert count_table_pages(machine, [(start, start + 4096), (start + 4096, start + 8192)]) == one


def test_looking_changes_no_tlb(small_kernel: Build) -> None:
    machine = busy_kernel(small_kernel).machine
    before = [tlb.dump() for tlb in machine.tlbs.values()]
    account_of(machine)
    assert [tlb.dump() for tlb in machine.tlbs.values()] == before


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_account_of_any_system_adds_up(entry: Any) -> None:
    machine = machine_of_system(entry)
    account = account_of(machine)
    parts = (
        account.data_bytes, account.padding_bytes, account.reserved_bytes, account.free_bytes,
        account.table_bytes, account.metadata_bytes,
    )  # fmt: skip
    assert sum(parts) == account.total_bytes > 0
    assert sum(account.per_node.values()) == account.total_bytes - account.struct_bytes
    by_cpu = sum(sum(kinds.values()) for kinds in account.per_cpu.values())
    assert by_cpu == account.total_bytes - account.struct_bytes
    online = machine.online_cpus()
    assert all(account.tlb_entries(cpu) > 0 for cpu in online)
    assert account.by_kind[STATIC] >= len(online) * machine.system.static_bytes
