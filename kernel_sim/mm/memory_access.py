"""What happens when a CPU reads or writes an address: TLB, then page tables, then memory or a fault.

    read(cpu, virt, …) ──► pieces, one a page ──► TLB hit, rights granted? ──────────► bytes
                                                     │ no                       ▲
                                                     └► walk, set A and D, insert ─┤
                                                                                └► page fault

A fault is raised with the text that the kernel prints and the error code that hardware pushes:

    bit 0 the page is there, but the right is not   1 write   2 user   3 reserved bit   4 fetch

Not modelled: SMEP, SMAP, protection keys, the table walker's own caches. CR0.WP is set unless told
otherwise: a supervisor needs RW to write. A byte string that runs over the highest address goes on at 0.
Source: the architecture's manual; show_fault_oops() in arch/x86/mm/fault.c and
exc_general_protection() in arch/x86/kernel/traps.c, Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kernel_sim.errors import BadAccess, PageFault
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_tables import PageTables
from kernel_sim.mm.paging import ACCESSED, DIRTY, NX, RW, USER
from kernel_sim.mm.tlb import Tlb

PF_PROT: Final = 1 << 0
PF_WRITE: Final = 1 << 1
PF_USER: Final = 1 << 2
PF_RSVD: Final = 1 << 3
PF_INSTR: Final = 1 << 4

TLB_MISS: Final = "miss"
_FOUND: Final = (TLB_MISS, "L2", "L1")
_WORST_FIRST: Final = {name: rank for rank, name in enumerate(_FOUND)}


@dataclass(frozen=True, slots=True)
class AccessReport:
    """What one access cost: where its translation was found and how many table entries it read.

    Of an access that crosses pages: phys and page_shift of its first byte, the worst of the TLB results
    ("miss" before "L2" before "L1"), the references of all.
    """

    phys: int
    tlb: str
    walk_references: int
    page_shift: int


@dataclass(frozen=True, slots=True)
class AccessKind:
    """What an access wants to do, and in which mode of the CPU."""

    write: bool = False
    user: bool = False
    fetch: bool = False


@dataclass(slots=True)
class MemoryAccess:
    """Accesses of a machine's CPUs to its memory; a CPU without a TLB walks every time."""

    space: PageTables
    memory: PhysicalMemory
    tlbs: Mapping[int, Tlb]
    write_protect: bool = True
    """CR0.WP."""
    marks_entries: bool = True
    """Sets accessed and dirty bits; a trial leaves them as they are."""

    def trial(self, cpu: int) -> MemoryAccess:
        """Return an access that goes the CPU's way, with a copy of its TLB, and changes nothing here."""
        tlb = self.tlbs.get(cpu)
        tlbs = {} if tlb is None else {cpu: Tlb.load(tlb.dump())}
        return MemoryAccess(self.space, self.memory, tlbs, self.write_protect, marks_entries=False)

    def read(self, cpu: int, virt: int, size_bytes: int, *, user: bool = False) -> bytes:
        """Return size_bytes from virt on. Raises PageFault, or BadAccess if virt is no address."""
        kind = AccessKind(user=user)
        return b"".join(
            self.memory.read(self._reach(cpu, at, kind).phys, nr_bytes)
            for at, nr_bytes in self._pieces(virt, size_bytes)
        )

    def write(self, cpu: int, virt: int, data: bytes, *, user: bool = False) -> None:
        """Put data at virt, ascending, page by page.

        Raises PageFault, or BadAccess if virt is no address; what lies before the page that faults
        is written then, as by a rep movs.
        """
        kind = AccessKind(write=True, user=user)
        done = 0
        for at, nr_bytes in self._pieces(virt, len(data)):
            phys = self._reach(cpu, at, kind).phys
            self.memory.write(phys, data[done : done + nr_bytes])
            done += nr_bytes

    def read_int(self, cpu: int, virt: int, size_bytes: int, *, user: bool = False) -> int:
        """Return the little-endian number of size_bytes at virt. Raises as read() does."""
        return int.from_bytes(self.read(cpu, virt, size_bytes, user=user), "little")

    def write_int(
        self, cpu: int, virt: int, value: int, size_bytes: int, *, user: bool = False
    ) -> None:
        """Put a number at virt, cut to size_bytes, little-endian. Raises as write() does."""
        value &= (1 << 8 * size_bytes) - 1
        self.write(cpu, virt, value.to_bytes(size_bytes, "little"), user=user)

    def fetch(self, cpu: int, virt: int, size_bytes: int, *, user: bool = False) -> bytes:
        """Return size_bytes of code: as read(), but the pages must be executable."""
        kind = AccessKind(user=user, fetch=True)
        return b"".join(
            self.memory.read(self._reach(cpu, at, kind).phys, nr_bytes)
            for at, nr_bytes in self._pieces(virt, size_bytes)
        )

    def access(
        self,
        cpu: int,
        virt: int,
        size_bytes: int = 1,
        write: bool = False,
        *,
        user: bool = False,
        fetch: bool = False,
    ) -> AccessReport:
        """Do all that an access does but move no byte, and report its cost. Raises as read() does."""
        kind = AccessKind(write, user, fetch)
        reports = [self._reach(cpu, at, kind) for at, _ in self._pieces(virt, max(size_bytes, 1))]
        if len(reports) == 1:
            return reports[0]
        worst = min(reports, key=lambda report: _WORST_FIRST[report.tlb]).tlb
        references = sum(report.walk_references for report in reports)
        return AccessReport(reports[0].phys, worst, references, reports[0].page_shift)

    def _pieces(self, virt: int, size_bytes: int) -> Iterator[tuple[int, int]]:
        """Yield (address, bytes) of each page that an access touches, ascending."""
        while size_bytes > 0:
            nr_bytes = min(size_bytes, PAGE_SIZE_BYTES - virt % PAGE_SIZE_BYTES)
            yield virt, nr_bytes
            size_bytes -= nr_bytes
            if size_bytes:
                virt = virt + nr_bytes & self.space.mode.address_mask

    def _reach(self, cpu: int, virt: int, kind: AccessKind) -> AccessReport:
        """Translate one address for an access within its page, or raise the fault."""
        if not self.space.mode.is_address(virt):
            raise BadAccess(self._no_address_text(virt))
        tlb = self.tlbs.get(cpu)
        if tlb is None:
            return self._reach_by_walk(None, TLB_MISS, virt, kind)
        hit = tlb.lookup(virt)
        if hit is None:
            return self._reach_by_walk(tlb, TLB_MISS, virt, kind)
        entry, level = hit
        found = "L1" if level == 1 else "L2"
        if not self._is_allowed(entry.flags, kind):
            # A fault drops the entry; if only that was out of date, the kernel lets the CPU try again.
            tlb.drop_page(virt)
            report = self._reach_by_walk(tlb, found, virt, kind)
            tlb.count_spurious_fault()
            return report
        if kind.write and not entry.flags & DIRTY:
            tlb.drop_page(virt)
            return self._reach_by_walk(tlb, found, virt, kind)
        return AccessReport(entry.phys(virt), found, 0, entry.shift)

    def _reach_by_walk(
        self, tlb: Tlb | None, found: str, virt: int, kind: AccessKind
    ) -> AccessReport:
        now = self.space.find_translation(virt)
        if tlb is not None:
            nr_references = now.nr_references if now else len(self.space.walk(virt).levels)
            tlb.count_walk(nr_references)
        if now is None or not self._is_allowed(now.flags, kind):
            raise self._fault(virt, kind)
        flags = now.flags
        if not flags & ACCESSED:
            self._set_accessed(virt)
        if kind.write and not flags & DIRTY:
            self._set_bits(now.entry_phys, DIRTY)
            flags |= DIRTY
        if tlb is not None:
            tlb.insert(virt, now.shift, now.pfn, flags)
        phys = (now.pfn << PAGE_SHIFT) + (virt & ((1 << now.shift) - 1))
        return AccessReport(phys, found, now.nr_references, now.shift)

    def _set_accessed(self, virt: int) -> None:
        """Set the accessed bit in every entry on the way that has one."""
        levels = self.space.walk(virt).levels
        for level in levels[1:] if self.space.mode.is_top_bare else levels:
            self._set_bits(level.entry_phys, ACCESSED)

    def _set_bits(self, entry_phys: int, bits: int) -> None:
        entry = self.space.read_entry(entry_phys)
        if self.marks_entries and entry & bits != bits:
            self.space.write_entry(entry_phys, entry | bits)

    def _is_allowed(self, flags: int, kind: AccessKind) -> bool:
        if kind.user and not flags & USER:
            return False
        if kind.write and not flags & RW and (kind.user or self.write_protect):
            return False
        return not (kind.fetch and flags & NX)

    def _no_address_text(self, virt: int) -> str:
        if self.space.mode.sign_top:
            return f"general protection fault, probably for non-canonical address {virt:#x}: 0000"
        return f"{virt:#x} is {self.space.mode.address_fault()}"

    def _fault(self, virt: int, kind: AccessKind) -> PageFault:
        way = self.space.walk(virt)
        error_code = PF_WRITE if kind.write else 0
        if kind.user:
            error_code |= PF_USER
        if kind.fetch and self.space.mode.has_nx:
            error_code |= PF_INSTR
        if way.is_reserved_bit:
            error_code |= PF_RSVD
        if way.fault is None or way.is_reserved_bit:
            error_code |= PF_PROT
        text = fault_text(virt, error_code, nr_digits=16 if self.space.mode.sign_top else 8)
        return PageFault(text, addr=virt, error_code=error_code)


def fault_text(virt: int, error_code: int, nr_digits: int = 16) -> str:
    """Return the three lines that the kernel prints of a page fault it cannot handle.

    nr_digits: how many %px prints, 16 on x86-64 and 8 on i386. The mode of the CPU is taken from the
    error code's user bit. Source: show_fault_oops() in arch/x86/mm/fault.c, Linux 6.1.
    """
    if virt < PAGE_SIZE_BYTES and not error_code & PF_USER:
        what = "kernel NULL pointer dereference, address"
    else:
        what = "unable to handle page fault for address"
    if error_code & PF_INSTR:
        deed = "instruction fetch"
    else:
        deed = "write access" if error_code & PF_WRITE else "read access"
    who, mode = ("user", "user") if error_code & PF_USER else ("supervisor", "kernel")
    if not error_code & PF_PROT:
        reason = "not-present page"
    elif error_code & PF_RSVD:
        reason = "reserved bit violation"
    else:
        reason = "permissions violation"
    return (
        f"BUG: {what}: {virt:0{nr_digits}x}\n"
        f"#PF: {who} {deed} in {mode} mode\n"
        f"#PF: error_code(0x{error_code:04x}) - {reason}"
    )
