"""The module loader: the list of modules, and the ways onto it and off it.

    load_module ─┬─ layout_and_allocate    two blocks, sections copied     ─┐
                 ├─ add_unformed_module    the name is taken: UNFORMED      │ a failure at any of these
                 ├─ percpu_modalloc        reserved chunk                   │ gives everything back, in
                 ├─ simplify_symbols       names to addresses, references   │ reverse order
                 ├─ apply_relocations, post_relocation                      │
                 ├─ complete_formation     exports are unique: COMING      ─┘
                 └─ do_init_module         init runs; LIVE, or GOING and gone
    delete_module ─── cleanup_module, free_module

module_mutex protects the list, states and references. Who finds a module half loaded waits for the lock
that its loader holds until it is live or gone (the kernel's module_wq).
Source: kernel/module/main.c, Linux 6.1.
"""

from __future__ import annotations

from typing import TypedDict

from kernel_sim.errors import ConfigError, KernelBug
from kernel_sim.modules import module_memory as memory
from kernel_sim.modules.elf_headers import SHN_ABS, SHN_COMMON, SHN_UNDEF
from kernel_sim.modules.elf_object import Symbol
from kernel_sim.modules.errors import (
    EBUSY,
    EEXIST,
    EINVAL,
    ENOENT,
    ENOEXEC,
    EWOULDBLOCK,
    ModuleFormatError,
)  # fmt: skip
from kernel_sim.modules.host import ModuleHost
from kernel_sim.modules.initcall import cleanup_module, do_one_initcall
from kernel_sim.modules.load_info import LoadInfo, read_load_info
from kernel_sim.modules.module import (
    COMING,
    GOING,
    LIVE,
    MODULE_REF_BASE,
    Module,
    ModuleState,
)  # fmt: skip
from kernel_sim.modules.module_check import check_modules
from kernel_sim.modules.module_events import ModuleFree, ModuleGet, ModuleLoad, ModulePut
from kernel_sim.modules.script import parse_script
from kernel_sim.modules.symbol_table import Exported, core_symbols_of, exports_of, find_symbol
from kernel_sim.primitives import PREEMPT, Lock

NO_OWNER_NAME = "kernel"
DO_FREE_INIT = "do_free_init"


class LoaderState(TypedDict):
    """A ModuleLoader as builtin types; modules newest first, init_free in the order of loading."""

    modules: list[ModuleState]
    init_free: list[int]
    leaks: list[tuple[str, str, int]]


class ModuleLoader:
    """All modules of a machine, newest first as in /proc/modules.

    leaks: areas that a module's exit did not free: (module, variable, __percpu pointer). init_free:
    init blocks that nobody needs any more and do_free_init() has not given back yet. version grows
    with every change. loading: who waits for a module half loaded waits for its lock; empty when no call
    is under way.
    """

    def __init__(self, host: ModuleHost) -> None:
        """Begin with no module."""
        self.host = host
        self.modules: list[Module] = []
        self.leaks: list[tuple[str, str, int]] = []
        self.init_free: list[int] = []
        self.version = 0
        self.mutex = Lock("module_mutex", irqs_off=False)
        self.loading: dict[str, Lock] = {}

    def find_module(self, name: str) -> Module | None:
        """Return the module of this name, whatever its state."""
        return next((module for module in self.modules if module.name == name), None)

    # -- loading -----------------------------------------------------------------------------------

    async def load_module(self, cpu: int, image: bytes, name: str, script: str) -> int:
        """Load an object file; 0, or -errno with nothing left of it.

        name is the module's if the object does not say it. script: what it does (script.py). A file that
        cannot be loaded at all is said so in the log and gives -ENOEXEC; whoever wants the reason as an
        error asks read_load_info() first.
        """
        await PREEMPT
        info = self._read(cpu, image, name, script)
        if isinstance(info, int):
            return info
        mod = self._new_module(info, script)
        err = await memory.layout_and_allocate(self.host, cpu, mod, info)
        if err:
            return err
        err = await self.add_unformed_module(cpu, mod)
        if err:
            await memory.module_deallocate(self.host, cpu, mod)
            return err
        self.version += 1
        err = await memory.percpu_modalloc(self.host, cpu, mod, info)
        err = err or await self.simplify_symbols(cpu, mod, info)
        err = err or await memory.apply_relocations(self.host, cpu, mod, info)
        err = err or await memory.post_relocation(self.host, cpu, mod, info)
        err = err or await self.complete_formation(cpu, mod, info)
        self.version += 1
        if err:
            await self.module_unload_free(cpu, mod)
            await self.mutex
            self._unlink(mod)
            self.mutex.release()
            await memory.module_deallocate(self.host, cpu, mod)
            return err
        self.host.emit(cpu, ModuleLoad(mod.name, ""))
        return await self.do_init_module(cpu, mod, info)

    async def add_unformed_module(self, cpu: int, mod: Module) -> int:
        """Put the module on the list if its name is free; 0, -EEXIST or -EBUSY.

        Waits while a module of that name is being loaded.
        """
        await self.mutex
        old = self.find_module(mod.name)
        if old is None:
            self.modules.insert(0, mod)
            self.loading[mod.name] = Lock(f"module_wq {mod.name}", irqs_off=False, holder=cpu)
            self.mutex.release()
            return 0
        if mod.name in self.loading:
            finished = self.loading[mod.name]
            self.mutex.release()
            await finished
            finished.release()
            await self.mutex
            old = self.find_module(mod.name)
        self.mutex.release()
        return -EEXIST if old is not None and old.state == LIVE else -EBUSY

    async def simplify_symbols(self, cpu: int, mod: Module, info: LoadInfo) -> int:
        """Make every symbol's value an address; 0, or the last error after telling of each."""
        await PREEMPT
        result = 0
        mask = (1 << 8 * info.elf.elf_class.word_bytes) - 1
        for index, symbol in enumerate(info.elf.symbols[1:], 1):
            if symbol.section_index == SHN_COMMON:
                if not symbol.name.startswith("__gnu_lto"):
                    self._warn(cpu, f"{mod.name}: please compile with -fno-common")
                    result = -ENOEXEC
            elif symbol.section_index == SHN_UNDEF:
                found = await self.resolve_symbol_wait(cpu, mod, symbol.name)
                if isinstance(found, Exported):
                    info.values[index] = found.value & mask
                elif found or not _may_be_missing(symbol):
                    result = found or -ENOENT
                    self._warn(cpu, f"{mod.name}: Unknown symbol {symbol.name} (err {result})")
            elif symbol.section_index != SHN_ABS:
                base = info.section_addrs.get(symbol.section_index, 0)
                if info.percpu is not None and symbol.section_index == info.percpu.index:
                    base = mod.percpu_ptr
                info.values[index] = symbol.value + base & mask
        return result

    async def resolve_symbol_wait(self, cpu: int, mod: Module, name: str) -> Exported | int:
        """As resolve_symbol(), but wait for a module that is just being initialized."""
        found = await self.resolve_symbol(cpu, mod, name)
        while found == -EBUSY:
            owner = find_symbol(self.host, self.modules, name)
            if owner is not None and owner.owner is not None:
                finished = self.loading.get(owner.owner.name)
                if finished is not None:
                    await finished
                    finished.release()
            found = await self.resolve_symbol(cpu, mod, name)
        return found

    async def resolve_symbol(self, cpu: int, mod: Module, name: str) -> Exported | int:
        """Return what a name stands for and refer to its owner; 0 if nobody exports it, or -errno."""
        await self.mutex
        found = find_symbol(self.host, self.modules, name)
        err = 0
        if found is not None and found.owner is not None:
            err = self._ref_module(cpu, mod, found.owner)
        self.mutex.release()
        if err or found is None:
            return err
        return found

    async def complete_formation(self, cpu: int, mod: Module, info: LoadInfo) -> int:
        """Check that the exports are new, protect the pages, and let others see it; 0 or -ENOEXEC."""
        await self.mutex
        symbols = core_symbols_of(info)
        try:
            exports = exports_of(info, symbols, lambda at, size: self.host.read(cpu, at, size))
        except ValueError as problem:
            self.host.printk(cpu, memory.KERN_ERR, f"{mod.name}: {problem}")
            self.mutex.release()
            return -ENOEXEC
        for symbol in exports:
            taken = find_symbol(self.host, self.modules, symbol.name)
            if taken is not None:
                owner = taken.owner.name if taken.owner is not None else NO_OWNER_NAME
                self.host.printk(
                    cpu, memory.KERN_ERR,
                    f"{mod.name}: exports duplicate symbol {symbol.name} (owned by {owner})",
                )  # fmt: skip
                self.mutex.release()
                return -ENOEXEC
        mod.symbols = symbols
        mod.exports = {symbol.name: symbol for symbol in exports}
        memory.enable_protections(self.host, cpu, mod, info)
        mod.enter(COMING)
        self.mutex.release()
        await memory.cpa_flush(self.host, cpu, mod)
        return 0

    async def do_init_module(self, cpu: int, mod: Module, info: LoadInfo) -> int:
        """Run the module's init; it is live then, or gone if init returned an error.

        The init block is given back from a work queue, a little later: the next module may not get it.
        """
        size_bytes = info.find_symbol_size("init_module") or 0
        call_site = f"init_module+0x0/{size_bytes:#x} [{mod.name}]"
        err = await do_one_initcall(self.host, cpu, mod, info.script, call_site)
        self.version += 1
        if err < 0:
            mod.enter(GOING)
            self._put(cpu, mod, "do_init_module")
            await self.free_module(cpu, mod)
            return err
        mod.enter(LIVE)
        await self.mutex
        self._put(cpu, mod, "do_init_module")
        memory.protect_after_init(self.host, cpu, mod, info.layout.core)
        await memory.cpa_flush(self.host, cpu, mod)
        init_addr = memory.give_up_init(mod)
        self._finished(mod)
        self.mutex.release()
        if init_addr:
            self.init_free.append(init_addr)
            self.version += 1
            self.host.schedule_work(cpu, DO_FREE_INIT)
        return 0

    async def do_free_init(self, cpu: int) -> None:
        """Give the init blocks of all modules that are live now back. Context: kworker.

        Source: kernel/module/main.c, Linux 6.1; the grace period before it is not modelled.
        """
        await PREEMPT
        while self.init_free:
            addr = self.init_free.pop(0)
            self.version += 1
            await self.host.module_memfree(cpu, addr)

    # -- unloading ---------------------------------------------------------------------------------

    async def delete_module(self, cpu: int, name: str) -> int:
        """Unload a module that nobody uses; 0, -ENOENT, -EWOULDBLOCK (in use) or -EBUSY."""
        await self.mutex
        mod = self.find_module(name)
        err = self._why_not_delete(mod)
        if mod is None or err:
            self.mutex.release()
            return err
        mod.refcnt = 0
        mod.enter(GOING)
        self.version += 1
        self.mutex.release()
        await cleanup_module(self.host, cpu, mod, parse_script(mod.script))
        self.leaks += [(mod.name, variable, ptr) for variable, ptr in mod.variables.items()]
        await self.free_module(cpu, mod)
        return 0

    async def free_module(self, cpu: int, mod: Module) -> None:
        """Take a module off the list and give all its memory back."""
        self.host.emit(cpu, ModuleFree(mod.name))
        await self.module_unload_free(cpu, mod)
        await self.mutex
        self._unlink(mod)
        self.mutex.release()
        init_addr = memory.give_up_init(mod)
        if init_addr:
            await self.host.module_memfree(cpu, init_addr)
        await memory.percpu_modfree(self.host, cpu, mod)
        await self.host.module_memfree(cpu, memory.give_up_core(mod))

    async def module_unload_free(self, cpu: int, mod: Module) -> None:
        """Give back the references to all modules that this one uses."""
        await self.mutex
        while mod.uses:
            name, _ = mod.uses.popitem()
            used = self.find_module(name)
            if used is None:
                raise KernelBug(f"module {mod.name} uses {name}, which is gone")
            del used.used_by[mod.name]
            self._put(cpu, used, "module_unload_free")
        self.mutex.release()

    # -- references --------------------------------------------------------------------------------

    async def try_module_get(self, cpu: int, name: str) -> bool:
        """Hold a module, as an open file of it does; False if it is not there or on its way out."""
        await PREEMPT
        mod = self.find_module(name)
        if mod is None or not self._get(cpu, mod, "try_module_get"):
            return False
        mod.nr_holds += 1
        return True

    async def module_put(self, cpu: int, name: str) -> None:
        """Give such a hold back; KernelBug if there is none."""
        await PREEMPT
        mod = self.find_module(name)
        if mod is None or mod.nr_holds == 0:
            raise KernelBug(f"module_put of {name:.80}, which nobody holds")
        mod.nr_holds -= 1
        self._put(cpu, mod, "module_put")

    def _ref_module(self, cpu: int, mod: Module, used: Module) -> int:
        if used.name in mod.uses:
            return 0
        if used.state == COMING:
            return -EBUSY
        if not self._get(cpu, used, "resolve_symbol"):
            return -ENOENT
        mod.uses[used.name] = None
        used.used_by[mod.name] = None
        return 0

    def _get(self, cpu: int, mod: Module, call_site: str) -> bool:
        if mod.state == GOING or mod.refcnt == 0:
            return False
        mod.refcnt += 1
        self.version += 1
        self.host.emit(cpu, ModuleGet(mod.name, call_site, mod.refcnt))
        return True

    def _put(self, cpu: int, mod: Module, call_site: str) -> None:
        mod.refcnt -= 1
        self.version += 1
        self.host.emit(cpu, ModulePut(mod.name, call_site, mod.refcnt))

    # -- parts of the above ------------------------------------------------------------------------

    def _read(self, cpu: int, image: bytes, name: str, script: str) -> LoadInfo | int:
        try:
            return read_load_info(
                image,
                name,
                script,
                arch=self.host.arch,
                page_size=self.host.page_size,
                pointer_bytes=self.host.percpu_pointer_bytes,
            )
        except ModuleFormatError as problem:
            self.host.printk(cpu, memory.KERN_ERR, f"{name}: {problem}")
            return -ENOEXEC
        except ConfigError as problem:
            self.host.printk(cpu, memory.KERN_ERR, f"{name}: {problem}")
            return -EINVAL

    def _new_module(self, info: LoadInfo, script: str) -> Module:
        mod = Module(info.modinfo.name, script)
        mod.license, mod.vermagic = info.modinfo.license, info.modinfo.vermagic
        mod.depends = info.modinfo.depends
        has_symbol = info.find_symbol_size
        mod.has_init = has_symbol("init_module") is not None or bool(info.script.init)
        mod.has_exit = has_symbol("cleanup_module") is not None or bool(info.script.exit)
        return mod

    def _why_not_delete(self, mod: Module | None) -> int:
        if mod is None:
            return -ENOENT
        if mod.used_by:
            return -EWOULDBLOCK
        if mod.state != LIVE or (mod.has_init and not mod.has_exit):
            return -EBUSY
        return -EWOULDBLOCK if mod.refcnt != MODULE_REF_BASE else 0

    def _unlink(self, mod: Module) -> None:
        self.modules.remove(mod)
        self.version += 1
        self._finished(mod)

    def _finished(self, mod: Module) -> None:
        """Wake whoever waits for the end of this load."""
        finished = self.loading.pop(mod.name, None)
        if finished is not None:
            finished.release()

    def _warn(self, cpu: int, text: str) -> None:
        self.host.printk(cpu, memory.KERN_WARNING, text)

    # -- state -------------------------------------------------------------------------------------

    def dump(self) -> LoaderState:
        """Return the whole state as builtin types; only while no load is under way."""
        return {
            "modules": [module.dump() for module in self.modules],
            "init_free": list(self.init_free),
            "leaks": list(self.leaks),
        }

    @classmethod
    def load(cls, host: ModuleHost, state: LoaderState) -> ModuleLoader:
        """Return a loader in the state that dump() described."""
        loader = cls(host)
        loader.modules = [Module.load(module) for module in state["modules"]]
        loader.init_free = list(state["init_free"])
        loader.leaks = [(name, variable, ptr) for name, variable, ptr in state["leaks"]]
        return loader

    def check_invariants(self) -> None:
        """Raise InvariantBroken at the first contradiction between modules."""
        check_modules(self.modules, self.host.page_size)


def _may_be_missing(symbol: Symbol) -> bool:
    """Say whether an undefined symbol may stay 0. Source: ignore_undef_symbol(), Linux 6.1."""
    return symbol.bind == "weak" or symbol.name == "_GLOBAL_OFFSET_TABLE_"
