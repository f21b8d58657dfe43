"""One stretch of a per-CPU system's memory: where, how long, what for, whose.

    strip       the piece of memory it is drawn in: "area of cpu 1", "chunk 2 unit 0", "block 0 management"
    kind        used       static variables of the kernel            free      may be given out
                dynamic    an area that somebody asked for           padding   lost to rounding
                module     a module's section                        reserved  kept, for nobody yet
                table      what an access reads to find its copy     metadata  bookkeeping in memory
                hole       address space without memory

Strips do not overlap, and the stretches of a strip lie end to end. From this one list a system is
drawn, addresses are named, bytes are accounted and ownership of pages is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STATIC: Final = "static"
DYNAMIC: Final = "dynamic"
MODULE: Final = "module"
FREE: Final = "free"
PADDING: Final = "padding"
RESERVED_ROOM: Final = "reserved"
TABLE: Final = "table"
METADATA: Final = "metadata"
HOLE: Final = "hole"
KINDS: Final = (STATIC, DYNAMIC, MODULE, FREE, PADDING, RESERVED_ROOM, TABLE, METADATA, HOLE)
DATA_KINDS: Final = (STATIC, DYNAMIC, MODULE)

SHARED: Final = -1
"""The cpu of a stretch that belongs to no single CPU."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of memory of one kind.

    cpu: whose copy it is, SHARED for none. ptr: of the area that it is a copy of, 0 for none. what: a
    few words that name it. node: where it should lie, -1 if any node will do. owns_pages: whole pages
    under it are the system's own (not slab objects, not the kernel image, not boot memory).
    """

    strip: str
    addr: int
    size_bytes: int
    kind: str
    what: str
    cpu: int = SHARED
    ptr: int = 0
    node: int = -1
    owns_pages: bool = False

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.addr + self.size_bytes
