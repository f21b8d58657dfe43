"""Machines for tests that hold for every per-CPU system: four CPUs, and the symbols that small modules need.

A system that joins the catalogue is in SYSTEMS, and so in all these tests, without a line here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.machine import Machine
from kernel_sim.percpu.catalogue import CATALOGUE, ENTRIES
from kernel_sim.percpu.options import OptionValue

OBJECTS = Path(__file__).parents[2] / "modules" / "objects"
SYSTEMS = [(entry.name, arch) for entry in ENTRIES for arch in entry.arches]
NR_CPUS = 4
STATIC_BYTES = 6000
FOREVER = 1 << 60


def nodes_for(name: str) -> int:
    """percpu-km serves one group, so its machine has one node."""
    return 1 if name.startswith("percpu-km") else 2


def variants_of(name: str) -> Iterator[dict[str, OptionValue]]:
    """Yield a system's switches set one at a time to everything else that they can be."""
    for option in CATALOGUE[name].options:
        values: tuple[OptionValue, ...] = option.choices
        if isinstance(option.default, bool):
            values = (False, True)
        elif isinstance(option.default, int):
            values = tuple(
                value
                for value in (
                    option.lowest,
                    option.default // 2,
                    2 * option.default,
                    option.highest,
                )
                if option.lowest <= value <= option.highest
            )
        others = dict.fromkeys(value for value in values if value != option.default)
        yield from ({option.key: value} for value in others)


MISTAKES = {"stage": ("mail", "v1")}
"""Switches whose kernels lost memory that others used: a request of chunk-2009's first stages that fails
takes the pages away from all areas on them."""


def keeps_mistakes(options: dict[str, OptionValue]) -> bool:
    """Say whether a switch is for what was wrong at the time, so that the machine goes wrong as well."""
    return any(
        ("posted" in key and value) or value in MISTAKES.get(key, ())
        for key, value in options.items()
    )


def config_of(name: str, arch: str, *, memory_mib: int = 64, **tables: Any) -> MachineConfig:
    """Return a machine's description; tables are added to it, those it has are extended."""
    image_addr, percpu_start = _places(name, arch)
    symbols = {
        "kernel_func": f"{image_addr + 0x1000:#x}",
        "kernel_percpu": f"{percpu_start + 64:#x}",
    }
    return _config(name, arch, memory_mib, {"symbols": symbols}, tables)


def booted(name: str, arch: str, **options: Any) -> Machine:
    """Return a machine of config_of(), just booted."""
    return boot(config_of(name, arch, **options))


def image_of(module: str, arch: str) -> bytes:
    """Return one of the small object files."""
    return (OBJECTS / f"{module}-{arch}.o").read_bytes()


@cache
def _places(name: str, arch: str) -> tuple[int, int]:
    """Return where the kernel image and the static section are, which the symbols must agree with."""
    machine = boot(_config(name, arch, 64, {}, {}))
    return machine.image_addr, machine.system.percpu_start


def _config(
    name: str, arch: str, memory_mib: int, symbols: dict[str, Any], tables: dict[str, Any]
) -> MachineConfig:
    nr_nodes = nodes_for(name)
    per_node, node_mib = NR_CPUS // nr_nodes, memory_mib // nr_nodes
    mapping: dict[str, Any] = {
        "name": f"{name} on {arch}",
        "kernel": {"arch": arch, "nr_cpus": 8},
        "cpus": {"possible": f"0-{NR_CPUS - 1}"},
        "node": [
            {
                "cpus": f"{node * per_node}-{(node + 1) * per_node - 1}",
                "memory": [f"{node * node_mib << 20:#x}-{((node + 1) * node_mib << 20) - 1:#x}"],
            }
            for node in range(nr_nodes)
        ],
        "percpu": {"system": name, "static_bytes": STATIC_BYTES},
        **symbols,
    }
    for key, value in tables.items():
        known = mapping.get(key)
        mapping[key] = known | value if isinstance(known, dict) else value
    return MachineConfig.from_mapping(mapping, where="test")
