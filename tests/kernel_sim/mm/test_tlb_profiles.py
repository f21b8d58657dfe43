"""The processors' caches: sizes and reach as published."""

from __future__ import annotations

import pytest

from kernel_sim.config_hardware import TLB_PROFILES as NAMES_IN_CONFIGS
from kernel_sim.errors import ConfigError
from kernel_sim.mm.tlb_profiles import TLB_PROFILES, tlb_profile

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


@pytest.mark.parametrize(
    ("name", "shift", "level", "reach_bytes"),
    [
        ("pentium3", 12, 1, 256 * KIB),
        ("pentium3", 22, 1, 32 * MIB),
        ("pentium4", 12, 1, 256 * KIB),
        ("pentium4", 22, 1, 256 * MIB),
        ("nehalem", 12, 2, 2 * MIB),
        ("nehalem", 21, 1, 64 * MIB),
        ("skylake", 12, 1, 256 * KIB),
        ("skylake", 12, 2, 6 * MIB),
        ("skylake", 21, 1, 64 * MIB),
        ("skylake", 21, 2, 3 * GIB),
        ("skylake", 30, 1, 4 * GIB),
    ],
)
def test_reach_is_what_the_published_sizes_make(
    name: str, shift: int, level: int, reach_bytes: int
) -> None:
    reaches = [
        array.reach_bytes(shift) for array in tlb_profile(name).arrays if array.level == level
    ]
    assert sum(reaches) == reach_bytes


@pytest.mark.parametrize("name", list(TLB_PROFILES))
def test_arrays_have_whole_sets_and_level_1_comes_first(name: str) -> None:
    profile = tlb_profile(name)
    assert profile.name == name
    for array in profile.arrays:
        assert array.nr_sets * array.ways == array.nr_entries
        assert array.nr_sets & (array.nr_sets - 1) == 0
    levels = [array.level for array in profile.arrays]
    assert levels == sorted(levels)


@pytest.mark.parametrize(
    ("name", "shift", "cached_shift"),
    [
        ("skylake", 30, 30),
        ("nehalem", 30, 21),
        ("pentium4", 30, 21),
        ("pentium4", 22, 22),
        ("skylake", 12, 12),
        ("none", 12, None),
    ],
)
def test_a_page_without_room_is_cached_in_pieces(
    name: str, shift: int, cached_shift: int | None
) -> None:
    assert tlb_profile(name).cached_shift(shift) == cached_shift


def test_every_name_of_a_machines_description_is_there() -> None:
    assert sorted(NAMES_IN_CONFIGS) == sorted(TLB_PROFILES)


def test_an_unknown_profile_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match="no TLB profile 'z80'; expected one of none, pentium3"):
        tlb_profile("z80")
