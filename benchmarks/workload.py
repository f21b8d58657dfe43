"""A synthetic run of any length: sizes and lifetimes like those of a real kernel's log.

Sizes are drawn from what the recorded 6.1 machines asked for most (4-byte counters, 16 to 300-byte
statistics, now and then some KiB); the number of live areas settles at `live_max`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.machine import Machine
from kernel_sim.random_state import RandomState
from snapshots.segment_stores import SegmentSink
from snapshots.timeline import Timeline

SIZES = (4, 4, 4, 8, 8, 16, 16, 24, 32, 32, 32, 40, 64, 72, 88, 128, 160, 232, 260, 296, 384, 2048)
ALIGNS = (4, 8, 8, 8, 16, 64)
GFP_KERNEL = 0xCC0
GFP_ATOMIC = 0xA20
MACHINES = Path(__file__).parent.parent / "examples" / "machines"


def machine(name: str = "numa2-4cpu", work: str = "auto", tlb: str = "none") -> Machine:
    """Return one of the example machines, booted; without TLBs, as replayed logs have none."""
    mapping = tomllib.loads((MACHINES / f"{name}.toml").read_text())
    mapping["work"] = {"mode": work}
    mapping["tlb"] = {"profile": tlb}
    return boot(MachineConfig.from_mapping(mapping, where=name))


def record(
    nr_ops: int, sink: SegmentSink | None = None, live_max: int = 4000, tlb: str = "none"
) -> Timeline:
    """Return the timeline of a run of nr_ops allocations and frees."""
    timeline = Timeline(machine(tlb=tlb), sink)
    random = RandomState.from_seed(20060517)
    live: list[int] = []
    for _ in range(nr_ops):
        cpu = random.below(4)
        if live and random.below(2 * live_max) < len(live):
            at = random.below(len(live))
            live[at], live[-1] = live[-1], live[at]
            timeline.take("free_percpu", cpu, (live.pop(),))
            continue
        size = SIZES[random.below(len(SIZES))]
        align = ALIGNS[random.below(len(ALIGNS))]
        gfp = GFP_ATOMIC if random.below(50) == 0 else GFP_KERNEL
        call = timeline.take("pcpu_alloc", cpu, (size, align, False, gfp, "bench+0x1/0x2"))
        if call is not None and call.result:
            live.append(int(str(call.result)))
    return timeline
