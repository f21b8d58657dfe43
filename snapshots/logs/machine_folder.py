"""A folder with what was recorded on a real machine.

    dmesg.txt, or dmesg-percpu.txt         read at once: what kind of machine it was
    sys/cpu  sys/nodes  version  cmdline
    kallsyms-percpu  kallsyms-pcpu-vars
    trace-stats
    trace.txt, or trace-cmd-report.txt     read when asked for: what happened on it
    early-allocs.jsonl
    states.jsonl

Each may be gzipped and bear .gz then. None must be there, but a kernel log or a trace must.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from snapshots.errors import InputError
from snapshots.logs.allocator_state import AllocatorState, parse_states
from snapshots.logs.dmesg import BootLog, parse_dmesg
from snapshots.logs.early_allocs import EarlyAlloc, early_allocs_for, parse_early_allocs
from snapshots.logs.ftrace import TraceLog, parse_trace
from snapshots.logs.text_source import read_lines, read_text
from snapshots.proc.files import (
    CpuLists,
    CpuTraceStats,
    NodeLists,
    parse_cpu_lists,
    parse_kallsyms,
    parse_nodes,
    parse_trace_stats,
)

SMALL_BYTES_MAX = 1 << 20
VERSION = re.compile(r"Linux version (([0-9]{1,4}\.[0-9]{1,4})\S*)")
DMESG_NAMES = ("dmesg.txt", "dmesg", "dmesg-percpu.txt")
TRACE_NAMES = ("trace.txt", "trace", "trace-cmd-report.txt", "trace-cmd-report")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RealMachine:
    """What a folder holds; None or empty where a file is missing."""

    folder: Path
    boot: BootLog | None
    release: str | None  # "6.1.0-56-amd64"
    command_line: str | None
    cpus: CpuLists | None
    nodes: tuple[NodeLists, ...]
    percpu_symbols: dict[str, int]  # static per-CPU variables: name, offset in a unit
    kernel_symbols: dict[str, int]  # of the allocator: name, address
    trace_stats: tuple[CpuTraceStats, ...]
    trace_path: Path | None
    early_path: Path | None
    states_path: Path | None

    @property
    def version(self) -> str | None:
        """The first two numbers of the release: "6.1"."""
        found = VERSION.match(f"Linux version {self.release}")
        return found[2] if found else None

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the kernel's command line."""
        return tuple((self.command_line or "").split())

    @property
    def nr_events_lost(self) -> int:
        """Events that the ring buffers overwrote or dropped, as far as trace-stats says."""
        return sum(stats.overrun + stats.dropped for stats in self.trace_stats)

    def trace(self) -> TraceLog:
        """Read the trace.

        Raises: InputError if there is none or it is malformed.
        """
        if self.trace_path is None:
            raise InputError(f"{self.folder}: no trace; expected {_listed(TRACE_NAMES)}")
        return parse_trace(read_lines(self.trace_path), str(self.trace_path))

    def early_allocs(self) -> tuple[EarlyAlloc, ...]:
        """Read the operations before the trace, from the folder or from those that ship with us.

        Raises: InputError if there are neither, or the file is malformed.
        """
        if self.early_path is None:
            return early_allocs_for(self.version or "of unknown version")
        return parse_early_allocs(read_lines(self.early_path), str(self.early_path))

    def states(self) -> Iterator[AllocatorState]:
        """Yield the recorded states of the allocator, if any, each read when it is asked for.

        Raises: InputError if a row is malformed.
        """
        if self.states_path is not None:
            yield from parse_states(read_lines(self.states_path), str(self.states_path))


def read_machine_folder(path: Path | str) -> RealMachine:
    """Return what a folder of recordings from a real machine holds.

    Raises: InputError if it is no such folder or one of the small files is malformed.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{folder}: is no directory; expected a folder of a machine's recordings")
    dmesg_path, trace_path = _find(folder, *DMESG_NAMES), _find(folder, *TRACE_NAMES)
    if dmesg_path is None and trace_path is None:
        raise InputError(
            f"{folder}: no recordings of a machine; expected {_listed(DMESG_NAMES)}, and "
            f"{_listed(TRACE_NAMES)}, each plain or .gz"
        )
    boot = parse_dmesg(read_lines(dmesg_path), str(dmesg_path)) if dmesg_path else None
    version_text = _small_text(folder, "version")
    named = VERSION.match(version_text)
    command_line = _small_text(folder, "cmdline") or (boot.command_line if boot else None)
    return RealMachine(
        folder=folder,
        boot=boot,
        release=named[1] if named else boot.release if boot else None,
        command_line=command_line,
        cpus=_parsed(folder, "sys/cpu", parse_cpu_lists, None),
        nodes=_parsed(folder, "sys/nodes", parse_nodes, ()),
        percpu_symbols=_parsed(folder, "kallsyms-percpu", parse_kallsyms, {}),
        kernel_symbols=_parsed(folder, "kallsyms-pcpu-vars", parse_kallsyms, {}),
        trace_stats=_parsed(folder, "trace-stats", parse_trace_stats, ()),
        trace_path=trace_path,
        early_path=_find(folder, "early-allocs.jsonl"),
        states_path=_find(folder, "states.jsonl"),
    )


def find_companions(log_path: Path | str) -> BootLog | None:
    """Return what a log itself says about its machine: boot messages pasted into the same file.

    Raises: InputError if the file cannot be read or such a line is malformed.
    """
    boot = parse_dmesg(read_lines(log_path), str(log_path))
    return None if boot.is_empty and boot.release is None else boot


def _find(folder: Path, *names: str) -> Path | None:
    candidates = (folder / (name + suffix) for name in names for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _parsed(folder: Path, name: str, parse: Callable[[Iterable[str], str], T], absent: T) -> T:
    path = _find(folder, name)
    return absent if path is None else parse(read_lines(path), str(path))


def _small_text(folder: Path, name: str) -> str:
    path = _find(folder, name)
    return "" if path is None else read_text(path, limit_bytes=SMALL_BYTES_MAX).strip()


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + " or " + names[-1]
