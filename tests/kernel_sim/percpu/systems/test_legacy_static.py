"""`legacy-static`: every sentence that was written about its static areas, and the figures of the mail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.component import to_plain
from kernel_sim.errors import ConfigError, InvariantBroken, KernelBug, KernelFault
from kernel_sim.machine_state import check_cache, dump_parts, load_parts
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.static_areas import copy_section
from kernel_sim.percpu.stretch import RESERVED_ROOM, STATIC, TABLE
from snapshots.compare.section_object import section_object
from snapshots.origin import Origin
from snapshots.recording import open_recording, save_timeline
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.verify import verify_recording
from tests.kernel_sim.percpu.legacy_machine import Legacy, legacy_config

ARCHES = ("i386", "x86-64")


@pytest.fixture(params=ARCHES)
def legacy(request: pytest.FixtureRequest) -> Legacy:
    return Legacy.of(request.param)


# -- static areas --------------------------------------------------------------------------------------


def test_on_i386_areas_lie_end_to_end_in_one_block() -> None:
    legacy = Legacy.of("i386")
    addrs = list(legacy.system.places.addrs.values())
    assert addrs == [addrs[0] + 32768 * cpu for cpu in range(4)]
    offsets = [legacy.system.per_cpu_offset(cpu) for cpu in range(4)]
    assert offsets == [offsets[0] + cpu * 32768 for cpu in range(4)]
    assert {legacy.node_of(addr) for addr in addrs} == {0}, "all of it on the boot CPU's node"


def test_on_x86_64_each_area_lies_on_its_cpus_node() -> None:
    legacy = Legacy.of("x86-64")
    assert [legacy.node_of(addr) for addr in legacy.system.places.addrs.values()] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("static", "room", "line", "area"),
    [
        (17892, 32768, 128, 32768),  # the mail's machine: a maximum, no sum
        (32700, 32768, 128, 32768),
        (32768, 32768, 128, 32768),
        (33000, 32768, 128, 33024),
        (33000, 32768, 64, 33024),
        (33000, 32768, 16, 33008),
        (100, 1, 128, 128),
    ],
)
def test_an_area_is_the_larger_of_section_and_enough_room(
    static: int, room: int, line: int, area: int
) -> None:
    legacy = Legacy.of(static=static, enough_room_bytes=room, cache_line_bytes=line)
    assert legacy.system.places.area_bytes == area
    last = [s for s in legacy.system.stretches() if s.strip == "area of cpu 3"]
    assert last[-1].end % 4096 == 0, "what is left of the last page is drawn too"
    legacy.check()


def test_the_offsets_stand_in_memory_and_are_0_for_cpus_that_are_not_possible() -> None:
    legacy = Legacy.of("i386")
    table = legacy.machine.symbol("__per_cpu_offset")
    addrs = legacy.system.places.addrs
    for cpu in range(4):
        offset = legacy.word(table + 4 * cpu)
        assert legacy.system.percpu_start + offset & 0xFFFFFFFF == addrs[cpu]
    assert [legacy.word(table + 4 * cpu) for cpu in range(4, 8)] == [0] * 4
    var = legacy.system.percpu_start + 0x40
    assert legacy.call("per_cpu_ptr", var, 6) == var, "the variable in the discarded section"
    assert legacy.system.copy_addr(var, 6) is None


def test_with_all_cpus_possible_a_machine_of_four_pays_for_eight() -> None:
    legacy = Legacy.of("i386", possible="all")
    assert list(legacy.system.places.addrs) == list(range(8))
    assert legacy.system.nr_pages() == 8 * 8
    legacy.check()


def test_the_section_is_copied_and_kept_where_it_was(legacy: Legacy) -> None:
    machine, start = legacy.machine, legacy.system.percpu_start
    phys = machine.space.translate(start)
    assert phys is not None
    image = bytes(byte * 7 % 256 for byte in range(17892))
    machine.memory.write(phys, image)
    for addr in legacy.system.places.addrs.values():
        copy_section(machine, start, addr)
        assert legacy.read(addr, 17892) == image
        assert legacy.read(addr + 17892, 28) == bytes(28), "no byte beyond it"
    assert legacy.read(start, 17892) == image


def test_a_static_variable_of_each_cpu_is_another(legacy: Legacy) -> None:
    var = legacy.system.percpu_start + 0x1230
    for cpu in range(4):
        legacy.call("this_cpu_write", var, 100 + cpu, 4, cpu=cpu)
    assert [legacy.call("this_cpu_read", var, 4, cpu=cpu) for cpu in range(4)] == [
        100,
        101,
        102,
        103,
    ]
    assert [legacy.call("per_cpu", var, cpu, 4) for cpu in range(4)] == [100, 101, 102, 103]
    addrs = legacy.system.places.addrs
    assert [legacy.call("per_cpu_ptr", var, cpu) for cpu in range(4)] == [
        addr + 0x1230 for addr in addrs.values()
    ]
    assert legacy.read(var, 4) == bytes(4), "the discarded section is not touched"


# -- references ----------------------------------------------------------------------------------------


def references(legacy: Legacy, way: str, ptr: int, cpu: int, owner: int) -> list[int]:
    """The addresses that are read before the datum's own."""
    loads: list[int] = []

    def load(addr: int, size: int) -> int:
        loads.append(addr)
        return int.from_bytes(legacy.read(addr, size), "little")

    system = legacy.system
    if way == "this_cpu":
        found = system.this_cpu(load, cpu, ptr)
    else:
        found = system.per_cpu(load, cpu, ptr, owner)
    assert found == system.copy_addr(ptr, owner)
    return loads


def test_i386_reads_the_offset_then_the_datum_for_itself_and_for_others() -> None:
    legacy = Legacy.of("i386")
    var = legacy.system.percpu_start + 8
    table = legacy.machine.symbol("__per_cpu_offset")
    assert references(legacy, "this_cpu", var, 2, 2) == [table + 8]
    assert references(legacy, "per_cpu", var, 0, 3) == [table + 12]


def test_x86_64_reads_its_own_offset_through_gs() -> None:
    legacy = Legacy.of("x86-64")
    var = legacy.system.percpu_start + 8
    own = references(legacy, "this_cpu", var, 3, 3)
    assert own == [legacy.machine.cpus[3].gs_base + 8]
    assert legacy.node_of(own[0]) == 1, "always local"
    assert len(references(legacy, "per_cpu", var, 0, 3)) == 2, "pointer to the PDA, then its field"


def test_a_dynamic_area_is_two_references_wherever_one_looks_from(legacy: Legacy) -> None:
    ptr = legacy.alloc(24)
    table = legacy.system.pointers.areas[ptr].table_addr
    word = legacy.machine.arch.word_bytes
    assert references(legacy, "this_cpu", ptr, 2, 2) == [table + 2 * word]
    assert references(legacy, "per_cpu", ptr, 2, 1) == [table + word]


def test_who_follows_a_dynamic_ptr_as_it_is_faults(legacy: Legacy) -> None:
    ptr = legacy.alloc(24)
    with pytest.raises(KernelFault, match=r"unable to handle page fault|general protection"):
        legacy.call("read", ptr, 4)


# -- the mail's figures --------------------------------------------------------------------------------


def test_what_is_kept_for_modules_that_never_come() -> None:
    """32768 - 17892 = 14876 for a CPU, by the mail; of that a module can have 14848."""
    legacy = Legacy.of("i386")
    kept: dict[int, int] = {}
    usable: dict[int, int] = {}
    for stretch in legacy.system.stretches():
        if stretch.strip.startswith("area of cpu") and stretch.kind != STATIC:
            kept[stretch.cpu] = kept.get(stretch.cpu, 0) + stretch.size_bytes
            if stretch.kind == RESERVED_ROOM:
                usable[stretch.cpu] = usable.get(stretch.cpu, 0) + stretch.size_bytes
    assert kept == dict.fromkeys(range(4), 14876)
    assert usable == dict.fromkeys(range(4), 14848)


def test_memory_of_the_whole_follows_the_formula(legacy: Legacy) -> None:
    """n x max(align_up(S, L), R) + N x P, on i386."""
    total = sum(s.size_bytes for s in legacy.system.stretches() if s.strip.startswith("area of"))
    assert total == 4 * 32768
    if legacy.machine.arch.name == "i386":
        (table,) = (s for s in legacy.system.stretches() if s.kind == TABLE)
        assert (table.size_bytes, table.what) == (8 * 4, "__per_cpu_offset[8]")


# -- eras and options ----------------------------------------------------------------------------------


def test_from_2_6_20_on_x86_64_keeps_8_kib_and_prints_it() -> None:
    legacy = Legacy.of("x86-64", era="2.6.20")
    assert legacy.system.places.area_bytes == 17920 + 8192
    assert (6, "PERCPU: Allocating 26112 bytes of per cpu data") in legacy.log()
    assert legacy.sizes() == [-17920, 8192]
    assert legacy.load("big", 8193) == -12
    assert legacy.load("fits", 8192) == 0
    legacy.check()


def test_i386_of_2_6_20_is_as_before() -> None:
    legacy = Legacy.of("i386", era="2.6.20")
    assert legacy.system.places.area_bytes == 32768
    assert not any("PERCPU" in text for _, text in legacy.log())


def test_the_slab_has_the_classes_of_the_cache_line() -> None:
    sizes = {
        line: [cache.size_bytes for cache in Legacy.of(cache_line_bytes=line).machine.slab.classes]
        for line in (32, 64, 128)
    }
    assert 96 in sizes[32] and 192 in sizes[32]
    assert 96 not in sizes[64] and 192 in sizes[64]
    assert 96 not in sizes[128] and 192 not in sizes[128]


@pytest.mark.parametrize(
    ("arch", "changes", "expected"),
    [
        ("i386", {"cache_line_bytes": 48}, "cache_line_bytes: 48; expected a power of two"),
        ("i386", {"cache_line_bytes": 512}, "cache_line_bytes.*16 to 256"),
        ("i386", {"enough_room_bytes": 0}, "enough_room_bytes"),
        ("i386", {"era": "2.6.18"}, "era"),
        ("i386", {"enough_rom_bytes": 9}, "enough_rom_bytes"),
        ("x86-64", {"era": "2.6.20", "enough_room_bytes": 9000}, "not for era 2.6.20 on x86-64"),
        ("i386", {"symbols": {"__per_cpu_start": "0xc1000010"}}, "expected a multiple of 128"),
        ("i386", {"symbols": {"__per_cpu_start": "0xf8000000"}}, "is not mapped"),
        ("i386", {"static": 200 << 20}, "area from cpu 0"),
    ],
)
def test_what_cannot_be_is_refused(arch: str, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        boot(legacy_config(arch, **changes))


def test_there_is_no_background_work(legacy: Legacy) -> None:
    assert legacy.system.work_function == ""
    with pytest.raises(KernelBug, match="no background work"):
        legacy.system.work_path(0)


def test_an_area_of_a_node_without_memory_lies_on_the_next() -> None:
    mapping = legacy_config("x86-64").to_mapping()
    mapping["node"] = [{"cpus": "0-1", "memory_mib": 96}, {"cpus": "2-3"}]
    machine = boot(type(legacy_config()).from_mapping(mapping, where="test"))
    legacy = Legacy(machine)
    assert {legacy.node_of(addr) for addr in legacy.system.places.addrs.values()} == {0}
    legacy.check()


# -- hotplug, state ------------------------------------------------------------------------------------


def test_a_cpu_that_goes_and_comes_finds_its_copies_as_they_were(legacy: Legacy) -> None:
    var, ptr = legacy.system.percpu_start + 64, legacy.alloc(16)
    for where in (var, ptr):
        legacy.call("this_cpu_write", where, 77, 4, cpu=3)
    assert legacy.call("cpu_down", 3) == legacy.call("cpu_up", 3) == 0
    assert [legacy.call("this_cpu_read", where, 4, cpu=3) for where in (var, ptr)] == [77, 77]
    legacy.check()


def give_work(timeline: Timeline, arch: str) -> None:
    """Modules, areas, an access, a CPU that comes; some of it at once on two CPUs."""

    def do(cpu: int, name: str, *args: Any) -> Any:
        number = timeline.give(name, cpu, args)
        timeline.advance(NO_LIMIT)
        call = timeline.calls.pop(number, None)
        return call.result if call else None

    ptrs = [do(0, "pcpu_alloc", size, 8, False, GFP_KERNEL, "f") for size in (4, 100, 5000)]
    timeline.give("load_module", 0, (section_object(arch, 300, 64, 2), "a", ""))
    timeline.give("load_module", 1, (section_object(arch, 40, 8, 1), "b", ""))
    timeline.give("pcpu_alloc", 2, (64, 8, False, GFP_KERNEL, "g"))
    timeline.advance(NO_LIMIT)
    do(0, "cpu_up", 3)
    do(1, "this_cpu_write", ptrs[0], 5, 4)
    do(1, "free_percpu", ptrs[1])
    do(1, "delete_module", "a")


@pytest.mark.parametrize("arch", ARCHES)
def test_every_step_can_be_gone_back_to_and_is_as_it_was(arch: str) -> None:
    timeline = Timeline(boot(legacy_config(arch, online="0-2")))
    give_work(timeline, arch)
    end = timeline.step
    check_machine(timeline.machine)
    at = {end: state_digest(timeline.machine)}
    for step in range(end - 1, -1, -37):
        timeline.seek(step)
        at[step] = state_digest(timeline.machine)
    for step in sorted(at):
        timeline.seek(step)
        assert state_digest(timeline.machine) == at[step], step
    check_machine(timeline.machine)


@pytest.mark.parametrize("arch", ARCHES)
def test_a_saved_run_is_the_run(tmp_path: Path, arch: str) -> None:
    timeline = Timeline(boot(legacy_config(arch, online="0-2", era="2.6.20")))
    give_work(timeline, arch)
    save_timeline(tmp_path / "run.kms", timeline, Origin())
    assert verify_recording(tmp_path / "run.kms") == []
    opened = open_recording(tmp_path / "run.kms")
    opened.timeline.seek(timeline.step)
    assert state_digest(opened.timeline.machine) == state_digest(timeline.machine)
    check_machine(opened.timeline.machine)


@pytest.mark.parametrize("arch", ARCHES)
def test_another_machine_takes_the_state_over(arch: str) -> None:
    timeline = Timeline(boot(legacy_config(arch, online="0-2")))
    give_work(timeline, arch)
    parts = dump_parts(timeline.machine)
    other = boot(legacy_config(arch, online="0-2"))
    load_parts(other, parts)
    check_machine(other)
    assert dump_parts(other) == parts
    assert other.cpus[3].gs_base == timeline.machine.cpus[3].gs_base
    system = Legacy(other).system
    system.check_loaded()
    assert list(system.stretches()) == list(timeline.machine.system.stretches())


def test_what_did_not_change_is_the_same_part(legacy: Legacy) -> None:
    legacy.alloc(8)
    first = dump_parts(legacy.machine)
    legacy.call("this_cpu_read", legacy.system.percpu_start, 4)
    assert dump_parts(legacy.machine)["system"] is first["system"]
    legacy.alloc(8)
    assert dump_parts(legacy.machine)["system"] != first["system"]


def test_a_change_that_is_not_told_is_found(legacy: Legacy) -> None:
    dump_parts(legacy.machine)
    check_cache(legacy.machine)
    legacy.system.room.state.slots.nr_allocated = 4
    with pytest.raises(InvariantBroken, match="system changed without saying so"):
        check_cache(legacy.machine)


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        (("room", "slots", "sizes"), (-17920, 1), "blocks of"),
        (("room", "slots", "sizes"), ("x",), "expected int"),
        (("room", "slots", "line_bytes"), 64, "another cache line"),
        (
            ("room", "sections"),
            ({"name": "m", "offset_bytes": 5, "size_bytes": 5},),
            "section of m",
        ),
        (("areas",), ((5, {"size_bytes": 4, "table_addr": 0, "copies": ()}),), "dynamic area"),
        (("pdas",), ((77, 5),), "PDA of cpu 77"),
        (("pdas",), 3, "expected"),
    ],
)
def test_a_strangers_state_is_refused(where: tuple[str, ...], value: object, expected: str) -> None:
    legacy = Legacy.of("x86-64")
    plain: Any = to_plain(legacy.system._state())
    inner = plain
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    with pytest.raises((KernelBug, InvariantBroken), match=expected):
        legacy.system.load({"system": plain}, {})
        legacy.system.check_loaded()
    with pytest.raises(KernelBug, match="no part 'system'"):
        legacy.system.load({}, {})


def test_it_says_what_it_has(legacy: Legacy) -> None:
    legacy.load("m", 100)
    legacy.alloc(8)
    facts = dict(legacy.system.facts())
    assert facts["module_room_bytes"] == 14848 and facts["module_free_bytes"] == 14748
    assert (facts["module_sections"], facts["pcpu_num_used"], facts["pcpu_num_allocated"]) == (
        1,
        3,
        4,
    )
    assert (facts["area_bytes"], facts["pointer_arrays"]) == (32768, 1)
    assert not list(legacy.system.owned_pages())
