"""A machine in small for the loader: a dict of pages, two bump allocators, failures on order."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.modules.loader import ModuleLoader
from kernel_sim.primitives import PREEMPT, Lock, run_undisturbed

OBJECTS = Path(__file__).parents[2] / "modules" / "objects"
PAGE = 4096
MODULE_SPACE = {"x86-64": 0xFFFFFFFFC0000000, "i386": 0xF8000000}
RESERVED_PTR = 0x35000
DYNAMIC_PTR = 0x607F83800000
UNIT_BASE = {"x86-64": 0xFFFF88803EC00000, "i386": 0xC2000000}
UNIT_STEP = 0x200000


@dataclass
class FakeHost:
    """The host protocol with everything in the open; fail_at: the n-th allocation fails, from 0."""

    arch: str = "x86-64"
    page_size: int = PAGE
    percpu_pointer_bytes: int = 0
    possible_cpus: tuple[int, ...] = (0, 1, 2, 3)
    symbols: dict[str, int] = field(default_factory=dict)
    percpu_names: tuple[str, ...] = ("kernel_percpu",)
    fail_at: int = -1
    nr_allocs: int = 0
    nr_writes: int = 0
    pages: dict[int, bytearray] = field(default_factory=dict)
    blocks: dict[int, int] = field(default_factory=dict)
    areas: dict[int, tuple[int, int, bool, int, str]] = field(default_factory=dict)
    protections: dict[int, str] = field(default_factory=dict)
    log: list[tuple[int, str]] = field(default_factory=list)
    events: list[tuple[int, Any]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    work: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        space = MODULE_SPACE[self.arch]
        if not self.symbols:
            kernel = 0xFFFFFFFF81000000 if self.arch == "x86-64" else 0xC1000000
            self.symbols = {"kernel_func": kernel + 0x123450, "kernel_percpu": 0x1A2C0}
        self.next_block = space

    def _may(self) -> bool:
        self.nr_allocs += 1
        return self.nr_allocs - 1 != self.fail_at

    async def module_alloc(self, cpu: int, size_bytes: int) -> int | None:
        await PREEMPT
        if not self._may():
            return None
        assert size_bytes > 0 and size_bytes % PAGE == 0
        addr = self.next_block
        self.next_block += size_bytes + PAGE
        self.blocks[addr] = size_bytes
        for page in range(addr, addr + size_bytes, PAGE):
            self.pages[page] = bytearray(b"\xcc" * PAGE)
            self.protections[page] = "rw+nx"
        return addr

    async def module_memfree(self, cpu: int, addr: int) -> None:
        await PREEMPT
        self.order.append(f"memfree {addr:x}")
        for page in range(addr, addr + self.blocks.pop(addr), PAGE):
            del self.pages[page], self.protections[page]

    async def pcpu_alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> int | None:
        await PREEMPT
        if not self._may():
            return None
        at = RESERVED_PTR if reserved else DYNAMIC_PTR
        for ptr, area in sorted(self.areas.items()):
            if area[2] == reserved and ptr + area[0] > at:
                at = ptr + area[0]
        at = -(-at // align) * align
        self.areas[at] = (size, align, reserved, gfp, call_site)
        for owner in self.possible_cpus:
            start = self.per_cpu_addr(at, owner)
            for page in range(start - start % PAGE, start + size, PAGE):
                self.pages.setdefault(page, bytearray(PAGE))
                self.protections.setdefault(page, "rw+nx")
        return at

    @property
    def percpu_align_max(self) -> int:
        return self.page_size

    def modalloc(
        self, cpu: int, name: str, size: int, align: int, nr_variables: int, call_site: str
    ) -> Coroutine[Any, None, int | None]:
        return self.pcpu_alloc(cpu, size, align, True, GFP_KERNEL, call_site)

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        return True

    def modfree(self, cpu: int, ptr: int) -> Coroutine[Any, None, None]:
        return self.free_percpu(cpu, ptr)

    async def free_percpu(self, cpu: int, ptr: int) -> None:
        await PREEMPT
        self.order.append(f"free_percpu {ptr:x}")
        del self.areas[ptr]

    def write(self, cpu: int, addr: int, data: bytes) -> None:
        self.nr_writes += 1
        for at, start, end in self._pieces(addr, len(data)):
            page = at - at % PAGE
            assert self.protections[page] == "rw+nx", f"write to {at:#x}"
            self.pages[page][at % PAGE : at % PAGE + end - start] = data[start:end]

    def read(self, cpu: int, addr: int, nr_bytes: int) -> bytes:
        return b"".join(
            bytes(self.pages[at - at % PAGE][at % PAGE : at % PAGE + end - start])
            for at, start, end in self._pieces(addr, nr_bytes)
        )

    def _pieces(self, addr: int, nr_bytes: int) -> Iterator[tuple[int, int, int]]:
        """Yield (address, first, end of the bytes there) page by page."""
        start = 0
        while start < nr_bytes:
            end = min(nr_bytes, start + PAGE - (addr + start) % PAGE)
            yield addr + start, start, end
            start = end

    def per_cpu_addr(self, ptr: int, cpu: int) -> int:
        mask = (1 << 64) - 1 if self.arch == "x86-64" else (1 << 32) - 1
        return UNIT_BASE[self.arch] + cpu * UNIT_STEP + ptr & mask

    def set_memory(self, cpu: int, addr: int, nr_pages: int, kind: str) -> bool:
        for page in range(addr, addr + nr_pages * PAGE, PAGE):
            assert page in self.protections
            self.protections[page] = kind
        return True

    def schedule_work(self, cpu: int, work: str) -> None:
        self.work.append((cpu, work))

    async def flush_tlb_kernel_range(self, cpu: int, start: int, end: int) -> None:
        """There are no TLBs here."""

    def kernel_symbol(self, name: str) -> int | None:
        return self.symbols.get(name)

    def is_percpu_symbol(self, name: str) -> bool:
        return name in self.percpu_names

    def printk(self, cpu: int, level: int, text: str) -> None:
        self.log.append((level, text))

    def emit(self, cpu: int, event: Any) -> None:
        self.events.append((cpu, event))

    def texts(self) -> list[str]:
        return [text for _, text in self.log]

    def is_clean(self) -> bool:
        return not self.blocks and not self.areas


def image_of(name: str, arch: str = "x86-64") -> bytes:
    return (OBJECTS / f"{name}-{arch}.o").read_bytes()


class Cpus:
    """Runs paths of several CPUs in turn, one step each, as told; locks as the machine hands them."""

    def __init__(self) -> None:
        self.paths: dict[int, Coroutine[Any, None, Any]] = {}
        self.wishes: dict[int, Lock | None] = {}
        self.results: dict[int, Any] = {}

    def give(self, cpu: int, path: Coroutine[Any, None, Any]) -> None:
        self.paths[cpu], self.wishes[cpu] = path, None

    def runnable(self) -> list[int]:
        return [cpu for cpu in sorted(self.paths) if not (w := self.wishes[cpu]) or w.holder < 0]

    def step(self, cpu: int) -> None:
        wish = self.wishes[cpu]
        if wish is not None:
            wish.holder = cpu
        try:
            self.wishes[cpu] = self.paths[cpu].send(None)
        except StopIteration as end:
            self.results[cpu] = end.value
            del self.paths[cpu], self.wishes[cpu]

    def run(self, choose: Callable[[list[int]], int] = lambda cpus: cpus[0]) -> dict[int, Any]:
        while self.paths:
            runnable = self.runnable()
            assert runnable, "deadlock"
            self.step(choose(runnable))
        return self.results


@dataclass
class Bench:
    """A host, a loader on it, and short ways to call it."""

    host: FakeHost
    loader: ModuleLoader

    def load(self, name: str, script: str = "", image: bytes | None = None) -> int:
        data = image_of(name, self.host.arch) if image is None else image
        result = run_undisturbed(self.loader.load_module(0, data, name, script))
        if self.host.work:
            self.host.work.clear()
            run_undisturbed(self.loader.do_free_init(0))
        return result

    def delete(self, name: str) -> int:
        return run_undisturbed(self.loader.delete_module(0, name))

    def section(self, module: str, section: str) -> bytes:
        mod = self.loader.find_module(module)
        assert mod is not None
        at = next(at for at in mod.sections if at.name == section)
        return self.host.read(0, at.addr, at.size_bytes)


def new_bench(arch: str = "x86-64", **changes: Any) -> Bench:
    host = FakeHost(arch, **changes)
    return Bench(host, ModuleLoader(host))


@pytest.fixture
def bench() -> Bench:
    return new_bench()


@pytest.fixture(params=["x86-64", "i386"])
def any_bench(request: pytest.FixtureRequest) -> Bench:
    return new_bench(request.param)


@pytest.fixture(scope="session")
def make_bench() -> Callable[..., Bench]:
    return new_bench


@pytest.fixture(scope="session")
def make_cpus() -> type[Cpus]:
    return Cpus


@contextmanager
def unchanged(bench: Bench) -> Iterator[None]:
    """Check that nothing of a host or loader differs afterwards, but for the log."""
    before = (dict(bench.host.blocks), dict(bench.host.areas), bench.loader.dump())
    yield
    assert (dict(bench.host.blocks), dict(bench.host.areas), bench.loader.dump()) == before


def load_and_look(bench: Bench, name: str) -> dict[str, tuple[int, bytes]]:
    """Load an object; return address and bytes of its sections as they are when init begins."""
    path = bench.loader.load_module(0, image_of(name, bench.host.arch), name, "")
    seen: dict[str, tuple[int, bytes]] = {}
    try:
        while True:
            wish = path.send(None)
            if wish is not None:
                wish.holder = 0
            mod = bench.loader.find_module(name)
            if mod is not None and mod.state == "MODULE_STATE_COMING" and not seen:
                for at in mod.sections:
                    if at.size_bytes:
                        seen[at.name] = (at.addr, bench.host.read(0, at.addr, at.size_bytes))
                if mod.percpu_ptr:
                    copy = bench.host.per_cpu_addr(mod.percpu_ptr, 3)
                    data = bench.host.read(0, copy, mod.percpu_size_bytes)
                    seen[".data..percpu"] = (mod.percpu_ptr, data)
    except StopIteration as end:
        assert end.value == 0, bench.host.texts()
    return seen


@pytest.fixture(name="load_and_look")
def load_and_look_fixture() -> Callable[[Bench, str], dict[str, tuple[int, bytes]]]:
    return load_and_look


@pytest.fixture(scope="session")
def make_image() -> Callable[..., bytes]:
    return image_of


@pytest.fixture(name="unchanged", scope="session")
def unchanged_fixture() -> Callable[..., Any]:
    return unchanged
