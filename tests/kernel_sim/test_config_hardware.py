"""[memory], [tlb], [modules], [trace], [vmalloc]: what is read, what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.arch import ARCHES
from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.config_hardware import (
    BEFORE_THEY_EXISTED,
    PAGE_PROFILES,
    RANGES_MAX,
    TLB_PROFILES,
    TakenArea,
    vmalloc_start_above,
)
from kernel_sim.errors import ConfigError
from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.mm.tlb_profiles import tlb_profile
from kernel_sim.mm.watermarks import PROFILES
from tests.kernel_sim.whole_machines import KINDS, whole_config

START = 0xFFFFC90000000000


def refused(kind: str = "x86-64", **tables: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        whole_config(kind, **tables)
    return str(caught.value)


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_is_written_is_read_again(kind: str) -> None:
    config = whole_config(
        kind, memory={"pages": "2.6.20", "min_free_kbytes": 300, "map": ["0x0-0xfff System RAM"]},
        tlb={"profile": "nehalem"}, trace={"kmem": True},
    )  # fmt: skip
    assert MachineConfig.from_mapping(config.to_mapping(), where="again") == config
    assert (config.memory.min_free_kbytes, config.trace.kmem) == (300, True)
    assert config.memory.map == ((PhysRange(0, 0xFFF), "System RAM"),)


def test_what_is_not_said_is_what_a_machine_of_that_kind_has() -> None:
    wide, narrow = whole_config("x86-64"), whole_config("i386-pae")
    assert (wide.memory.pages, wide.memory.min_free_kbytes, wide.trace.kmem) == ("modern", 0, False)
    assert (wide.tlb.profile, narrow.tlb.profile) == ("skylake", "pentium4")
    arch = ARCHES["i386", 3]
    assert (narrow.modules.start, narrow.modules.end) == (arch.vmalloc_start, arch.vmalloc_end)
    assert (wide.modules.start, wide.vmalloc.start) == (0xFFFFFFFFC0000000, START)


def test_the_names_of_profiles_are_those_that_exist() -> None:
    assert sorted(PAGE_PROFILES) == sorted(PROFILES)
    for name in TLB_PROFILES:
        assert name == "none" or tlb_profile(name).arrays


def test_a_recording_of_schema_1_has_plain_pages_and_no_tlb() -> None:
    config = whole_config("x86-64", **BEFORE_THEY_EXISTED)
    machine = boot(config)
    assert (machine.pages.profile, machine.tlbs) == ("plain", {})


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"memory": {"pages": "modren"}}, ("[memory] pages", "modern")),
        ({"memory": {"min_free_kbytes": -1}}, ("min_free_kbytes: -1",)),
        ({"memory": {"map": ["0x1000-0x0 System RAM"]}}, ("[memory] map", "0x1000-0x0")),
        ({"memory": {"map": ["0x0-0xfff"]}}, ("[memory] map", "System RAM")),
        ({"memory": {"map": [7]}}, ("[memory] map", "7; expected a range")),
        ({"memory": {"reserved": ["0x0-0xfff", "0x800-0xfff"]}}, ("reserved", "expected it above")),
        ({"memory": {"reserved": ["0-1"] * (RANGES_MAX + 1)}}, ("reserved", "at most 1024")),
        ({"tlb": {"profile": "athlon"}}, ("[tlb] profile", "skylake")),
        ({"trace": {"kmem": 1}}, ("[trace] kmem",)),
        ({"modules": {"start": "0x1000"}}, ("[modules] start", "kernel address")),
        ({"modules": {"start": "0xffffffffc0000001"}}, ("[modules] start", "page boundary")),
        ({"modules": {"end": "0xffffffffc0000000"}}, ("[modules] end", "last byte of a page")),
        ({"vmalloc": {"areas": ["x"]}}, ("[vmalloc] areas", "whole pages")),
        ({"vmalloc": {"areas": [1]}}, ("[vmalloc] areas", "expected a text")),
        ({"vmalloc": {"areas": ["0x1000-0x2000 me"]}}, ("[vmalloc] areas", "expected it inside")),
        (
            {"vmalloc": {"areas": [f"{START + at:#x}-{START + 8192:#x} a" for at in (0, 4096)]}},
            ("[vmalloc] areas", "overlaps"),
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(tables: dict[str, Any], words: tuple[str, ...]) -> None:
    message = refused(**tables)
    assert all(word in message for word in ("whole.toml", *words)), message


def test_on_i386_the_module_space_cannot_be_elsewhere() -> None:
    message = refused("i386-pae", modules={"start": "0xf9000000"})
    assert "expected the vmalloc space, where i386 has its modules" in message


def test_areas_of_others_are_there_from_the_start_and_stay() -> None:
    areas = [
        f"{START + 0x5000:#x}-{START + 0x9000:#x} acpi_os_map_iomem",
        f"{START:#x}-{START + 0x2000:#x}",
    ]
    config = whole_config(vmalloc={"areas": areas})
    assert config.vmalloc.areas == (
        TakenArea(START, START + 0x2000, ""),
        TakenArea(START + 0x5000, START + 0x9000, "acpi_os_map_iomem"),
    )
    assert MachineConfig.from_mapping(config.to_mapping(), where="again") == config
    machine = boot(config)
    assert [(area.start, area.caller) for area in machine.vmalloc.areas] == [
        (START, ""), (START + 0x5000, "acpi_os_map_iomem"),
    ]  # fmt: skip


def test_reserved_memory_is_not_given_out() -> None:
    machine = boot(whole_config(memory={"reserved": ["0x400000-0x4fffff"]}))
    assert machine.pages.owner_state_of(0x400) == machine.pages.owner_state_of(0x4FF) == "reserved"
    assert machine.pages.owner_state_of(0x3FF) == "free"


@pytest.mark.parametrize(
    ("memory_mib", "start"),
    [
        (64, 0xC4800000),
        (192, 0xCC800000),
        (65, 0xC5000000),
        (895, 0xF8800000),
        (896, 0xF8800000),
        (4096, 0xF8800000),
    ],
)
def test_i386_once_had_its_vmalloc_space_right_above_its_memory(
    memory_mib: int, start: int
) -> None:
    """8 to 16 MiB are left free; with all that low memory can be, that is where it always begins."""
    for levels in (2, 3):
        assert vmalloc_start_above(ARCHES["i386", levels], memory_mib << 20) == start
    assert ARCHES["i386", 2].vmalloc_start == 0xF8800000
