"""The room that modules share, its array on the slab: through the loader, and with memory running out."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.errors import DoubleFree, InvariantBroken
from kernel_sim.percpu.module_room import ModuleSection, RoomState
from kernel_sim.percpu.protocol import MODALLOC_SAID
from kernel_sim.percpu.stretch import METADATA, MODULE, PADDING, RESERVED_ROOM, STATIC
from kernel_sim.primitives import run_undisturbed
from tests.kernel_sim.percpu.legacy_machine import Legacy

ENOMEM = -12
NO_ROOM_FOR = "Could not allocate {} bytes percpu data"


@pytest.fixture(params=["i386", "x86-64"])
def legacy(request: pytest.FixtureRequest) -> Legacy:
    return Legacy.of(request.param)


def array_of(legacy: Legacy) -> list[int]:
    """What really stands in pcpu_size[]."""
    state = legacy.system.room.state
    data = legacy.read(state.array_addr, 4 * len(state.slots.sizes))
    return [
        int.from_bytes(data[at : at + 4], "little", signed=True) for at in range(0, len(data), 4)
    ]


def test_a_module_of_14848_bytes_loads_and_one_of_14849_does_not(legacy: Legacy) -> None:
    assert legacy.load("big", 14849) == ENOMEM
    assert (4, NO_ROOM_FOR.format(14849)) in legacy.log()
    assert not any(text.startswith("big: Could") for _, text in legacy.log()), "6.1's words"
    assert legacy.load("fits", 14848) == 0
    assert legacy.offset_of("fits") == 17920
    assert legacy.sizes() == [-17920, -14848]
    assert legacy.load("one", 1) == ENOMEM
    legacy.check()


def test_the_worked_example_with_128_byte_lines(legacy: Legacy) -> None:
    assert legacy.load("a", 100, 4) == legacy.load("b", 64, 64) == 0
    assert (legacy.offset_of("a"), legacy.offset_of("b")) == (17920, 18048)
    assert legacy.sizes() == array_of(legacy) == [-17920, -128, -64, 14656]
    assert legacy.unload("a") == 0
    assert legacy.sizes() == array_of(legacy) == [-17920, 128, -64, 14656]
    legacy.check()


def test_alignment_beyond_a_cache_line_is_cut_down_with_a_line(legacy: Legacy) -> None:
    assert legacy.load("wide", 100, 256) == 0
    assert (4, "wide: per-cpu alignment 256 > 128") in legacy.log()


def test_a_section_reaches_every_possible_cpu(legacy: Legacy) -> None:
    image = bytes(range(200))
    room = legacy.system.room
    ptr = run_undisturbed(room.percpu_modalloc(0, "m", 200, 8))
    for cpu in range(4):
        addr = legacy.system.copy_addr(ptr, cpu)
        assert addr is not None
        assert addr == legacy.system.places.addrs[cpu] + 17920
        legacy.machine.access.write(0, addr, image)
    for cpu in range(4):
        assert legacy.call("this_cpu_read", ptr + 7, 1, cpu=cpu) == 7
        assert legacy.call("per_cpu", ptr + 199, cpu, 1) == 199


def test_the_array_moves_to_a_larger_object_and_the_old_one_is_given_back(legacy: Legacy) -> None:
    room = legacy.system.room
    before = legacy.objects_taken()
    places = [room.state.array_addr]
    for number in range(9):
        assert run_undisturbed(room.percpu_modalloc(0, f"m{number}", 8, 8)) > 0
        assert array_of(legacy) == legacy.sizes()
        if room.state.array_addr != places[-1]:
            places.append(room.state.array_addr)
    assert room.state.slots.nr_allocated == 16 and len(places) == 4, "2, 4, 8, 16 entries"
    after = legacy.objects_taken()
    assert sum(after.values()) == sum(before.values()), "one array, then as now"
    kinds = [(s.kind, s.size_bytes) for s in room.array_stretches()]
    assert kinds == [(METADATA, 44), (PADDING, 20)]


def test_without_memory_for_the_array_the_load_fails_and_nothing_says_why(legacy: Legacy) -> None:
    room = legacy.system.room
    assert run_undisturbed(room.percpu_modalloc(0, "m", 3, 1)) > 0
    assert run_undisturbed(room.percpu_modalloc(0, "n", 5, 1)) > 0
    slab = legacy.machine.slab
    while (slab.kmalloc_node(32, 0xCC0, 0)) is not None and slab.partial[0, 0]:
        pass  # the smallest class has nothing left on the node
    while slab.partial.get((0, 1)):
        slab.kmalloc_node(32, 0xCC0, 1)
    legacy.machine.pages.fail_after = 0
    nr_lines = len(legacy.log())
    before = legacy.objects_taken()
    assert run_undisturbed(room.percpu_modalloc(0, "o", 8, 32)) == MODALLOC_SAID
    lines = [text for _, text in legacy.log()[nr_lines:]]
    assert not any("percpu data" in text for text in lines), lines
    assert legacy.objects_taken() == before
    assert legacy.sizes() == array_of(legacy) == [-17920, -3, -29, 14816], (
        "the skipped bytes are gone"
    )
    assert not legacy.machine.modules.mutex.holder >= 0
    room.check()
    legacy.machine.pages.fail_after = -1
    assert run_undisturbed(room.percpu_modalloc(0, "o", 8, 32)) > 0


def test_two_cpus_may_ask_at_once(legacy: Legacy) -> None:
    """module_mutex keeps the second out while the array of the first grows."""
    room = legacy.system.room
    first, second = (room.percpu_modalloc(cpu, f"m{cpu}", 8, 8) for cpu in (0, 1))
    mutex = first.send(None)
    assert mutex is legacy.machine.modules.mutex
    mutex.holder = 0
    assert first.send(None) is None, "in kmalloc(), for four entries"
    assert second.send(None) is mutex and mutex.holder == 0
    run_undisturbed(first)
    assert mutex.holder < 0
    mutex.holder = 1
    run_undisturbed(second)
    assert legacy.sizes() == [-17920, -8, -8, 14832]


def test_a_free_where_no_section_is_stops_the_machine(legacy: Legacy) -> None:
    room = legacy.system.room
    ptr = run_undisturbed(room.percpu_modalloc(0, "m", 16, 8))
    for wrong in (ptr + 8, ptr + 16, room.percpu_start, 0):
        with pytest.raises(DoubleFree, match="percpu_modfree"):
            run_undisturbed(room.percpu_modfree(0, wrong))
        legacy.machine.modules.mutex.release()
    run_undisturbed(room.percpu_modfree(0, ptr))
    assert legacy.sizes() == [-17920, 14848]


def test_without_room_it_is_said_at_boot_and_every_module_with_such_a_section_fails() -> None:
    legacy = Legacy.of(static=33000)
    assert (3, "No per-cpu room for modules.") in legacy.log()
    assert legacy.sizes() == [-33024]
    assert legacy.load("m", 4) == ENOMEM
    assert (4, NO_ROOM_FOR.format(4)) in legacy.log()
    assert legacy.load("plain", 0) == 0, "modules without one load"
    legacy.check()


def test_a_room_that_is_just_full_says_nothing() -> None:
    legacy = Legacy.of(static=32768)
    assert not any("room for modules" in text for _, text in legacy.log())
    assert legacy.sizes() == [-32768, 0]
    legacy.check()


def test_of_a_section_of_64_kib_and_more_part_is_given_out_again() -> None:
    """A larger room shows the kernel's own mistake: the size is cut to 16 bits."""
    legacy = Legacy.of(enough_room_bytes=300 << 10)
    assert legacy.load("rt", 65536 + 256) == 0
    assert legacy.load("victim", 512) == 0
    assert legacy.offset_of("victim") == legacy.offset_of("rt") + 256
    legacy.check()


# -- drawn, checked ------------------------------------------------------------------------------------


def test_an_area_is_drawn_block_by_block(legacy: Legacy) -> None:
    legacy.load("a", 100, 4)
    legacy.load("b", 64, 64)
    legacy.load("c", 10, 1)
    legacy.unload("b")
    area = [s for s in legacy.system.stretches() if s.strip == "area of cpu 1"]
    ptr = legacy.system.percpu_start + 17920
    assert [(s.kind, s.size_bytes, s.ptr) for s in area] == [
        (STATIC, 17892, 0), (PADDING, 28, 0), (MODULE, 100, ptr), (PADDING, 28, 0),
        (RESERVED_ROOM, 64, 0), (MODULE, 10, ptr + 192), (RESERVED_ROOM, 14646, 0),
    ]  # fmt: skip
    assert area[2].what == "section of a" and area[2].cpu == 1
    assert sum(s.size_bytes for s in area) == 32768


@given(st.lists(st.tuples(st.integers(1, 900), st.sampled_from([1, 4, 32, 128])), max_size=12))
@settings(max_examples=15, deadline=None)
def test_whatever_is_in_it_the_pieces_lie_end_to_end(sections: list[tuple[int, int]]) -> None:
    legacy = Legacy.of(enough_room_bytes=20000)
    room = legacy.system.room
    ptrs = []
    for size, align in sections:
        ptr = run_undisturbed(room.percpu_modalloc(0, "m", size, align))
        if ptr > 0:
            ptrs.append(ptr)
    for ptr in ptrs[::2]:
        run_undisturbed(room.percpu_modfree(0, ptr))
    room.check()
    assert array_of(legacy) == legacy.sizes()
    at = legacy.system.places.addrs[2]
    for stretch in (s for s in legacy.system.stretches() if s.strip == "area of cpu 2"):
        assert stretch.addr == at and stretch.size_bytes > 0
        at = stretch.end
    assert at == legacy.system.places.addrs[3]


def test_a_contradiction_is_found(legacy: Legacy) -> None:
    room = legacy.system.room
    run_undisturbed(room.percpu_modalloc(0, "m", 16, 8))
    state = room.state
    for sections, expected in (
        ([], "block of 16 bytes at 17920 is used by nobody"),
        ([ModuleSection("m", 17920, 17)], "17 bytes in a block of 16"),
        ([ModuleSection("m", 17936, 16)], "16 bytes in a block of 0"),
        ([ModuleSection("m", 17920, 16)] * 2, "in a block of 0"),
    ):
        room.state = RoomState(state.slots, state.array_addr, sections)
        with pytest.raises(InvariantBroken, match=expected):
            room.check()
    room.state = state
    room.check()


def test_numbers_that_no_room_has_are_refused_when_loaded(legacy: Legacy) -> None:
    """A section of 64 KiB and more excuses blocks that do not fit, not numbers beyond the room."""
    room = legacy.system.room
    run_undisturbed(room.percpu_modalloc(0, "m", 16, 8))
    room.check_loaded()
    state = room.state
    sizes, large = state.slots.sizes, [ModuleSection("m", 17920, 1 << 60)]
    for slots, array_addr, sections, expected in (
        (state.slots, state.array_addr, large, f"{1 << 60} bytes at offset 17920"),
        (replace(state.slots, sizes=[]), state.array_addr, large, "in 32768 of room"),
        (replace(state.slots, sizes=[*sizes, 1 << 60]), state.array_addr, large, "of room"),
        (replace(state.slots, nr_allocated=1 << 60), state.array_addr, [], "entries in an object"),
        (state.slots, state.array_addr + 4, state.sections, "no object"),
        (state.slots, 0, state.sections, "pcpu_size"),
    ):
        room.state = RoomState(slots, array_addr, sections)
        with pytest.raises(InvariantBroken, match=expected):
            room.check_loaded()
    room.state = state
    room.check_loaded()


# -- what the kernel's own C code did, with memory beneath it ------------------------------------------

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "modalloc-2.6.17").glob("*.jsonl.gz"))


def marked(path: Path) -> object:
    marks = (pytest.mark.slow,) if path.name.startswith("b03") else ()
    return pytest.param(path, id=path.name.partition(".")[0], marks=marks)


@pytest.mark.parametrize("path", map(marked, GOLDEN))
def test_on_a_whole_machine_it_does_what_the_kernel_did(path: Path) -> None:
    header, *rows = (json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())
    config = header["config"]
    legacy = Legacy.of(
        "i386" if config["word_size"] == 4 else "x86-64",
        static=config["static_size"],
        enough_room_bytes=config["room"],
        cache_line_bytes=config["smp_cache_bytes"],
    )
    room, ptrs = legacy.system.room, {}
    for row in rows:
        if row["op"] == "alloc":
            nr_lines = len(legacy.log())
            align = min(row["align"], legacy.system.module_align_max)  # with a line, by the loader
            ptr = run_undisturbed(room.percpu_modalloc(0, "mod", row["size"], align))
            said = [f"<{level}>{text}" for level, text in legacy.log()[nr_lines:]]
            assert said == [line for line in row.get("log", []) if "alignment" not in line]
            assert ptr == (MODALLOC_SAID if "error" in row else room.percpu_start + row["off"])
            ptrs[row["id"]] = ptr
        elif row["op"] == "free":
            run_undisturbed(room.percpu_modfree(0, ptrs.pop(row["id"])))
        else:
            assert array_of(legacy) == row["blocks"]
            assert room.state.slots.nr_allocated == row["num_allocated"]
    room.check()


@pytest.mark.parametrize("arch", ["i386", "x86-64"])
def test_a_load_whose_nth_page_fails_leaves_the_room_as_it_was(arch: str) -> None:
    for nth in range(100):
        legacy = Legacy.of(arch)
        assert legacy.load("first", 100) == 0
        legacy.machine.pages.fail_after = nth
        result = legacy.load("second", 3000, 128)
        legacy.machine.pages.fail_after = -1
        if not result:
            break
        assert result == ENOMEM
        assert [section.name for section in legacy.system.room.state.sections] == ["first"]
        assert array_of(legacy)[0] == -17920 and sum(map(abs, array_of(legacy))) == 32768
        legacy.check()
        assert legacy.load("second", 3000, 128) == 0
    assert 0 < nth < 99
