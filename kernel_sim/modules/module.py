"""One loaded module: its life, its memory, its symbols, and who uses it.

    UNFORMED ──► COMING ──► LIVE ──► GOING ──► gone
        │           └────────────────▲
        └──► gone (nobody ever saw it)

Source: include/linux/module.h, Linux 6.1: struct module, enum module_state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

from kernel_sim.errors import KernelBug

LIVE = "MODULE_STATE_LIVE"
COMING = "MODULE_STATE_COMING"
GOING = "MODULE_STATE_GOING"
UNFORMED = "MODULE_STATE_UNFORMED"

MODULE_NEXT: dict[str, tuple[str, ...]] = {
    UNFORMED: (COMING,),
    COMING: (LIVE, GOING),
    LIVE: (GOING,),
    GOING: (),
}
MODULE_REF_BASE = 1
"""refcnt of a module that nobody uses; Source: kernel/module/main.c."""


class SectionAt(NamedTuple):
    """A section in memory."""

    name: str
    addr: int
    size_bytes: int


class ModuleSymbol(NamedTuple):
    """A symbol of a module; value is an address, or a __percpu pointer if is_percpu."""

    name: str
    value: int
    size_bytes: int
    letter: str
    is_percpu: bool

    def plain(self) -> tuple[str, int, int, str, bool]:
        """Return the symbol as builtin types."""
        return (self.name, self.value, self.size_bytes, self.letter, self.is_percpu)


class ModuleState(TypedDict):
    """A Module as builtin types."""

    name: str
    state: str
    core: tuple[int, int]
    init: tuple[int, int]
    percpu: tuple[int, int, int]
    sections: list[tuple[str, int, int]]
    symbols: list[tuple[str, int, int, str, bool]]
    exports: list[tuple[str, int, int, str, bool]]
    refcnt: int
    nr_holds: int
    uses: list[str]
    used_by: list[str]
    script: str
    variables: list[tuple[str, int]]
    init_function: bool
    exit_function: bool
    info: tuple[str, str, tuple[str, ...]]


@dataclass(slots=True)
class Module:
    """A module on the list; addresses are virtual, sizes in bytes, percpu_ptr a __percpu pointer.

    refcnt counts as the kernel does, MODULE_REF_BASE for being there. nr_holds: references of users
    that are no modules. used_by and uses are ordered sets of names. variables: the areas that the
    module's script holds.
    """

    name: str
    script: str = ""
    state: str = UNFORMED
    core_addr: int = 0
    core_size_bytes: int = 0
    init_addr: int = 0
    init_size_bytes: int = 0
    percpu_ptr: int = 0
    percpu_size_bytes: int = 0
    percpu_align: int = 0
    sections: list[SectionAt] = field(default_factory=list)
    symbols: list[ModuleSymbol] = field(default_factory=list)
    exports: dict[str, ModuleSymbol] = field(default_factory=dict)
    refcnt: int = MODULE_REF_BASE + 1
    nr_holds: int = 0
    uses: dict[str, None] = field(default_factory=dict)
    used_by: dict[str, None] = field(default_factory=dict)
    variables: dict[str, int] = field(default_factory=dict)
    has_init: bool = False
    has_exit: bool = False
    license: str = ""
    vermagic: str = ""
    depends: tuple[str, ...] = ()

    @property
    def use_count(self) -> int:
        """What /proc/modules shows as the number of users; -1 on its way out."""
        return self.refcnt - MODULE_REF_BASE

    @property
    def size_bytes(self) -> int:
        """What /proc/modules shows as the size: core, and init as long as it is there."""
        return self.core_size_bytes + self.init_size_bytes

    @property
    def percpu_symbols(self) -> list[ModuleSymbol]:
        """The module's own per-CPU variables."""
        return [symbol for symbol in self.symbols if symbol.is_percpu]

    def enter(self, state: str) -> None:
        """Go on to another state of the life cycle; KernelBug if no way leads there."""
        if state not in MODULE_NEXT[self.state]:
            raise KernelBug(f"module {self.name} cannot go from {self.state} to {state}")
        self.state = state

    def find_owner_name(self, addr: int) -> str | None:
        """Return symbol+0xoffset, or section+0xoffset, for an address in this module, or None."""
        best: ModuleSymbol | None = None
        for symbol in self.symbols:
            begins_before = not symbol.is_percpu and symbol.value <= addr
            if begins_before and (best is None or symbol.value > best.value):
                best = symbol
        if best is not None and addr < best.value + max(best.size_bytes, 1):
            return f"{best.name}+{addr - best.value:#x}"
        for name, start, size_bytes in self.sections:
            if start <= addr < start + size_bytes:
                return f"{name}+{addr - start:#x}"
        return None

    def dump(self) -> ModuleState:
        """Return the whole state as builtin types."""
        return {
            "name": self.name,
            "state": self.state,
            "core": (self.core_addr, self.core_size_bytes),
            "init": (self.init_addr, self.init_size_bytes),
            "percpu": (self.percpu_ptr, self.percpu_size_bytes, self.percpu_align),
            "sections": [(at.name, at.addr, at.size_bytes) for at in self.sections],
            "symbols": [symbol.plain() for symbol in self.symbols],
            "exports": [symbol.plain() for symbol in self.exports.values()],
            "refcnt": self.refcnt,
            "nr_holds": self.nr_holds,
            "uses": list(self.uses),
            "used_by": list(self.used_by),
            "script": self.script,
            "variables": list(self.variables.items()),
            "init_function": self.has_init,
            "exit_function": self.has_exit,
            "info": (self.license, self.vermagic, self.depends),
        }

    @classmethod
    def load(cls, state: ModuleState) -> Module:
        """Return a Module in the state that dump() described."""
        module = cls(state["name"], state["script"], state["state"])
        module.core_addr, module.core_size_bytes = state["core"]
        module.init_addr, module.init_size_bytes = state["init"]
        module.percpu_ptr, module.percpu_size_bytes, module.percpu_align = state["percpu"]
        module.sections = [SectionAt(*fields) for fields in state["sections"]]
        module.symbols = [ModuleSymbol(*fields) for fields in state["symbols"]]
        module.exports = {fields[0]: ModuleSymbol(*fields) for fields in state["exports"]}
        module.refcnt, module.nr_holds = state["refcnt"], state["nr_holds"]
        module.uses = dict.fromkeys(state["uses"])
        module.used_by = dict.fromkeys(state["used_by"])
        module.variables = dict(state["variables"])
        module.has_init, module.has_exit = state["init_function"], state["exit_function"]
        license_text, vermagic, depends = state["info"]
        module.license, module.vermagic, module.depends = license_text, vermagic, tuple(depends)
        return module
