from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_sim.config import MachineConfig
from snapshots.errors import InputError
from snapshots.logs.dmesg import BootLog, UnitGroup
from snapshots.logs.machine_folder import RealMachine
from snapshots.logs.real_machine import (
    _levels,
    _with_groups_apart,
    machine_mapping,
    read_machine_folder,
)
from snapshots.logs.text_source import read_text
from snapshots.proc.files import CpuLists

GOLDEN = Path(__file__).parents[2] / "golden" / "ftrace"
NUMA, PAGE = GOLDEN / "machine-smp4-2node", GOLDEN / "machine-page-4cpu"
RECORDED = Path(__file__).parents[4] / "shared" / "golden"
Change = Callable[[Path], None]


def changed(folder: Path, source: Path, *changes: Change) -> Path:
    copy = folder / "copy"
    shutil.copytree(source, copy)
    for change in changes:
        change(copy)
    return copy


def drop(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def replace(name: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        text = read_text(folder / name)
        assert old in text
        (folder / name).write_bytes(gzip.compress(text.replace(old, new).encode()))

    return change


def refusal(folder: Path, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        machine_mapping(read_machine_folder(folder), **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_machine_of_two_nodes_becomes_a_mapping() -> None:
    mapping = machine_mapping(read_machine_folder(NUMA))
    symbols = mapping.pop("symbols")
    assert mapping == {
        "name": "machine-smp4-2node",
        "kernel": {"version": "6.1", "nr_cpus": 8192, "page_table_levels": 4},
        "cpus": {"possible": "0-3", "present": "0-3", "online": "0-3"},
        "node": [
            {"cpus": "0-1", "memory": ["0x1000-0x9efff", "0x100000-0x3fffffff"]},
            {"cpus": "2-3", "memory": ["0x40000000-0x7ffdcfff"]},
        ],
        "numa": {"distances": [[10, 20], [20, 10]]},
        "percpu": {
            "system": "bitmap",
            "backend": "vm",
            "first_chunk": "embed",
            "static_bytes": 217088,
            "reserved_bytes": 8192,
            "dynamic_bytes": 28672,
            "atom_bytes": 2097152,
            "group_phys": ["0x3ec00000", "0x7c400000"],
        },
        "work": {"mode": "scripted"},
        "memory": {
            "map": [
                "0x0-0x9fbff System RAM", "0x9fc00-0x9ffff Reserved", "0xf0000-0xfffff Reserved",
                "0x100000-0x7ffdcfff System RAM", "0x7ffdd000-0x7fffffff Reserved",
                "0xfffc0000-0xffffffff Reserved", "0xfd00000000-0xffffffffff Reserved",
            ]
        },
        "tlb": {"profile": "none"},
    }  # fmt: skip
    assert isinstance(symbols, dict)
    assert symbols["__per_cpu_offset"] == "0xffffffff8241cb60"
    assert symbols["cpu_tss_rw"] == "0x6000"


def test_a_first_chunk_of_pages_asks_for_no_dynamic_part() -> None:
    percpu = machine_mapping(read_machine_folder(PAGE))["percpu"]
    assert percpu == {
        "system": "bitmap",
        "backend": "vm",
        "first_chunk": "page",
        "static_bytes": 217088,
        "reserved_bytes": 8192,
        "dynamic_bytes": 0,
        "atom_bytes": 4096,
    }


@pytest.mark.parametrize("folder", [NUMA, PAGE], ids=lambda folder: folder.name)
def test_the_mapping_is_a_machine_that_can_be(folder: Path) -> None:
    mapping = machine_mapping(read_machine_folder(folder))
    config = MachineConfig.from_mapping(mapping, where=str(folder))
    assert config.cpus.possible == (0, 1, 2, 3)
    assert config.work_mode == "scripted"


def test_the_unit_layout_of_the_mapping_is_that_of_the_real_machine() -> None:
    real = read_machine_folder(NUMA)
    assert real.boot is not None
    info = MachineConfig.from_mapping(machine_mapping(real), where="x").alloc_info()
    assert [group.cpu_map for group in info.groups] == [group.cpus for group in real.boot.groups]


def test_without_sysfs_the_groups_of_units_tell_the_nodes(tmp_path: Path) -> None:
    folder = changed(tmp_path, NUMA, drop("sys/cpu"), drop("sys/nodes"))
    mapping = machine_mapping(read_machine_folder(folder))
    expected = machine_mapping(read_machine_folder(NUMA))
    assert mapping["node"] == expected["node"]
    assert mapping["cpus"] == expected["cpus"]
    assert "numa" not in mapping


def test_a_cpu_that_is_offline_sits_with_its_group(tmp_path: Path) -> None:
    folder = changed(tmp_path, NUMA, replace("sys/nodes", "cpulist 2-3", "cpulist 2"))
    assert (
        machine_mapping(read_machine_folder(folder))["node"]
        == (machine_mapping(read_machine_folder(NUMA))["node"])
    )


def test_hotplug_cpus_are_possible_only(tmp_path: Path) -> None:
    folder = changed(
        tmp_path, PAGE, drop("sys/cpu"),
        replace("dmesg-percpu.txt.gz", "Allowing 4 CPUs, 0", "Allowing 4 CPUs, 3"),
    )  # fmt: skip
    assert machine_mapping(read_machine_folder(folder))["cpus"] == {
        "possible": "0-3", "present": "0", "online": "0",
    }  # fmt: skip


def test_without_states_the_place_of_the_groups_is_left_open(tmp_path: Path) -> None:
    folder = changed(tmp_path, NUMA, drop("states.jsonl.gz"))
    percpu = machine_mapping(read_machine_folder(folder))["percpu"]
    assert isinstance(percpu, dict)
    assert "group_phys" not in percpu


def test_a_trace_tells_the_place_of_a_single_group(tmp_path: Path) -> None:
    folder = changed(
        tmp_path, NUMA, drop("states.jsonl.gz"), drop("sys/nodes"),
        replace("dmesg.txt.gz", "node   1:", "node   0:"),
        replace("dmesg.txt.gz", "[0] 0 1 [1] 2 3", "[0] 0 1 2 3"),
    )  # fmt: skip
    real = read_machine_folder(folder)
    percpu = machine_mapping(real, pcpu_base_addr=0xFFFF88803EC00000)["percpu"]
    assert isinstance(percpu, dict)
    assert percpu["group_phys"] == ["0x3ec00000"]


def test_a_moved_kernel_gives_no_addresses_of_its_own(tmp_path: Path) -> None:
    moved = replace("kallsyms-pcpu-vars.gz", "ffffffff81000000", "ffffffff90c00000")
    symbols = machine_mapping(read_machine_folder(changed(tmp_path, NUMA, moved)))["symbols"]
    assert isinstance(symbols, dict)
    assert "__per_cpu_offset" not in symbols
    assert "cpu_tss_rw" in symbols


def test_sizes_that_were_asked_otherwise_are_taken_as_printed(tmp_path: Path) -> None:
    folder = changed(tmp_path, NUMA, replace("dmesg.txt.gz", "d28672", "d40960"))
    percpu = machine_mapping(read_machine_folder(folder))["percpu"]
    assert isinstance(percpu, dict)
    assert percpu["dynamic_bytes"] == 40960


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (replace("dmesg.txt.gz", "percpu: Embedded", "x"), "no line 'percpu: Embedded"),
        (replace("dmesg.txt.gz", "setup_percpu:", "x"), "no line 'setup_percpu: NR_CPUS"),
        (replace("dmesg.txt.gz", ": [mem", "x"), r"no line '  node   0: [mem"),
        (drop("dmesg.txt.gz"), "no kernel log; expected dmesg.txt"),
        (replace("version", "6.1.0", "5.10.0"), "kernel 5.10.0-56-amd64; expected 6.1 or 6.12"),
        (replace("sys/nodes", "node1", "x"), "memory on nodes [0, 1], and 1 nodes in sys/nodes"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, change: Change, missing: str) -> None:
    assert missing in refusal(changed(tmp_path, NUMA, change))


def test_cpus_without_a_node_are_named(tmp_path: Path) -> None:
    folder = changed(
        tmp_path, NUMA, drop("sys/nodes"), replace("dmesg.txt.gz", "[0] 0 1 [1] 2 3", "[0] 0 1")
    )
    assert "CPU 0-3 is on no node; expected sys/nodes" in refusal(folder)


def test_another_kernel_can_be_taken_for_a_known_one(tmp_path: Path) -> None:
    folder = changed(tmp_path, NUMA, replace("version", "6.1.0", "6.6.0"))
    mapping = machine_mapping(read_machine_folder(folder), version="6.12")
    assert mapping["kernel"] == {"version": "6.12", "nr_cpus": 8192, "page_table_levels": 4}


@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.is_dir(), reason="the full recordings are not here")
@pytest.mark.parametrize(
    "path", sorted(RECORDED.glob("kernel-*/*/dmesg.txt.gz")), ids=lambda path: path.parent.name
)
def test_every_recorded_machine_can_be(path: Path) -> None:
    real = read_machine_folder(path.parent)
    config = MachineConfig.from_mapping(machine_mapping(real), where=str(path))
    assert real.boot is not None
    info = config.alloc_info()
    assert sum(len(group.cpus) for group in real.boot.groups) == info.nr_units


def test_cpus_that_are_only_possible_get_the_group_that_the_kernel_gave_them() -> None:
    node_of = _with_groups_apart(
        {0: 0, 1: 0, 2: 0, 3: 0},
        BootLog("dmesg", groups=(UnitGroup(0, (0, 1)), UnitGroup(1, (2, 3)))),
        CpuLists(possible=(0, 1, 2, 3), present=(0, 1), online=(0, 1)),
        1,
    )
    assert node_of == {0: 0, 1: 0, 2: 1, 3: 1}


def test_addresses_of_a_five_level_kernel_are_recognised() -> None:
    real = RealMachine(
        folder=Path("x"), boot=None, release=None, command_line=None, cpus=None, nodes=(),
        percpu_symbols={}, kernel_symbols={}, trace_stats=(), trace_path=None, early_path=None,
        states_path=None,
    )  # fmt: skip
    assert _levels(real, 0xFF1100003EC00000) == 5
    assert _levels(real, 0xFFFF88803EC00000) == 4
