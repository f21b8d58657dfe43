"""`alloc_percpu()` before 2009: an array of NR_CPUS pointers, and one slab object for every possible CPU.

    ptr = ~table     table │ ptrs[0] │ ptrs[1] │ … │ ptrs[NR_CPUS-1] │      kmalloc(), wherever it falls
                               │         └──► object of CPU 1, zeroed      kmalloc_node() on CPU 1's node
                               └──► object of CPU 0, zeroed

Who follows a ptr without turning its bits round faults. An access loads ptrs[cpu], then the datum: two
references, the first to memory that all CPUs share. Entries of CPUs that are not possible stay what the slab
object held before (2.6.20 clears them).

This is the dynamic half of `legacy-static` and of what was proposed to replace only its static half; a
system has one and hands on to it what concerns dynamic areas. Its state is `areas`.
Source: __alloc_percpu(), free_percpu(), Linux 2.6.17 mm/slab.c; Linux 2.6.20 mm/allocpercpu.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernel_sim.errors import BadAccess, DoubleFree, InvariantBroken
from kernel_sim.events import PercpuAllocPercpu, PercpuAllocPercpuFail, PercpuFreePercpu
from kernel_sim.memory_calls import MemoryCalls
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.protocol import IntPath, Load, Path
from kernel_sim.percpu.stretch import DYNAMIC, PADDING, TABLE, Stretch
from kernel_sim.primitives import PREEMPT
from kernel_sim.topology import NUMA_NO_NODE

if TYPE_CHECKING:
    from kernel_sim.machine import Machine


@dataclass(slots=True)
class PointerArea:
    """One dynamic area: what was asked, where its pointers are, and every possible CPU's object."""

    size_bytes: int
    table_addr: int
    copies: dict[int, int]  # CPU: address, in the order in which they were made


@dataclass(slots=True)
class PointerArray:
    """All dynamic areas of one machine, by ptr, oldest first.

    clears_table: as 2.6.20 does, which also lets free_percpu() ignore a null pointer and unwinds from the
    first CPU on. changed: something is not as it was when somebody last cleared this.
    """

    machine: Machine
    clears_table: bool = False
    areas: dict[int, PointerArea] = field(default_factory=dict)
    changed: bool = True
    calls: MemoryCalls = field(init=False)

    def __post_init__(self) -> None:
        self.calls = MemoryCalls(self.machine)

    @property
    def table_bytes(self) -> int:
        """sizeof(struct percpu_data): a pointer for every CPU that the kernel was built for."""
        return self.machine.config.kernel.nr_cpus * self.machine.arch.word_bytes

    # -- what kernel code calls --------------------------------------------------------------------

    def alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> IntPath:
        """Return the path of __alloc_percpu(), which knows no alignment and no gfp: it may always sleep.

        The size is a size_t: what has more bits is cut, for the objects and for what is cleared.
        """
        return self.__alloc_percpu(cpu, size & self.machine.arch.address_mask, align, call_site)

    def free(self, cpu: int, ptr: int) -> Path:
        """Return the path of free_percpu()."""
        return self.free_percpu(cpu, ptr)

    async def __alloc_percpu(self, cpu: int, size: int, align: int, call_site: str) -> int:
        """Allocate an object for every possible CPU; the ptr, or 0 and everything is given back.

        align is what was asked, and nothing is done for it: an object lies as its slab class lies. A CPU
        whose node is not there gets memory from anywhere.
        """
        machine = self.machine
        table = await self.calls.kmalloc_node(cpu, self.table_bytes, GFP_KERNEL, NUMA_NO_NODE)
        if not table:
            return self._fail(cpu, size, align)
        if self.clears_table:
            machine.access.write(cpu, table, bytes(self.table_bytes))
        copies: dict[int, int] = {}
        for owner in machine.topology.possible:
            node = machine.topology.node_of_cpu[owner]
            there = NUMA_NO_NODE if node in machine.offline_nodes else node
            addr = await self.calls.kmalloc_node(cpu, size, GFP_KERNEL, there)
            self._store(cpu, table, owner, addr)
            if not addr:
                for made in copies if self.clears_table else reversed(copies):
                    await self.calls.kfree(cpu, copies[made])
                await self.calls.kfree(cpu, table)
                return self._fail(cpu, size, align)
            copies[owner] = addr
            machine.access.write(cpu, addr, bytes(size))
        ptr = self._disguise(table)
        area = self.areas[ptr] = PointerArea(size, table, copies)
        self.changed = True
        nr_bytes = self._held_bytes(table) + sum(map(self._held_bytes, area.copies.values()))
        machine.emit(
            cpu,
            PercpuAllocPercpu(
                call_site, False, False, size, align, table, 0, ptr, nr_bytes, GFP_KERNEL
            ),
        )
        return ptr

    async def free_percpu(self, cpu: int, ptr: int) -> None:
        """Give back what the pointers point to, then the array.

        Raises DoubleFree for a ptr of no area. A null pointer is followed like any other until 2.6.20 looks,
        so it faults: PageFault.
        """
        await PREEMPT
        if ptr == 0 and self.clears_table:
            return
        if ptr:
            self._forget(cpu, ptr)
        table = self._disguise(ptr)
        for owner in self.machine.topology.possible:
            await self.calls.kfree(cpu, self._loaded(cpu, table, owner))
            if self.clears_table:
                self._store(cpu, table, owner, 0)
        await self.calls.kfree(cpu, table)
        self.machine.emit(cpu, PercpuFreePercpu(table, 0, ptr))

    def _fail(self, cpu: int, size: int, align: int) -> int:
        self.machine.emit(cpu, PercpuAllocPercpuFail(False, False, size, align))
        return 0

    def _forget(self, cpu: int, ptr: int) -> None:
        if ptr not in self.areas:
            raise DoubleFree(
                f"cpu {cpu}: free of {ptr:#x}: {self._disguise(ptr):#x} holds no pointers of an area"
            )
        del self.areas[ptr]
        self.changed = True

    def _store(self, cpu: int, table: int, owner: int, addr: int) -> None:
        word_bytes = self.machine.arch.word_bytes
        self.machine.access.write_int(cpu, table + owner * word_bytes, addr, word_bytes)

    def _loaded(self, cpu: int, table: int, owner: int) -> int:
        arch = self.machine.arch
        addr = table + owner * arch.word_bytes & arch.address_mask
        return self.machine.access.read_int(cpu, addr, arch.word_bytes)

    def _held_bytes(self, addr: int) -> int:
        return self.machine.slab.ksize(addr - self.machine.arch.direct_map_addr)

    # -- how a copy is reached ---------------------------------------------------------------------

    def _disguise(self, addr: int) -> int:
        """Turn all bits round, either way. Source: __percpu_disguise()."""
        return ~addr & self.machine.arch.address_mask

    def is_disguised(self, ptr: int) -> bool:
        """Say whether a ptr can be one of these: turned round, it lies where slab objects do.

        Kernel code knows from its source whether a variable is static or dynamic; we have to look.
        """
        return self._disguise(ptr) >= self.machine.arch.direct_map_addr

    def this_cpu(self, load: Load, cpu: int, ptr: int) -> int:
        """There is no shorter way to one's own copy: as per_cpu()."""
        return self.per_cpu(load, cpu, ptr, cpu)

    def per_cpu(self, load: Load, cpu: int, ptr: int, owner: int) -> int:
        """Load the owner's pointer from the array: one reference."""
        arch = self.machine.arch
        table = self._disguise(ptr)
        return load(table + owner * arch.word_bytes & arch.address_mask, arch.word_bytes)

    def holds(self, ptr: int) -> bool:
        """Say whether a live area has this ptr."""
        return ptr in self.areas

    def copy_addr(self, ptr: int, owner: int) -> int | None:
        """Return where the owner's object was put; None for no such area or CPU."""
        area = self.areas.get(ptr)
        return area.copies.get(owner) if area is not None else None

    # -- looking -----------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield every area's pointers and objects, each with what the slab's size class adds."""
        word_bytes, nr_cpus = self.machine.arch.word_bytes, self.machine.config.kernel.nr_cpus
        node_of_cpu = self.machine.topology.node_of_cpu
        for ptr, area in self.areas.items():
            what = f"ptrs[{nr_cpus}]"
            table = Stretch(
                f"area {ptr:#x}, pointers", area.table_addr, nr_cpus * word_bytes, TABLE, what,
                ptr=ptr,
            )  # fmt: skip
            yield from self._with_rest(table)
            for cpu, addr in area.copies.items():
                copy = Stretch(
                    f"area {ptr:#x}, cpu {cpu}", addr, area.size_bytes, DYNAMIC, "dynamic area",
                    cpu, ptr, node_of_cpu[cpu],
                )  # fmt: skip
                yield from self._with_rest(copy)

    def _with_rest(self, stretch: Stretch) -> Iterator[Stretch]:
        if stretch.size_bytes:
            yield stretch
        try:
            rest_bytes = self._held_bytes(stretch.addr) - stretch.size_bytes
        except (BadAccess, DoubleFree):  # a stray kfree() of an object that is still pointed to
            rest_bytes = 0
        if rest_bytes > 0:
            yield Stretch(
                stretch.strip, stretch.end, rest_bytes, PADDING, "rest of the slab object",
                stretch.cpu, node=stretch.node,
            )  # fmt: skip

    def live_areas(self) -> Iterator[tuple[int, int]]:
        """Yield (ptr, size_bytes as asked) of every area."""
        for ptr, area in self.areas.items():
            yield ptr, area.size_bytes

    def facts(self) -> list[tuple[str, object]]:
        """Return figures by name."""
        return [
            ("pointer_arrays", len(self.areas)),
            ("pointer_array_bytes", self.table_bytes),
        ]

    def check(self) -> None:
        """Raise InvariantBroken unless every area has a live slab object of its own for all it needs."""
        possible = self.machine.topology.possible
        seen: dict[int, str] = {}
        for ptr, area in self.areas.items():
            where = f"dynamic area {ptr:#x}"
            if ptr != self._disguise(area.table_addr):
                raise InvariantBroken(f"{where}: its pointers lie at {area.table_addr:#x}")
            if tuple(area.copies) != possible:
                raise InvariantBroken(f"{where}: objects of CPUs {list(area.copies)}")
            pieces = [(area.table_addr, self.table_bytes, "pointers")]
            pieces += [(addr, area.size_bytes, f"cpu {cpu}") for cpu, addr in area.copies.items()]
            for addr, nr_bytes, what in pieces:
                if addr in seen:
                    raise InvariantBroken(f"{where}, {what}: {addr:#x} is {seen[addr]} already")
                seen[addr] = f"{where}, {what}"
                self._check_object(addr, nr_bytes, seen[addr])

    def _check_object(self, addr: int, nr_bytes: int, where: str) -> None:
        try:
            held_bytes = self._held_bytes(addr)
        except (BadAccess, DoubleFree) as problem:
            raise InvariantBroken(f"{where}: {problem}") from problem
        if not 0 <= nr_bytes <= held_bytes:
            raise InvariantBroken(f"{where}: {nr_bytes} bytes in an object of {held_bytes}")
