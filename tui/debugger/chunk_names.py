"""What people call a chunk and a list: the numbers have names, and names can be typed."""

from __future__ import annotations

from kernel_sim.machine import Machine
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.slots import SLOT_BASE_SHIFT, ChunkSlots
from tui.debugger.errors import CommandError

FIRST = 0
TYPED = {"first": FIRST, "reserved": RESERVED}
MIN_HINT_BYTES = 4
CHUNKS_NAMED = 20
DIGITS_MAX = 9


def role_of(number: int) -> str:
    """Return what a chunk is for: first, reserved or dynamic."""
    return {FIRST: "first", RESERVED: "reserved"}.get(number, "dynamic")


def chunk_name(number: int) -> str:
    """Return a chunk's name as a part of a sentence."""
    if number in (FIRST, RESERVED):
        return f"the {role_of(number)} chunk"
    return f"chunk {number}"


def slot_name(slots: ChunkSlots, slot: int) -> str:
    """Return the name of a list: its purpose, or the contig hints in bytes that lead there."""
    special = {
        -1: "none",
        0: "full",
        slots.sidelined: "sidelined",
        slots.free: "free",
        slots.to_depopulate: "to_depopulate",
    }
    if slot in special:
        return special[slot]
    shift = slot + SLOT_BASE_SHIFT - 3
    low = MIN_HINT_BYTES if slot == 1 else 1 << shift
    return f"{low}-{(2 << shift) - 1}"


def chunk_by_text(machine: Machine, text: str) -> Chunk:
    """Return the chunk that a number, 'first' or 'reserved' names. Raises CommandError."""
    number = TYPED.get(text)
    digits = text.removeprefix("-")
    if number is None and digits.isascii() and digits.isdigit() and len(digits) <= DIGITS_MAX:
        number = int(text)
    if number is None:
        raise CommandError(f"{text!r} names no chunk: expected a number, first or reserved")
    return chunk_by_number(machine, number)


def chunk_by_number(machine: Machine, number: int) -> Chunk:
    """Return a chunk of the present moment. Raises CommandError, naming those there are."""
    chunk = machine.percpu.chunks.get(number)
    if chunk is None:
        there = " ".join(str(each) for each in list(machine.percpu.chunks)[:CHUNKS_NAMED])
        where = f"{chunk_name(number)} at step {machine.step}"
        raise CommandError(f"there is no {where}; there are: {there}")
    return chunk
