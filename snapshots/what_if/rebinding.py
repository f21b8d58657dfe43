"""Which earlier call's result an input names by its number, so that the number can follow an edit.

    #3  pcpu_alloc 64        ──► 0x37000              in the edited run ──► 0x36f80
    #8  this_cpu_write 0x37008, 1       result of #3 + 8                  0x36f88
    #9  free_percpu 0x37000             result of #3                      0x36f80

Nothing in a recording says that 0x37008 is a pointer. So all calls that give out memory are noted with what
they gave, and an argument that is an address belongs to the newest of them that covers it, be it freed or
not: who uses what was freed still means that area. What no call gave (a static variable, a wild number)
stays as it is.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast

from kernel_sim.alignment import align_up
from kernel_sim.call import Arg
from kernel_sim.errors import KernelSimError
from kernel_sim.inputs import Input
from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.modules.load_info import read_load_info

PTR: Final = "ptr"  # a __percpu pointer
ADDR: Final = "addr"  # a virtual address
PFN: Final = "pfn"
NAME: Final = "name"  # of a module

GIVES: Final = {
    "pcpu_alloc": PTR,
    "kmalloc_node": ADDR,
    "vmalloc": ADDR,
    "alloc_pages": PFN,
    "load_module": NAME,
}
"""What the results of calls are."""

TAKES: Final[dict[str, dict[int, str]]] = {
    "free_percpu": {0: PTR},
    "this_cpu_read": {0: PTR},
    "this_cpu_write": {0: PTR},
    "this_cpu_add": {0: PTR},
    "per_cpu_ptr": {0: PTR},
    "per_cpu": {0: PTR},
    "kfree": {0: ADDR},
    "vfree": {0: ADDR},
    "read": {0: ADDR},
    "write": {0: ADDR},
    "flush_tlb_kernel_range": {0: ADDR, 1: ADDR},
    "free_pages": {0: PFN},
    "delete_module": {0: NAME},
    "try_module_get": {0: NAME},
    "module_put": {0: NAME},
}
"""Which arguments of calls are such results, by their place."""

FREES: Final = ("free_percpu", "kfree", "vfree", "free_pages")
END_OF_RANGE: Final = ("flush_tlb_kernel_range", 1)  # the first address behind it


class Reference(NamedTuple):
    """An argument that is an earlier input's result: what that is, and what is wanted of it.

    (have, want) is (PTR, ADDR) for the copy of one CPU, (PFN, ADDR) for a place in the direct map; else
    both are the same. offset is in bytes, for (PFN, PFN) in pages.
    """

    argument: int
    producer: int
    have: str
    want: str
    cpu: int
    offset: int


@dataclass(slots=True)
class Extents:
    """Stretches of numbers that do not overlap, each with the input that gave it out last.

    began: who gave out a number last as the first of a stretch, also of those that are forgotten.
    """

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    producers: list[int] = field(default_factory=list)
    began: dict[int, int] = field(default_factory=dict)

    def add(self, start: int, end: int, producer: int) -> None:
        """Note a stretch; older ones that it overlaps were given back meanwhile and are forgotten."""
        first = bisect_right(self.ends, start)
        behind = first
        while behind < len(self.starts) and self.starts[behind] < end:
            behind += 1
        self.starts[first:behind] = [start]
        self.ends[first:behind] = [end]
        self.producers[first:behind] = [producer]
        self.began[start] = producer

    def find(self, number: int) -> tuple[int, int] | None:
        """Return (producer, offset) of the stretch that holds a number, or None."""
        place = bisect_right(self.starts, number) - 1
        if place < 0 or number >= self.ends[place]:
            return None
        return self.producers[place], number - self.starts[place]


class Results:
    """What the calls of a run gave out so far, and who names it."""

    def __init__(self, machine: Machine) -> None:
        """Read addresses as this machine has them."""
        self.machine = machine
        self.extents = {PTR: Extents(), ADDR: Extents(), PFN: Extents()}
        self.modules: dict[str, int] = {}

    def note(self, number: int, given: Input, result: object) -> None:
        """Note what an input's call returned; a failure gives nothing out."""
        have = GIVES.get(given.do)
        if have is None or not isinstance(result, int) or not is_good(have, result):
            return
        if have == NAME:
            name = self._module_name(given)
            if name:
                self.modules[name] = number
            return
        size = extent_size(given)
        self.extents[have].add(result, result + size, number)
        if have == PFN:
            addr = self.machine.arch.direct_map_addr + (result << PAGE_SHIFT)
            self.extents[ADDR].add(addr, addr + (size << PAGE_SHIFT), number)

    def references_of(self, given: Input, do_of: dict[int, str]) -> tuple[Reference, ...]:
        """Return which arguments of an input are earlier results; do_of names the inputs noted so far."""
        found: list[Reference] = []
        for index, want in TAKES.get(given.do, {}).items():
            if index < len(given.args):
                value = given.args[index]
                if given.do in FREES and value in self.extents[want].began:
                    producer = self.extents[want].began[int(value)]
                    found.append(Reference(index, producer, GIVES[do_of[producer]], want, 0, 0))
                    continue
                is_end = (given.do, index) == END_OF_RANGE
                reference = self._find(index, want, value, int(is_end), do_of)
                if reference is not None:
                    found.append(reference)
        return tuple(found)

    def _find(
        self, index: int, want: str, value: Arg, back: int, do_of: dict[int, str]
    ) -> Reference | None:
        if want == NAME:
            producer = self.modules.get(str(value))
            return None if producer is None else Reference(index, producer, NAME, NAME, 0, 0)
        if not isinstance(value, int):
            return None
        found = self.extents[want].find(value - back)
        if found is not None:
            have = GIVES[do_of[found[0]]]
            return Reference(index, found[0], have, want, 0, found[1] + back)
        return self._copy_of(index, value) if want == ADDR else None

    def _copy_of(self, index: int, addr: int) -> Reference | None:
        """Find the allocation that has a CPU's copy at an address."""
        machine, ptrs = self.machine, self.extents[PTR]
        if not ptrs.starts:
            return None
        for cpu in machine.cpus:
            ptr = addr - machine.per_cpu_offset(cpu) & machine.arch.address_mask
            found = ptrs.find(ptr)
            if found is not None:
                return Reference(index, found[0], PTR, ADDR, cpu, found[1])
        return None

    def _module_name(self, given: Input) -> str:
        """Return the name that a module's file says, else the one it was given."""
        image, name, script = cast("tuple[bytes, str, str]", given.args)
        try:
            info = read_load_info(
                image, name, script, arch=self.machine.arch.name, page_size=PAGE_SIZE_BYTES
            )
        except KernelSimError:
            return ""
        return info.modinfo.name


def is_good(have: str, result: int) -> bool:
    """Say whether a result is what was asked for: 0 and -1 are no memory, a loaded module gives 0."""
    return result == 0 if have == NAME else result > 0


def extent_size(given: Input) -> int:
    """Return how many numbers from its result on belong to an input: bytes, or pages for PFN.

    The guard page behind a vmalloc area belongs to it: who runs over its end still means that area.
    """
    size = int(cast("int", given.args[0]))
    if given.do == "alloc_pages":
        return 1 << min(size, 64)
    if given.do == "vmalloc":
        return align_up(max(size, 1), PAGE_SIZE_BYTES) + PAGE_SIZE_BYTES
    return max(size, 1)


def rebound(reference: Reference, machine: Machine, do: str, result: object) -> int | None:
    """Return what the argument is now that its producer, a call of do, gave result.

    None if that gives nothing of the kind: it failed, or was altered into another call. For a module's
    name, which does not change, any number says that it is there.
    """
    if GIVES.get(do) != reference.have or not isinstance(result, int):
        return None
    if not is_good(reference.have, result):
        return None
    if (reference.have, reference.want) == (PTR, ADDR):
        result += machine.per_cpu_offset(reference.cpu)
    elif (reference.have, reference.want) == (PFN, ADDR):
        result = machine.arch.direct_map_addr + (result << PAGE_SHIFT)
    return result + reference.offset & machine.arch.address_mask
