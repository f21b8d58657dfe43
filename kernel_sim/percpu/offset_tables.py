"""Every module with per-CPU data of its own, and a table that says where each CPU's copy of it lies.

    .data.percpu_offset   │ ● │ ● │ ● │      the module's own data: a pointer for each of its variables
                            └───┴───┴──► table │ 0 │ size │ 2*size │ … │      kmalloc(NR_CPUS longs)
    per_cpu__v (as linked)  ──► percpu │ copy of CPU 0 │ copy of CPU 1 │ … │  kmalloc(size * NR_CPUS)
                                 copy of c = per_cpu__v + table[c]

The same three words find a variable of the kernel; there the pointer names __per_cpu_offset[]. Copies are
made for NR_CPUS, possible or not. Without SMP a section is one copy and nothing else: that stands for the
module's own data, in which it then is. The loop that was posted to fill a module's pointers counts bytes of
the section as if they were pointers: told to, this one does too, and writes over what lies behind.
On x86-64 the slab is out of reach of signed 32 bits, so code of -mcmodel=kernel that names such a variable
is refused by the loader (-ENOEXEC): whoever ported the design had to face that.
Source: "[PATCH 02/05] percpu module insertion", 14 April 2006.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernel_sim.alignment import align_up
from kernel_sim.errors import BadAccess, DoubleFree, InvariantBroken
from kernel_sim.memory_calls import MemoryCalls
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.modules.load_info import OFFSET_SECTION
from kernel_sim.percpu.module_slots import KERN_ERR, KERN_WARNING, exhausted_line
from kernel_sim.percpu.protocol import MODALLOC_SAID, IntPath
from kernel_sim.percpu.stretch import MODULE, PADDING, RESERVED_ROOM, SHARED, TABLE, Stretch
from kernel_sim.primitives import PREEMPT
from kernel_sim.topology import NUMA_NO_NODE

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

NR_POINTERS_MAX = 1 << 20


@dataclass(slots=True)
class ModuleTable:
    """One module's per-CPU memory. copy_bytes: of one copy, rounded to a cache line.

    table_addr and pointers_addr are 0 without SMP. has_own_pointers: the pointers lie on the slab, for a
    section that came without a module around it. nr_written: pointers that were written, more than
    nr_pointers where the posted loop ran.
    """

    name: str
    size_bytes: int
    copy_bytes: int
    percpu_addr: int
    table_addr: int = 0
    pointers_addr: int = 0
    nr_pointers: int = 0
    has_own_pointers: bool = False
    nr_written: int = 0


@dataclass(slots=True)
class OffsetTables:
    """All modules' tables of one machine, by ptr, oldest first. changed: since somebody last cleared it."""

    machine: Machine
    line_bytes: int
    overruns: bool = False
    is_smp: bool = True
    has_modules: bool = True
    tables: dict[int, ModuleTable] = field(default_factory=dict)
    changed: bool = True
    calls: MemoryCalls = field(init=False)

    def __post_init__(self) -> None:
        self.calls = MemoryCalls(self.machine)

    @property
    def nr_cpus(self) -> int:
        """NR_CPUS: how many copies there are."""
        return self.machine.config.kernel.nr_cpus if self.is_smp else 1

    # -- what kernel code calls --------------------------------------------------------------------

    async def percpu_modalloc(self, cpu: int, name: str, size: int, nr_variables: int) -> int:
        """Allocate copies and table and fill the pointers; the ptr, or MODALLOC_SAID without memory.

        Only the copies' failure is told in the log, as their rounded size. Raises PageFault where the
        posted loop runs out of the module's pages.
        """
        if not self.has_modules:
            await PREEMPT
            self.machine.printk(cpu, KERN_ERR, f"{name}: no per-CPU data without CONFIG_MODULES")
            return MODALLOC_SAID
        copy_bytes = align_up(size, self.line_bytes)
        percpu = await self._kmalloc(cpu, copy_bytes * self.nr_cpus)
        if not percpu:
            self.machine.printk(cpu, KERN_WARNING, exhausted_line(copy_bytes))
            return MODALLOC_SAID
        made = ModuleTable(name, size, copy_bytes, percpu)
        if self.is_smp:
            word_bytes = self.machine.arch.word_bytes
            made.table_addr = await self._kmalloc(cpu, word_bytes * self.nr_cpus)
            if made.table_addr and not self._find_pointers(made):
                made.has_own_pointers, made.nr_pointers = True, nr_variables
                made.pointers_addr = await self._kmalloc(cpu, word_bytes * nr_variables)
            if not made.pointers_addr:
                await self.calls.kfree(cpu, made.table_addr)
                await self.calls.kfree(cpu, percpu)
                return MODALLOC_SAID
            self._fill(cpu, made)
        self.tables[percpu] = made
        self.changed = True
        return percpu

    async def percpu_modfree(self, cpu: int, ptr: int) -> None:
        """Give copies and table back. Raises DoubleFree where no module has any."""
        gone = self.tables.pop(ptr, None)
        if gone is None:
            raise DoubleFree(f"cpu {cpu}: percpu_modfree of {ptr:#x}: no module's copies are there")
        self.changed = True
        await self.calls.kfree(cpu, gone.percpu_addr)
        if gone.table_addr:
            await self.calls.kfree(cpu, gone.table_addr)
        if gone.has_own_pointers:
            await self.calls.kfree(cpu, gone.pointers_addr)

    def _kmalloc(self, cpu: int, nr_bytes: int) -> IntPath:
        """Return the path of kmalloc(): on whatever node the CPU runs."""
        return self.calls.kmalloc_node(cpu, nr_bytes, GFP_KERNEL, NUMA_NO_NODE)

    def _find_pointers(self, made: ModuleTable) -> bool:
        """Find the module's .data.percpu_offset, where the loader has put it."""
        mod = self.machine.modules.find_module(made.name)
        for section in mod.sections if mod is not None else ():
            if section.name == OFFSET_SECTION:
                made.pointers_addr = section.addr
                made.nr_pointers = section.size_bytes // self.machine.arch.word_bytes
        return made.nr_pointers > 0

    def _fill(self, cpu: int, made: ModuleTable) -> None:
        """Fill the table, and let every pointer name it; what was posted takes bytes for a number of them."""
        word_bytes = self.machine.arch.word_bytes
        words = (
            (made.copy_bytes * owner).to_bytes(word_bytes, "little")
            for owner in range(self.nr_cpus)
        )
        self.machine.access.write(cpu, made.table_addr, b"".join(words))
        made.nr_written = made.nr_pointers * (word_bytes if self.overruns else 1)
        pattern = made.table_addr.to_bytes(word_bytes, "little")
        self.machine.access.write(cpu, made.pointers_addr, pattern * made.nr_written)

    # -- how a copy is reached ---------------------------------------------------------------------

    def table_of(self, ptr: int) -> ModuleTable | None:
        """Return the module whose variable a link address names, None for none."""
        for each in self.tables.values():
            if each.percpu_addr <= ptr < each.percpu_addr + max(each.copy_bytes, 1):
                return each
        return None

    def pointer_addr(self, ptr: int, of: ModuleTable) -> int:
        """Return where the pointer of the variable at a link address lies: in the variables' order."""
        mod = self.machine.modules.find_module(of.name)
        values = dict.fromkeys(each.value for each in mod.percpu_symbols) if mod is not None else {}
        index = max(bisect_right(sorted(values), ptr) - 1, 0)
        return of.pointers_addr + min(index, of.nr_pointers - 1) * self.machine.arch.word_bytes

    def copy_addr(self, ptr: int, owner: int) -> int | None:
        """Return where the owner's copy is; None for a variable of no module."""
        found = self.table_of(ptr)
        return None if found is None else ptr + owner * found.copy_bytes

    # -- looking -----------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield every module's copies, table and pointers, with what the slab's classes add."""
        for each in self.tables.values():
            yield from self._copies(each)
            if not each.table_addr:
                continue
            nr_bytes = self.nr_cpus * self.machine.arch.word_bytes
            strip = f"module {each.name} {each.percpu_addr:#x}, table"
            what = f"offsets of {each.name}, per_cpu_offset[{self.nr_cpus}]"
            yield Stretch(strip, each.table_addr, nr_bytes, TABLE, what, ptr=each.percpu_addr)
            yield from self._rest(strip, each.table_addr, nr_bytes)
            strip = f"module {each.name} {each.percpu_addr:#x}, pointers"
            nr_bytes = each.nr_pointers * self.machine.arch.word_bytes
            what = f"{OFFSET_SECTION} of {each.name}"
            yield Stretch(strip, each.pointers_addr, nr_bytes, TABLE, what, ptr=each.percpu_addr)
            if each.has_own_pointers:
                yield from self._rest(strip, each.pointers_addr, nr_bytes)

    def _copies(self, of: ModuleTable) -> Iterator[Stretch]:
        strip, possible = f"module {of.name} {of.percpu_addr:#x}, copies", self.machine.cpus
        for owner in range(self.nr_cpus):
            addr = of.percpu_addr + owner * of.copy_bytes
            if owner not in possible:
                what = f"copy of cpu {owner}, which cannot be"
                yield Stretch(strip, addr, of.copy_bytes, RESERVED_ROOM, what)
                continue
            what = f"section of {of.name}"
            yield Stretch(strip, addr, of.size_bytes, MODULE, what, owner, of.percpu_addr)
            rest = of.copy_bytes - of.size_bytes
            if rest:
                what = "rest of the cache line"
                yield Stretch(strip, addr + of.size_bytes, rest, PADDING, what, owner)
        yield from self._rest(strip, of.percpu_addr, self.nr_cpus * of.copy_bytes)

    def _rest(self, strip: str, addr: int, nr_bytes: int) -> Iterator[Stretch]:
        try:
            rest = self._held_bytes(addr) - nr_bytes
        except (BadAccess, DoubleFree):  # a stray kfree() of an object that is still in use
            return
        if rest > 0:
            yield Stretch(strip, addr + nr_bytes, rest, PADDING, "rest of the slab object", SHARED)

    def _held_bytes(self, addr: int) -> int:
        return self.machine.slab.ksize(addr - self.machine.arch.direct_map_addr)

    # -- checking ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise InvariantBroken unless objects are live and hold what they should, and nothing else does."""
        self.check_objects()
        for each in self.tables.values():
            if each.table_addr:
                self._check_contents(each, f"module {each.name}")

    def check_objects(self) -> None:
        """Raise InvariantBroken unless every address is a live object's, large enough, and there once."""
        word_bytes = self.machine.arch.word_bytes
        taken: dict[int, str] = {}
        for ptr, each in self.tables.items():
            where = f"module {each.name}"
            if ptr != each.percpu_addr or not 0 < each.size_bytes <= each.copy_bytes:
                raise InvariantBroken(f"{where}: {each.size_bytes} bytes at {each.percpu_addr:#x}")
            if each.copy_bytes % self.line_bytes or each.pointers_addr % word_bytes:
                raise InvariantBroken(f"{where}: copies of {each.copy_bytes} bytes")
            self._check_object(each.percpu_addr, each.copy_bytes * self.nr_cpus, where, taken)
            if not self.is_smp and not each.table_addr:
                continue
            nr_written = (each.nr_pointers, each.nr_pointers * word_bytes)
            if not 0 < each.nr_pointers <= NR_POINTERS_MAX or each.nr_written not in nr_written:
                raise InvariantBroken(f"{where}: {each.nr_pointers} pointers")
            self._check_object(each.table_addr, word_bytes * self.nr_cpus, where, taken)
            if each.has_own_pointers:
                nr_bytes = word_bytes * each.nr_pointers
                self._check_object(each.pointers_addr, nr_bytes, where, taken)

    def _check_contents(self, of: ModuleTable, where: str) -> None:
        offsets = [of.copy_bytes * owner for owner in range(self.nr_cpus)]
        if self._words(of.table_addr, self.nr_cpus) != offsets:
            raise InvariantBroken(f"{where}: its table at {of.table_addr:#x} is damaged")
        pointers = self._words(of.pointers_addr, of.nr_pointers)
        if pointers != [of.table_addr] * of.nr_pointers:
            raise InvariantBroken(f"{where}: its {OFFSET_SECTION} does not name its table")
        self._check_behind(of, where)

    def _check_object(self, addr: int, nr_bytes: int, where: str, taken: dict[int, str]) -> None:
        if addr in taken:
            raise InvariantBroken(f"{where}: {addr:#x} is {taken[addr]}'s already")
        taken[addr] = where
        try:
            held_bytes = self._held_bytes(addr)
        except (BadAccess, DoubleFree) as problem:
            raise InvariantBroken(f"{where}: {problem}") from problem
        if nr_bytes > held_bytes:
            raise InvariantBroken(f"{where}: {nr_bytes} bytes in an object of {held_bytes}")

    def _check_behind(self, of: ModuleTable, where: str) -> None:
        """Look for what the posted loop left behind the section."""
        word_bytes = self.machine.arch.word_bytes
        end = of.pointers_addr + of.nr_pointers * word_bytes
        words = self._words(end, of.nr_written - of.nr_pointers)
        damaged = [end + at * word_bytes for at, word in enumerate(words) if word == of.table_addr]
        if damaged:
            mod = self.machine.modules.find_module(of.name)
            owner = mod.find_owner_name(damaged[0]) if mod is not None else None
            raise InvariantBroken(
                f"{where}: {len(damaged) * word_bytes} bytes behind its {OFFSET_SECTION}, from"
                f" {damaged[0]:#x} on ({owner or 'no variable of the module'}), are overwritten with"
                f" {of.table_addr:#x}: the posted loop counts bytes as pointers"
            )

    def _words(self, addr: int, count: int) -> list[int]:
        """Return words as far as they are mapped, without any CPU's doing."""
        word_bytes, space = self.machine.arch.word_bytes, self.machine.space
        found: list[int] = []
        end = addr + count * word_bytes
        while addr < end:
            phys = space.translate(addr)
            if phys is None:
                break
            nr_bytes = min(end - addr, PAGE_SIZE_BYTES - addr % PAGE_SIZE_BYTES)
            data = self.machine.memory.read(phys, nr_bytes)
            found += (
                int.from_bytes(data[at : at + word_bytes], "little")
                for at in range(0, nr_bytes, word_bytes)
            )
            addr += nr_bytes
        return found
