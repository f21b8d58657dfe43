"""Where figures are measured: the inputs, and machines, booted once if they are only looked at.

A machine stands on a time line, so that what was measured can be saved and gone through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from snapshots.figures.inputs import FigureInputs
from snapshots.timeline import Timeline

Description: TypeAlias = Mapping[str, object]


@dataclass(slots=True)
class Bench:
    """One run of the figures. Raises ConfigError, where a machine cannot be with the inputs as they are."""

    inputs: FigureInputs
    _seen: dict[str, tuple[Description, Timeline]] = field(default_factory=dict)

    def seen(self, description: Description) -> Timeline:
        """Return a machine after boot, to look at; the same description gives the same one."""
        name = str(description["name"])
        known = self._seen.get(name)
        if known is None or known[0] != description:
            known = self._seen[name] = (description, self.fresh(description))
        return known[1]

    def fresh(self, description: Description) -> Timeline:
        """Return a machine of one's own after boot, to do something on it."""
        return Timeline(
            boot(MachineConfig.from_mapping(description, where=str(description["name"])))
        )
