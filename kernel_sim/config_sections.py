"""The tables of a machine's description that stand for themselves, each a frozen record.

    [kernel]  which release, built how      [schedule]  who runs next
    [cpus]    possible > present > online   [numa]      how far apart the nodes are
    [percpu]  which system, asked for what

Each is read from its table alone; what two tables must agree on, config.py checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from kernel_sim.alignment import is_power_of_two
from kernel_sim.arch import ARCH_NAMES, ARCHES, DEFAULT_LEVELS, Arch
from kernel_sim.config_table import ADDRESS_MAX, ConfigTable, parse_address, shown
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.catalogue import CATALOGUE, DEFAULT_SYSTEM, system_entry
from kernel_sim.percpu.options import OptionValue, OptionValues, option_values, read_options
from kernel_sim.percpu.system_entry import SystemEntry
from kernel_sim.percpu.unit_layout import MIN_ALLOC_SIZE_BYTES
from kernel_sim.topology import LOCAL_DISTANCE, NR_CPUS_MAX, NR_NODES_MAX, format_cpu_list

BACKENDS = ("vm", "km")
FIRST_CHUNKS = ("embed", "page")
FREE_HINTS = ("faithful", "fixed")
POLICIES = ("round_robin", "random", "pct", "scripted")

SIZE_BYTES_MAX = 1 << 30  # of a part of the unit; real ones stay below a few MiB
DISTANCE_MAX = 255  # one byte in the SLIT
ALL_CPUS = "all"  # CPU_MASK_ALL, which i386 took for its possible CPUs until 2.6.19


class KernelRelease(NamedTuple):
    """What differs between the kernels that we know."""

    dyn_early_bytes: int  # PERCPU_DYNAMIC_EARLY_SIZE
    static_bytes: int  # of Debian's amd64 build


RELEASES = {
    "6.1": KernelRelease(12 << 10, 217088),
    "6.12": KernelRelease(20 << 10, 233472),
}


@dataclass(frozen=True, slots=True)
class KernelConfig:
    """The build: release, NR_CPUS, architecture, and how many levels its page tables have."""

    version: str
    nr_cpus: int
    page_table_levels: int
    arch_name: str = "x86-64"

    @property
    def dyn_early_bytes(self) -> int:
        """The least that a first chunk's dynamic part may have."""
        return RELEASES[self.version].dyn_early_bytes

    @property
    def arch(self) -> Arch:
        """What the architecture fixes."""
        return ARCHES[self.arch_name, self.page_table_levels]

    @classmethod
    def from_table(cls, table: ConfigTable, *, system: str = DEFAULT_SYSTEM) -> KernelConfig:
        """Read [kernel]; system names the per-CPU system, whose day gives the default NR_CPUS."""
        arch_name = table.choice("arch", ARCH_NAMES, "x86-64")
        depths = [levels for name, levels in ARCHES if name == arch_name]
        levels = table.integer(
            "page_table_levels",
            DEFAULT_LEVELS[arch_name],
            lowest=min(depths),
            highest=max(depths),
        )
        entry = CATALOGUE.get(system)
        default = entry.default_nr_cpus(arch_name, NR_CPUS_MAX) if entry else NR_CPUS_MAX
        nr_cpus = table.integer("nr_cpus", default, lowest=1, highest=NR_CPUS_MAX)
        version = table.choice("version", tuple(RELEASES), "6.1")
        return cls(version, nr_cpus, levels, arch_name)

    def to_mapping(self) -> dict[str, object]:
        """Return the table as builtin types."""
        return {
            "version": self.version,
            "nr_cpus": self.nr_cpus,
            "page_table_levels": self.page_table_levels,
            "arch": self.arch_name,
        }


@dataclass(frozen=True, slots=True)
class CpusConfig:
    """CPU numbers, ascending; each tuple is part of the one before."""

    possible: tuple[int, ...]
    present: tuple[int, ...]
    online: tuple[int, ...]

    @classmethod
    def from_table(cls, table: ConfigTable, *, nr_cpus: int) -> CpusConfig:
        """Read [cpus]."""
        if not table.has("possible"):
            raise table.error("possible", 'missing; expected a CPU list such as "0-3"')
        possible = _read_cpus(table, "possible", (), nr_cpus)
        present = _read_cpus(table, "present", possible, nr_cpus)
        online = _read_cpus(table, "online", present, nr_cpus)
        for key, inner, outer_key, outer in (
            ("present", present, "possible", possible),
            ("online", online, "present", present),
        ):
            allowed = dict.fromkeys(outer)
            extra = [cpu for cpu in inner if cpu not in allowed]
            if extra:
                text = format_cpu_list(extra)
                raise table.error(key, f"CPU {text} not in {outer_key}; expected a part of it")
        if online[0] != 0:
            raise table.error("online", "CPU 0 is missing; expected the CPU that boots")
        return cls(possible, present, online)


@dataclass(frozen=True, slots=True)
class PercpuConfig:
    """The per-CPU system and what setup asks it for; sizes in bytes, as asked, before rounding."""

    system: str
    backend: str
    first_chunk: str
    static_bytes: int
    reserved_bytes: int
    dynamic_bytes: int
    atom_bytes: int
    distance_fn: bool
    free_hint: str
    group_phys: tuple[int, ...]  # empty: boot finds memory for the groups itself
    options: OptionValues = ()  # the system's own switches, as far as they are not at their default

    @classmethod
    def from_table(
        cls, table: ConfigTable, *, kernel: KernelConfig, is_numa: bool = False
    ) -> PercpuConfig:
        """Read [percpu]; a first chunk of pages fixes dynamic size, atom and grouping.

        What setup asks for is smaller on i386, whose vmalloc space is; nothing is kept for modules,
        which reach every address there; with several nodes it is built of pages.
        Source: setup_percpu.c, Linux 6.1.
        """
        entry = _read_system(table, kernel)
        for key in PERCPU_PLAIN_KEYS:
            if table.has(key) and key not in ("system", "static_bytes", *entry.keys):
                raise table.error(key, f"not for system {entry.name!r}; expected no such key")
        wide = kernel.arch.is_64bit
        usual = "page" if is_numa and not wide else "embed"
        first_chunk = table.choice("first_chunk", FIRST_CHUNKS, usual)
        embed = first_chunk == "embed"
        size = SIZE_BYTES_MAX
        options = table.inner("options", tuple(option.key for option in entry.options))
        if not wide and not entry.static_bytes and not table.has("static_bytes"):
            raise table.error("static_bytes", "missing; expected the size of i386's .data..percpu")
        config = cls(
            system=entry.name,
            backend=table.choice("backend", BACKENDS, "vm"),
            first_chunk=first_chunk,
            static_bytes=table.integer(
                "static_bytes",
                entry.static_bytes or RELEASES[kernel.version].static_bytes,
                lowest=1,
                highest=size,
            ),
            reserved_bytes=table.integer(
                "reserved_bytes", 8 << 10 if wide else 0, lowest=0, highest=size
            ),
            dynamic_bytes=table.integer(
                "dynamic_bytes",
                (entry.dynamic_bytes or (28 << 10 if wide else 20 << 10)) if embed else 0,
                lowest=0,
                highest=size,
            ),
            atom_bytes=table.integer(
                "atom_bytes",
                2 << 20 if embed and wide else PAGE_SIZE_BYTES,
                lowest=PAGE_SIZE_BYTES,
                highest=size,
            ),
            distance_fn=table.boolean("distance_fn", embed),
            free_hint=table.choice("free_hint", FREE_HINTS, "faithful"),
            group_phys=_read_addresses(table, "group_phys"),
            options=read_options(options, entry.options),
        )
        config._check(table)
        return config

    def to_mapping(self) -> dict[str, object]:
        """Return the table as builtin types: the keys that the system takes."""
        entry = system_entry(self.system)
        taken = ("system", "static_bytes", *entry.keys)
        mapping: dict[str, object] = {
            key: getattr(self, key) for key in PERCPU_PLAIN_KEYS if key in taken
        }
        if self.group_phys:
            mapping["group_phys"] = [f"{addr:#x}" for addr in self.group_phys]
        if self.options:
            mapping["options"] = dict(self.options)
        return mapping

    def option(self, key: str) -> OptionValue:
        """Return the value of one of the system's switches."""
        return option_values(system_entry(self.system).options, self.options)[key]

    def _check(self, table: ConfigTable) -> None:
        if self.reserved_bytes % MIN_ALLOC_SIZE_BYTES:
            raise table.error(
                "reserved_bytes", f"{self.reserved_bytes}; expected a multiple of 4 bytes"
            )
        if not is_power_of_two(self.atom_bytes):
            raise table.error(
                "atom_bytes", f"{self.atom_bytes}; expected a power of two from {PAGE_SIZE_BYTES}"
            )
        if self.first_chunk == "embed":
            return
        for key, value, fixed in (
            ("dynamic_bytes", self.dynamic_bytes, 0),
            ("atom_bytes", self.atom_bytes, PAGE_SIZE_BYTES),
            ("distance_fn", self.distance_fn, False),
            ("group_phys", self.group_phys, ()),
        ):
            if value != fixed:
                raise table.error(
                    key, 'not for first_chunk = "page", which fixes it; expected no such key'
                )


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """How the next CPU is chosen."""

    policy: str
    seed: int

    @classmethod
    def from_table(cls, table: ConfigTable) -> ScheduleConfig:
        """Read [schedule]."""
        seed = table.integer("seed", 1, lowest=0, highest=ADDRESS_MAX)
        return cls(table.choice("policy", POLICIES, "round_robin"), seed)


PERCPU_PLAIN_KEYS = tuple(
    key for key in PercpuConfig.__slots__ if key not in ("group_phys", "options")
)


def _read_system(table: ConfigTable, kernel: KernelConfig) -> SystemEntry:
    """Return the catalogue's entry of the system. Raises ConfigError if it never ran on this kind of CPU."""
    entry = system_entry(table.choice("system", tuple(CATALOGUE), DEFAULT_SYSTEM))
    if kernel.arch_name not in entry.arches:
        ran_on = " and ".join(entry.arches)
        raise table.error(
            "system",
            f"{entry.name!r} on {kernel.arch_name}; expected {ran_on}: it ran on nothing else",
        )
    return entry


def _read_cpus(
    table: ConfigTable, key: str, default: tuple[int, ...], nr_cpus: int
) -> tuple[int, ...]:
    if not table.has(key):
        return default
    if key == "possible" and table.text(key) == ALL_CPUS:
        return tuple(range(nr_cpus))
    cpus = table.cpu_list(key, nr_cpus_max=nr_cpus)
    if not cpus:
        raise table.error(key, 'no CPU; expected a CPU list such as "0-3"')
    return cpus


def _read_addresses(table: ConfigTable, key: str) -> tuple[int, ...]:
    if not table.has(key):
        return ()
    addrs: list[int] = []
    for entry in table.sequence(key, entries_max=NR_NODES_MAX):
        addr = parse_address(entry)
        if addr is None:
            raise table.error(key, f'{shown(entry)}; expected an address such as "0x3ec00000"')
        addrs.append(addr)
    return tuple(addrs)


def read_distances(table: ConfigTable, nr_nodes: int) -> tuple[tuple[int, ...], ...] | None:
    """Return the rows of [numa] distances, None if there are none.

    Raises: ConfigError unless each node has a row with 10 for itself and more for the others.
    """
    if not table.has("distances"):
        return None
    rows: list[tuple[int, ...]] = []
    for a, entry in enumerate(table.sequence("distances", entries_max=NR_NODES_MAX)):
        if not isinstance(entry, list | tuple) or len(entry) != nr_nodes:
            raise table.error(
                "distances", f"row {a} is {shown(entry)}; expected {nr_nodes} distances, one a node"
            )
        row: list[int] = []
        for b, distance in enumerate(entry):
            lowest, highest = (
                (LOCAL_DISTANCE,) * 2 if a == b else (LOCAL_DISTANCE + 1, DISTANCE_MAX)
            )
            if type(distance) is not int or not lowest <= distance <= highest:
                expected = f"{lowest}" if a == b else f"{lowest} to {highest}"
                raise table.error(
                    "distances", f"node {a} to {b}: {shown(distance)}; expected {expected}"
                )
            row.append(distance)
        rows.append(tuple(row))
    if len(rows) != nr_nodes:
        raise table.error("distances", f"{len(rows)} rows; expected {nr_nodes}, one a node")
    return tuple(rows)
