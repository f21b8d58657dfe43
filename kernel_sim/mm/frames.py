"""Physical memory: real bytes, but only for pages that somebody wrote to.

    phys    0x0000   0x1000   0x2000   0x3000
            ........ [4096 B] ........ [4096 B]     . untouched: reads as zeros, costs nothing
                     frames[1]         frames[3]

A frame appears with the first byte that is not zero, and goes when its page is cleared. Which pages
changed since the last look is kept beside the bytes, so that a keyframe need not compare them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct

from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES

_U64 = Struct("<Q")
_read_u64_at = _U64.unpack_from
_write_u64_at = _U64.pack_into
_U64_BYTES = 8
_OFFSET_MASK = PAGE_SIZE_BYTES - 1
_LAST_U64_OFFSET = PAGE_SIZE_BYTES - _U64_BYTES
_ZERO_PAGE = bytes(PAGE_SIZE_BYTES)


@dataclass(slots=True)
class PhysicalMemory:
    """Sparse memory by page frame number; `changed`: pfns changed since the last take."""

    frames: dict[int, bytearray] = field(default_factory=dict)
    changed: dict[int, None] = field(default_factory=dict)

    def read(self, phys: int, nr_bytes: int) -> bytes:
        """Return nr_bytes from physical address phys on; may cross pages."""
        pfn, offset_bytes = phys >> PAGE_SHIFT, phys & _OFFSET_MASK
        if offset_bytes + nr_bytes <= PAGE_SIZE_BYTES:
            return bytes(self._page(pfn)[offset_bytes : offset_bytes + nr_bytes])
        last_pfn = (phys + nr_bytes - 1) >> PAGE_SHIFT
        whole = b"".join(self._page(each) for each in range(pfn, last_pfn + 1))
        return whole[offset_bytes : offset_bytes + nr_bytes]

    def write(self, phys: int, data: bytes | bytearray | memoryview) -> None:
        """Put data at physical address phys; may cross pages."""
        rest = bytes(data)
        while rest:
            offset_bytes = phys & _OFFSET_MASK
            piece = rest[: PAGE_SIZE_BYTES - offset_bytes]
            self._write_in_page(phys >> PAGE_SHIFT, offset_bytes, piece)
            rest = rest[len(piece) :]
            phys += len(piece)

    def read_u64(self, phys: int) -> int:
        """Return the little-endian 64-bit word at phys."""
        offset_bytes = phys & _OFFSET_MASK
        if offset_bytes > _LAST_U64_OFFSET:
            return int.from_bytes(self.read(phys, _U64_BYTES), "little")
        frame = self.frames.get(phys >> PAGE_SHIFT)
        if frame is None:
            return 0
        word: int = _read_u64_at(frame, offset_bytes)[0]
        return word

    def write_u64(self, phys: int, value: int) -> None:
        """Put value, 0 … 2^64-1, as a little-endian 64-bit word at phys."""
        pfn, offset_bytes = phys >> PAGE_SHIFT, phys & _OFFSET_MASK
        frame = self.frames.get(pfn)
        if frame is None or offset_bytes > _LAST_U64_OFFSET:
            self.write(phys, value.to_bytes(_U64_BYTES, "little"))
            return
        _write_u64_at(frame, offset_bytes, value)
        self.changed[pfn] = None

    def clear_page(self, pfn: int) -> None:
        """Make page pfn all zeros, and its frame disappear."""
        if self.frames.pop(pfn, None) is not None:
            self.changed[pfn] = None

    def fill_page(self, pfn: int, data: bytes | bytearray | memoryview) -> None:
        """Replace the whole page pfn by data; InvariantBroken if that is not one page long."""
        if len(data) != PAGE_SIZE_BYTES:
            raise InvariantBroken(f"page {pfn:#x} wants {PAGE_SIZE_BYTES} bytes, got {len(data)}")
        self._write_in_page(pfn, 0, bytes(data))

    def is_touched(self, pfn: int) -> bool:
        """Say whether page pfn has a frame of its own."""
        return pfn in self.frames

    def take_changed(self) -> tuple[int, ...]:
        """Return the pfns changed since the last call, ascending, and start counting anew."""
        taken = tuple(sorted(self.changed))
        self.changed.clear()
        return taken

    def check_invariants(self) -> None:
        """Raise InvariantBroken for the first frame that is not one page long."""
        for pfn, frame in self.frames.items():
            if len(frame) != PAGE_SIZE_BYTES:
                raise InvariantBroken(
                    f"frame {pfn:#x} has {len(frame)} bytes, not {PAGE_SIZE_BYTES}"
                )

    def _page(self, pfn: int) -> bytes | bytearray:
        return self.frames.get(pfn, _ZERO_PAGE)

    def _write_in_page(self, pfn: int, offset_bytes: int, piece: bytes) -> None:
        frame = self.frames.get(pfn)
        if frame is None:
            if piece.count(0) == len(piece):
                return
            frame = self.frames[pfn] = bytearray(PAGE_SIZE_BYTES)
        frame[offset_bytes : offset_bytes + len(piece)] = piece
        self.changed[pfn] = None
