"""A driver that writes once too often: 10,000 calls on four CPUs, and `kmemscope shrink` makes five of them.

    python examples/shrink/late_write.py late-write.kms
    kmemscope shrink late-write.kms -o late-write-5.kms

Four CPUs allocate, write and free per-CPU memory, slab objects and vmalloc areas as a kernel does, several at
once, in a random order. One driver keeps per-CPU buffers of 32 KiB. Once in some thousand calls it writes to
a buffer that was freed before. Mostly nobody notices: the pages are still there, or the CPU's TLB still knows
them. It is noticed when the background work has given them back meanwhile, on a CPU whose TLB does not.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from kernel_sim.random_state import RandomState
from snapshots.recording import Origin, save_timeline
from snapshots.timeline import NO_LIMIT, Timeline

NR_CPUS = 4
CALLS_MAX = 40_000
LIVE_MAX = 60  # of each kind
SEED = 99
SIZES = (4, 8, 8, 16, 24, 32, 40, 64, 88, 128, 232, 260, 384, 1024)
BUFFER_BYTES = 32768
ONE_MISTAKE_IN = 4000  # calls
MACHINE = {
    "name": "late-write",
    "cpus": {"possible": f"0-{NR_CPUS - 1}"},
    "node": [{"cpus": f"0-{NR_CPUS - 1}", "memory_mib": 256}],
    "percpu": {
        "static_bytes": 4096, "reserved_bytes": 0, "dynamic_bytes": 28672, "atom_bytes": 4096,
    },
    "schedule": {"policy": "random", "seed": SEED},
}  # fmt: skip


class Workload:
    """A seeded kernel at work; `asked` are calls that give memory out, by what they are called."""

    def __init__(self, seed: int = SEED) -> None:
        """Boot the machine."""
        self.timeline = Timeline(boot(MachineConfig.from_mapping(MACHINE, where="late_write")))
        self.random = RandomState.from_seed(seed)
        self.asked: dict[str, list[int]] = {"small": [], "buffer": [], "kmalloc": [], "vmalloc": []}
        self.freed_buffers: list[int] = []
        self.nr_mistakes = 0

    def run(self) -> Timeline:
        """Give calls, a few at once, until a late write has hit."""
        timeline = self.timeline
        while timeline.machine.fault is None and timeline.nr_inputs < CALLS_MAX:
            for _ in range(1 + self.random.below(NR_CPUS)):
                self._give_one()
            if self.random.below(3):
                timeline.advance(NO_LIMIT)
            else:
                timeline.advance(timeline.step + 1 + self.random.below(12))
        timeline.advance(NO_LIMIT)
        return timeline

    def _give_one(self) -> None:
        kinds = ("small", "small", "small", "kmalloc", "kmalloc", "vmalloc", "buffer")
        kind = kinds[self.random.below(len(kinds))]
        cpu = self.random.below(NR_CPUS)
        live = self._live(kind)
        if self.freed_buffers and self.random.below(ONE_MISTAKE_IN) == 0:
            self.nr_mistakes += 1
            at = self.freed_buffers[self.random.below(len(self.freed_buffers))]
            self.timeline.give("this_cpu_write", cpu, (at, 1, 8))  # the mistake
        elif live and self.random.below(4) == 0 and kind in ("small", "buffer"):
            at = self._result(live[self.random.below(len(live))])
            self.timeline.give("this_cpu_write", cpu, (at, 1, 4))
        elif live and self.random.below(2 * LIVE_MAX) < len(live) * (4 if kind == "buffer" else 1):
            self._free(kind, cpu, live[self.random.below(len(live))])
        else:
            self._ask(kind, cpu)

    def _live(self, kind: str) -> list[int]:
        calls = self.timeline.calls
        return [n for n in self.asked[kind] if n in calls and calls[n].done and calls[n].result]

    def _result(self, number: int) -> int:
        return int(str(self.timeline.calls[number].result))

    def _ask(self, kind: str, cpu: int) -> None:
        give, random = self.timeline.give, self.random
        if kind == "buffer":
            args = (BUFFER_BYTES, 8, False, GFP_KERNEL, "driver_open+0x40/0x90")
            number = give("pcpu_alloc", cpu, args)
        elif kind == "small":
            gfp = GFP_ATOMIC if random.below(20) == 0 else GFP_KERNEL
            size = SIZES[random.below(len(SIZES))]
            number = give("pcpu_alloc", cpu, (size, 8, False, gfp, "alloc_counter+0x1c/0x60"))
        elif kind == "kmalloc":
            number = give("kmalloc_node", cpu, (16 << random.below(6), GFP_KERNEL, -1))
        else:
            number = give("vmalloc", cpu, (4096 * (1 + random.below(4)),))
        self.asked[kind].append(number)

    def _free(self, kind: str, cpu: int, number: int) -> None:
        self.asked[kind].remove(number)
        at = self._result(number)
        how = {"small": "free_percpu", "buffer": "free_percpu", "kmalloc": "kfree"}
        self.timeline.give(how.get(kind, "vfree"), cpu, (at,))
        if kind == "buffer":
            self.freed_buffers = [*self.freed_buffers[-5:], at]


def main(path: Path) -> None:
    """Run and save."""
    workload = Workload()
    timeline = workload.run()
    save_timeline(path, timeline, Origin(notes=["made by examples/shrink/late_write.py"]))
    fault = timeline.machine.fault
    print(f"{timeline.nr_inputs} calls, {timeline.end_step} steps, {workload.nr_mistakes} mistakes")
    print(f"stopped on cpu {fault.cpu}: {fault.reason}" if fault else "nobody noticed")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "late-write.kms"))
