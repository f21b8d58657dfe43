"""What a per-CPU system's memory is for, in bytes: counted from its own stretches, whatever system it is.

    stretches ──► by kind, by CPU, by the node where the page really lies
              ──► translations that a CPU needs to touch all its copies
              ──► table pages that exist only to map it (address space of its own, not the direct map)
    metadata_bytes() ──► bookkeeping beside simulated memory

Bytes of holes are address space, no memory; they are told, and are in no sum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.stretch import (
    DATA_KINDS,
    FREE,
    HOLE,
    KINDS,
    METADATA,
    PADDING,
    RESERVED_ROOM,
    SHARED,
    TABLE,
    Stretch,
)

if TYPE_CHECKING:
    from kernel_sim.machine import Machine
    from kernel_sim.mm.tlb import Tlb

UNMAPPED: Final = -1
"""The node of bytes that a stretch claims and no page is behind."""


@dataclass(slots=True)
class Account:
    """One moment's account. per_cpu: by CPU (SHARED: of no single one), then by kind, holes left out.

    per_node: memory of all kinds by node. misplaced_bytes: a CPU's memory that lies on another node
    than the one where it should. struct_bytes: of metadata_bytes, those in no simulated memory.
    """

    by_kind: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    per_node: dict[int, int] = field(default_factory=dict)
    per_cpu: dict[int, dict[str, int]] = field(default_factory=dict)
    translations: dict[int, int] = field(default_factory=dict)  # by CPU
    struct_bytes: int = 0
    misplaced_bytes: int = 0
    page_table_pages: int = 0

    @property
    def data_bytes(self) -> int:
        """Static sections, modules' sections and dynamic areas, every copy."""
        return sum(self.by_kind[kind] for kind in DATA_KINDS)

    @property
    def padding_bytes(self) -> int:
        """Lost to rounding."""
        return self.by_kind[PADDING]

    @property
    def reserved_bytes(self) -> int:
        """Kept for nobody yet."""
        return self.by_kind[RESERVED_ROOM]

    @property
    def free_bytes(self) -> int:
        """Has pages and may be given out."""
        return self.by_kind[FREE]

    @property
    def table_bytes(self) -> int:
        """Tables that an access reads to find its copy."""
        return self.by_kind[TABLE]

    @property
    def metadata_bytes(self) -> int:
        """Bookkeeping, in simulated memory and beside it."""
        return self.by_kind[METADATA] + self.struct_bytes

    @property
    def hole_bytes(self) -> int:
        """Address space without memory."""
        return self.by_kind[HOLE]

    @property
    def total_bytes(self) -> int:
        """All memory, bookkeeping beside simulated memory included."""
        return sum(self.by_kind.values()) - self.hole_bytes + self.struct_bytes

    def tlb_entries(self, cpu: int) -> int:
        """Return how many translations the CPU needs to touch every copy that is its own."""
        return self.translations.get(cpu, 0)


def account_of(machine: Machine) -> Account:
    """Return the account of this moment. Nothing changes, no TLB either."""
    account = Account(struct_bytes=machine.system.metadata_bytes())
    touched: dict[int, dict[tuple[int, int], None]] = {}
    own_ranges: list[tuple[int, int]] = []
    for stretch in machine.system.stretches():
        account.by_kind[stretch.kind] += stretch.size_bytes
        if any(space.start <= stretch.addr < space.end for space in machine.area_spaces()):
            own_ranges.append((stretch.addr, stretch.end))
        if stretch.kind == HOLE:
            continue
        kinds = account.per_cpu.setdefault(stretch.cpu, {})
        kinds[stretch.kind] = kinds.get(stretch.kind, 0) + stretch.size_bytes
        pages = _count_pages(account, machine, stretch)
        if stretch.cpu != SHARED and stretch.kind in DATA_KINDS:
            touched.setdefault(stretch.cpu, {}).update(dict.fromkeys(pages))
    account.translations = {cpu: len(pages) for cpu, pages in sorted(touched.items())}
    account.per_cpu = dict(sorted(account.per_cpu.items()))
    account.per_node = dict(sorted(account.per_node.items()))
    account.page_table_pages = count_table_pages(machine, own_ranges)
    return account


def count_table_pages(machine: Machine, ranges: list[tuple[int, int]]) -> int:
    """Return how many table pages below the root the addresses of [start, end) ranges lead through."""
    space = machine.space
    reach_shift = space.mode.levels[-2].shift  # what one table of the last level maps
    tables: dict[int, None] = {}
    seen = -1
    for start, end in ranges:
        first = start >> reach_shift
        for slot in range(first + (first == seen), (end - 1 >> reach_shift) + 1):
            for level in space.walk(max(start, slot << reach_shift)).levels[1:]:
                tables[level.table_pfn] = None
            seen = slot
    return len(tables)


def _count_pages(account: Account, machine: Machine, stretch: Stretch) -> list[tuple[int, int]]:
    """Count a stretch's bytes by node; return its translations as (first byte, shift)."""
    tlb = next(iter(machine.tlbs.values()), None)
    found: list[tuple[int, int]] = []
    at = stretch.addr
    while at < stretch.end:
        base, shift, first_pfn = _translation(machine, tlb, at)
        end = min(base + (1 << shift), stretch.end)
        if first_pfn == UNMAPPED:
            _add_node(account, stretch, UNMAPPED, end - at)
        else:
            found.append((base, shift))
            _count_nodes(account, machine, stretch, first_pfn + (at - base >> PAGE_SHIFT), at, end)
        at = end
    return found


def _translation(machine: Machine, tlb: Tlb | None, virt: int) -> tuple[int, int, int]:
    """Return (first byte, shift, first page frame) of the piece that a TLB would keep."""
    translation = machine.space.find_translation(virt)
    if translation is None:
        return virt & -PAGE_SIZE_BYTES, PAGE_SHIFT, UNMAPPED
    shift = translation.shift
    if tlb is not None:
        shift = tlb.profile.cached_shift(shift) or shift
    base = virt >> shift << shift
    inside = base & (1 << translation.shift) - 1
    return base, shift, translation.pfn + (inside >> PAGE_SHIFT)


def _count_nodes(
    account: Account, machine: Machine, stretch: Stretch, pfn: int, at: int, end: int
) -> None:
    """Count [at, end) by node; pfn is at's. Page by page only where its ends lie on two nodes."""
    node_of = machine.pages.node_of_pfn
    last_pfn = pfn + (end - 1 >> PAGE_SHIFT) - (at >> PAGE_SHIFT)
    node = node_of(pfn)
    if node == node_of(last_pfn):
        _add_node(account, stretch, node, end - at)
        return
    while at < end:
        upto = min((at & -PAGE_SIZE_BYTES) + PAGE_SIZE_BYTES, end)
        _add_node(account, stretch, node_of(pfn), upto - at)
        at, pfn = upto, pfn + 1


def _add_node(account: Account, stretch: Stretch, node: int, nr_bytes: int) -> None:
    account.per_node[node] = account.per_node.get(node, 0) + nr_bytes
    if stretch.cpu != SHARED and stretch.node not in (-1, node):
        account.misplaced_bytes += nr_bytes
