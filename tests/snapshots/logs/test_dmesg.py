from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.errors import InputError
from snapshots.logs.dmesg import BootLog, MemoryRange, PercpuSetup, UnitGroup, parse_dmesg
from snapshots.logs.text_source import read_lines

GOLDEN = Path(__file__).parents[2] / "golden" / "ftrace"
EMBEDDED = "percpu: Embedded 62 pages/cpu s217088 r8192 d28672 u1048576"
NUMBERS = "setup_percpu: NR_CPUS:8192 nr_cpumask_bits:4 nr_cpu_ids:4 nr_node_ids:2"
SIZES = "pcpu-alloc: s217088 r8192 d28672 u1048576 alloc=1*2097152"
GROUPS = "pcpu-alloc: [0] 0 1 [1] 2 3 "


def parse(*lines: str) -> BootLog:
    return parse_dmesg([line + "\n" for line in lines], "dmesg.txt")


def golden(path: str) -> BootLog:
    return parse_dmesg(read_lines(GOLDEN / path), path)


def test_a_real_boot_of_two_nodes_is_read() -> None:
    log = golden("machine-smp4-2node/dmesg.txt.gz")
    assert (log.release, log.version) == ("6.1.0-56-amd64", "6.1")
    assert {"nokaslr", "no_hash_pointers", "trace_clock=global"} <= {*log.words}
    assert (log.nr_possible, log.nr_hotplug) == (4, 0)
    assert (log.nr_cpus, log.nr_cpu_ids, log.nr_node_ids) == (8192, 4, 2)
    assert log.setup == PercpuSetup("embed", 62, 217088, 8192, 28672, 1048576)
    assert log.atom_bytes == 2097152
    assert log.groups == (UnitGroup(0, (0, 1)), UnitGroup(1, (2, 3)))
    assert log.node_memory == {
        0: (MemoryRange(0x1000, 0x9EFFF), MemoryRange(0x100000, 0x3FFFFFFF)),
        1: (MemoryRange(0x40000000, 0x7FFDCFFF),),
    }
    assert log.node_data[1] == MemoryRange(0x7D6D5000, 0x7D6FFFFF)


def test_a_real_first_chunk_of_pages_is_read() -> None:
    log = golden("machine-page-4cpu/dmesg-percpu.txt.gz")
    assert log.setup == PercpuSetup("page", 58, 217088, 8192, 12288, None)
    assert log.atom_bytes == 4096
    assert log.groups == (UnitGroup(0, (0, 1, 2, 3)),)
    assert "percpu_alloc=page" in log.words
    assert (log.release, log.version) == (None, None)


@pytest.mark.parametrize(
    "prefix",
    [
        "", "<6>", "[    0.130000] ", "<6>[    0.130000] ", "[    0.130000][    T0] ",
        "Nov 21 06:29:00 host kernel: ", "Nov 21 06:29:00 host kernel: [    0.130000] ",
    ],
)  # fmt: skip
def test_any_prefix_will_do(prefix: str) -> None:
    log = parse(*(prefix + line for line in (EMBEDDED, NUMBERS, SIZES, GROUPS)))
    assert log.setup is not None
    assert (log.setup.unit_bytes, log.nr_cpu_ids, log.atom_bytes) == (1048576, 4, 2097152)
    assert len(log.groups) == 2


def test_units_that_no_cpu_uses_are_none() -> None:
    assert parse("pcpu-alloc: [0] 0 1 2 - ").groups == (UnitGroup(0, (0, 1, 2, None)),)


def test_padded_numbers_and_wrapped_lines_of_large_machines_are_read() -> None:
    log = parse(SIZES, "pcpu-alloc: [00] 00 01 [00] 02 -- ", "pcpu-alloc: [01] 10 11")
    assert log.groups == (UnitGroup(0, (0, 1, 2, None)), UnitGroup(1, (10, 11)))


def test_newer_kernels_count_present_and_hotplug_cpus_apart() -> None:
    log = parse("CPU topo: Allowing 2 present CPUs plus 6 hotplug CPUs")
    assert (log.nr_possible, log.nr_hotplug) == (8, 6)


def test_older_kernels_count_hotplug_cpus_among_all() -> None:
    log = parse("smpboot: Allowing 8 CPUs, 6 hotplug CPUs")
    assert (log.nr_possible, log.nr_hotplug) == (8, 6)


def test_older_kernels_name_the_base_address_too() -> None:
    log = parse("PERCPU: x", "percpu: Embedded 27 pages/cpu @ffff88003e200000 s1 r2 d3 u4")
    assert log.setup == PercpuSetup("embed", 27, 1, 2, 3, 4)


def test_the_last_boot_of_a_journal_counts() -> None:
    log = parse("Linux version 6.1.0 (x)", EMBEDDED, GROUPS, "Linux version 6.12.1 (x)", EMBEDDED)
    assert (log.version, log.groups) == ("6.12", ())


def test_a_version_alone_after_the_boot_does_not_hide_it() -> None:
    log = parse("Linux version 6.1.0 (x)", EMBEDDED, "Linux version 6.1.0 (x)")
    assert (log.version, log.setup is None) == ("6.1", False)


def test_a_log_pasted_twice_does_not_double_its_groups() -> None:
    assert parse(SIZES, GROUPS, SIZES, GROUPS).groups == parse(SIZES, GROUPS).groups


def test_lines_of_a_trace_say_nothing() -> None:
    log = parse("  a-1 [001] ..... 1.0: percpu_alloc_percpu: call_site=x reserved=0 size=4")
    assert log.is_empty


@pytest.mark.parametrize(
    "line",
    [
        "[    0.1] pcpu-alloc: [0] 0 x 1",
        "pcpu-alloc: 0 1",
        "setup_percpu: NR_CPUS:many",
        "percpu: Embedded 62 pages/cpu s217088 r8192",
        "  node   0: [mem 0x2000-0x1000]",
        "  node   0: [mem nonsense]",
        "smpboot: Allowing many CPUs, 0 hotplug CPUs",
    ],
)
def test_malformed_lines_are_named(line: str) -> None:
    with pytest.raises(InputError, match=r"^dmesg.txt: line 2: .*; expected an intact line$"):
        parse(EMBEDDED, line)


def test_a_missing_line_is_named_with_advice() -> None:
    text = str(parse().missing("pcpu-alloc: [0] 0 1", "boot with loglevel=8"))
    assert text == (
        "dmesg.txt: no line 'pcpu-alloc: [0] 0 1'; expected the kernel's messages from boot on: "
        "boot with loglevel=8"
    )


PIECES = st.sampled_from(
    [EMBEDDED, NUMBERS, SIZES, GROUPS, "Linux version ", "Command line: ", "Allowing 2 CPUs, ",
     "0 hotplug CPUs", "node   0: [mem 0x1000-0x2000]", "NODE_DATA(0) allocated ", "\n", "9" * 40,
     "pcpu-alloc: ", "[0]", " - ", "percpu: 58 4K pages/cpu s1 r2 d3"]
)  # fmt: skip


@given(text=st.text() | st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join))
def test_any_text_gives_a_boot_log_or_an_input_error(text: str) -> None:
    try:
        log = parse_dmesg(text.splitlines(keepends=True), "any")
    except InputError:
        return
    assert log.source == "any"
