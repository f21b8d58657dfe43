"""alloc_percpu() as an array of pointers: where all of it lies, what an access reads, what failures leave."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_sim.boot import boot
from kernel_sim.component import from_plain, to_plain
from kernel_sim.config import MachineConfig
from kernel_sim.errors import DoubleFree, InvariantBroken, PageFault
from kernel_sim.events import PercpuAllocPercpu, PercpuAllocPercpuFail, PercpuFreePercpu
from kernel_sim.machine import Machine
from kernel_sim.percpu.pointer_array import PointerArea, PointerArray
from kernel_sim.percpu.stretch import DYNAMIC, PADDING, TABLE
from kernel_sim.primitives import run_undisturbed

GFP = 0xCC0


def machine_of(arch: str = "i386", nr_cpus: int = 8, possible: str = "0-3") -> Machine:
    """Two nodes; the slab of 2.6.20, whose smallest object has 32 bytes."""
    mapping = {
        "name": "pointers",
        "kernel": {"arch": arch, "nr_cpus": nr_cpus},
        "cpus": {"possible": possible},
        "node": [
            {"cpus": possible.replace("3", "1"), "memory_mib": 64},
            {"cpus": "2-3", "memory_mib": 64},
        ],
        "percpu": {"static_bytes": 6000, "first_chunk": "embed", "distance_fn": False},
        "memory": {"pages": "2.6.20"},
        "work": {"mode": "scripted"},
    }
    return boot(MachineConfig.from_mapping(mapping, where="test"))


class Pointers:
    """A machine with such areas, and the moves that tests make."""

    def __init__(self, arch: str = "i386", *, clears: bool = False, nr_cpus: int = 8) -> None:
        self.machine = machine_of(arch, nr_cpus)
        self.arrays = PointerArray(self.machine, clears)
        self.machine.take_events()

    def alloc(self, size: int, align: int = 8, cpu: int = 0) -> int:
        return run_undisturbed(self.arrays.alloc(cpu, size, align, False, GFP, "f+0x1"))

    def free(self, ptr: int, cpu: int = 0) -> None:
        run_undisturbed(self.arrays.free(cpu, ptr))

    def read(self, addr: int, size: int) -> bytes:
        phys = self.machine.space.translate(addr)
        assert phys is not None
        return self.machine.memory.read(phys, size)

    def words(self, addr: int, count: int) -> list[int]:
        word = self.machine.arch.word_bytes
        data = self.read(addr, count * word)
        return [int.from_bytes(data[i * word :][:word], "little") for i in range(count)]

    def node_of(self, addr: int) -> int:
        phys = self.machine.space.translate(addr)
        assert phys is not None
        return self.machine.pages.node_of_pfn(phys >> 12)

    def objects_taken(self) -> dict[str, int]:
        return {row[0]: row[1] for row in self.machine.slab.rows() if row[1]}


@pytest.fixture(params=["i386", "x86-64"])
def pointers(request: pytest.FixtureRequest) -> Pointers:
    return Pointers(request.param)


def test_the_ptr_is_the_complement_of_the_arrays_address(pointers: Pointers) -> None:
    ptr = pointers.alloc(24)
    area = pointers.arrays.areas[ptr]
    assert ptr == ~area.table_addr & pointers.machine.arch.address_mask
    assert pointers.arrays.is_disguised(ptr)
    assert not pointers.arrays.is_disguised(pointers.machine.image_addr)
    with pytest.raises(PageFault):
        pointers.machine.access.read(0, ptr, 4)


def test_the_array_really_lies_in_memory_and_points_to_every_cpus_object(
    pointers: Pointers,
) -> None:
    area = pointers.arrays.areas[pointers.alloc(24)]
    assert pointers.words(area.table_addr, 4) == list(area.copies.values())
    assert list(area.copies) == [0, 1, 2, 3]
    assert [pointers.node_of(addr) for addr in area.copies.values()] == [0, 0, 1, 1]


def test_objects_are_zeroed_whatever_was_there(pointers: Pointers) -> None:
    ptr = pointers.alloc(32)
    copies = pointers.arrays.areas[ptr].copies
    for addr in copies.values():
        pointers.machine.access.write(0, addr, b"\xff" * 32)
    pointers.free(ptr)
    again = pointers.arrays.areas[pointers.alloc(32)].copies
    assert dict.fromkeys(again.values()) == dict.fromkeys(copies.values()), "the same memory"
    assert all(pointers.read(addr, 32) == bytes(32) for addr in again.values())


def test_a_size_is_cut_to_a_size_t() -> None:
    """As the slab does: else an object of 8 bytes would be cleared as if it had 4 GiB and 8."""
    pointers = Pointers("i386")
    area = pointers.arrays.areas[pointers.alloc((1 << 32) + 8)]
    assert area.size_bytes == 8
    pointers.arrays.check()
    assert not Pointers("x86-64").alloc((1 << 32) + 8)


def test_entries_of_impossible_cpus_stay_what_they_were_until_2_6_20_clears_them() -> None:
    for clears in (False, True):
        pointers = Pointers(clears=clears)
        old = pointers.machine.slab.kmalloc_node(32, GFP, 0)
        assert old is not None
        pointers.machine.memory.write(old, b"\xaa" * 32)
        pointers.machine.slab.kfree(old)
        area = pointers.arrays.areas[pointers.alloc(64)]
        assert area.table_addr == pointers.machine.arch.direct_map_addr + old
        assert pointers.words(area.table_addr, 8)[4:] == [0 if clears else 0xAAAAAAAA] * 4


def test_an_access_loads_the_pointer_from_memory_then_comes_the_datum(pointers: Pointers) -> None:
    ptr = pointers.alloc(24)
    area, arrays = pointers.arrays.areas[ptr], pointers.arrays
    word = pointers.machine.arch.word_bytes
    loads: list[tuple[int, int]] = []

    def load(addr: int, size: int) -> int:
        loads.append((addr, size))
        return int.from_bytes(pointers.read(addr, size), "little")

    assert arrays.per_cpu(load, 0, ptr, 2) == area.copies[2] == arrays.copy_addr(ptr, 2)
    assert arrays.this_cpu(load, 3, ptr) == area.copies[3]
    assert loads == [(area.table_addr + 2 * word, word), (area.table_addr + 3 * word, word)]
    assert pointers.node_of(area.table_addr) == 0, "of cpu 3 the array is remote"
    pointers.machine.access.write_int(0, area.table_addr + 2 * word, 0x1234, word)
    assert arrays.per_cpu(load, 0, ptr, 2) == 0x1234


def test_a_four_byte_counter_takes_96_bytes_on_two_cpus() -> None:
    """The example of the time: NR_CPUS 8, two possible CPUs, slab objects from 32 bytes on."""
    machine = boot(
        MachineConfig.from_mapping(
            {
                "name": "two",
                "kernel": {"arch": "i386", "nr_cpus": 8},
                "cpus": {"possible": "0-1"},
                "node": [{"memory_mib": 64}],
                "percpu": {"static_bytes": 6000},
                "memory": {"pages": "2.6.20"},
            },
            where="test",
        )
    )
    arrays = PointerArray(machine)
    run_undisturbed(arrays.alloc(0, 4, 4, False, GFP, ""))
    by_kind: dict[str, int] = {}
    for stretch in arrays.stretches():
        by_kind[stretch.kind] = by_kind.get(stretch.kind, 0) + stretch.size_bytes
    assert by_kind == {TABLE: 32, DYNAMIC: 8, PADDING: 56}
    assert sum(by_kind.values()) == 96


def test_512_pointers_of_8_bytes_take_a_page_for_every_area() -> None:
    pointers = Pointers("x86-64", nr_cpus=512)
    pointers.alloc(8)
    assert pointers.arrays.table_bytes == 4096
    assert sum(stretch.size_bytes for stretch in pointers.arrays.stretches()) == 4096 + 4 * 32


def test_a_cpu_whose_node_is_not_there_gets_memory_from_anywhere() -> None:
    pointers = Pointers()
    pointers.machine.offline_nodes = {1: None}
    area = pointers.arrays.areas[pointers.alloc(24, cpu=1)]
    assert [pointers.node_of(addr) for addr in area.copies.values()] == [0, 0, 0, 0]


def test_freeing_gives_all_of_it_back(pointers: Pointers) -> None:
    before = pointers.objects_taken()
    ptrs = [pointers.alloc(size) for size in (4, 100, 3000, 70000)]
    assert all(ptrs) and [size for _, size in pointers.arrays.live_areas()] == [4, 100, 3000, 70000]
    for ptr in ptrs:
        assert pointers.arrays.holds(ptr)
        pointers.free(ptr, cpu=2)
        assert not pointers.arrays.holds(ptr) and pointers.arrays.copy_addr(ptr, 0) is None
    assert pointers.objects_taken() == before


def test_what_it_tells(pointers: Pointers) -> None:
    ptr = pointers.alloc(40, align=16)
    area = pointers.arrays.areas[ptr]
    pointers.free(ptr)
    told = [row.event for row in pointers.machine.take_events()]
    allocs = [event for event in told if isinstance(event, PercpuAllocPercpu)]
    frees = [event for event in told if isinstance(event, PercpuFreePercpu)]
    assert frees == [PercpuFreePercpu(area.table_addr, 0, ptr)]
    (alloc,) = allocs
    assert (alloc.size, alloc.align, alloc.base_addr, alloc.ptr) == (40, 16, area.table_addr, ptr)
    assert alloc.bytes_alloc == 4 * 64 + (32 if pointers.machine.arch.word_bytes == 4 else 64)


# -- failures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clears", [False, True])
@pytest.mark.parametrize("nth", range(6))
def test_when_the_nth_kmalloc_fails_nothing_is_left_behind(nth: int, clears: bool) -> None:
    """Pointers and objects of 8 KiB each: one to a slab, so every kmalloc() asks for pages."""
    pointers = Pointers(nr_cpus=2048, clears=clears)
    before = pointers.objects_taken()
    freed: list[int] = []
    kfree = pointers.machine.slab.kfree

    def watched(phys: int, cpu: int = 0) -> None:
        freed.append(phys)
        kfree(phys, cpu)

    object.__setattr__(pointers.machine, "slab", _Watched(pointers.machine.slab, watched))
    pointers.machine.pages.fail_after = nth
    ptr = pointers.alloc(8192)
    pointers.machine.pages.fail_after = -1
    if nth == 5:  # the array and four objects: no more is asked for
        assert ptr and not freed
        return
    assert ptr == 0 and not pointers.arrays.areas
    assert len(freed) == nth
    assert pointers.objects_taken() == before
    told = [row.event for row in pointers.machine.take_events()]
    assert PercpuAllocPercpuFail(False, False, 8192, 8) in told
    made = [event.ptr for event in told if type(event).__name__ == "KmallocNode"]
    base = pointers.machine.arch.direct_map_addr
    order = made[1:] if clears else made[:0:-1]
    assert [base + phys for phys in freed] == [*order, *made[:1]], "objects, then the array"
    assert any("allocation failure" in text for _, text in pointers.machine.kernel_log)
    assert pointers.alloc(8192), "and the next one works"


class _Watched:
    """A slab allocator whose frees are seen."""

    def __init__(self, slab: object, kfree: Callable[..., None]) -> None:
        self.slab, self.kfree = slab, kfree

    def __getattr__(self, name: str) -> object:
        return getattr(self.slab, name)


def test_more_than_the_largest_class_fails_and_gives_the_array_back() -> None:
    pointers = Pointers()
    before = pointers.objects_taken()
    assert pointers.alloc(131073) == 0
    assert pointers.objects_taken() == before


def test_a_second_free_and_a_free_of_nothing_are_told(pointers: Pointers) -> None:
    ptr = pointers.alloc(8)
    pointers.free(ptr)
    for wrong in (ptr, ptr - 4, 5):
        with pytest.raises(DoubleFree, match=f"free of {wrong:#x}"):
            pointers.free(wrong)


def test_a_null_pointer_is_followed_until_2_6_20_looks(pointers: Pointers) -> None:
    with pytest.raises(PageFault) as fault:
        pointers.free(0)
    assert fault.value.addr == pointers.machine.arch.address_mask
    pointers.arrays.clears_table = True
    pointers.free(0)


# -- soundness, state ----------------------------------------------------------------------------------


def test_every_area_is_drawn_piece_by_piece(pointers: Pointers) -> None:
    ptr = pointers.alloc(40)
    area = pointers.arrays.areas[ptr]
    rows = [
        (s.strip, s.addr, s.size_bytes, s.kind, s.cpu, s.node) for s in pointers.arrays.stretches()
    ]
    pointer_bytes = 8 * pointers.machine.arch.word_bytes
    assert rows[0] == (f"area {ptr:#x}, pointers", area.table_addr, pointer_bytes, TABLE, -1, -1)
    assert rows[1:3] == [
        (f"area {ptr:#x}, cpu 0", area.copies[0], 40, DYNAMIC, 0, 0),
        (f"area {ptr:#x}, cpu 0", area.copies[0] + 40, 24, PADDING, 0, 0),
    ]
    assert len(rows) == 1 + 2 * 4
    pointers.machine.slab.kfree(area.copies[1] - pointers.machine.arch.direct_map_addr)
    assert len(list(pointers.arrays.stretches())) == len(rows) - 1, "a stray kfree() is survived"


def test_a_contradiction_is_found(pointers: Pointers) -> None:
    ptr = pointers.alloc(40)
    area = pointers.arrays.areas[ptr]
    pointers.arrays.check()
    for wrong, expected in (
        (PointerArea(40, area.table_addr + 8, area.copies), "its pointers lie at"),
        (PointerArea(40, area.table_addr, {0: area.copies[0]}), "objects of CPUs"),
        (PointerArea(65, area.table_addr, area.copies), "65 bytes in an object of 64"),
        (PointerArea(40, area.table_addr, area.copies | {3: area.copies[2]}), "already"),
        (PointerArea(40, area.table_addr, area.copies | {3: area.copies[2] + 8}), "no object"),
    ):
        pointers.arrays.areas[ptr] = wrong
        with pytest.raises(InvariantBroken, match=expected):
            pointers.arrays.check()
    pointers.arrays.areas[ptr] = area
    pointers.machine.slab.kfree(area.copies[1] - pointers.machine.arch.direct_map_addr)
    with pytest.raises(InvariantBroken, match="is free"):
        pointers.arrays.check()


def test_its_state_goes_out_and_comes_back(pointers: Pointers) -> None:
    pointers.alloc(40)
    plain = to_plain(pointers.arrays.areas)
    assert from_plain(dict[int, PointerArea], plain) == pointers.arrays.areas
    assert pointers.arrays.changed
    assert pointers.arrays.facts()[0] == ("pointer_arrays", 1)
