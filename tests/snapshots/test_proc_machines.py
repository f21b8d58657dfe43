"""The simulated kernel's own files: our readers read them back, and they say what real ones say."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.errors import NotThisSystem
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.proc.boot_memory import BootMemory, boot_memory_rows
from kernel_sim.proc.catalogue import LISTINGS
from kernel_sim.proc.figures import value_of
from kernel_sim.proc.meminfo import MeminfoRow, meminfo_rows
from kernel_sim.proc.zoneinfo import ZoneRow, zoneinfo_rows
from snapshots.logs.machine_folder import read_machine_folder
from snapshots.logs.real_machine import machine_mapping
from snapshots.logs.replay import replay_path
from snapshots.opening import read_config
from snapshots.proc.boot_memory import parse_boot_memory
from snapshots.proc.buddyinfo import parse_buddyinfo
from snapshots.proc.iomem import parse_iomem
from snapshots.proc.kallsyms import parse_kallsyms_rows
from snapshots.proc.meminfo import parse_meminfo
from snapshots.proc.modules import parse_modules
from snapshots.proc.pagetypeinfo import parse_pagetypeinfo
from snapshots.proc.percpu_stats import parse_percpu_stats
from snapshots.proc.vmallocinfo import parse_vmallocinfo
from snapshots.proc.zoneinfo import parse_zoneinfo
from snapshots.timeline import Timeline

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
ALL_RUNS = ROOT.parent / "shared/golden"
PARSERS: dict[str, Callable[[str, str], Any]] = {
    "buddyinfo": parse_buddyinfo,
    "zoneinfo": parse_zoneinfo,
    "pagetypeinfo": parse_pagetypeinfo,
    "vmallocinfo": parse_vmallocinfo,
    "meminfo": parse_meminfo,
    "modules": parse_modules,
    "kallsyms": parse_kallsyms_rows,
    "iomem": parse_iomem,
    "percpu_stats": parse_percpu_stats,
    "boot_memory": parse_boot_memory,
}
MACHINES = sorted(path.stem for path in (ROOT / "examples/machines").glob("*.toml"))
OF_BITMAP = "percpu_stats"  # debugfs had it since 4.13
HUGE = "numa64-4096cpu"  # seconds of text
MACHINES_SHORT = [name for name in MACHINES if name != HUGE]
PREDICTED = (
    "formats-2cpu",
    "up1",
    "nr_cpus3-of-8",
    "pcpu-page-4cpu",
    "smp4-2node",
    "smp8-4node-dist",
)
WORK_BEGINS, WORK_ENDS = "workload begin", "workload end"


def example(name: str) -> Machine:
    path = ROOT / "examples/machines" / f"{name}.toml"
    return boot(read_config(path))


def read(path: Path) -> str:
    if path.exists():
        return path.read_text()
    return gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes()).decode()


def check_read_back(machine: Machine) -> None:
    for name, listing in LISTINGS.items():
        if machine.bitmap is None and name == OF_BITMAP:
            with pytest.raises(NotThisSystem, match=machine.system.name):
                listing.rows(machine)
            continue
        rows = listing.rows(machine)
        text = listing.text(rows)
        assert PARSERS[name](text, name) == rows, name


def test_every_listing_has_a_reader() -> None:
    assert list(PARSERS) == list(LISTINGS)


@pytest.mark.parametrize("name", MACHINES_SHORT)
def test_our_files_are_read_back(name: str) -> None:
    check_read_back(example(name))


@pytest.mark.slow
def test_our_files_are_read_back_on_a_huge_machine() -> None:
    check_read_back(example(HUGE))


def test_our_files_are_read_back_after_work() -> None:
    machine = example("numa2-4cpu")
    for number in range(60):
        call = machine.give(number % 4, "pcpu_alloc", (2048, 8, False, GFP_KERNEL, "f+0x1"))
        machine.run_call(call)
    machine.run(machine.step + 1_000_000)
    assert len(machine.percpu.chunks) > 2
    start = machine.vmalloc.alloc_area(4096, 4096, "vmalloc", nr_pages=1)
    machine.vmalloc.alloc_area(4096, 4096, "ioremap", kind="ioremap", phys=0xFED00000)
    assert start is not None
    machine.vmalloc.free_vm_areas((machine.vmalloc.areas[-1].start,))
    check_read_back(machine)


@pytest.mark.parametrize("levels", [2, 3])
def test_files_of_a_32_bit_kernel_are_read_back(levels: int) -> None:
    mapping: dict[str, object] = {
        "name": "i386",
        "kernel": {"arch": "i386", "page_table_levels": levels},
        "cpus": {"possible": "0-1"},
        "node": [{"memory_mib": 1024}],
        "percpu": {"static_bytes": 40000, "reserved_bytes": 0, "atom_bytes": 4096},
    }
    machine = boot(MachineConfig.from_mapping(mapping, where="i386"))
    check_read_back(machine)
    found = {row.name: row.value for row in meminfo_rows(machine)}
    assert found["HighTotal"] == 128 << 10
    assert found["LowTotal"] + found["HighTotal"] == found["MemTotal"]
    large = "DirectMap4M" if levels == 2 else "DirectMap2M"
    assert found[large] + found["DirectMap4k"] == 896 << 10
    summary = boot_memory_rows(machine).summary
    assert summary is not None
    assert summary.highmem == 128 << 10
    assert [row.zone for row in zoneinfo_rows(machine)] == ["DMA", "Normal", "HighMem", "Movable"]


def by_zone(rows: tuple[ZoneRow, ...]) -> dict[tuple[int, str], ZoneRow]:
    return {(row.node, row.zone): row for row in rows}


@pytest.mark.parametrize(
    "name",
    [
        "kernel-6.1/smp4-2node",
        "kernel-6.1/smp8-4node-dist",
        "kernel-6.1/up1",
        "kernel-6.12/k612-smp2-1node",
    ],
)
def test_a_machine_like_the_real_one_has_its_zones(name: str) -> None:
    """Sizes, places, pagesets and thresholds are the real ones; what is free or reserved is not."""
    run = GOLDEN / name
    config = MachineConfig.from_mapping(machine_mapping(read_machine_folder(run)), where=name)
    ours = by_zone(zoneinfo_rows(boot(config)))
    real = by_zone(parse_zoneinfo(read(run / "before/zoneinfo"), name))
    assert list(ours) == list(real)
    for key, row in real.items():
        mine = ours[key]
        assert [figure.name for figure in mine.sizes] == [figure.name for figure in row.sizes]
        assert [f.name for f in mine.node_counters] == [f.name for f in row.node_counters]
        for size in ("spanned", "present"):
            assert value_of(mine.sizes, size) == value_of(row.sizes, size), (key, size)
        assert (mine.population is None) == (row.population is None)
        if mine.population is not None and row.population is not None:
            assert mine.population.start_pfn == row.population.start_pfn
            names = [figure.name for figure in row.population.counters]
            assert [figure.name for figure in mine.population.counters] == names
            for one, other in zip(mine.population.pagesets, row.population.pagesets, strict=True):
                assert (one.cpu, one.threshold) == (other.cpu, other.threshold)


def boot_rows(run: Path) -> BootMemory:
    mapping = machine_mapping(read_machine_folder(run))
    return boot_memory_rows(boot(MachineConfig.from_mapping(mapping, where=run.name)))


@pytest.mark.parametrize("name", ["smp4-2node", "smp8-4node-dist", "up1"])
def test_a_machine_like_the_real_one_prints_its_boot_lines(name: str) -> None:
    """The recorded log here is a part of the whole: all that it has is ours too."""
    run = GOLDEN / "kernel-6.1" / name
    ours = boot_rows(run)
    real = parse_boot_memory(read(run / "dmesg-percpu.txt"), name)
    assert ours.node_ranges == real.node_ranges
    assert real.zones
    for mine, theirs in (
        (ours.zones, real.zones),
        (ours.node_spans, real.node_spans),
        (ours.unavailable, real.unavailable),
    ):
        assert [row for row in mine if row in theirs] == list(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PREDICTED, "smp2-1node"])
def test_all_boot_lines_about_zones_are_the_real_ones(name: str) -> None:
    run = ALL_RUNS / "kernel-6.1" / name
    if not run.is_dir():
        pytest.skip("the folder with all recorded machines is not beside the project")
    ours = boot_rows(run)
    real = parse_boot_memory(read(run / "dmesg.txt"), name)
    assert ours.zones == real.zones
    assert ours.node_ranges == real.node_ranges
    assert ours.node_spans == real.node_spans
    assert ours.unavailable == real.unavailable


@pytest.mark.parametrize("name", ["kernel-6.1/smp4-2node", "kernel-6.12/k612-smp2-1node"])
def test_meminfo_has_the_lines_of_the_real_kernel(name: str) -> None:
    run = GOLDEN / name
    mapping = machine_mapping(read_machine_folder(run))
    ours = meminfo_rows(boot(MachineConfig.from_mapping(mapping, where=name)))
    real = parse_meminfo(read(run / "before/meminfo"), name)
    assert [(row.name, row.unit) for row in ours] == [(row.name, row.unit) for row in real]
    for exact in ("VmallocTotal", "Hugepagesize"):
        assert [r.value for r in ours if r.name == exact] == [
            r.value for r in real if r.name == exact
        ]


def percpu_of(rows: tuple[MeminfoRow, ...]) -> int:
    return next(row.value for row in rows if row.name == "Percpu")


def real_percpu_kb(run: Path) -> tuple[int, int]:
    before, after = (
        percpu_of(parse_meminfo(read(run / when / "meminfo"), "f")) for when in ("before", "after")
    )
    return before, after


@pytest.mark.parametrize("name", PREDICTED)
def test_the_percpu_line_is_pages_of_all_units(name: str) -> None:
    """What a real kernel's counters said at the same moments gives the line of its meminfo."""
    run = GOLDEN / "kernel-6.1" / name
    said: dict[str, int] = {}
    for line in read(run / "states.jsonl").splitlines():
        state = json.loads(line)
        said[state["label"]] = state["pcpu_nr_populated"] * state["pcpu_nr_units"] * 4
    assert (said[f"marker: {WORK_BEGINS}"], list(said.values())[-1]) == real_percpu_kb(run)


def step_of_marker(run: Path, timeline: Timeline, text: str) -> int:
    """Return the step before the first line behind a marker."""
    log = read_machine_folder(run).trace()
    line_no = next(marker.line_no for marker in log.markers if marker.text.strip() == text)
    for index in range(timeline.inputs_before(1 << 60)):
        given = timeline.input_at(index)
        if given.line > line_no:
            return given.step
    return timeline.step


def check_replayed_percpu(run: Path) -> None:
    """The replayed machine says what the real one said before and after its workload."""
    timeline = replay_path(run).timeline
    assert timeline is not None
    before, after = real_percpu_kb(run)
    assert percpu_of(meminfo_rows(timeline.machine)) == after
    timeline.seek(step_of_marker(run, timeline, WORK_BEGINS))
    assert percpu_of(meminfo_rows(timeline.machine)) == before


def test_a_replayed_machine_has_the_real_percpu_line() -> None:
    check_replayed_percpu(GOLDEN / "kernel-6.1/formats-2cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PREDICTED if name != "formats-2cpu"])
def test_every_replayed_machine_has_the_real_percpu_line(name: str) -> None:
    check_replayed_percpu(GOLDEN / "kernel-6.1" / name)


@pytest.mark.slow
def test_a_replayed_machine_of_the_newer_kernel_has_the_real_percpu_line() -> None:
    check_replayed_percpu(GOLDEN / "kernel-6.12/k612-smp2-1node")


@pytest.mark.slow
def test_the_largest_log_gives_the_real_percpu_line() -> None:
    run = ALL_RUNS / "kernel-6.1/smp2-1node"
    if not run.is_dir():
        pytest.skip("the folder with all recorded machines is not beside the project")
    check_replayed_percpu(run)
