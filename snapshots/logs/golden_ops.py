"""The operations of a golden file, done on a machine: what both chunk allocators' files have in common.

    row of the file ──► input of a time line ──► what came of it, as a row of the same form
                                             └──► events of chunks, as rows

Each format compares its own headers and stats; what an operation gave is compared by whoever asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from kernel_sim.events import (
    EVENT_NAMES,
    PercpuAllocPercpu,
    PercpuAllocPercpuFail,
    PercpuCreateChunk,
    PercpuDepopulate,
    PercpuDestroyChunk,
    PercpuPopulate,
)
from snapshots.timeline import NO_LIMIT, Timeline

Row: TypeAlias = dict[str, object]

GFP = {"kernel": 0xCC0, "atomic": 0xA20, "nowait": 0x800}
ASKED = ("op", "id", "size", "align", "gfp", "reserved")


@dataclass(slots=True)
class GoldenOps:
    """A machine that does the operations of a file.

    number_of(base_addr): the chunk that is there, None if there is none any more. line: of the file,
    which an input keeps.
    """

    timeline: Timeline
    number_of: Callable[[int], int | None]
    line: int = 0
    events: list[Row] = field(default_factory=list)  # that the last operation caused
    pointers: dict[int, int] = field(default_factory=dict)  # op id -> __percpu pointer
    nr_requests: int = 0  # for the background work, that were told of
    bases: dict[int, int] = field(default_factory=dict)  # base address -> chunk, dead ones too

    def do(self, do: str, *args: object) -> tuple[object, list[object]]:
        """Give CPU 0 an input and run it to its end; returns its result and all events."""
        timeline = self.timeline
        seen: list[object] = []
        timeline.watch = lambda events: seen.extend(at.event for at in events)
        number = timeline.give(do, 0, cast("tuple[int, ...]", args), line=self.line)
        timeline.advance(NO_LIMIT)
        call = timeline.calls.pop(number, None)
        self.events = [row for event in seen if (row := self._event_row(event))]
        return call.result if call else None, seen

    def alloc(self, row: Row, place_of: Callable[[PercpuAllocPercpu], Row]) -> tuple[Row, Row]:
        """Do an alloc; returns what the file expects and what came of it."""
        machine = self.timeline.machine
        before = len(machine.kernel_log)
        args = (row["size"], row["align"], row["reserved"], GFP[cast("str", row["gfp"])], "")
        ptr, seen = self.do("pcpu_alloc", *args)
        got: Row = {}
        if any(isinstance(event, PercpuAllocPercpuFail) for event in seen):
            got["error"] = "ENOMEM"
        elif not ptr:
            got["error"] = "EINVAL"
        else:
            self.pointers[cast("int", row["id"])] = cast("int", ptr)
            got |= place_of(next(e for e in seen if isinstance(e, PercpuAllocPercpu)))
        log = machine.kernel_log[before:]
        if log:
            got["log"] = [text if text.startswith("WARN:") else f"<{n}>{text}" for n, text in log]
        got |= self.sched()
        return {name: value for name, value in row.items() if name not in ASKED}, got

    def sched(self) -> Row:
        """Return whether the operation asked for the background work, as the file has it."""
        requested = self.timeline.machine.work.nr_requests
        asked, self.nr_requests = requested > self.nr_requests, requested
        return {"sched": True} if asked else {}

    def balance(self, row: Row) -> tuple[object, int] | None:
        """Let the work run, if it was asked for as often as expected; else return (expected, got)."""
        work = self.timeline.machine.work
        requested, self.nr_requests = work.nr_requests, 0
        if requested != row["requested"]:
            return row["requested"], requested
        self.do("kworker")
        self.nr_requests = self.timeline.machine.work.nr_requests
        return None

    def _event_row(self, event: object) -> Row | None:
        if isinstance(event, PercpuCreateChunk):
            return {"event": "create_chunk", "chunk": self._number_at(event.base_addr)}
        if isinstance(event, PercpuDestroyChunk):
            return {"event": "destroy_chunk", "chunk": self._number_at(event.base_addr)}
        if isinstance(event, PercpuPopulate | PercpuDepopulate):
            name = EVENT_NAMES[type(event)].removeprefix("percpu_")
            return {
                "event": name, "chunk": self._number_at(event.base_addr),
                "page_start": event.page_start, "page_end": event.page_end,
            }  # fmt: skip
        return None

    def _number_at(self, base_addr: int) -> int:
        number = self.number_of(base_addr)
        if number is not None:
            self.bases[base_addr] = number
        return self.bases[base_addr]
