"""What can be wrong with a file that somebody hands us."""

from __future__ import annotations

from kernel_sim.errors import ConfigError, KernelSimError


class InputError(KernelSimError):
    """A file cannot be used; the text names the file, the place in it and the reason."""


class TraceError(InputError):
    """An ftrace log, dmesg text or golden file cannot be read; the text has the line number."""


class RecordingError(InputError):
    """A recording cannot be read; the text has the byte offset."""


class InputRefused(ConfigError):
    """The machine cannot take this input; it stands where it stood before."""
