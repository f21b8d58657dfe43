"""Slab allocator: objects smaller than a page, cut from blocks of the page allocator.

    class 128, node 0     partial:  slab ► slab ► slab        full: slab, slab
    class 128, node 1     partial:  slab

    a slab     | 0 taken | 1 free | 2 taken | 3 never used … |
                next given out: freed objects, last freed first, then those never used, ascending

A request looks at its node's partial slabs, takes a new slab of that node, then what other nodes
have free, then a new slab from anywhere. A slab that gets its first free object goes to the end of
the partial list. One that becomes empty is given back if its node has min_partial others.

Per-CPU slabs and arrays are not modelled; nothing here takes simulated memory but the slabs.
Source: mm/slab.c, 2.6.20: fallback_alloc(), slab_get_obj(); mm/slub.c, Linux 6.1: __slab_free().
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypedDict

from kernel_sim.alignment import align_down
from kernel_sim.errors import BadAccess, DoubleFree, InvariantBroken
from kernel_sim.mm.buddy import MAX_PAGE_ORDER
from kernel_sim.mm.gfp import GFP_NOFAIL, GFP_NORETRY, GFP_NOWARN, GFP_THISNODE
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.slab_classes import SLAB_MODERN, SlabClass, order_of, slab_classes
from kernel_sim.mm.zone import ARCH_X86_64

_ONLY_HERE = GFP_THISNODE | GFP_NOWARN | GFP_NORETRY


class SlabAllocatorState(TypedDict):
    """A SlabAllocator as builtin types.

    slabs: (pfn, class, node, order, objects used so far, freed ones from first to last freed);
    partial: (class, node, pfns from the first to be used).
    """

    profile: str
    cache_line_bytes: int
    nr_cpus: int
    arch: str
    slabs: list[tuple[int, int, int, int, int, list[int]]]
    partial: list[tuple[int, int, list[int]]]
    large: list[tuple[int, int]]


@dataclass(slots=True)
class Slab:
    """A block cut into objects; those from nr_used on were never given out."""

    pfn: int
    class_index: int
    node: int
    order: int
    nr_objects: int
    nr_used: int = 0
    freed: dict[int, None] = field(default_factory=dict)

    @property
    def nr_taken(self) -> int:
        """Objects that somebody holds."""
        return self.nr_used - len(self.freed)

    def take(self) -> int:
        """Return the number of the object given out."""
        if self.freed:
            return self.freed.popitem()[0]
        self.nr_used += 1
        return self.nr_used - 1


@dataclass(frozen=True, slots=True)
class SlabOwner:
    """Whose an address is: index counts the objects of the slab; large blocks have no class."""

    class_name: str
    slab_pfn: int
    index: int
    is_allocated: bool


@dataclass(slots=True)
class SlabAllocator:
    """kmalloc's caches over a page allocator.

    version grows with everything that changes the state, and is no part of it.
    """

    pages: PageAllocator
    profile: str = SLAB_MODERN
    cache_line_bytes: int = 64
    nr_cpus: int = 1
    arch: str = ARCH_X86_64
    classes: tuple[SlabClass, ...] = field(init=False)
    slabs: dict[int, Slab] = field(default_factory=dict, init=False)
    partial: dict[tuple[int, int], OrderedDict[int, None]] = field(default_factory=dict, init=False)
    large: dict[int, int] = field(default_factory=dict, init=False)
    version: int = field(default=0, init=False, compare=False)

    def __post_init__(self) -> None:
        self.classes = slab_classes(
            self.profile,
            cache_line_bytes=self.cache_line_bytes,
            nr_cpus=self.nr_cpus,
            arch=self.arch,
        )

    def kmalloc_node(
        self,
        size_bytes: int,
        gfp: int,
        node: int,
        cpu: int = 0,
        *,
        injectable: bool = False,
        caller: str = "",
    ) -> int | None:
        """Return the physical address of an object of at least so many bytes, or None: no memory.

        Without __GFP_THISNODE it may lie on another node. What 2.6.20 has no class for is None;
        later kernels give whole pages. 0 bytes get the smallest class; the kernel's ZERO_SIZE_PTR
        is no memory. The contents are not touched, __GFP_ZERO is the caller's.
        Source: __kmalloc_node().
        """
        self.version += 1
        class_index = self._class_for(size_bytes)
        if class_index is None:
            return self._alloc_large(size_bytes, gfp, node, cpu, injectable, caller)
        slab = self._first_partial(class_index, node)
        if slab is None:
            slab = self._slab_elsewhere(class_index, gfp, node, cpu, injectable, caller)
        if slab is None:
            return None
        index = slab.take()
        if slab.nr_taken == slab.nr_objects:
            del self.partial[class_index, slab.node][slab.pfn]
        return self._address(slab, index)

    def kfree(self, phys: int, cpu: int = 0) -> None:
        """Give an object back.

        Raises BadAccess if no object starts there, DoubleFree if it is free already.
        """
        if phys in self.large:
            self.version += 1
            self.pages.free_pages(phys >> PAGE_SHIFT, self.large.pop(phys), cpu)
            return
        slab, index = self._object_at(phys)
        self.version += 1
        was_full = slab.nr_taken == slab.nr_objects
        slab.freed[index] = None
        key = slab.class_index, slab.node
        if was_full:
            self.partial.setdefault(key, OrderedDict())[slab.pfn] = None
        min_partial = self.classes[slab.class_index].min_partial
        if slab.nr_taken == 0 and len(self.partial[key]) > min_partial:
            del self.partial[key][slab.pfn]
            del self.slabs[slab.pfn]
            self.pages.free_pages(slab.pfn, slab.order, cpu)

    def ksize(self, phys: int) -> int:
        """Return the bytes that may be used at an object's address; raises as kfree() does."""
        if phys in self.large:
            return 1 << self.large[phys] + PAGE_SHIFT
        slab, _ = self._object_at(phys)
        return self.classes[slab.class_index].size_bytes

    def owner_of(self, phys: int) -> SlabOwner | None:
        """Return whose memory an address lies in, or None: no slab's.

        index is -1 in a slab's management or rest.
        """
        pfn = phys >> PAGE_SHIFT
        for order in range(MAX_PAGE_ORDER + 1):
            start = align_down(pfn, 1 << order) << PAGE_SHIFT
            if self.large.get(start, -1) >= order:
                return SlabOwner("kmalloc-large", start >> PAGE_SHIFT, 0, True)
        slab = self._slab_of(pfn)
        if slab is None:
            return None
        cache = self.classes[slab.class_index]
        index = (phys - (slab.pfn << PAGE_SHIFT) - cache.first_offset_bytes) // cache.size_bytes
        if not 0 <= index < slab.nr_objects:
            return SlabOwner(cache.name, slab.pfn, -1, False)
        is_allocated = index < slab.nr_used and index not in slab.freed
        return SlabOwner(cache.name, slab.pfn, index, is_allocated)

    def owned_pages(self) -> Iterator[tuple[int, int]]:
        """Yield (pfn, order) of every block that belongs to the slab allocator."""
        for slab in self.slabs.values():
            yield slab.pfn, slab.order
        for phys, order in self.large.items():
            yield phys >> PAGE_SHIFT, order

    def rows(self) -> list[tuple[str, int, int, int, int, int, int, int]]:
        """Return a row for every class, as /proc/slabinfo has them.

        Name, objects taken, objects, bytes of one, objects a slab, pages a slab, slabs with a taken
        object, slabs.
        """
        of_class: dict[int, list[Slab]] = {}
        for slab in self.slabs.values():
            of_class.setdefault(slab.class_index, []).append(slab)
        return [
            (
                cache.name,
                sum(slab.nr_taken for slab in of_class.get(number, [])),
                sum(slab.nr_objects for slab in of_class.get(number, [])),
                cache.size_bytes,
                cache.nr_objects(cache.order),
                1 << cache.order,
                sum(1 for slab in of_class.get(number, []) if slab.nr_taken),
                len(of_class.get(number, [])),
            )
            for number, cache in enumerate(self.classes)
        ]

    def dump(self) -> SlabAllocatorState:
        """Return the whole state, but for the page allocator's, as builtin types."""
        return {
            "profile": self.profile,
            "cache_line_bytes": self.cache_line_bytes,
            "nr_cpus": self.nr_cpus,
            "arch": self.arch,
            "slabs": [
                (s.pfn, s.class_index, s.node, s.order, s.nr_used, list(s.freed))
                for s in self.slabs.values()
            ],
            "partial": [(*key, list(pfns)) for key, pfns in sorted(self.partial.items()) if pfns],
            "large": list(self.large.items()),
        }

    @classmethod
    def load(cls, state: SlabAllocatorState, pages: PageAllocator) -> SlabAllocator:
        """Return a SlabAllocator in the state that dump() described, over its page allocator."""
        allocator = cls(
            pages, state["profile"], state["cache_line_bytes"], state["nr_cpus"], state["arch"]
        )
        allocator._take_over(state)
        return allocator

    def restore(self, state: SlabAllocatorState) -> None:
        """Go to a dumped state, in place; version goes on growing."""
        self._take_over(state)
        self.version += 1

    def check_invariants(self) -> None:
        """Raise InvariantBroken if slabs, lists and the page allocator disagree."""
        listed = {pfn: key for key, pfns in self.partial.items() for pfn in pfns}
        for pfn, slab in self.slabs.items():
            cache = self.classes[slab.class_index]
            where = f"slab {pfn:#x} of {cache.name}"
            if slab.nr_objects != cache.nr_objects(slab.order) or slab.pfn != pfn:
                raise InvariantBroken(f"{where} has {slab.nr_objects} objects")
            if not 0 <= slab.nr_used <= slab.nr_objects or any(
                not 0 <= index < slab.nr_used for index in slab.freed
            ):
                raise InvariantBroken(f"{where}: an object beyond those used is on its free list")
            is_full = slab.nr_taken == slab.nr_objects
            expected = None if is_full else (slab.class_index, slab.node)
            if listed.pop(pfn, None) != expected:
                raise InvariantBroken(f"{where} is not on the list that its free objects ask for")
            if self.pages.node_of_pfn(pfn) != slab.node:
                raise InvariantBroken(f"{where} is not on node {slab.node}")
        if listed:
            raise InvariantBroken(f"slab {next(iter(listed)):#x} is on a list and does not exist")
        for pfn, order in self.owned_pages():
            if self.pages.owner_state_of(pfn) != f"allocated order {order}":
                raise InvariantBroken(f"block {pfn:#x} of order {order} is not ours to cut")

    def _take_over(self, state: SlabAllocatorState) -> None:
        self.slabs = {
            pfn: Slab(
                pfn,
                number,
                node,
                order,
                self.classes[number].nr_objects(order),
                nr_used,
                dict.fromkeys(freed),
            )
            for pfn, number, node, order, nr_used, freed in state["slabs"]
        }
        self.partial = {
            (number, node): OrderedDict.fromkeys(pfns) for number, node, pfns in state["partial"]
        }
        self.large = dict(state["large"])

    def _class_for(self, size_bytes: int) -> int | None:
        for number, cache in enumerate(self.classes):
            if size_bytes <= cache.size_bytes:
                return number
        return None

    def _alloc_large(
        self, size_bytes: int, gfp: int, node: int, cpu: int, injectable: bool, caller: str
    ) -> int | None:
        if self.profile != SLAB_MODERN:
            return None
        order = order_of(size_bytes)
        pfn = self.pages.alloc_pages(
            gfp=gfp, order=order, node=node, cpu=cpu, injectable=injectable, caller=caller
        )
        if pfn is None:
            return None
        self.large[pfn << PAGE_SHIFT] = order
        return pfn << PAGE_SHIFT

    def _slab_elsewhere(
        self, class_index: int, gfp: int, node: int, cpu: int, injectable: bool, caller: str
    ) -> Slab | None:
        """Return a slab with a free object when the node has none: see the module's essay."""
        ask = (class_index, node, cpu, injectable, caller)
        if gfp & GFP_THISNODE:
            return self._new_slab(gfp, *ask)
        slab = self._new_slab((gfp | _ONLY_HERE) & ~GFP_NOFAIL, *ask)
        if slab is not None:
            return slab
        for other in self.pages.fallback_order(node):
            slab = self._first_partial(class_index, other)
            if slab is not None:
                return slab
        return self._new_slab(gfp, *ask)

    def _new_slab(
        self, gfp: int, class_index: int, node: int, cpu: int, injectable: bool, caller: str
    ) -> Slab | None:
        """Return a new slab of the class's order, or of the lowest that will do, or None."""
        cache = self.classes[class_index]
        orders = dict.fromkeys((cache.order, cache.min_order))
        if self.profile != SLAB_MODERN:
            orders = {cache.order: None}
        for order in orders:
            pfn = self.pages.alloc_pages(
                gfp=gfp, order=order, node=node, cpu=cpu, injectable=injectable, caller=caller
            )
            if pfn is not None:
                home = self.pages.node_of_pfn(pfn)
                slab = Slab(pfn, class_index, home, order, cache.nr_objects(order))
                self.slabs[pfn] = slab
                self.partial.setdefault((class_index, home), OrderedDict())[pfn] = None
                return slab
        return None

    def _first_partial(self, class_index: int, node: int) -> Slab | None:
        pfns = self.partial.get((class_index, node))
        return self.slabs[next(iter(pfns))] if pfns else None

    def _slab_of(self, pfn: int) -> Slab | None:
        """Return the slab that page pfn belongs to."""
        for order in range(MAX_PAGE_ORDER + 1):
            slab = self.slabs.get(align_down(pfn, 1 << order))
            if slab is not None and pfn < slab.pfn + (1 << slab.order):
                return slab
        return None

    def _object_at(self, phys: int) -> tuple[Slab, int]:
        """Return slab and number of the object that starts at an address and is taken."""
        slab = self._slab_of(phys >> PAGE_SHIFT)
        if slab is None:
            raise BadAccess(f"kfree({phys:#x}): no slab and no large block starts or lies there")
        cache = self.classes[slab.class_index]
        index, rest_bytes = divmod(phys - self._address(slab, 0), cache.size_bytes)
        if rest_bytes or not 0 <= index < slab.nr_objects:
            raise BadAccess(
                f"kfree({phys:#x}): no object of {cache.name} starts there; slab {slab.pfn:#x}"
            )
        if index >= slab.nr_used or index in slab.freed:
            raise DoubleFree(
                f"kfree({phys:#x}): object {index} of {cache.name}, slab {slab.pfn:#x}, is free"
            )
        return slab, index

    def _address(self, slab: Slab, index: int) -> int:
        cache = self.classes[slab.class_index]
        return (slab.pfn << PAGE_SHIFT) + cache.first_offset_bytes + index * cache.size_bytes
