"""A small machine for any system of the catalogue, on the first architecture that it ran on."""

from __future__ import annotations

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.machine import Machine
from kernel_sim.percpu.system_entry import SystemEntry

NEEDS: dict[str, dict[str, object]] = {
    "percpu-km-2010": {"first_chunk": "embed", "distance_fn": False}
}
"""What a system wants on a machine with two nodes."""


def machine_of_system(entry: SystemEntry, arch: str = "") -> Machine:
    """Return a booted machine with two nodes and four CPUs."""
    mapping = {
        "name": f"test of {entry.name}",
        "kernel": {"arch": arch or entry.arches[0]},
        "cpus": {"possible": "0-3"},
        "node": [{"cpus": "0-1", "memory_mib": 128}, {"cpus": "2-3", "memory_mib": 128}],
        "percpu": {"system": entry.name, "static_bytes": 17892} | NEEDS.get(entry.name, {}),
    }
    return boot(MachineConfig.from_mapping(mapping, where=entry.name))
