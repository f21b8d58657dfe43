"""The machines on which figures are measured: small, and made of nothing but the inputs.

With the mails' inputs they are the files of examples/figures, which the commands of the rows name.
"""

from __future__ import annotations

from kernel_sim.arch import ARCHES, DEFAULT_LEVELS
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.block_geometry import BlockGeometry
from kernel_sim.topology import format_cpu_list
from snapshots.figures.bench import Description
from snapshots.figures.inputs import AS_MAILED, KIB, FigureInputs

MEMORY_MIB = 32
NODE_MIB = 16
KM_REQUEST_BYTES = 16 << 10  # the largest request of a machine with small units


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


def block_machine(
    inputs: FigureInputs,
    *,
    nr_cpus: int = 0,
    arch: str = "i386",
    mail_mode: bool = False,
    nr_blocks: int = 0,
    name: str = "",
) -> Description:
    """Return the mail's box with blocks; nr_cpus 0: a default build.

    nr_blocks: how many of them vmalloc space shall hold, which is then all that there is; 0: as usual.
    """
    nr_cpus = nr_cpus or inputs.nr_cpus
    machine: dict[str, object] = {
        "name": name or f"block-{nr_cpus}way",
        "kernel": {"arch": arch, "nr_cpus": nr_cpus},
        "cpus": {"possible": cpu_list(inputs.small_box_cpus)},
        "node": [{"memory_mib": MEMORY_MIB}],
        "memory": {"pages": "2.6.20"},
        "percpu": {
            "system": "block-2005",
            "static_bytes": inputs.static_bytes,
            "options": {"mail_mode": mail_mode},
        },
    }
    if nr_blocks:
        cpu = ARCHES[arch, DEFAULT_LEVELS[arch]]
        geometry = BlockGeometry(cpu.word_bytes, nr_cpus, mail_mode=mail_mode)
        nr_pages = nr_blocks * geometry.nr_area_pages + 1  # the kernel never gives the last byte
        end = cpu.vmalloc_start + nr_pages * PAGE_SIZE_BYTES - 1
        machine["vmalloc"] = {"start": hex(cpu.vmalloc_start), "end": hex(end)}
    return machine


def on_two_nodes(machine: Description, nr_cpus: int, name: str) -> Description:
    """Return a machine's like with half of its CPUs, and of its memory, on a node of their own."""
    first = nr_cpus // 2
    halves = (range(first), range(first, nr_cpus))
    nodes = [{"cpus": format_cpu_list(half), "memory_mib": NODE_MIB} for half in halves]
    return {**machine, "name": name, "node": nodes}


def offsets_machine(
    inputs: FigureInputs, nr_cpus: int, *, overruns: bool = False, name: str = ""
) -> Description:
    """Return an i386 machine with an offset pointer for every variable, all CPUs possible.

    overruns: with the posted loop, which takes bytes for a number of pointers.
    """
    return {
        "name": name or f"offsets-{nr_cpus}cpu",
        "kernel": {"arch": "i386", "nr_cpus": max(nr_cpus, inputs.nr_cpus)},
        "cpus": {"possible": cpu_list(nr_cpus)},
        "node": [{"memory_mib": MEMORY_MIB}],
        "memory": {"pages": "2.6.20"},
        "percpu": {
            "system": "rostedt-2006-modules",
            "static_bytes": inputs.static_bytes,
            "options": {
                "offset_section_bytes": inputs.offset_section_bytes,
                "cache_line_bytes": inputs.usual_line_bytes,
                **({"posted_overrun": True} if overruns else {}),
            },
        },
    }


def bitmap_machine(inputs: FigureInputs) -> Description:
    """Return an x86-64 machine of today, its units as small as they can be."""
    return {
        "name": f"bitmap-{inputs.nr_units}cpu",
        "kernel": {"nr_cpus": inputs.nr_units},
        "cpus": {"possible": cpu_list(inputs.nr_units)},
        "node": [{"memory_mib": MEMORY_MIB}],
        "percpu": {
            "system": "bitmap",
            "static_bytes": inputs.static_bytes,
            "atom_bytes": PAGE_SIZE_BYTES,
        },
    }


def hybrid_machine(
    inputs: FigureInputs, *, access: str = "array", to_come: bool = False, name: str = ""
) -> Description:
    """Return the mail's box with page-aligned areas; to_come: its last CPU is down, on a node of its own."""
    nr_cpus = inputs.small_box_cpus
    machine: Description = {
        "name": name or f"hybrid-{nr_cpus}cpu",
        "kernel": {"arch": "i386", "nr_cpus": max(nr_cpus, inputs.nr_cpus)},
        "cpus": {"possible": cpu_list(nr_cpus)},
        "node": [{"memory_mib": MEMORY_MIB}],
        "percpu": {
            "system": "rostedt-2006-vm",
            "static_bytes": inputs.static_bytes,
            "options": {"access": access},
        },
    }
    if not to_come:
        return machine
    cpus = {"possible": cpu_list(nr_cpus), "online": cpu_list(nr_cpus - 1)}
    nodes = [
        {"cpus": cpu_list(nr_cpus - 1), "memory_mib": MEMORY_MIB},
        {"cpus": str(nr_cpus - 1), "memory_mib": NODE_MIB},
    ]
    return {**machine, "cpus": cpus, "node": nodes}


def rfc_machine(inputs: FigureInputs) -> Description:
    """Return the mail's box with everything in virtual memory."""
    machine = hybrid_machine(inputs, name="rfc-2cpu")
    percpu = {
        "system": "rostedt-2006-vm",
        "static_bytes": inputs.static_bytes,
        "options": {"variant": "rfc"},
    }
    return {**machine, "percpu": percpu}


def chunk_machine(
    inputs: FigureInputs, *, stage: str = "mail", name: str = "chunk-draft"
) -> Description:
    """Return an i386 machine with the draft of February 2009 or a later stage; every page is told."""
    unit = {"unit_bytes": inputs.unit_bytes} if stage == "mail" else {}
    return {
        "name": name,
        "kernel": {"arch": "i386", "nr_cpus": inputs.nr_units},
        "cpus": {"possible": cpu_list(inputs.nr_units)},
        "node": [{"memory_mib": 2 * MEMORY_MIB}],
        "trace": {"kmem": True},
        "percpu": {
            "system": "chunk-2009",
            "static_bytes": inputs.static_bytes,
            "options": {"stage": stage, **unit},
        },
    }


def km_machine(units: int, unit_kib: int, *, clears: bool = True, name: str = "") -> Description:
    """Return an i386 machine whose chunks are that many units of that many KiB in kernel memory.

    clears: areas are zero when they are given out, as they were not in the mail's version.
    """
    static_bytes = PAGE_SIZE_BYTES
    unit_bytes = unit_kib * KIB
    return {
        "name": name or f"km-{units}x{unit_kib}",
        "kernel": {"arch": "i386", "nr_cpus": units},
        "cpus": {"possible": cpu_list(units)},
        "node": [{"memory_mib": 2 * MEMORY_MIB}],
        "percpu": {
            "system": "percpu-km-2010",
            "static_bytes": static_bytes,
            "reserved_bytes": 0,
            "dynamic_bytes": max(unit_bytes - static_bytes, 0),
            "options": {
                "min_unit_bytes": min(unit_bytes, KM_REQUEST_BYTES),
                **({} if clears else {"km_zero": False}),
            },
        },
    }


def congruent_machine(inputs: FigureInputs, *, system: str, name: str) -> Description:
    """Return a machine whose CPUs are in two groups, one on each of two nodes."""
    nr_cpus = inputs.nr_units
    machine: Description = {
        "name": name,
        "kernel": {"arch": "i386", "nr_cpus": nr_cpus},
        "cpus": {"possible": cpu_list(nr_cpus)},
        "percpu": {
            "system": system,
            "static_bytes": inputs.static_bytes,
            "first_chunk": "embed",
            "distance_fn": True,
        },
    }
    return on_two_nodes(machine, nr_cpus, name)
