"""The machines on which figures are measured: small, and made of nothing but the inputs.

With the mails' inputs they are the files of examples/figures, which the commands of the rows name.
"""

from __future__ import annotations

from snapshots.figures.bench import Description
from snapshots.figures.inputs import AS_MAILED, FigureInputs

MEMORY_MIB = 32
NODE_MIB = 16


def legacy_machine(
    inputs: FigureInputs, nr_cpus: int, *, line_bytes: int = 0, name: str = ""
) -> Description:
    """Return an i386 machine with static areas, all CPUs possible; line_bytes 0: the usual cache line."""
    return {
        "name": name or f"legacy-{nr_cpus}cpu",
        "kernel": {"arch": "i386", "nr_cpus": max(nr_cpus, inputs.nr_cpus)},
        "cpus": {"possible": cpu_list(nr_cpus)},
        "node": [{"memory_mib": MEMORY_MIB}],
        "memory": {"pages": "2.6.20"},
        "percpu": {
            "system": "legacy-static",
            "static_bytes": inputs.static_bytes,
            "options": {
                "enough_room_bytes": inputs.enough_room_bytes,
                "cache_line_bytes": line_bytes or inputs.usual_line_bytes,
            },
        },
    }


def default_build(inputs: FigureInputs) -> Description:
    """Return an i386 machine that names no NR_CPUS, and whose CPUs are all possible.

    An input that was moved is named, of course.
    """
    machine = dict(legacy_machine(inputs, inputs.nr_cpus, name="legacy-default-build"))
    is_default = inputs.nr_cpus == AS_MAILED.nr_cpus
    machine["kernel"] = {"arch": "i386"} | ({} if is_default else {"nr_cpus": inputs.nr_cpus})
    machine["cpus"] = {"possible": "all"}
    return machine


def cpu_list(nr_cpus: int) -> str:
    """Return the list of the first so many CPUs."""
    return "0" if nr_cpus == 1 else f"0-{nr_cpus - 1}"
