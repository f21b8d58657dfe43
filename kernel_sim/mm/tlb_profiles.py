"""Which translation caches the processors of four generations have, for data.

    name        L1 4K       L1 large        L1 1G   L2
    pentium3    64, 4-way   8 (4M)          -       -
    pentium4    64 for 4K and 4M together   -       -
    nehalem     64, 4-way   32 (2M)         -       512, 4K only, 4-way
    skylake     64, 4-way   32 (2M, 4M)     4       1536, 4K and 2M together, 12-way
    none        nothing: every access walks the tables

Reach is entries x page size: 64 x 4 KiB = 256 KiB, 1536 x 2 MiB = 3 GiB. The model is fully associative
unless asked otherwise; then `ways` says how many entries of one set there are. Ways of the large
pages' caches and of Skylake's L2 are common knowledge, not read in a manual.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from kernel_sim.errors import ConfigError

SHIFT_4K: Final = 12
SHIFT_2M: Final = 21
SHIFT_4M: Final = 22
SHIFT_1G: Final = 30


@dataclass(frozen=True, slots=True)
class TlbArray:
    """One cache of translations: which page sizes it takes (by shift), how many, at which level.

    ways: entries per set where sets are modelled; equal to nr_entries for a fully associative one.
    """

    name: str
    level: int
    shifts: tuple[int, ...]
    nr_entries: int
    ways: int

    @property
    def nr_sets(self) -> int:
        """Number of sets, each of `ways` entries."""
        return self.nr_entries // self.ways

    def reach_bytes(self, shift: int) -> int:
        """Return how much memory it covers when full of pages of 1 << shift bytes."""
        return self.nr_entries << shift if shift in self.shifts else 0


@dataclass(frozen=True, slots=True)
class TlbProfile:
    """The caches of one processor, those of level 1 first."""

    name: str
    arrays: tuple[TlbArray, ...]

    def cached_shift(self, shift: int) -> int | None:
        """Return the size under which a page is cached: its own, or else the next smaller one.

        A processor without room for 1 GiB pages caches the 2 MiB around the address instead (never
        4 MiB: no mode has pages of both sizes). None if it has no caches.
        """
        for array in self.arrays:
            if shift in array.shifts:
                return shift
        shifts = [each for array in self.arrays for each in array.shifts]
        return max((each for each in shifts if each < shift and each != SHIFT_4M), default=None)


def tlb_profile(name: str) -> TlbProfile:
    """Return a profile by name; ConfigError with the names there are if there is none."""
    profile = TLB_PROFILES.get(name)
    if profile is None:
        raise ConfigError(f"no TLB profile {name!r}; expected one of {', '.join(TLB_PROFILES)}")
    return profile


_L1_4K: Final = TlbArray("L1 4K", 1, (SHIFT_4K,), 64, 4)
_LARGE: Final = (SHIFT_2M, SHIFT_4M)
TLB_PROFILES: Final = MappingProxyType(
    {
        "none": TlbProfile("none", ()),
        "pentium3": TlbProfile("pentium3", (_L1_4K, TlbArray("L1 large", 1, _LARGE, 8, 4))),
        "pentium4": TlbProfile("pentium4", (TlbArray("L1", 1, (SHIFT_4K, *_LARGE), 64, 64),)),
        "nehalem": TlbProfile(
            "nehalem",
            (
                _L1_4K,
                TlbArray("L1 large", 1, _LARGE, 32, 4),
                TlbArray("L2 4K", 2, (SHIFT_4K,), 512, 4),
            ),
        ),
        "skylake": TlbProfile(
            "skylake",
            (
                _L1_4K,
                TlbArray("L1 large", 1, _LARGE, 32, 4),
                TlbArray("L1 1G", 1, (SHIFT_1G,), 4, 4),
                TlbArray("L2", 2, (SHIFT_4K, SHIFT_2M), 1536, 12),
            ),
        ),
    }
)
"""By name, as a machine's description has them."""
