from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernel_sim.percpu.bitmap_stretches import bitmap_stretches, metadata_bytes
from kernel_sim.percpu.stretch import DYNAMIC, HOLE, STATIC, TABLE

Build = Callable[..., Any]


def test_every_area_has_a_copy_for_each_cpu_at_the_address_where_a_cpu_finds_it(
    small_kernel: Build,
) -> None:
    kernel = small_kernel()
    ptrs = {kernel.alloc(size): size for size in (8, 4096, 60, 32768, 32768)}
    machine = kernel.machine
    copies: dict[int, list[tuple[int, int]]] = {}
    for stretch in bitmap_stretches(machine, machine.percpu):
        if stretch.ptr:
            assert stretch.addr == machine.system.copy_addr(stretch.ptr, stretch.cpu)
            copies.setdefault(stretch.ptr, []).append((stretch.cpu, stretch.size_bytes))
    assert copies == {ptr: [(cpu, size) for cpu in range(4)] for ptr, size in ptrs.items()}


def test_static_parts_tables_and_holes_are_there(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.use_up_ready_space(leave=0)
    kernel.alloc(4096)
    machine = kernel.machine
    kinds: dict[str, int] = {}
    for stretch in bitmap_stretches(machine, machine.percpu):
        kinds[stretch.kind] = kinds.get(stretch.kind, 0) + stretch.size_bytes
    assert kinds[STATIC] == 4 * machine.system.static_bytes
    assert kinds[TABLE] == 4 * 8
    chunk = machine.percpu.chunks[1]
    assert kinds[HOLE] == 4 * 4096 * (chunk.nr_pages - chunk.nr_populated)
    assert kinds[DYNAMIC] > 0


def test_bookkeeping_grows_with_a_chunk(small_kernel: Build) -> None:
    kernel = small_kernel()
    before = metadata_bytes(kernel.machine.percpu)
    kernel.use_up_ready_space(leave=0)
    kernel.alloc(4096)
    nr_pages = kernel.machine.percpu.chunks[1].nr_pages
    assert metadata_bytes(kernel.machine.percpu) - before > 2 * nr_pages * 128
