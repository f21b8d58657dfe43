"""What mending the places of a loaded section needs, whatever the processor.

    place = section address + offset      value = symbol + addend      new bytes = f(value, place)

The loader reads the section from simulated memory, lets relocate_x86_64 or relocate_i386 mend the copy,
and writes it back, so a relocation sees and leaves real bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel_sim.modules.elf_object import Relocation


@dataclass(frozen=True, slots=True)
class Refused:
    """A relocation that cannot be done: the lines the kernel prints; the load ends with -ENOEXEC."""

    lines: tuple[str, ...]


@dataclass(slots=True)
class LoadedBytes:
    """A copy of a loaded section: its address in simulated memory and its bytes."""

    addr: int
    data: bytearray
    module_name: str

    def place_of(self, relocation: Relocation) -> int:
        """Return the address that a relocation mends."""
        return self.addr + relocation.offset_bytes

    def find_value(self, relocation: Relocation, width_bytes: int) -> int | None:
        """Return what lies at the place, or None if it does not lie inside the section."""
        end = relocation.offset_bytes + width_bytes
        if end > len(self.data):
            return None
        return int.from_bytes(self.data[relocation.offset_bytes : end], "little")

    def put_value(self, relocation: Relocation, value: int, width_bytes: int) -> None:
        """Write the low bytes of value to the place."""
        start = relocation.offset_bytes
        low_bits = value & (1 << 8 * width_bytes) - 1
        self.data[start : start + width_bytes] = low_bits.to_bytes(width_bytes, "little")

    def outside(self, relocation: Relocation) -> Refused:
        """Return the refusal of a place that reaches beyond its section: no kernel looks, we do."""
        text = (
            f"{self.module_name}: relocation type {relocation.type} at offset "
            f"{relocation.offset_bytes:#x} reaches beyond its section of {len(self.data):#x} bytes"
        )
        return Refused((text,))
