"""What the loader tells the outside: the kernel's tracepoints of its module system.

refcnt counts as the kernel does: 1 for being there, 1 more for every user.
Source: include/trace/events/module.h, Linux 6.1.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class ModuleLoad(NamedTuple):
    """A module is formed; its init function runs next. taints are letters as in /proc/modules."""

    name: str
    taints: str


class ModuleFree(NamedTuple):
    """A module is about to lose its memory."""

    name: str


class ModuleGet(NamedTuple):
    """Somebody took a reference; refcnt is the count after it."""

    name: str
    call_site: str
    refcnt: int


class ModulePut(NamedTuple):
    """Somebody gave a reference back; refcnt is the count after it."""

    name: str
    call_site: str
    refcnt: int


ModuleEvent: TypeAlias = ModuleLoad | ModuleFree | ModuleGet | ModulePut

MODULE_EVENT_NAMES: dict[type, str] = {
    ModuleLoad: "module_load",
    ModuleFree: "module_free",
    ModuleGet: "module_get",
    ModulePut: "module_put",
}
