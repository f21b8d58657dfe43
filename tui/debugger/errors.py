"""What the person at the keyboard can get wrong."""

from __future__ import annotations

from kernel_sim.errors import KernelSimError


class CommandError(KernelSimError):
    """A command that cannot be carried out as typed; the text says what was expected."""
