"""What differs between the days of the allocator with area maps.

    mail    13 Feb 2009   the draft as told: UNIT_SIZE 128k, chunk 0 for static variables alone
    v1      Feb 2009      first commit: one mutex, units a power of two, empty chunks go at once
    .31     2.6.31        a spinlock for maps, memory goes back in a work item; reserved chunk
    .32     2.6.32 on     units in groups by node, every chunk congruent to the first
    2.6.35                the same, with the backing in a file of its own

Source: LKML, 13 Feb 2009, "Re: #tj-percpu has been rebased"; mm/percpu.c of fbf59bc9d74d, 2.6.31, 2.6.34.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class AreaStage:
    """One day's switches.

    has_free_slot: wholly free chunks have a list of their own. frees_at_once: free_percpu() may sleep and
    destroys a chunk itself. has_reserved: there is room for modules alone. has_groups: chunks have one area
    for each group of CPUs.
    """

    name: str
    has_free_slot: bool = True
    frees_at_once: bool = False
    has_reserved: bool = True
    has_groups: bool = True
    static_alone: bool = False
    unit_bytes: int = 0  # fixed, 0: as large as needed
    log_prefix: str = "PERCPU"


STAGES: Final[tuple[AreaStage, ...]] = (
    AreaStage(
        "mail", has_free_slot=False, frees_at_once=True, has_reserved=False, has_groups=False,
        static_alone=True, unit_bytes=128 << 10,
    ),
    AreaStage(
        "v1", has_free_slot=False, frees_at_once=True, has_reserved=False, has_groups=False
    ),
    AreaStage(".31", has_groups=False),
    AreaStage(".32"),
)  # fmt: skip
STAGE_NAMES: Final = tuple(stage.name for stage in STAGES)
LATEST: Final = STAGES[-1]


def stage_named(name: str) -> AreaStage:
    """Return the stage of a name that a checked option holds."""
    return next(stage for stage in STAGES if stage.name == name)
