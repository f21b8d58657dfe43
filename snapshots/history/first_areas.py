"""Which dynamic areas were there when a record began, on any per-CPU system.

A recording that begins at boot, on a machine whose boot allocates none, has none. Otherwise a machine of
its own takes over the first keyframe and is asked; the one that is looked at does not move.
"""

from __future__ import annotations

from kernel_sim.boot import boot
from kernel_sim.machine_state import load_parts
from snapshots.timeline import Timeline


def areas_at_beginning(timeline: Timeline) -> dict[int, int]:
    """Return size in bytes of every area that was alive at the first step, by ptr.

    Raises RecordingError if the first keyframe holds what no machine can be in.
    """
    machine = boot(timeline.machine.config)
    try:
        load_parts(machine, timeline.keyframe_parts(0))
        return dict(machine.system.live_areas())
    except Exception as problem:
        raise timeline.blamed(problem) from problem
