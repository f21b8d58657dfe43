"""How a load goes wrong: what a kernel function returns, and what is wrong with a file.

A module that cannot be loaded gives -errno, as in the kernel. A file that is no module at all is the
user's mistake, so whoever reads it alone gets a ConfigError.
"""

from __future__ import annotations

from kernel_sim.errors import ConfigError

ENOENT = 2
ENOEXEC = 8
EAGAIN = 11
EWOULDBLOCK = EAGAIN
ENOMEM = 12
EBUSY = 16
EEXIST = 17
EINVAL = 22


class ModuleFormatError(ConfigError):
    """Not a relocatable object that can be loaded; the text names the section and the file offset."""


def format_error(where: str, offset_bytes: int, problem: str) -> ModuleFormatError:
    """Return the error for a place in the file: which part, at which byte, what is wrong there."""
    return ModuleFormatError(f"{where}, file offset {offset_bytes:#x}: {problem}")
