"""A sound machine passes; each kind of damage is found and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.check import check_machine
from kernel_sim.errors import InvariantBroken
from kernel_sim.machine_state import dump_parts
from kernel_sim.percpu.backing_vm import PAGE_KERNEL
from kernel_sim.percpu.bitmap_check import check_chunk

Build = Callable[..., Any]


def busy(small_kernel: Build, **options: Any) -> Any:
    kernel = small_kernel(mode="scripted", **options)
    kernel.use_up_ready_space(leave=0)
    ptrs = [kernel.alloc(size) for size in (64, 4096, 500, 12288)]
    kernel.free(ptrs[2])
    kernel.check()
    return kernel


def unit_page(machine: Any, page: int, cpu: int = 0) -> int:
    chunk = machine.percpu.chunks[1]
    return chunk.base_addr + machine.places.unit_offsets[cpu] + page * 4096


def set_md(name: str, value: int) -> Callable[[Any], None]:
    return lambda m: setattr(m.percpu.chunks[1].md, name, value)


def set_block(name: str, value: int, index: int = 0) -> Callable[[Any], None]:
    return lambda m: setattr(m.percpu.chunks[1].blocks[index], name, value)


def add_to_chunk(name: str, change: int = 1) -> Callable[[Any], None]:
    def damage(machine: Any) -> None:
        chunk = machine.percpu.chunks[1]
        setattr(chunk, name, getattr(chunk, name) + change)

    return damage


def flip_alloc_bit(machine: Any) -> None:
    machine.percpu.chunks[1].alloc_map[7] ^= 1 << 500


def lose_bound(machine: Any) -> None:
    machine.percpu.chunks[1].bound_map[0] &= ~1


def take_off_list(machine: Any) -> None:
    chunk = machine.percpu.chunks[1]
    machine.percpu.slots.lists[chunk.slot].remove(chunk)


def put_on_two_lists(machine: Any) -> None:
    machine.percpu.slots.lists[5].append(machine.percpu.chunks[1])


def enlist_reserved(machine: Any) -> None:
    reserved = machine.percpu.chunks[-1]
    machine.percpu.slots.move(reserved, 3, to_front=True)


def forget_chunk(machine: Any) -> None:
    del machine.percpu.chunks[1]


def forget_base(machine: Any) -> None:
    machine.percpu.chunk_bases.clear()


def unmap_a_page(machine: Any) -> None:
    machine.space.unmap_page(unit_page(machine, 0, cpu=3))


def map_beside(machine: Any) -> None:
    pfn = machine.pages.alloc_pages(gfp=0xCC0, order=0, node=0)
    machine.space.map_page(virt=unit_page(machine, 7), pfn=pfn, flags=PAGE_KERNEL, node=0)


def map_twice(machine: Any) -> None:
    pfn = machine.space.unmap_page(unit_page(machine, 0))
    machine.pages.free_pages(pfn, 0)
    other = machine.space.translate(unit_page(machine, 1)) >> 12
    machine.space.map_page(virt=unit_page(machine, 0), pfn=other, flags=PAGE_KERNEL, node=0)


def free_a_page_in_use(machine: Any) -> None:
    machine.pages.free_pages(machine.space.translate(unit_page(machine, 0)) >> 12, 0)


def leak_a_page(machine: Any) -> None:
    machine.pages.alloc_pages(gfp=0xCC0, order=0, node=1)


def move_gs_base(machine: Any) -> None:
    machine.cpus[2].gs_base += 64


def overwrite_table(machine: Any) -> None:
    table = machine.symbol("__per_cpu_offset")
    machine.memory.write_u64(machine.space.translate(table + 8), 1)


def hold_lock(machine: Any) -> None:
    machine.percpu.mutex.holder = 1


def miscount(name: str) -> Callable[[Any], None]:
    def damage(machine: Any) -> None:
        setattr(machine.percpu, name, getattr(machine.percpu, name) + 1)

    return damage


def miscount_allocs(machine: Any) -> None:
    machine.percpu.statistics.nr_cur_alloc += 1


DAMAGE: dict[str, tuple[Callable[[Any], None], str]] = {
    "chunk contig hint": (set_md("contig_hint", 8192), "contig_hint is 8192, more than"),
    "chunk contig hint not free": (set_md("contig_hint_start", 0), "chunk 1"),
    "chunk first free": (set_md("first_free", 3), "first_free"),
    "block contig hint": (set_block("contig_hint", 1024), "block 0: contig_hint"),
    "block left free": (set_block("left_free", 5), "left_free"),
    "block right free": (set_block("right_free", 1024), "right_free"),
    "block scan hint": (set_block("scan_hint", 1024), "scan_hint"),
    "block first free": (set_block("first_free", 900, 4), "block 4: first_free"),
    "free bytes": (add_to_chunk("free_bytes", 4), "free_bytes"),
    "areas": (add_to_chunk("nr_alloc"), "number of areas"),
    "populated count": (add_to_chunk("nr_populated"), "nr_populated"),
    "empty pages of a chunk": (add_to_chunk("nr_empty_pop_pages"), "nr_empty_pop_pages"),
    "alloc bit": (flip_alloc_bit, "chunk 1"),
    "bound": (lose_bound, "chunk 1"),
    "on no list": (take_off_list, "says it is on list"),
    "on two lists": (put_on_two_lists, "chunk 1"),
    "reserved chunk on a list": (enlist_reserved, "reserved chunk is on a list"),
    "unknown chunk on a list": (forget_chunk, "chunk 1"),
    "bases": (forget_base, "bases"),
    "unmapped page": (unmap_a_page, "populated is True"),
    "page mapped beside": (map_beside, "populated is False"),
    "page mapped twice": (map_twice, "belongs to"),
    "free page in use": (free_a_page_in_use, "page"),
    "leaked page": (leak_a_page, "is allocated and nobody has it"),
    "base register": (move_gs_base, "cpu 2: gs base"),
    "offset table": (overwrite_table, r"__per_cpu_offset\[1\]"),
    "held lock": (hold_lock, "pcpu_alloc_mutex: holder"),
    "all empty pages": (miscount("nr_empty_pop_pages"), "percpu: nr_empty_pop_pages"),
    "all populated pages": (miscount("nr_populated"), "percpu: nr_populated"),
    "live areas": (miscount_allocs, "nr_cur_alloc"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_named(small_kernel: Build, what: str) -> None:
    damage, message = DAMAGE[what]
    kernel = busy(small_kernel)
    damage(kernel.machine)
    with pytest.raises(InvariantBroken, match=message):
        check_machine(kernel.machine)


def test_a_km_block_that_was_freed_is_found(small_kernel: Build) -> None:
    kernel = busy(small_kernel, backend="km")
    machine = kernel.machine
    machine.pages.free_pages(machine.percpu.chunks[1].data[0], machine.percpu.backing.order)
    with pytest.raises(InvariantBroken):
        check_machine(machine)


def test_a_part_that_changed_in_secret_is_found(small_kernel: Build) -> None:
    kernel = busy(small_kernel)
    dump_parts(kernel.machine)
    kernel.machine.percpu.chunks[1].written ^= True
    with pytest.raises(InvariantBroken, match="changed without saying so"):
        check_machine(kernel.machine)


def test_in_the_midst_of_a_call_it_may_be_called_too(small_kernel: Build) -> None:
    kernel = busy(small_kernel)
    for cpu in range(4):
        kernel.give_alloc(9000, cpu=cpu)
    while not kernel.machine.is_idle:
        kernel.machine.run(kernel.machine.step + 1)
        check_machine(kernel.machine)


def test_a_fresh_chunk_is_sound(small_kernel: Build) -> None:
    for chunk in small_kernel().machine.percpu.chunks.values():
        check_chunk(chunk)
