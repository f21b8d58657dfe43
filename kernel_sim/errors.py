"""The tree of what can go wrong, divided by whose fault it is.

    KernelSimError
    ├── ConfigError        the user asked for a machine that cannot be
    │   └── NotThisSystem    something was asked of a per-CPU system that this machine has not
    ├── KernelFault        simulated code misbehaved: the debugger stops there
    │   ├── BadAccess        an address nobody maps
    │   │   └── PageFault      the same, met by the walk of a simulated CPU: CR2 and error code
    │   ├── DoubleFree       a free of something that is not allocated
    │   └── KernelBug        a BUG() or WARN() that the kernel itself would raise
    └── InvariantBroken    we misbehaved: a check of our own found a contradiction

What may happen in a healthy kernel (no memory for a request) is a result, never an exception.
"""

from __future__ import annotations


class KernelSimError(Exception):
    """Base of everything that kmemscope's own packages raise on purpose."""


class ConfigError(KernelSimError):
    """A machine that cannot exist was asked for; the text names the key and what it should be."""


class NotThisSystem(ConfigError):
    """Something was asked that only another per-CPU system has."""


class KernelFault(KernelSimError):
    """Simulated code did what no kernel survives; the machine stops and can be looked at."""


class BadAccess(KernelFault):
    """A read, write or walk of an address that nothing maps."""


class PageFault(BadAccess):
    """A CPU's access that its TLB and page tables refuse.

    addr is what CR2 holds; error_code has the hardware's bits: 0 protection (else not present),
    1 write, 2 user, 3 reserved bit, 4 instruction fetch.
    """

    def __init__(self, text: str, *, addr: int, error_code: int) -> None:
        super().__init__(text)
        self.addr = addr
        self.error_code = error_code


class DoubleFree(KernelFault):
    """A free of an address at which no allocated area starts."""


class KernelBug(KernelFault):
    """A condition on which the kernel itself stops."""


class InvariantBroken(KernelSimError):
    """A slow recomputation disagrees with the machine's state: a defect of kmemscope itself."""
