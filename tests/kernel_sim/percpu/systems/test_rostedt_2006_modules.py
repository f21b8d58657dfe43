"""`rostedt-2006-modules`: three references, no room beside the kernel, and what was posted with a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel_sim.boot import boot
from kernel_sim.errors import ConfigError, InvariantBroken, KernelBug, KernelFault
from kernel_sim.machine_state import check_cache, dump_parts, load_parts
from kernel_sim.percpu.account import account_of
from kernel_sim.percpu.stretch import MODULE, PADDING, RESERVED_ROOM, STATIC, TABLE
from snapshots.state_codec import state_digest
from snapshots.timeline import Timeline
from tests.kernel_sim.percpu.legacy_machine import Legacy
from tests.kernel_sim.percpu.rostedt_machine import Rostedt, give_work, rostedt_config

NAME = "rostedt-2006-modules"
ARCHES = ("i386", "x86-64")
SYMBOLS = {"kernel_func": "0xc1123450", "kernel_percpu": "0xc2000040"}
OBJECTS = Path(__file__).parents[3] / "modules" / "objects"


def counter(arch: str) -> bytes:
    return (OBJECTS / f"counter-{arch}.o").read_bytes()


def machine_of(arch: str = "i386", **options: Any) -> Rostedt:
    return Rostedt.of(NAME, arch, **options)


@pytest.fixture(params=ARCHES)
def modules(request: pytest.FixtureRequest) -> Rostedt:
    return machine_of(request.param)


# -- the kernel's own variables ------------------------------------------------------------------------


def test_an_area_has_no_room_for_modules(modules: Rostedt) -> None:
    assert modules.system.places.area_bytes == 17920
    assert modules.bytes_of(STATIC) == 4 * 17892
    assert modules.bytes_of(RESERVED_ROOM) == 0
    modules.check()


def test_every_pointer_of_the_kernel_names_its_one_table(modules: Rostedt) -> None:
    machine = modules.machine
    start, end = (machine.symbol(f"__per_cpu_offset_{side}") for side in ("start", "end"))
    assert end - start == 4368
    word = machine.arch.word_bytes
    table = machine.symbol("__per_cpu_offset")
    assert modules.words(start, 4368 // word) == [table] * (4368 // word)
    (stretch,) = (s for s in modules.system.stretches() if s.addr == start)
    assert (stretch.kind, stretch.size_bytes) == (TABLE, 4368)


def test_an_access_is_three_dependent_references(modules: Rostedt) -> None:
    machine, word = modules.machine, modules.machine.arch.word_bytes
    var = modules.system.percpu_start + 0x120
    for cpu, owner in ((2, None), (0, 3)):
        read = modules.references(cpu, var, owner)
        of = cpu if owner is None else owner
        start = machine.symbol("__per_cpu_offset_start")
        assert start <= read[0] < start + 4368
        assert read[1:] == [
            machine.symbol("__per_cpu_offset") + of * word,
            modules.system.copy_addr(var, of),
        ]
        assert modules.node_of(read[0]) == modules.node_of(read[1]) == 0, "the kernel's data"


def test_it_is_one_reference_more_than_before() -> None:
    legacy, modules = Legacy.of("i386"), machine_of()
    var = 0x40
    before = Rostedt(legacy.machine).references(1, legacy.system.percpu_start + var)
    assert len(modules.references(1, modules.system.percpu_start + var)) == len(before) + 1 == 3


def test_named_variables_have_the_first_pointers_in_the_order_of_their_addresses() -> None:
    names = {"per_cpu__b": 0xC2000100, "per_cpu__a": 0xC2000080}
    modules = machine_of(symbols={name: f"{addr:#x}" for name, addr in names.items()})
    start = modules.machine.symbol("__per_cpu_offset_start")
    assert modules.references(0, 0xC2000080)[0] == start
    assert modules.references(0, 0xC20000FC)[0] == start
    assert modules.references(0, 0xC2000104)[0] == start + 4
    unnamed = modules.references(0, 0xC2000000)[0]
    assert unnamed == start + 8, "the others have what is left"


def test_each_cpu_has_its_own_variable(modules: Rostedt) -> None:
    var = modules.system.percpu_start + 0x1230
    for cpu in range(4):
        modules.call("this_cpu_write", var, 100 + cpu, 4, cpu=cpu)
    assert [modules.call("per_cpu", var, cpu, 4) for cpu in range(4)] == [100, 101, 102, 103]
    assert modules.read(var, 4) == bytes(4), "the discarded section is not touched"


def test_a_cpu_that_is_not_possible_has_the_discarded_section(modules: Rostedt) -> None:
    var = modules.system.percpu_start + 8
    assert modules.call("per_cpu_ptr", var, 6) == var
    assert modules.system.copy_addr(var, 6) is None


def test_on_x86_64_areas_lie_on_their_nodes_and_no_register_is_used() -> None:
    modules = machine_of("x86-64")
    assert [modules.node_of(addr) for addr in modules.system.places.addrs.values()] == [0, 0, 1, 1]
    assert [cpu.gs_base for cpu in modules.machine.cpus.values()] == [0] * 4


def test_what_is_no_variable_stops_the_machine(modules: Rostedt) -> None:
    with pytest.raises(KernelFault, match="no per-CPU variable"):
        modules.call("this_cpu_read", modules.system.percpu_start + 17892, 4)


# -- modules -------------------------------------------------------------------------------------------


def test_a_module_has_copies_for_nr_cpus_a_table_and_a_pointer_for_each_variable(
    modules: Rostedt,
) -> None:
    word = modules.machine.arch.word_bytes
    assert modules.load("m", 1000, 64, nr=3) == 0
    made = modules.system.tables.tables[modules.ptr_of("m")]
    assert made.copy_bytes == 1024 and not made.has_own_pointers
    assert modules.words(made.table_addr, 8) == [1024 * cpu for cpu in range(8)]
    assert modules.words(made.pointers_addr, 3) == [made.table_addr] * 3
    section = modules.machine.modules.find_module("m").sections  # type: ignore[union-attr]
    (pointers,) = (s for s in section if s.name == ".data.percpu_offset")
    assert (pointers.addr, pointers.size_bytes) == (made.pointers_addr, 3 * word)
    assert modules.bytes_of(MODULE) == 4 * 1000
    assert modules.bytes_of(RESERVED_ROOM, "module m") == 4 * 1024, "for CPUs that cannot be"
    assert modules.bytes_of(TABLE, "module m") == 8 * word + 3 * word
    assert modules.bytes_of(PADDING, "module m") == 4 * 24, "tables just fill their class"
    modules.check()


def test_a_modules_variable_is_found_by_three_words_of_the_modules_own(modules: Rostedt) -> None:
    modules.load("m", 96, 8, nr=3)
    ptr, word = modules.ptr_of("m"), modules.machine.arch.word_bytes
    made = modules.system.tables.tables[ptr]
    for index in range(3):
        read = modules.references(1, ptr + 32 * index + 4)
        assert read == [
            made.pointers_addr + index * word,
            made.table_addr + word,
            ptr + 128 + 32 * index + 4,
        ]
    assert modules.references(0, ptr)[-1] == ptr, "CPU 0's copy is where the symbol is"
    assert modules.machine.module_space.find_area(made.pointers_addr) is not None


def test_copies_begin_as_the_objects_image() -> None:
    modules = machine_of(symbols=SYMBOLS)
    assert modules.call("load_module", counter("i386"), "counter", "") == 0
    ptr = modules.ptr_of("counter")
    made = modules.system.tables.tables[ptr]
    copies = [modules.read(ptr + cpu * made.copy_bytes, made.size_bytes) for cpu in range(4)]
    assert copies == [copies[0]] * 4 and any(copies[0])
    modules.check()


def test_on_x86_64_copies_are_out_of_reach_of_the_kernels_code_model() -> None:
    """Their link address is kmalloc()'s, in the direct map: no signed 32 bits."""
    symbols = {"kernel_func": "0xffffffff81123450", "kernel_percpu": "0xffffffff82000040"}
    modules = machine_of("x86-64", symbols=symbols)
    before = modules.objects_taken()
    assert modules.call("load_module", counter("x86-64"), "counter", "") == -8
    assert any("-mcmodel=kernel" in text for _, text in modules.log())
    assert modules.objects_taken() == before
    modules.check()


def test_unloading_gives_all_of_it_back(modules: Rostedt) -> None:
    before, slab = modules.objects_taken(), account_of(modules.machine).by_kind
    for name in ("a", "b"):
        assert modules.load(name, 500, nr=2) == 0
    assert modules.call("delete_module", "a") == 0
    modules.check()
    assert modules.call("delete_module", "b") == 0
    assert modules.objects_taken() == before
    assert account_of(modules.machine).by_kind == slab


def test_more_than_the_old_room_can_be_loaded() -> None:
    """14849 bytes were one too many before; here modules share nothing."""
    assert Legacy.of("i386").load("m", 14849) == -12
    modules = machine_of()
    assert modules.load("m", 14849) == 0
    assert modules.load("n", 14849) == 0
    modules.check()


@pytest.mark.parametrize(
    ("nr_cpus", "size", "result"), [(8, 16384, 0), (8, 16385, -12), (255, 512, 0), (255, 513, -12)]
)
def test_the_limit_is_what_kmalloc_gives_for_nr_cpus_copies(
    nr_cpus: int, size: int, result: int
) -> None:
    modules = machine_of(nr_cpus=nr_cpus)
    assert modules.load("m", size) == result
    said = [text for _, text in modules.log() if "bytes percpu data" in text]
    rounded = -(-size // 128) * 128
    assert said == ([f"Could not allocate {rounded} bytes percpu data"] if result else [])
    modules.check()


@pytest.mark.parametrize("nth", range(6))
def test_a_failure_leaves_nothing_behind(nth: int) -> None:
    modules = machine_of()
    before, free = modules.objects_taken(), account_of(modules.machine).by_kind
    modules.machine.pages.fail_after = nth
    result = modules.load("m", 5000)
    modules.machine.pages.fail_after = -1
    assert result in (0, -12)
    if result:
        assert modules.objects_taken() == before
        assert account_of(modules.machine).by_kind == free
    modules.check()


def test_an_alignment_above_a_line_is_cut_with_the_old_warning() -> None:
    modules = machine_of(cache_line_bytes=64)
    assert modules.load("m", 100, 256) == 0
    assert (4, "m: per-cpu alignment 256 > 64") in modules.log()


def test_freeing_what_is_no_section_stops_the_machine(modules: Rostedt) -> None:
    with pytest.raises(KernelFault, match="no module's copies"):
        path = modules.system.modfree(0, 0x1234)
        path.send(None)


# -- the loop as it was posted -------------------------------------------------------------------------


def test_the_posted_loop_writes_over_what_lies_behind() -> None:
    bad = machine_of(symbols=SYMBOLS, posted_overrun=True)
    good = machine_of(symbols=SYMBOLS)
    behind: list[list[int]] = []
    for each in (bad, good):
        assert each.call("load_module", counter("i386"), "counter", "") == 0
        made = each.system.tables.tables[each.ptr_of("counter")]
        end = made.pointers_addr + made.nr_pointers * 4
        behind.append(each.words(end, made.nr_pointers * 3))
        assert behind[-1] in ([made.table_addr] * len(behind[-1]), [0] * len(behind[-1]))
    assert any(behind[0]) and not any(behind[1]), ".bss is no longer zero"
    good.check()
    with pytest.raises(InvariantBroken, match=r"are overwritten .* counts bytes as pointers"):
        bad.check()


def test_with_many_variables_the_posted_loop_faults_behind_the_module() -> None:
    """1200 pointers of 8 bytes: 76800 bytes are written, and the guard page is in the way."""
    bad = machine_of("x86-64", posted_overrun=True)
    with pytest.raises(KernelFault, match="unable to handle page fault"):
        bad.load("m", 4800, 4, nr=1200)
    assert bad.machine.fault is not None
    assert "percpu_modalloc" in bad.machine.fault.frames[0]


# -- builds without SMP or MODULES ---------------------------------------------------------------------


def test_without_modules_i386_has_one_array_of_offsets() -> None:
    modules = machine_of(config_modules=False)
    assert modules.references(1, modules.system.percpu_start) == [
        modules.machine.symbol("__per_cpu_offset") + 4,
        modules.system.copy_addr(modules.system.percpu_start, 1),
    ]
    assert modules.bytes_of(TABLE) == 8 * 4
    assert modules.load("m", 16) == -12
    assert any("without CONFIG_MODULES" in text for _, text in modules.log())
    modules.check()


def test_without_modules_x86_64_keeps_the_offset_in_the_pda() -> None:
    modules = machine_of("x86-64", config_modules=False, online="0-2")
    start = modules.system.percpu_start
    assert modules.references(2, start)[0] == modules.machine.cpus[2].gs_base + 8
    assert len(modules.references(2, start)) == 2
    assert modules.call("cpu_up", 3) == 0
    modules.check()


def test_without_smp_a_variable_is_itself() -> None:
    modules = machine_of(possible="0", config_smp=False)
    start = modules.system.percpu_start
    assert modules.references(0, start + 8) == [start + 8]
    assert modules.bytes_of(TABLE) == modules.bytes_of(PADDING) == 0
    assert modules.load("m", 100) == 0
    assert modules.references(0, modules.ptr_of("m") + 4) == [modules.ptr_of("m") + 4]
    modules.check()


# -- figures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("online", "saved"), [("0", 10508), ("0-1", 25384), ("0-7", 114640)])
def test_what_is_saved_by_the_mails_arithmetic(online: str, saved: int) -> None:
    """Not needed any more: ROOM - S for a CPU; new: the section of pointers, once."""
    nr_cpus = int(online[-1]) + 1
    legacy, modules = Rostedt(Legacy.of("i386").machine), machine_of()
    one = sum(
        s.size_bytes
        for s in legacy.system.stretches()
        if s.strip == "area of cpu 0" and s.kind != STATIC
    )
    assert nr_cpus * one - modules.bytes_of(TABLE, "kernel image, pointers") == saved


def test_what_is_saved_by_areas_as_they_are() -> None:
    """14848 n - 4368, for areas that both are rounded to a cache line."""
    legacy, modules = Legacy.of("i386"), machine_of()
    per_cpu = legacy.system.places.area_bytes - modules.system.places.area_bytes
    assert [per_cpu * n - 4368 for n in (2, 8)] == [25328, 114416]


# -- refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "changes", "expected"),
    [
        (
            "i386",
            {"offset_section_bytes": 4366},
            "offset_section_bytes: 4366; expected a multiple of 4",
        ),
        ("x86-64", {"offset_section_bytes": 4364}, "expected a multiple of 8"),
        (
            "i386",
            {
                "offset_section_bytes": 4,
                "symbols": {"a": "0xc2000000", "b": "0xc2000004"},
            },
            "from 8 on",
        ),
        ("i386", {"config_smp": False}, "config_smp: false with 4 possible CPUs"),
        ("i386", {"cache_line_bytes": 48}, "expected a power of two"),
        ("i386", {"enough_room_bytes": 32768}, "enough_room_bytes"),
        ("i386", {"symbols": {"__per_cpu_start": "0xc2000010"}}, "expected a multiple of 128"),
        ("i386", {"static": 200 << 20}, "no node has"),
    ],
)
def test_what_cannot_be_is_refused(arch: str, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        machine_of(arch, **changes)


def test_there_is_no_background_work(modules: Rostedt) -> None:
    with pytest.raises(KernelBug, match="no background work"):
        modules.system.work_path(0)


def test_a_damaged_pointer_is_found(modules: Rostedt) -> None:
    modules.load("m", 64)
    made = modules.system.tables.tables[modules.ptr_of("m")]
    modules.call("write", made.table_addr, 8, 4)
    with pytest.raises(InvariantBroken, match="its table"):
        modules.check()
    modules.call("write", made.table_addr, 0, 4)
    modules.check()
    modules.call("write", modules.machine.symbol("__per_cpu_offset_start") + 16, 8, 4)
    with pytest.raises(InvariantBroken, match="not all pointers"):
        modules.check()


# -- dynamic areas, state ------------------------------------------------------------------------------


def test_dynamic_areas_are_pointer_arrays_as_before(modules: Rostedt) -> None:
    ptr = modules.alloc(24)
    assert len(modules.references(1, ptr)) == 2
    assert modules.system.holds(ptr) and list(modules.system.live_areas()) == [(ptr, 24)]
    assert dict(modules.system.facts())["pointer_arrays"] == 1
    modules.check()
    modules.call("free_percpu", ptr)
    assert not modules.system.holds(ptr)
    modules.check()


@pytest.mark.parametrize("arch", ARCHES)
def test_every_step_can_be_gone_back_to_and_is_as_it_was(arch: str) -> None:
    timeline = Timeline(boot(rostedt_config(NAME, arch, online="0-2")))
    give_work(timeline, arch)
    end = timeline.step
    Rostedt(timeline.machine).check()
    at = {end: state_digest(timeline.machine)}
    for step in range(end - 1, -1, -41):
        timeline.seek(step)
        at[step] = state_digest(timeline.machine)
    for step in sorted(at):
        timeline.seek(step)
        assert state_digest(timeline.machine) == at[step], step
    Rostedt(timeline.machine).check()


@pytest.mark.parametrize("arch", ARCHES)
def test_another_machine_takes_the_state_over(arch: str) -> None:
    timeline = Timeline(boot(rostedt_config(NAME, arch, online="0-2")))
    give_work(timeline, arch)
    parts = dump_parts(timeline.machine)
    other = boot(rostedt_config(NAME, arch, online="0-2"))
    load_parts(other, parts)
    other.system.check_loaded()
    assert state_digest(other) == state_digest(timeline.machine)
    assert dump_parts(other)["system"] == parts["system"]
    Rostedt(other).check()


def test_an_unnoticed_change_is_found(modules: Rostedt) -> None:
    modules.load("m", 64)
    dump_parts(modules.machine)
    modules.system.tables.tables[modules.ptr_of("m")].size_bytes = 60
    with pytest.raises(InvariantBroken, match="without saying so"):
        check_cache(modules.machine)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"percpu_addr": 0xC0001000}, "bytes at"),
        ({"copy_bytes": 120}, "copies of 120"),
        ({"nr_pointers": 0}, "0 pointers"),
        ({"nr_pointers": 1 << 40, "nr_written": 1 << 40}, "pointers"),
        ({"nr_written": 7}, "1 pointers"),
        ({"table_addr": 0xC0001000}, "module m"),
        ({"size_bytes": 200}, "200 bytes"),
    ],
)
def test_a_strangers_state_is_looked_at(changed: dict[str, int], expected: str) -> None:
    modules = machine_of()
    modules.load("m", 100)
    made = modules.system.tables.tables[modules.ptr_of("m")]
    for key, value in changed.items():
        setattr(made, key, value)
    with pytest.raises(InvariantBroken, match=expected):
        modules.system.check_loaded()


def test_a_state_of_another_system_is_refused(modules: Rostedt) -> None:
    with pytest.raises(KernelBug, match="no part 'system'"):
        modules.system.load({}, {})
