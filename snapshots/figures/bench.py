"""Where figures are measured: the inputs, and machines that are booted once if they are only looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.machine import Machine
from snapshots.figures.inputs import FigureInputs

Description: TypeAlias = Mapping[str, object]


@dataclass(slots=True)
class Bench:
    """One run of the figures. Raises ConfigError, where a machine cannot be with the inputs as they are."""

    inputs: FigureInputs
    _seen: dict[str, tuple[Description, Machine]] = field(default_factory=dict)

    def machine(self, description: Description) -> Machine:
        """Return a machine to look at; the same description gives the same one."""
        name = str(description["name"])
        known = self._seen.get(name)
        if known is None or known[0] != description:
            known = self._seen[name] = (description, self.fresh(description))
        return known[1]

    def fresh(self, description: Description) -> Machine:
        """Return a machine of one's own, to do something on it."""
        return boot(MachineConfig.from_mapping(description, where=str(description["name"])))
