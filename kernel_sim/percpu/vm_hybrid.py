"""The hybrid of May 2006: boot CPUs as ever but page aligned, hot-added CPUs and modules in VM.

    direct map   │ area 0 │ area 1 │               bootmem, A bytes each, for the CPUs that run at boot
    VM           │ win. 0 │ win. 1 │ …             the same D further up: pages only where modules are
                 │ area k │ … │ win. k │ …        kept for CPUs to come: again D apart
    image        │ .data.percpu │                  kept, with every module's image, for CPUs to come

    per_cpu(v, c) = &per_cpu__v + __per_cpu_offset[c]      also for a module's v: its link address is D higher

A CPU that comes gets pages of its node, the kept images, and whatever modules are loaded; then its entry is
set. Nothing of that is undone when it goes: it finds its variables as it left them. No code of this was
posted; what the mail leaves open is decided here (ours): windows for hot-added CPUs are reserved at boot,
else looked for when they come; module_mutex keeps loads apart, and a load goes on until every CPU that came
meanwhile has its pages too.
Source: "Re: [RFC PATCH 00/09] robust VM per_cpu variables", 18 May 2006.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernel_sim.errors import BadAccess, DoubleFree, InvariantBroken, KernelBug
from kernel_sim.events import PercpuDepopulate, PercpuPopulate
from kernel_sim.mm.gfp import GFP_HIGHMEM, GFP_KERNEL
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.mm.tlb_flush import TLB_REMOTE_SHOOTDOWN, flush_own, flush_tlb_kernel_range
from kernel_sim.percpu.module_slots import KERN_ERR, KERN_WARNING, exhausted_line
from kernel_sim.percpu.module_window import ModuleWindow, WindowSection, page_numbers
from kernel_sim.percpu.protocol import MODALLOC_SAID
from kernel_sim.percpu.stretch import HOLE, METADATA, MODULE, PADDING, STATIC, Stretch
from kernel_sim.percpu.unit_stretches import UnitArea, unit_stretches
from kernel_sim.primitives import PREEMPT

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

ENOMEM = 12
PAGES_CALLER = "percpu_modalloc"
SPACE_CALLER = "setup_per_cpu_areas"


@dataclass(slots=True)
class HybridAreas:
    """Areas and windows of one machine. distance_bytes: D, from any CPU's area to its window.

    reserved_addr: where areas of CPUs to come are kept free, 0 if there was no such place at boot.
    hot: CPU: its area in VM, in the order in which they came. changed: since somebody last cleared it.
    """

    machine: Machine
    percpu_start: int
    base_addr: int
    distance_bytes: int
    boot_cpus: tuple[int, ...]
    reserved_addr: int
    window: ModuleWindow
    hot: dict[int, int] = field(default_factory=dict)
    changed: bool = True

    @property
    def area_bytes(self) -> int:
        """A: the size of an area, and of a window."""
        return self.window.area_bytes

    @property
    def cpus(self) -> tuple[int, ...]:
        """The CPUs that have an area, those of boot first."""
        return (*self.boot_cpus, *self.hot)

    @property
    def cpus_to_come(self) -> tuple[int, ...]:
        """The possible CPUs that did not run at boot."""
        return tuple(cpu for cpu in self.machine.topology.possible if cpu not in self.boot_cpus)

    def area_of(self, cpu: int) -> int | None:
        """Return where a CPU's area begins, None if it has none."""
        if cpu in self.boot_cpus:
            return self.base_addr + self.boot_cpus.index(cpu) * self.area_bytes
        return self.hot.get(cpu)

    def offset_of(self, cpu: int) -> int:
        """Return the distance from a link address to the CPU's copy, 0 for a CPU without an area."""
        area = self.area_of(cpu)
        return 0 if area is None else area - self.percpu_start & self._mask

    def ptr_of(self, section: WindowSection) -> int:
        """Return the link address of a module's section."""
        distance = self.distance_bytes if section.in_window else 0
        return self.percpu_start + distance + section.offset_bytes & self._mask

    def section_at(self, ptr: int) -> WindowSection | None:
        """Return the section whose ptr this is, None if there is none."""
        return next((each for each in self.window.sections if self.ptr_of(each) == ptr), None)

    def copy_addr(self, ptr: int, owner: int) -> int | None:
        """Return where the owner's copy is; None for a CPU without an area, or no such variable."""
        area = self.area_of(owner)
        if area is None:
            return None
        for distance in (0, self.distance_bytes):
            offset = ptr - self.percpu_start - distance & self._mask
            if offset < self.area_bytes:
                return area + distance + offset
        return None

    @property
    def _mask(self) -> int:
        return self.machine.arch.address_mask

    # -- modules -----------------------------------------------------------------------------------

    async def percpu_modalloc(self, cpu: int, name: str, size: int, align: int) -> int:
        """Find room in slack or window and back the window's pages for every CPU that has an area.

        Returns the ptr, or MODALLOC_SAID: there is no room, or no page, and nothing was changed.
        """
        machine, window = self.machine, self.window
        await machine.modules.mutex
        section, done = window.find(name, size, align), dict[int, int]()
        failed = section is None
        while section is not None and not failed:
            missing = self._next_missing(section, done)
            if missing is None:
                break
            failed = not self._map_page(cpu, *missing, done)
            await PREEMPT
        if section is None or failed:
            self._unmap_pages(cpu, done)
            machine.printk(cpu, KERN_WARNING, exhausted_line(size))
            machine.modules.mutex.release()
            return MODALLOC_SAID
        pages = window.missing_pages(section)
        window.populated |= pages
        window.sections.append(section)
        self.changed = True
        for page in page_numbers(pages):
            machine.emit(cpu, PercpuPopulate(self.base_addr + self.distance_bytes, page, page + 1))
        machine.modules.mutex.release()
        return self.ptr_of(section)

    async def percpu_modfree(self, cpu: int, ptr: int) -> None:
        """Forget a section, and give back the windows' pages that no other touches.

        Raises DoubleFree where no section begins.
        """
        machine, window = self.machine, self.window
        await machine.modules.mutex
        section = self.section_at(ptr)
        if section is None:
            raise DoubleFree(f"cpu {cpu}: percpu_modfree of {ptr:#x}: no module's section is there")
        window.sections.remove(section)
        pages = page_numbers(window.unused_pages())
        window.populated &= ~window.unused_pages()
        self.changed = True
        windows = [self._window_of(owner) for owner in self.cpus]
        virts = [addr + page * PAGE_SIZE_BYTES for addr in windows for page in pages]
        pfns = [machine.space.unmap_page(virt) for virt in virts]
        if section.image_addr:
            machine.slab.kfree(section.image_addr - machine.arch.direct_map_addr, cpu)
        for page in pages:
            base_addr = self.base_addr + self.distance_bytes
            machine.emit(cpu, PercpuDepopulate(base_addr, page, page + 1))
        if virts:
            end = max(virts) + PAGE_SIZE_BYTES
            await flush_tlb_kernel_range(machine, cpu, min(virts), end)
        for pfn in pfns:
            if pfn is not None:
                machine.pages.free_pages(pfn, 0, cpu)
        machine.modules.mutex.release()

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        """Keep a section's image on the slab while a CPU may still come; False without memory."""
        machine, section = self.machine, self.section_at(ptr)
        if section is None or len(self.cpus) == len(machine.topology.possible):
            return True
        phys = machine.slab.kmalloc_node(
            len(image), GFP_KERNEL, machine.cpus[cpu].node, cpu,
            injectable=True, caller="percpu_modcopy",
        )  # fmt: skip
        if phys is None:
            return False
        section.image_addr = machine.arch.direct_map_addr + phys
        machine.access.write(cpu, section.image_addr, image)
        self.changed = True
        return True

    # -- CPUs that come ----------------------------------------------------------------------------

    def cpu_prepare(self, cpu: int, coming: int) -> int:
        """Give a CPU that comes for the first time its area and its window's pages, with all images in them.

        Returns 0, or -ENOMEM without address space or pages: then nothing was changed.
        """
        if self.area_of(coming) is not None:
            return 0
        area = self._take_space(cpu, coming)
        if area is None:
            text = (
                f"percpu: no address space for cpu {coming}: expected {self.area_bytes} free bytes twice,"
                f" {self.distance_bytes:#x} apart"
            )
            self.machine.printk(cpu, KERN_ERR, text)
            return -ENOMEM
        done: dict[int, int] = {}
        wanted = list(range(area, area + self.area_bytes, PAGE_SIZE_BYTES))
        wanted += [
            area + self.distance_bytes + page * PAGE_SIZE_BYTES
            for page in page_numbers(self.window.populated)
        ]
        if not all(self._map_page(cpu, coming, virt, done) for virt in wanted):
            self._unmap_pages(cpu, done)
            self._give_space(cpu, area)
            self.machine.printk(cpu, KERN_ERR, f"percpu: no pages for cpu {coming}")
            return -ENOMEM
        self.hot[coming] = area
        self.changed = True
        self.machine.emit(cpu, PercpuPopulate(area, 0, self.area_bytes >> PAGE_SHIFT))
        self._copy_images(cpu, coming, area)
        return 0

    def _copy_images(self, cpu: int, coming: int, area: int) -> None:
        """Copy the kept images, then let the CPU's entry name its area."""
        access, word_bytes = self.machine.access, self.machine.arch.word_bytes
        access.write(cpu, area, access.read(cpu, self.percpu_start, self.window.static_bytes))
        for section in self.window.sections:
            addr = self.copy_addr(self.ptr_of(section), coming)
            if section.image_addr and addr is not None:
                image = access.read(cpu, section.image_addr, section.size_bytes)
                access.write(cpu, addr, image)
        entry = self.machine.symbol("__per_cpu_offset") + coming * word_bytes
        access.write_int(cpu, entry, self.offset_of(coming), word_bytes)

    def _take_space(self, cpu: int, coming: int) -> int | None:
        """Return free addresses for an area, with others for its window at the distance, or None."""
        if self.reserved_addr:
            return self.reserved_addr + self.cpus_to_come.index(coming) * self.area_bytes
        sizes = (self.area_bytes, self.area_bytes)
        found = self.machine.vmalloc.get_vm_areas(
            (0, self.distance_bytes), sizes, PAGE_SIZE_BYTES, SPACE_CALLER
        )
        self._flush_purged()
        return found[0] if found else None

    def _give_space(self, cpu: int, area: int) -> None:
        if not self.reserved_addr:
            self.machine.vmalloc.free_vm_areas((area, area + self.distance_bytes))
            self._flush_purged()

    def _flush_purged(self) -> None:
        """Let every CPU forget within this step what a purge of lazily freed areas made free."""
        purged = self.machine.vmalloc.take_purged()
        for online in self.machine.online_cpus() if purged is not None else ():
            if online in self.machine.tlbs:
                flush_own(self.machine, online, TLB_REMOTE_SHOOTDOWN, purged)

    # -- pages -------------------------------------------------------------------------------------

    def _window_of(self, cpu: int) -> int:
        area = self.area_of(cpu)
        if area is None:
            raise KernelBug(f"cpu {cpu} has no area")
        return area + self.distance_bytes

    def _next_missing(self, section: WindowSection, done: dict[int, int]) -> tuple[int, int] | None:
        """Return (CPU, address) of the next page to back, also for CPUs that came meanwhile."""
        pages = page_numbers(self.window.missing_pages(section))
        for owner in self.cpus if pages else ():
            for page in pages:
                virt = self._window_of(owner) + page * PAGE_SIZE_BYTES
                if virt not in done:
                    return owner, virt
        return None

    def _map_page(self, cpu: int, owner: int, virt: int, done: dict[int, int]) -> bool:
        """Back an address with a cleared page of the owner's node, or the nearest with one; False without."""
        machine, node = self.machine, self.machine.topology.node_of_cpu[owner]
        pfn = machine.pages.alloc_pages(
            gfp=GFP_KERNEL | GFP_HIGHMEM, order=0, node=node, cpu=cpu, injectable=True, caller=PAGES_CALLER
        )  # fmt: skip
        if pfn is None:
            return False
        machine.memory.clear_page(pfn)
        if not machine.space.map_page(virt=virt, pfn=pfn, flags=PAGE_KERNEL, node=node, cpu=cpu):
            machine.pages.free_pages(pfn, 0, cpu)
            return False
        done[virt] = pfn
        return True

    def _unmap_pages(self, cpu: int, done: dict[int, int]) -> None:
        """Take back pages that no CPU has used yet."""
        for virt in reversed(done):
            self.machine.space.unmap_page(virt)
            self.machine.pages.free_pages(done[virt], 0, cpu)

    # -- looking -----------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield the kept image, every CPU's area and window, addresses for CPUs to come, modules' images."""
        strip, what = "kernel image, saved section", "saved .data.percpu"
        yield Stretch(strip, self.percpu_start, self.window.static_bytes, METADATA, what)
        all_pages = (1 << (self.area_bytes >> PAGE_SHIFT)) - 1
        for cpu in self.cpus:
            node = self.machine.topology.node_of_cpu[cpu]
            is_hot = cpu in self.hot
            area = Stretch(
                f"area of cpu {cpu}", self._window_of(cpu) - self.distance_bytes, self.area_bytes,
                "", "", cpu, node=node if is_hot else -1, owns_pages=is_hot,
            )  # fmt: skip
            static = UnitArea(0, self.window.static_bytes, STATIC, "static variables")
            yield from unit_stretches(area, (static, *self._unit_areas(False)), all_pages)
            window = Stretch(
                f"window of cpu {cpu}", self._window_of(cpu), self.area_bytes, "", "", cpu,
                node=node, owns_pages=True,
            )  # fmt: skip
            yield from unit_stretches(window, self._unit_areas(True), self.window.populated)
        for cpu in self.cpus_to_come if self.reserved_addr else ():
            if cpu not in self.hot:
                addr = self.reserved_addr + self.cpus_to_come.index(cpu) * self.area_bytes
                for at, what in ((addr, "area"), (addr + self.distance_bytes, "window")):
                    yield Stretch(
                        f"kept for the {what} of cpu {cpu}", at, self.area_bytes, HOLE, f"{what} to come",
                        owns_pages=True,
                    )  # fmt: skip
        yield from self._images()

    def _unit_areas(self, in_window: bool) -> list[UnitArea]:
        return [
            UnitArea(each.offset_bytes, each.size_bytes, MODULE, f"section of {each.name}", self.ptr_of(each))
            for each in self.window.in_order(in_window)
        ]  # fmt: skip

    def _images(self) -> Iterator[Stretch]:
        for section in self.window.sections:
            if section.image_addr:
                strip = f"image of {section.name} {section.image_addr:#x}"
                what = f"saved section of {section.name}"
                image = Stretch(strip, section.image_addr, section.size_bytes, METADATA, what)
                yield image
                rest = self._held_bytes(section.image_addr) - section.size_bytes
                if rest > 0:
                    yield Stretch(strip, image.end, rest, PADDING, "rest of the slab object")

    def _held_bytes(self, addr: int) -> int:
        """Return the size of a slab object; 0 after a stray kfree()."""
        try:
            return self.machine.slab.ksize(addr - self.machine.arch.direct_map_addr)
        except (BadAccess, DoubleFree):
            return 0

    # -- checking ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise InvariantBroken unless sections fit, images are kept, and areas lie where they may."""
        expected = ModuleWindow.of_section(self.machine.config.percpu.static_bytes)
        if (self.window.static_bytes, self.area_bytes) != (
            expected.static_bytes,
            expected.area_bytes,
        ):
            raise InvariantBroken(f"windows of {self.area_bytes} bytes: no such machine")
        self.window.check()
        taken: dict[int, str] = {}
        for section in self.window.sections:
            addr = section.image_addr
            if addr and (addr in taken or self._held_bytes(addr) < section.size_bytes):
                raise InvariantBroken(f"no slab object at {addr:#x} keeps {section.name}'s image")
            taken[addr] = section.name
        for cpu, area in self.hot.items():
            if cpu not in self.cpus_to_come or area % PAGE_SIZE_BYTES:
                raise InvariantBroken(f"cpu {cpu} has an area in VM at {area:#x}")
            slot = self.reserved_addr + self.cpus_to_come.index(cpu) * self.area_bytes
            if self.reserved_addr and area != slot:
                raise InvariantBroken(f"cpu {cpu}: {area:#x} is kept for another CPU")
            for addr in (area, area + self.distance_bytes):
                self._check_space(cpu, addr, taken)

    def _check_space(self, cpu: int, addr: int, taken: dict[int, str]) -> None:
        """Raise InvariantBroken unless these addresses are ours, and this CPU's alone."""
        space = self.machine.vmalloc
        area = space.find_area(addr)
        if area is None or area.caller != SPACE_CALLER or area.start in space.lazy:
            raise InvariantBroken(f"cpu {cpu}: {addr:#x} is in no address space of per-CPU areas")
        if addr in taken or area.end < addr + self.area_bytes:
            raise InvariantBroken(f"cpu {cpu}: {addr:#x} has no room for its area")
        taken[addr] = f"cpu {cpu}"
