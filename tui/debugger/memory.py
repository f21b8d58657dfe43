"""Reading simulated memory by virtual address, through the page tables; nobody takes a step."""

from __future__ import annotations

from collections.abc import Iterator

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SIZE_BYTES


def pieces(machine: Machine, virt: int, nr_bytes: int) -> Iterator[tuple[int, int, bytes | None]]:
    """Yield (address, length, bytes) page by page; None for bytes where nothing is mapped."""
    end = virt + nr_bytes
    while virt < end:
        length = min(end - virt, PAGE_SIZE_BYTES - virt % PAGE_SIZE_BYTES)
        phys = machine.space.translate(virt)
        yield virt, length, None if phys is None else machine.memory.read(phys, length)
        virt += length


def word_at(machine: Machine, virt: int) -> int | None:
    """Return the word at an address, as wide as an address, None where nothing maps all of it."""
    parts = [data for _, _, data in pieces(machine, virt, machine.arch.word_bytes)]
    if any(part is None for part in parts):
        return None
    return int.from_bytes(b"".join(part for part in parts if part is not None), "little")
