"""A session on a small machine of any per-CPU system, with a few areas on it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from kernel_sim.config import MachineConfig
from kernel_sim.percpu.catalogue import ENTRIES, system_entry
from tests.kernel_sim.percpu.any_system import NEEDS
from tui.debugger.console import execute
from tui.debugger.output import Output
from tui.debugger.session import Session

OTHERS = tuple(entry.name for entry in ENTRIES if entry.name != "bitmap")
"""Systems that have no chunks of the bitmap allocator."""
EVERY = tuple((entry.name, arch) for entry in ENTRIES for arch in entry.arches)
SIZES = (64, 200, 1000)
STATIC_BYTES = 17892


def config_of(system: str, arch: str = "", **percpu: object) -> MachineConfig:
    """Return a machine with four CPUs on two nodes."""
    mapping = {
        "name": f"test of {system}",
        "kernel": {"arch": arch or system_entry(system).arches[0]},
        "cpus": {"possible": "0-3"},
        "node": [{"cpus": "0-1", "memory_mib": 128}, {"cpus": "2-3", "memory_mib": 128}],
        "percpu": {
            "system": system, "static_bytes": STATIC_BYTES, **NEEDS.get(system, {}), **percpu
        },
    }  # fmt: skip
    return MachineConfig.from_mapping(mapping, where=system)


def many_cpus(system: str, nr_cpus: int) -> MachineConfig:
    """Return an x86-64 machine with many CPUs, 64 on a node."""
    nodes = [
        {"cpus": f"{first}-{first + 63}", "memory_mib": 256} for first in range(0, nr_cpus, 64)
    ]
    mapping = {
        "name": f"many CPUs, {system}",
        "kernel": {"nr_cpus": nr_cpus},
        "cpus": {"possible": f"0-{nr_cpus - 1}"},
        "node": nodes,
        "percpu": {"system": system, "static_bytes": STATIC_BYTES},
    }
    return MachineConfig.from_mapping(mapping, where=system)


def session_of(system: str, arch: str = "", **percpu: object) -> Session:
    """Return a session just after boot."""
    return Session.boot(config_of(system, arch, **percpu))


def tell(session: Session, *lines: str) -> Output:
    """Carry out command lines; returns the last answer. In a thread, so that async tests may ask too."""
    output = Output()
    with ThreadPoolExecutor(1) as pool:
        for line in lines:
            output = pool.submit(asyncio.run, execute(session, line)).result()
    return output


def busy_session_of(system: str, arch: str = "") -> Session:
    """Return a session with an area of each of SIZES, of which none is freed."""
    session = session_of(system, arch)
    for cpu, size in enumerate(SIZES):
        assert tell(session, f"alloc {cpu} {size}").lines[0].startswith("ptr 0x")
    return session


def ptrs_of(session: Session) -> list[int]:
    """Return the ptrs of all dynamic areas."""
    return [ptr for ptr, _ in session.machine.system.live_areas()]
