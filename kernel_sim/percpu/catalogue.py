"""All per-CPU memory systems, by the name that a machine's description gives.

A new one is a file in systems/ with an ENTRY, and a line here. Nothing else asks which system it is.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from kernel_sim.percpu.system_entry import SystemEntry
from kernel_sim.percpu.systems.bitmap import ENTRY as BITMAP
from kernel_sim.percpu.systems.block_2005 import ENTRY as BLOCK_2005
from kernel_sim.percpu.systems.chunk_2009 import ENTRY as CHUNK_2009
from kernel_sim.percpu.systems.legacy_static import ENTRY as LEGACY_STATIC
from kernel_sim.percpu.systems.percpu_km_2010 import ENTRY as PERCPU_KM_2010
from kernel_sim.percpu.systems.rostedt_2006_modules import ENTRY as ROSTEDT_2006_MODULES
from kernel_sim.percpu.systems.rostedt_2006_vm import ENTRY as ROSTEDT_2006_VM

ENTRIES: Final[tuple[SystemEntry, ...]] = (
    LEGACY_STATIC,
    BLOCK_2005,
    ROSTEDT_2006_MODULES,
    ROSTEDT_2006_VM,
    CHUNK_2009,
    PERCPU_KM_2010,
    BITMAP,
)
"""In the order of their years."""

CATALOGUE: Final = MappingProxyType({entry.name: entry for entry in ENTRIES})
DEFAULT_SYSTEM: Final = BITMAP.name


def system_entry(name: str) -> SystemEntry:
    """Return the entry of a name that a checked config holds."""
    return CATALOGUE[name]
