"""What a page is: 4096 bytes, numbered by page frame number (pfn)."""

from __future__ import annotations

from typing import NewType

PAGE_SHIFT = 12
PAGE_SIZE_BYTES = 1 << PAGE_SHIFT

PhysAddr = NewType("PhysAddr", int)
VirtAddr = NewType("VirtAddr", int)
Pfn = NewType("Pfn", int)
