"""What the CPUs remember of page tables: one row a CPU, or one a page of a single CPU.

tlb        cpu 0   57 entries, 1 stale   hits, misses, flushes
tlb 0      0xffffc90000001000  4 KiB ► frame 0x1234   L1 L2   stale: frame 0x1234 here, 0x77 in the tables
"""

from __future__ import annotations

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.paging import flag_names
from kernel_sim.mm.tlb import Tlb, TlbEntry
from kernel_sim.mm.tlb_stale import stale_entries
from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, Cell, Column, Table, count

NO_TLBS = "this machine has no TLBs: every access walks the page tables"
CPUS_TOLD_MAX = 8
STALE_LOOKED_FOR_MAX = 20_000  # entries; more would take too long for a glance
CPU_COLUMNS = (
    Column("cpu", DEC),
    Column("entries", DEC, "a page in L1 and in L2 counts twice"),
    Column("stale", DEC, "pages for which the tables say something else now"),
    Column("l1_hits", DEC),
    Column("l2_hits", DEC),
    Column("misses", DEC),
    Column("walk_refs", DEC, "page-table entries read because of misses"),
    Column("evictions", DEC),
    Column("page_flushes", DEC),
    Column("range_flushes", DEC),
    Column("full_flushes", DEC),
    Column("flushed", DEC, "entries dropped by flushes"),
    Column("spurious", DEC, "faults that only a stale entry made"),
)
ENTRY_COLUMNS = (
    Column("virt", HEX),
    Column("size", help="of the page"),
    Column("pfn", HEX, "first page frame"),
    Column("phys", HEX),
    Column("flags"),
    Column("cached_in", help="arrays that hold it, and the set"),
    Column("stale", help="what the page tables say instead"),
)


def tlb_view(session: Session, cpu: int | None = None) -> Table:
    """Return a row for every CPU, or for every page that the TLB of one CPU holds."""
    machine = session.machine
    where = f"at step {session.step}"
    if not machine.tlbs:
        columns = CPU_COLUMNS if cpu is None else ENTRY_COLUMNS
        return Table(f"No TLBs {where}", columns, (), (NO_TLBS,))
    if cpu is not None:
        return _entries_table(machine, cpu, where)
    nr_entries = sum(tlb.nr_entries for tlb in machine.tlbs.values())
    looks = nr_entries <= STALE_LOOKED_FOR_MAX
    rows = tuple(
        _cpu_row(number, tlb, len(stale_entries(tlb, machine.space)) if looks else None)
        for number, tlb in machine.tlbs.items()
    )
    profile = next(iter(machine.tlbs.values())).profile
    return Table(f"{len(rows)} TLBs of profile {profile.name} {where}", CPU_COLUMNS, rows)


def tlb_entry_at(tlb: Tlb, virt: int) -> tuple[TlbEntry, str] | None:
    """Return the entry that serves an address and the array that has it; nothing is counted."""
    for number, array in enumerate(tlb.profile.arrays if tlb.sets else ()):
        for shift in array.shifts:
            page = virt >> shift
            entries = tlb.sets[number].get(page % array.nr_sets if tlb.by_sets else 0)
            entry = entries.get(page << shift | shift) if entries else None
            if entry is not None:
                return entry, array.name
    return None


def tlb_notes(machine: Machine, virt: int, cpu: int | None) -> list[str]:
    """Return what the TLBs hold for an address: of one CPU, or of all that hold anything."""
    notes: list[str] = []
    for number in machine.tlbs if cpu is None else (cpu,):
        tlb = machine.tlbs.get(number)
        found = tlb_entry_at(tlb, virt) if tlb is not None else None
        if tlb is None or found is None:
            if cpu is not None and machine.tlbs:
                notes.append(f"the TLB of cpu {number} does not hold it")
            continue
        entry, array = found
        stale = _reason(machine, tlb, entry)
        text = f"the TLB of cpu {number} has it in {array}: {entry.phys(virt):#x}"
        notes.append(f"{text}, STALE: {stale}" if stale else text)
        if len(notes) == CPUS_TOLD_MAX:
            break
    return notes


def _reason(machine: Machine, tlb: Tlb, entry: TlbEntry) -> str:
    """Return why an entry is stale, "" if it is not."""
    stale = (each.reason for each in stale_entries(tlb, machine.space) if each.entry == entry)
    return next(stale, "")


def _cpu_row(number: int, tlb: Tlb, nr_stale: int | None) -> tuple[Cell, ...]:
    counters = tlb.counters
    return (
        number, tlb.nr_entries, nr_stale, counters.l1_hits, counters.l2_hits, counters.misses,
        counters.walk_references, counters.l1_evictions + counters.l2_evictions,
        counters.page_flushes, counters.range_flushes,
        counters.full_flushes + counters.non_global_flushes, counters.entries_flushed,
        counters.spurious_faults,
    )  # fmt: skip


def _entries_table(machine: Machine, cpu: int, where: str) -> Table:
    tlb = machine.tlbs.get(cpu)
    if tlb is None:
        return Table(f"TLB of cpu {cpu} {where}: none", ENTRY_COLUMNS, ())
    places: dict[TlbEntry, list[str]] = {}
    for array, index, entry in tlb.entries():
        set_text = f"[{index}]" if tlb.by_sets else ""
        places.setdefault(entry, []).append(f"{array.name}{set_text}")
    stale = {each.entry: each.reason for each in stale_entries(tlb, machine.space)}
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            entry.virt, size_text(entry.shift), entry.pfn, entry.pfn << PAGE_SHIFT,
            " ".join(flag_names(entry.flags)), ", ".join(names), stale.get(entry),
        )
        for entry, names in sorted(places.items())
    )  # fmt: skip
    counters = tlb.counters
    notes = (
        f"hits {counters.l1_hits} in L1, {counters.l2_hits} in L2; misses {counters.misses}, for which"
        f" {counters.walk_references} table entries were read",
        f"flushes: {counters.page_flushes} of a page, {counters.range_flushes} of a range,"
        f" {counters.full_flushes + counters.non_global_flushes} whole;"
        f" {counters.entries_flushed} entries dropped, {len(stale)} stale",
    )
    title = f"{count(len(rows), 'page')} in the TLB of cpu {cpu} ({tlb.profile.name}) {where}"
    return Table(title, ENTRY_COLUMNS, rows, notes)


def size_text(shift: int) -> str:
    """Return `4 KiB`, `2 MiB`, `1 GiB` for a page of 1 << shift bytes."""
    for unit, unit_shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if shift >= unit_shift:
            return f"{1 << shift - unit_shift} {unit}"
    return f"{1 << shift} B"
