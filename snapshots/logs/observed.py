"""A log that cannot be predicted, shown as it is: the machine takes over what the log says.

Nothing is compared here, because nothing is predicted. Objects from before the log are known only by
their frees: they are put there at the beginning as `unknown` areas of 4 bytes, if nothing in the log
contradicts that. A free of nothing known is counted and left out; an allocation on top of something live
means that the free in between was lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL, gfp_from_text
from kernel_sim.percpu.chunk import RESERVED
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from snapshots.logs.completeness import Completeness
from snapshots.logs.report import ReplayReport
from snapshots.logs.trace_log import TraceEvent, TraceLog, pcpu_base_addr_from
from snapshots.segment_stores import SegmentSink
from snapshots.timeline import NO_LIMIT, Timeline

UNKNOWN_OWNER = "unknown (before the log)"


@dataclass(slots=True)
class ObservedReplay:
    """One log, taken over line by line."""

    path: str
    config: MachineConfig
    log: TraceLog
    completeness: Completeness
    sink: SegmentSink | None = None
    timeline: Timeline = field(init=False)
    report: ReplayReport = field(init=False)
    numbers: dict[int, int] = field(default_factory=dict)  # logged base -> chunk number
    real_base: int | None = None
    nr_skipped_frees: int = 0
    skipped_lines: list[int] = field(default_factory=list)

    def run(self) -> ReplayReport:
        """Take the log over. Raises ConfigError if the machine cannot hold what it says."""
        self.timeline = Timeline(boot(self.config), self.sink)
        self.report = ReplayReport(self.path, "trace", "observed", timeline=self.timeline)
        self.report.notes += self.completeness.reasons
        self.real_base = pcpu_base_addr_from(self.log.events)
        self._name_first_unit()
        for base in self.completeness.unknown_bases:
            self._create(base, None)
        self._place_unknown_objects()
        takers = self.takers
        for event in self.log.events:
            take = takers.get(event.kind)
            if take is not None:
                take(event)
        self._tell()
        return self.report

    @property
    def takers(self) -> dict[str, Callable[[TraceEvent], None]]:
        """What to do with each kind of line."""
        return {
            "alloc": self._alloc,
            "free": self._free,
            "alloc_fail": self._alloc_fail,
            "create": self._create_line,
            "destroy": self._destroy,
        }

    @property
    def machine(self) -> Machine:
        """The machine that follows the log."""
        return self.timeline.machine

    def _do(self, do: str, event: TraceEvent | None, args: tuple[int | str, ...]) -> None:
        cpu = event.cpu if event is not None and event.cpu in self.machine.cpus else None
        cpu = next(iter(self.machine.cpus)) if cpu is None else cpu
        by = f"{event.task}-{event.pid}" if event is not None else "before the log"
        self.timeline.give(do, cpu, args, event.line_no if event is not None else 0, by)
        self.timeline.advance(NO_LIMIT)

    # -- who is who --------------------------------------------------------------------------------

    def _name_first_unit(self) -> None:
        percpu = self.machine.percpu
        created = {event.base_addr for event in self.log.events if event.kind == "create"}
        for event in self.log.events:
            base = event.base_addr
            if event.kind not in ("alloc", "free") or base in self.numbers or base in created:
                continue
            if base in self.completeness.unknown_bases:
                continue
            if percpu.reserved_chunk is not None and self._is_reserved(event):
                self.numbers[base] = RESERVED
            elif 0 not in self.numbers.values():
                self.numbers[base] = 0

    def _is_reserved(self, event: TraceEvent) -> bool:
        reserved = self.machine.percpu.reserved_chunk
        if self.real_base is None or reserved is None:
            return event.reserved
        return (
            event.base_addr - self.real_base == reserved.base_addr - self.machine.percpu.base_addr
        )

    def _number_of(self, event: TraceEvent) -> int:
        number = self.numbers.get(event.base_addr)
        if number is None:
            self._create(event.base_addr, event)
            number = self.numbers[event.base_addr]
        return number

    def _fits(self, number: int, event: TraceEvent, size: int) -> bool:
        chunk = self.machine.percpu.chunks[number]
        return event.off % MIN_ALLOC_BYTES == 0 and 0 <= event.off <= chunk.nr_pages * 4096 - size

    # -- lines -------------------------------------------------------------------------------------

    def _place_unknown_objects(self) -> None:
        touched: dict[int, list[tuple[int, int]]] = {}
        unmatched = {event.line_no for event in self.completeness.unmatched_frees}
        placed: dict[tuple[int, int], None] = {}
        for event in self.log.events:
            if event.kind == "alloc":
                touched.setdefault(event.base_addr, []).append((event.off, event.off + event.size))
            elif event.kind == "free" and event.line_no in unmatched:
                place = (event.base_addr, event.off)
                overlaps = any(
                    a < event.off + 4 and event.off < b for a, b in touched.get(event.base_addr, ())
                )
                if not overlaps and place not in placed and event.base_addr in self.numbers:
                    placed[place] = None
        for base, off in placed:
            number = self.numbers[base]
            args = (number, off, MIN_ALLOC_BYTES, MIN_ALLOC_BYTES, GFP_KERNEL, UNKNOWN_OWNER)
            if (
                off % MIN_ALLOC_BYTES == 0
                and off < self.machine.percpu.chunks[number].nr_pages * 4096
            ):
                self._do("adopt_alloc", None, args)
        self.report.counts["unknown_earlier_objects"] = len(placed)

    def _alloc(self, event: TraceEvent) -> None:
        number = self._number_of(event)
        self.report.nr_operations += 1
        if not self._fits(number, event, max(event.size, 1)):
            self._skip(event)
            return
        gfp = gfp_from_text(event.gfp) if event.gfp else GFP_KERNEL
        if (gfp & GFP_KERNEL != GFP_KERNEL) != event.is_atomic:
            gfp = GFP_ATOMIC if event.is_atomic else GFP_KERNEL
        args = (number, event.off, event.size, event.align, gfp, event.call_site)
        self._do("adopt_alloc", event, args)

    def _free(self, event: TraceEvent) -> None:
        self.report.nr_operations += 1
        number = self.numbers.get(event.base_addr)
        chunk = self.machine.percpu.chunks.get(number) if number is not None else None
        if chunk is None or event.off % 4 or not chunk.area_bits(event.off // MIN_ALLOC_BYTES):
            self._skip(event)
            return
        self._do("adopt_free", event, (chunk.number, event.off))

    def _skip(self, event: TraceEvent) -> None:
        self.nr_skipped_frees += 1
        self.skipped_lines.append(event.line_no)

    def _alloc_fail(self, event: TraceEvent) -> None:
        self.report.nr_operations += 1

    def _create_line(self, event: TraceEvent) -> None:
        self._create(event.base_addr, event)

    def _create(self, base: int, event: TraceEvent | None) -> None:
        if event is not None and event.kind == "create" and base in self.numbers:
            self._destroy(event)
        wanted = base if self.real_base == self.machine.percpu.base_addr else 0
        self._do("adopt_create", event, (wanted,))
        self.numbers[base] = self.machine.percpu.next_number - 1

    def _destroy(self, event: TraceEvent) -> None:
        number = self.numbers.pop(event.base_addr, 0)
        if number > 0:
            self._do("adopt_destroy", event, (number,))

    def _tell(self) -> None:
        counts = self.report.counts
        counts["unmatched_frees"] = len(self.completeness.unmatched_frees)
        counts["lines_left_out"] = self.nr_skipped_frees
        counts["lost_notices"] = len(self.log.lost)
        counts["steps"] = self.timeline.end_step
        if self.skipped_lines:
            shown = ", ".join(map(str, self.skipped_lines[:12]))
            self.report.notes.append(f"lines left out, their objects are not known: {shown}, …")
