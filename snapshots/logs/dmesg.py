"""What the kernel said about its per-CPU memory when it booted.

    Linux version 6.1.0-56-amd64 …                               release
    Command line: … nokaslr no_hash_pointers                     command_line
    smpboot: Allowing 4 CPUs, 0 hotplug CPUs                     nr_possible, nr_hotplug
      node   0: [mem 0x0000000000001000-0x000000000009efff]      node_memory
    setup_percpu: NR_CPUS:8192 … nr_cpu_ids:4 nr_node_ids:2      nr_cpus, nr_cpu_ids, nr_node_ids
    percpu: Embedded 62 pages/cpu s217088 r8192 d28672 u1048576  setup (or "58 4K pages/cpu …")
    pcpu-alloc: s217088 … alloc=1*2097152                        atom_bytes; with loglevel 8 only
    pcpu-alloc: [0] 0 1 [1] 2 3                                  groups of units

The lines are found wherever they stand: with or without time stamps, levels or a log daemon's
prefix, and also above a trace in the same file. In a journal of several boots the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from snapshots.errors import InputError
from snapshots.logs.trace_line import excerpt

LINE_CHARS_MAX = 8192
MEMORY_RANGES_MAX = 4096
UNITS_MAX = 1 << 16

N = "([0-9]{1,18})"
RANGE = r"\[mem 0x([0-9a-f]{1,16})-0x([0-9a-f]{1,16})\]"
OF_INTEREST = re.compile(
    r"Linux version |ommand line: |hotplug CPUs|node +[0-9]+: \[mem|NODE_DATA\("
    r"|setup_percpu: |\bpercpu: .{0,60}pages/cpu|pcpu-alloc: |BIOS-e820: "
)
VERSION = re.compile(r"Linux version (\S+)")
COMMAND_LINE = re.compile(r"ommand line: (.*)")
ALLOWING = re.compile(f"Allowing {N} (?:CPUs,|present CPUs plus) {N} hotplug CPUs")
NODE_MEMORY = re.compile("node +([0-9]{1,5}): " + RANGE)
FIRMWARE = re.compile("BIOS-e820: " + RANGE + " ([ -~]{1,64}?)\\s*$")
NODE_DATA = re.compile(r"NODE_DATA\(([0-9]{1,5})\) allocated " + RANGE)
SETUP = re.compile(f"setup_percpu: NR_CPUS:{N} nr_cpumask_bits:{N} nr_cpu_ids:{N} nr_node_ids:{N}")
AT = r"(?:@\S+ )?"  # old kernels named the base address here
EMBEDDED = re.compile(rf"\bpercpu: Embedded {N} pages/cpu {AT}s{N} r{N} d{N} u{N}")
BY_PAGES = re.compile(rf"\bpercpu: {N} \S+ pages/cpu {AT}s{N} r{N} d{N}")
ALLOC_SIZES = re.compile(rf"pcpu-alloc: s{N} r{N} d{N} u{N} alloc={N}\*{N}")
ALLOC_GROUPS = re.compile(r"pcpu-alloc: (\[.*)")
GROUP = re.compile(r"\[([0-9]{1,5})\]")
UNIT = re.compile("[0-9]{1,5}|-+")


class MemoryRange(NamedTuple):
    """Physical memory from its first to its last byte."""

    start: int
    last: int


class UnitGroup(NamedTuple):
    """A group of units: the CPU of each, None for a unit that no CPU uses."""

    number: int
    cpus: tuple[int | None, ...]


class PercpuSetup(NamedTuple):
    """The sizes of a unit in the first chunk, in bytes, as they came out."""

    first_chunk: Literal["embed", "page"]
    pages_per_cpu: int
    static_bytes: int
    reserved_bytes: int
    dynamic_bytes: int
    unit_bytes: int | None  # not on the "page" line


@dataclass(slots=True)
class BootLog:
    """What was found; None or empty where the line is missing."""

    source: str
    release: str | None = None
    command_line: str | None = None
    nr_possible: int | None = None  # those that can be plugged in later included
    nr_hotplug: int | None = None
    nr_cpus: int | None = None  # as built
    nr_cpu_ids: int | None = None
    nr_node_ids: int | None = None
    setup: PercpuSetup | None = None
    atom_bytes: int | None = None
    groups: tuple[UnitGroup, ...] = ()
    node_memory: dict[int, tuple[MemoryRange, ...]] = field(default_factory=dict)
    node_data: dict[int, MemoryRange] = field(default_factory=dict)
    firmware: tuple[tuple[MemoryRange, str], ...] = ()  # usable, reserved, ACPI data …

    @property
    def version(self) -> str | None:
        """The first two numbers of the release: "6.1"."""
        found = re.match(r"[0-9]+\.[0-9]+", self.release or "")
        return found[0] if found else None

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the command line, as "nokaslr" or "percpu_alloc=page"."""
        return tuple((self.command_line or "").split())

    @property
    def is_empty(self) -> bool:
        """Say whether nothing about per-CPU memory was found."""
        return self.setup is None and self.nr_cpus is None and not self.groups

    def missing(self, line: str, advice: str = "") -> InputError:
        """Return the error to raise about a line that is needed and not there."""
        return InputError(
            f"{self.source}: no line {line!r}; expected the kernel's messages from boot on"
            + (f": {advice}" if advice else "")
        )


def parse_dmesg(lines: Iterable[str], source: str) -> BootLog:
    """Return what a kernel log says about per-CPU memory; source names it in messages.

    Raises: InputError if a line of interest is malformed.
    """
    log = complete = BootLog(source)
    for line_no, line in enumerate(lines, 1):
        if len(line) > LINE_CHARS_MAX:
            line = line[:LINE_CHARS_MAX]
        found = OF_INTEREST.search(line)
        if found is None:
            continue
        if found[0] == "Linux version " and not log.is_empty:
            log, complete = BootLog(source), log  # a later boot, or only somebody's /proc/version
        reader = READERS[_kind_of(found[0])]
        if not reader(log, line):
            raise InputError(
                f"{source}: line {line_no}: {excerpt(line, found.start())} is not as the kernel "
                "prints it; expected an intact line"
            )
    return complete if log.is_empty and not complete.is_empty else log


def _kind_of(text: str) -> str:
    return next(kind for kind in READERS if kind in text)


def _read_version(log: BootLog, line: str) -> bool:
    found = VERSION.search(line)
    log.release = found[1] if found else None
    return found is not None


def _read_command_line(log: BootLog, line: str) -> bool:
    found = COMMAND_LINE.search(line)
    if found and log.command_line is None:
        log.command_line = found[1].strip()
    return found is not None


def _read_allowing(log: BootLog, line: str) -> bool:
    found = ALLOWING.search(line)
    if found is None:
        return "Allowing" not in line
    first, log.nr_hotplug = int(found[1]), int(found[2])
    # Up to 6.8 the first number was all that are possible; now it is those that are there.
    log.nr_possible = first + log.nr_hotplug if "present" in found[0] else first
    return True


def _read_node_memory(log: BootLog, line: str) -> bool:
    found = NODE_MEMORY.search(line)
    if found is None:
        return False
    node, memory = int(found[1]), MemoryRange(int(found[2], 16), int(found[3], 16))
    known = log.node_memory.get(node, ())
    if memory not in known:
        log.node_memory[node] = (*known, memory)
    return memory.start <= memory.last and len(known) < MEMORY_RANGES_MAX


def _read_firmware(log: BootLog, line: str) -> bool:
    found = FIRMWARE.search(line)
    if found is None:
        return False
    row = (MemoryRange(int(found[1], 16), int(found[2], 16)), found[3])
    log.firmware = (*log.firmware, row)
    return len(log.firmware) <= MEMORY_RANGES_MAX


def _read_node_data(log: BootLog, line: str) -> bool:
    found = NODE_DATA.search(line)
    if found:
        log.node_data[int(found[1])] = MemoryRange(int(found[2], 16), int(found[3], 16))
    return True  # "NODE_DATA(1) on node 0" and other variants say nothing more


def _read_setup(log: BootLog, line: str) -> bool:
    found = SETUP.search(line)
    if found is None:
        return False
    log.nr_cpus, log.nr_cpu_ids, log.nr_node_ids = (int(found[n]) for n in (1, 3, 4))
    return True


def _read_percpu(log: BootLog, line: str) -> bool:
    if found := EMBEDDED.search(line):
        pages, static, reserved, dynamic, unit = map(int, found.groups())
        log.setup = PercpuSetup("embed", pages, static, reserved, dynamic, unit)
    elif found := BY_PAGES.search(line):
        pages, static, reserved, dynamic = map(int, found.groups())
        log.setup = PercpuSetup("page", pages, static, reserved, dynamic, None)
    return found is not None


def _read_alloc(log: BootLog, line: str) -> bool:
    if found := ALLOC_SIZES.search(line):
        log.atom_bytes, log.groups = int(found[6]), ()  # the groups follow
        return True
    found = ALLOC_GROUPS.search(line)
    return found is not None and _read_groups(log, found[1].split())


def _read_groups(log: BootLog, tokens: list[str]) -> bool:
    """Add the units of "[0] 0 1 [1] 2 -"; a group goes on where its number stands again."""
    groups = {group.number: list(group.cpus) for group in log.groups}
    units: list[int | None] | None = None
    for token in tokens:
        if head := GROUP.fullmatch(token):
            units = groups.setdefault(int(head[1]), [])
        elif units is None or not UNIT.fullmatch(token):
            return False
        else:
            units.append(None if token.startswith("-") else int(token))
    log.groups = tuple(UnitGroup(number, tuple(cpus)) for number, cpus in groups.items())
    return sum(len(group.cpus) for group in log.groups) <= UNITS_MAX


READERS = {
    "BIOS-e820: ": _read_firmware,
    "Linux version ": _read_version,
    "ommand line: ": _read_command_line,
    "hotplug CPUs": _read_allowing,
    "NODE_DATA(": _read_node_data,
    "setup_percpu: ": _read_setup,
    "pages/cpu": _read_percpu,
    "pcpu-alloc: ": _read_alloc,
    "[mem": _read_node_memory,
}
