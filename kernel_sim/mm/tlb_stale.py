"""Which translations a TLB still holds that the page tables no longer give: a missing flush.

    TLB      ffffc90000001000 -> frame 0x1234
    tables   ffffc90000001000 -> frame 0x77        "frame 0x1234 here, 0x77 in the tables"

A kernel may leave such entries for a while on purpose (vmalloc flushes lazily); they are wrong as soon
as the address is used again.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.page_tables import PageTables
from kernel_sim.mm.paging import GLOBAL, NX, RW, USER
from kernel_sim.mm.tlb import Tlb, TlbEntry

_RIGHTS: Final = ((RW, "RW"), (USER, "USER"), (GLOBAL, "GLOBAL"), (NX, "NX"))


class StaleEntry(NamedTuple):
    """An entry that no longer is what a walk gives, and why."""

    entry: TlbEntry
    reason: str


def stale_entries(tlb: Tlb, tables: PageTables) -> list[StaleEntry]:
    """Return the entries for which a walk now gives something else: a flush was left out.

    Each page once, though L1 and L2 may both hold it; a dirty bit that differs is no contradiction.
    """
    pages: dict[TlbEntry, None] = {entry: None for _, _, entry in tlb.entries()}
    stale: list[StaleEntry] = []
    for entry in pages:
        reason = _stale_reason(tlb, tables, entry)
        if reason:
            stale.append(StaleEntry(entry, reason))
    return stale


def _stale_reason(tlb: Tlb, tables: PageTables, entry: TlbEntry) -> str:
    now = tables.find_translation(entry.virt)
    if now is None:
        return f"not mapped any more: {tables.walk(entry.virt).fault}"
    offset_pages = (entry.virt & ((1 << now.shift) - 1)) >> PAGE_SHIFT
    pfn = now.pfn + offset_pages
    if pfn != entry.pfn:
        return f"frame {entry.pfn:#x} here, {pfn:#x} in the tables"
    if tlb.profile.cached_shift(now.shift) != entry.shift:
        return f"a page of {1 << entry.shift} bytes here, of {1 << now.shift} in the tables"
    changed = entry.flags ^ now.flags
    names = [
        f"{name} {'here' if entry.flags & bit else 'in the tables'} only"
        for bit, name in _RIGHTS
        if changed & bit
    ]
    return ", ".join(names)
