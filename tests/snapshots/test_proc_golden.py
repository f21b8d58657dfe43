"""Real kernels' files, read and printed again: the same text, byte for byte; and rubbish is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_sim.proc.boot_memory import boot_memory_text
from kernel_sim.proc.buddyinfo import buddyinfo_text
from kernel_sim.proc.iomem import iomem_text
from kernel_sim.proc.kallsyms import kallsyms_text
from kernel_sim.proc.meminfo import meminfo_text
from kernel_sim.proc.modules import modules_text
from kernel_sim.proc.pagetypeinfo import pagetypeinfo_text
from kernel_sim.proc.vmallocinfo import vmallocinfo_text
from kernel_sim.proc.zoneinfo import zoneinfo_text
from snapshots.errors import InputError
from snapshots.proc.boot_memory import parse_boot_memory
from snapshots.proc.buddyinfo import parse_buddyinfo
from snapshots.proc.iomem import parse_iomem
from snapshots.proc.kallsyms import parse_kallsyms_rows
from snapshots.proc.meminfo import parse_meminfo
from snapshots.proc.modules import parse_modules
from snapshots.proc.pagetypeinfo import parse_pagetypeinfo
from snapshots.proc.vmallocinfo import parse_vmallocinfo
from snapshots.proc.zoneinfo import parse_zoneinfo

HERE = Path(__file__).parents[1] / "golden"
ALL_RUNS = Path(__file__).parents[3] / "shared/golden"
KERNELS = ("kernel-6.1", "kernel-6.12")
STATE_FOLDERS = ("before", "after")
EVERY_FILE = ("buddyinfo", "zoneinfo", "pagetypeinfo", "vmallocinfo", "meminfo", "modules", "iomem")


class Format(NamedTuple):
    parse: Callable[[str, str], Any]
    text: Callable[[Any], str]


FORMATS = {
    "buddyinfo": Format(parse_buddyinfo, buddyinfo_text),
    "zoneinfo": Format(parse_zoneinfo, zoneinfo_text),
    "pagetypeinfo": Format(parse_pagetypeinfo, pagetypeinfo_text),
    "vmallocinfo": Format(parse_vmallocinfo, vmallocinfo_text),
    "meminfo": Format(parse_meminfo, meminfo_text),
    "modules": Format(parse_modules, modules_text),
    "iomem": Format(parse_iomem, iomem_text),
    "kallsyms": Format(parse_kallsyms_rows, kallsyms_text),
}


def read(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def runs(root: Path) -> list[Path]:
    return [run for kernel in KERNELS for run in sorted((root / kernel).glob("*")) if run.is_dir()]


def files(run: Path) -> list[tuple[str, Path]]:
    """Return format and path of every file of a run that one of our parsers reads."""
    found: list[tuple[str, Path]] = []
    for path in sorted(run.rglob("*")):
        stem = path.name.removesuffix(".gz")
        if path.parent.name in STATE_FOLDERS and stem in FORMATS:
            found.append((stem, path))
        elif stem.startswith("modules-loaded-"):
            found.append(("modules", path))
        elif stem.startswith("kallsyms-"):
            found.append(("kallsyms", path))
    return found


def check_run(run: Path) -> None:
    for name, path in files(run):
        text = read(path)
        rows = FORMATS[name].parse(text, str(path))
        assert rows or not text, path
        assert FORMATS[name].text(rows) == text, path


@pytest.mark.parametrize("run", runs(HERE), ids=lambda run: run.name)
def test_every_real_file_is_printed_as_it_was_read(run: Path) -> None:
    check_run(run)


@pytest.mark.slow
@pytest.mark.parametrize("run", runs(ALL_RUNS), ids=lambda run: run.name)
def test_every_real_file_of_all_machines(run: Path) -> None:
    check_run(run)


def test_every_format_of_both_kernels_is_there() -> None:
    for kernel in KERNELS:
        kinds = {name for run in (HERE / kernel).glob("*") for name, _ in files(run)}
        assert set(EVERY_FILE) | {"kallsyms"} <= kinds


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_lines_about_memory_stand_in_the_real_log(kernel: str) -> None:
    logs = sorted((HERE / kernel).glob("*/dmesg-percpu.txt"))
    assert logs
    for path in logs:
        check_log(path)


@pytest.mark.slow
@pytest.mark.parametrize("run", runs(ALL_RUNS), ids=lambda run: run.name)
def test_the_lines_about_memory_stand_in_every_real_log(run: Path) -> None:
    check_log(run / "dmesg.txt.gz")


def check_log(path: Path) -> None:
    """Every line that we print is one of the log's, in the log's order, and none is left out."""
    text = read(path)
    rows = parse_boot_memory(text, str(path))
    real = [line.split("] ", 1)[1] for line in text.splitlines() if "] " in line]
    ours = [line for line in boot_memory_text(rows).splitlines() if line in real]
    places = [real.index(line) for line in ours]
    assert places == sorted(places), path
    headings = ("BIOS-provided physical", "Zone ranges:", "Movable zone start", "Early memory node")
    extra = [line for line in boot_memory_text(rows).splitlines() if line not in real]
    assert all(line.startswith(headings) for line in extra), path
    wanted = ("BIOS-e820:", "  node ", "Initmem setup", "On node", "Memory: ")
    assert [line for line in ours if line.startswith(wanted)] == [
        line for line in real if line.startswith(wanted)
    ], path


def sample(name: str) -> str:
    if name == "kallsyms":
        return read(HERE / "kernel-6.1/smp4-2node/kallsyms-pcpu-vars")[:2000]
    path = HERE / "kernel-6.1/smp4-2node/after" / name
    text = read(path if path.exists() else path.with_name(f"{name}.gz"))
    return text if name in ("pagetypeinfo", "zoneinfo") else text[:4000].rsplit("\n", 1)[0] + "\n"


SAMPLES = {name: sample(name) for name in FORMATS}
PIECES = st.sampled_from(
    ["", " ", "\n", "\n\n", "0", "-", "9" * 25, "x", "é", "\x00", "Node 0", "N0=1", "0x", ",", "("]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_rubbish_is_read_or_refused_with_its_place(name: str, data: st.DataObject) -> None:
    text = SAMPLES[name]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(start + 80, len(text))))
        text = text[:start] + data.draw(PIECES) + text[end:]
    try:
        rows = FORMATS[name].parse(text, "f")
    except InputError as error:
        assert str(error).startswith("f: ")
        assert len(str(error)) < 400
    else:
        again = FORMATS[name].text(rows)
        assert FORMATS[name].parse(again, "f") == rows


@given(text=st.text(max_size=200))
@pytest.mark.parametrize("name", FORMATS)
def test_any_text_is_read_or_refused(name: str, text: str) -> None:
    try:
        FORMATS[name].parse(text, "f")
    except InputError as error:
        assert str(error).startswith("f: ")
