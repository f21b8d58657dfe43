"""The room behind the kernel's own per-CPU section, which all modules share: `percpu_modalloc()` at work.

    pcpu_size[] ─► slab object        | -17920 | -128 | -64 | 14656 |     signed block sizes, by kmalloc()
    ptr         =  __per_cpu_start + offset, in the numbering of the section that boot discards, so
                   that one __per_cpu_offset[] finds the kernel's variables and every module's

Where blocks go is module_slots.py; here the array lies in simulated memory, grows by kmalloc() under
module_mutex, and is known by its owners. Its state is `RoomState`.
Source: percpu_modalloc(), split_block(), percpu_modfree(), percpu_modinit(), Linux 2.6.17 kernel/module.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernel_sim.errors import BadAccess, ConfigError, DoubleFree, InvariantBroken
from kernel_sim.memory_calls import MemoryCalls
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.module_slots import (
    INT_BYTES,
    KERN_ERR,
    KERN_WARNING,
    NO_ROOM,
    SPLIT_SIZE_MASK,
    Fit,
    ModuleSlots,
    exhausted_line,
)
from kernel_sim.percpu.protocol import MODALLOC_SAID
from kernel_sim.percpu.stretch import METADATA, MODULE, PADDING, RESERVED_ROOM, STATIC, Stretch
from kernel_sim.topology import NUMA_NO_NODE

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

INT_MASK = (1 << 8 * INT_BYTES) - 1


@dataclass(slots=True)
class ModuleSection:
    """A module's section in the room, by its offset from the area's first byte."""

    name: str
    offset_bytes: int
    size_bytes: int


@dataclass(slots=True)
class RoomState:
    """What lasts: the blocks, where their array lies, and whose sections are in them, oldest first."""

    slots: ModuleSlots
    array_addr: int
    sections: list[ModuleSection] = field(default_factory=list)


@dataclass(slots=True)
class ModuleRoom:
    """One machine's room. room_bytes counts from the area's first byte: the kernel's section is in it."""

    machine: Machine
    percpu_start: int
    room_bytes: int
    static_bytes: int
    state: RoomState
    changed: bool = True
    calls: MemoryCalls = field(init=False)

    def __post_init__(self) -> None:
        self.calls = MemoryCalls(self.machine)

    @classmethod
    def at_boot(
        cls, machine: Machine, *, percpu_start: int, room_bytes: int, line_bytes: int
    ) -> ModuleRoom:
        """Return the room as an initcall leaves it, its array on the slab.

        Raises ConfigError without memory.
        """
        static_bytes = machine.config.percpu.static_bytes
        slots = ModuleSlots.for_room(
            room_bytes=room_bytes,
            static_bytes=static_bytes,
            line_bytes=line_bytes,
            word_bytes=machine.arch.word_bytes,
        )
        cpu = machine.topology.possible[0]
        phys = machine.slab.kmalloc_node(
            slots.nr_allocated * INT_BYTES, GFP_KERNEL, machine.topology.node_of_cpu[cpu], cpu
        )
        if phys is None:
            raise ConfigError(f"{machine.config.name}: no memory for the modules' block sizes")
        machine.memory.write(phys, _as_bytes(slots))
        state = RoomState(slots, machine.arch.direct_map_addr + phys)
        return cls(machine, percpu_start, room_bytes, static_bytes, state)

    def boot_lines(self) -> tuple[tuple[int, str], ...]:
        """Return (level, line) of what the initcall printed: that there is no room, if there is none."""
        kernel_bytes = abs(self.state.slots.sizes[0])
        return ((KERN_ERR, NO_ROOM),) if kernel_bytes > self.room_bytes else ()

    # -- what kernel code calls --------------------------------------------------------------------

    async def percpu_modalloc(self, cpu: int, name: str, size: int, align: int) -> int:
        """Find room for a module's section; its ptr, or MODALLOC_SAID and the log says why.

        Only a failure to enlarge the array is not told, and leaves the bytes that were skipped for
        alignment where it moved them. The caller has cut align to a cache line.
        """
        await self.machine.modules.mutex
        slots = self.state.slots
        fit = slots.find(size, align)
        if fit is None:
            self.machine.printk(cpu, KERN_WARNING, exhausted_line(size))
        else:
            slots.give_skipped(fit)
            self._store(cpu)
            if not slots.is_split_due(fit, size) or await self.split_block(cpu, fit, size):
                slots.take(fit)
                self.state.sections.append(ModuleSection(name, fit.offset_bytes, size))
                self._store(cpu)
                self.machine.modules.mutex.release()
                return self.percpu_start + fit.offset_bytes
        self.machine.modules.mutex.release()
        return MODALLOC_SAID

    async def split_block(self, cpu: int, fit: Fit, size: int) -> bool:
        """Cut a block in two, with an array of twice the size if this one is full; False without memory."""
        slots = self.state.slots
        if slots.is_full:
            fresh = await self.calls.kmalloc_node(
                cpu, slots.doubled_bytes, GFP_KERNEL, NUMA_NO_NODE
            )
            if not fresh:
                return False
            old, self.state.array_addr = self.state.array_addr, fresh
            slots.nr_allocated *= 2
            self._store(cpu)
            await self.calls.kfree(cpu, old)
        slots.split(fit, size)
        self._store(cpu)
        return True

    async def percpu_modfree(self, cpu: int, ptr: int) -> None:
        """Give a section back. Raises DoubleFree where none begins.

        The kernel would flip a free block's sign and go on; here the machine stops to be looked at.
        """
        await self.machine.modules.mutex
        section = self.section_at(ptr)
        if section is None:
            raise DoubleFree(f"cpu {cpu}: percpu_modfree of {ptr:#x}: no module's section is there")
        self.state.sections.remove(section)
        self.state.slots.free(section.offset_bytes)
        self._store(cpu)
        self.machine.modules.mutex.release()

    def section_at(self, ptr: int) -> ModuleSection | None:
        """Return the section whose ptr this is, None if there is none."""
        offset = ptr - self.percpu_start
        found = (section for section in self.state.sections if section.offset_bytes == offset)
        return next(found, None)

    def _store(self, cpu: int) -> None:
        self.machine.access.write(cpu, self.state.array_addr, _as_bytes(self.state.slots))
        self.changed = True

    # -- looking -----------------------------------------------------------------------------------

    def area_stretches(self, area: Stretch) -> Iterator[Stretch]:
        """Yield a CPU's area cut as the room is: strip, address, size, CPU and node are those of `area`."""
        static = min(self.static_bytes, area.size_bytes)
        yield _part(area, 0, static, STATIC, "static variables")
        at = abs(self.state.slots.sizes[0])
        yield from _rest(area, static, min(at, area.size_bytes), "rest of the cache line")
        if len(self.state.slots.sizes) > 1:
            by_offset = {section.offset_bytes: section for section in self.state.sections}
            for size in self.state.slots.sizes[1:]:
                end = at + abs(size)
                section = by_offset.get(at) if size < 0 else None
                if size > 0:
                    yield _part(area, at, end, RESERVED_ROOM, "room for modules")
                elif section is not None:
                    taken = min(at + section.size_bytes, end)
                    ptr = self.percpu_start + at
                    yield _part(area, at, taken, MODULE, f"section of {section.name}", ptr)
                    yield from _rest(
                        area, taken, end, "skipped for the next, or too little to split"
                    )
                at = end
        yield from _rest(area, at, area.size_bytes, "rest of the page")

    def array_stretches(self) -> Iterator[Stretch]:
        """Yield the array of block sizes and what its slab object has beyond it."""
        addr, strip = self.state.array_addr, "pcpu_size[]"
        nr_used = len(self.state.slots.sizes) * INT_BYTES
        nr_bytes = self.state.slots.nr_allocated * INT_BYTES
        yield Stretch(strip, addr, nr_used, METADATA, "block sizes of the modules' room")
        try:
            held_bytes = self.machine.slab.ksize(addr - self.machine.arch.direct_map_addr)
        except (BadAccess, DoubleFree):  # a stray kfree()
            held_bytes = nr_bytes
        if held_bytes > nr_used:
            rest = held_bytes - nr_used
            yield Stretch(
                strip, addr + nr_used, rest, PADDING, "entries not used, rest of the object"
            )

    def check_loaded(self) -> None:
        """Raise InvariantBroken for a state from a stranger with numbers that no room has."""
        slots, room = self.state.slots, self.room_bytes
        largest = max(room, abs(slots.sizes[0])) if slots.sizes else -1
        if largest < 0 or any(abs(size) > largest for size in slots.sizes):
            raise InvariantBroken(f"module slots: blocks of {slots.sizes} bytes in {room} of room")
        for section in self.state.sections:
            if not (0 < section.size_bytes <= room and 0 <= section.offset_bytes < room):
                raise InvariantBroken(
                    f"section of {section.name}: {section.size_bytes} bytes at offset"
                    f" {section.offset_bytes} in {room} of room"
                )
        phys = self.state.array_addr - self.machine.arch.direct_map_addr
        try:
            held_bytes = self.machine.slab.ksize(phys)
        except (BadAccess, DoubleFree) as problem:
            raise InvariantBroken(f"pcpu_size[]: {problem}") from problem
        if not len(slots.sizes) <= slots.nr_allocated <= held_bytes // INT_BYTES:
            raise InvariantBroken(
                f"pcpu_size[]: {slots.nr_allocated} entries in an object of {held_bytes} bytes"
            )
        self.check()

    def check(self) -> None:
        """Raise InvariantBroken unless blocks fill the room and every section has one in use.

        A section of 64 KiB and more has a block of another size, by the kernel's own mistake.
        """
        slots, sections = self.state.slots, self.state.sections
        if any(section.size_bytes > SPLIT_SIZE_MASK for section in sections):
            return
        slots.check(self.room_bytes)
        at = abs(slots.sizes[0]) if slots.sizes else 0
        blocks: dict[int, int] = {}
        for size in slots.sizes[1:]:
            if size < 0:
                blocks[at] = -size
            at += abs(size)
        for section in sections:
            block_bytes = blocks.pop(section.offset_bytes, 0)
            if not 0 < section.size_bytes <= block_bytes:
                raise InvariantBroken(
                    f"section of {section.name} at offset {section.offset_bytes}:"
                    f" {section.size_bytes} bytes in a block of {block_bytes}"
                )
        for offset, block_bytes in blocks.items():
            raise InvariantBroken(f"block of {block_bytes} bytes at {offset} is used by nobody")


def _as_bytes(slots: ModuleSlots) -> bytes:
    return b"".join((size & INT_MASK).to_bytes(INT_BYTES, "little") for size in slots.sizes)


def _part(area: Stretch, start: int, end: int, kind: str, what: str, ptr: int = 0) -> Stretch:
    return Stretch(area.strip, area.addr + start, end - start, kind, what, area.cpu, ptr, area.node)


def _rest(area: Stretch, start: int, end: int, what: str) -> Iterator[Stretch]:
    if end > start:
        yield _part(area, start, end, PADDING, what)
