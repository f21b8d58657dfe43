"""What an ftrace log of the per-CPU allocator says, once its rendering is gone.

    TraceLog ── events: alloc, free, alloc_fail, create, destroy, mark, in file order
             ├─ where lines are missing: lost, entries_in_buffer < entries_written, torn_line_no
             └─ what the stamps are: nanoseconds, or a count without unit

With real pointers, base_addr + off - ptr is pcpu_base_addr on every line; a kernel that hashes what
it prints breaks that sum, but equal pointers stay equal. bytes_alloc tells how many CPUs are
possible.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from kernel_sim.alignment import align_up
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from snapshots.errors import TraceError

EventKind = Literal["alloc", "free", "alloc_fail", "create", "destroy", "mark"]
StampUnit = Literal["ns", "count", "mixed", "none"]
Clock = Literal["time", "latency", "counter", "x86-tsc", "mixed", "none"]

UNKNOWN_PID = -1
OBJ_CGROUP_BYTES = 8  # one pointer to the paying cgroup for every 4 bytes of an area
ADDRESS_BITS = 64


class TraceEvent(NamedTuple):
    """One line. What its event or its rendering does not have is 0, "" or False.

    stamp is in nanoseconds where TraceLog.stamp_is_time, else a count; None without context-info,
    where cpu and flags are None too and pid is -1. size, align, off and bytes_alloc are bytes, size
    and align as asked. call_site is "" in logs of kernels that did not print it yet. gfp is the
    text of gfp_flags.
    """

    line_no: int
    kind: EventKind
    task: str
    pid: int
    cpu: int | None
    flags: str | None
    stamp: int | None
    call_site: str = ""
    reserved: bool = False
    is_atomic: bool = False
    size: int = 0
    align: int = 0
    base_addr: int = 0
    off: int = 0
    ptr: int = 0
    bytes_alloc: int = 0
    gfp: str = ""
    text: str = ""  # of a mark


class LostLine(NamedTuple):
    """A line in which the tracer says that events are missing here."""

    line_no: int
    text: str


class Marker(NamedTuple):
    """What somebody wrote into trace_marker; at is its index in events."""

    line_no: int
    text: str
    at: int


@dataclass(slots=True)
class TraceLog:
    """A log that was read. Header facts are None where the file has no header."""

    source: str
    rendering: str
    clock: Clock
    stamp_unit: StampUnit
    nr_lines: int = 0
    entries_in_buffer: int | None = None
    entries_written: int | None = None
    nr_cpus: int | None = None  # CPUs online when the log was read
    kernel_release: str | None = None  # only latency-format prints it
    events: list[TraceEvent] = field(default_factory=list)
    lost: list[LostLine] = field(default_factory=list)
    markers: list[Marker] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)  # other events, by name
    nr_other_lines: int = 0  # lines that are no event at all
    torn_line_no: int | None = None  # the last line, dropped because its end is missing

    @property
    def stamp_is_time(self) -> bool:
        """Say whether differences of stamps are nanoseconds."""
        return self.stamp_unit == "ns"

    @property
    def is_complete(self) -> bool:
        """Say whether, as far as the tracer says, no event is missing."""
        return not self.lost and self.entries_in_buffer == self.entries_written


def possible_cpus_from(events: Iterable[TraceEvent], *, nr_online: int | None = None) -> int | None:
    """Return the number of possible CPUs, or None if no line has bytes_alloc.

    An area of s bytes costs s on each CPU, and 2 s more for the cgroup pointers unless the kernel
    was built or booted without them; the log does not say which. A result below nr_online gives
    that away.
    Raises: TraceError if two lines disagree. Source: Linux 6.1, pcpu_obj_full_size().
    """
    cpus: int | None = None
    first: TraceEvent | None = None
    for event in events:
        if event.kind != "alloc" or not event.bytes_alloc or not event.size:
            continue
        area_bytes = align_up(event.size, MIN_ALLOC_BYTES)
        cgroup_bytes = area_bytes // MIN_ALLOC_BYTES * OBJ_CGROUP_BYTES
        nr_copies, rest = divmod(event.bytes_alloc - cgroup_bytes, area_bytes)
        if rest or (cpus is not None and nr_copies != cpus):
            before = f"{cpus} as on line {first.line_no}" if first else "a whole number"
            raise TraceError(
                f"line {event.line_no}: size={event.size} bytes_alloc={event.bytes_alloc} gives "
                f"{nr_copies} CPUs and {rest} bytes; expected {before}: is this the log of one "
                "machine?"
            )
        cpus, first = nr_copies, first or event
    if cpus is None:
        return None
    without_cgroups = cpus < max(1, nr_online or 1)
    return cpus + OBJ_CGROUP_BYTES // MIN_ALLOC_BYTES if without_cgroups else cpus


def pcpu_base_addr_from(events: Iterable[TraceEvent]) -> int | None:
    """Return the pcpu_base_addr that all lines agree on; None if they do not, or there are none."""
    placed = [event for event in events if event.kind in ("alloc", "free")]
    is_32bit = all(event.base_addr >> 32 == 0 for event in placed)
    mask = (1 << (32 if is_32bit else ADDRESS_BITS)) - 1
    bases = {(event.base_addr + event.off - event.ptr) & mask for event in placed}
    unaligned = any(event.base_addr % PAGE_SIZE_BYTES for event in placed)
    return bases.pop() if len(bases) == 1 and not unaligned else None


def pointers_look_hashed(log: TraceLog) -> bool:
    """Say whether base_addr and ptr are hashed values, on which no arithmetic holds."""
    placed = any(event.kind in ("alloc", "free") for event in log.events)
    return placed and pcpu_base_addr_from(log.events) is None
