"""Where modules' per-CPU sections go in the hybrid of May 2006: beside the kernel's own, or in a VM window.

    area of a CPU     │ static, S bytes │ slack │        whole pages, A bytes
    window of a CPU   │ A bytes                 │        D further up, in VM: pages only where a section is

All CPUs' areas and windows are cut alike, so that one offset per CPU finds both. A section goes into the
slack if it fits there, at no cost; else into the window, first fit. More than A bytes cannot be in a window:
the next CPU's begins there. The mail: modules are assumed to have no more variables than the kernel.
Source: "Re: [RFC PATCH 00/09] robust VM per_cpu variables", 18 May 2006.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kernel_sim.alignment import align_up
from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES


@dataclass(slots=True)
class WindowSection:
    """A module's section. offset_bytes: in the area, or in the window if in_window.

    image_addr: the slab object that keeps its initial image, 0 for none.
    """

    name: str
    in_window: bool
    offset_bytes: int
    size_bytes: int
    image_addr: int = 0

    @property
    def end_bytes(self) -> int:
        """The offset behind it."""
        return self.offset_bytes + self.size_bytes

    @property
    def pages(self) -> int:
        """The pages of the window that it touches, bit i for page i."""
        if not self.in_window or not self.size_bytes:
            return 0
        first = self.offset_bytes >> PAGE_SHIFT
        last = self.end_bytes - 1 >> PAGE_SHIFT
        return (1 << last + 1) - (1 << first)


@dataclass(slots=True)
class ModuleWindow:
    """The sections of one machine, oldest first; populated: pages that every CPU's window has."""

    static_bytes: int
    area_bytes: int
    sections: list[WindowSection] = field(default_factory=list)
    populated: int = 0

    @classmethod
    def of_section(cls, static_bytes: int) -> ModuleWindow:
        """Return the empty window beside a kernel's section of so many bytes."""
        return cls(static_bytes, align_up(static_bytes, PAGE_SIZE_BYTES))

    @property
    def slack_bytes(self) -> int:
        """What page alignment adds to the kernel's section."""
        return self.area_bytes - self.static_bytes

    def in_order(self, in_window: bool) -> list[WindowSection]:
        """Return the sections of the window, or those of the slack, ascending."""
        found = [each for each in self.sections if each.in_window == in_window]
        return sorted(found, key=lambda each: each.offset_bytes)

    def find(self, name: str, size_bytes: int, align_bytes: int) -> WindowSection | None:
        """Return where a section goes, which is not entered yet; None if neither place holds it."""
        for in_window, first in ((False, self.static_bytes), (True, 0)):
            at = align_up(first, align_bytes)
            for taken in self.in_order(in_window):
                if at + size_bytes <= taken.offset_bytes:
                    break
                at = max(at, align_up(taken.end_bytes, align_bytes))
            if at + size_bytes <= self.area_bytes:
                return WindowSection(name, in_window, at, size_bytes)
        return None

    def missing_pages(self, section: WindowSection) -> int:
        """Return the pages that a section needs and the windows have not, bit i for page i."""
        return section.pages & ~self.populated

    def unused_pages(self) -> int:
        """Return the pages of the windows that no section touches."""
        used = 0
        for section in self.sections:
            used |= section.pages
        return self.populated & ~used

    @property
    def free_bytes(self) -> tuple[int, int]:
        """Bytes of slack and window that no section has."""
        used = {False: 0, True: 0}
        for section in self.sections:
            used[section.in_window] += section.size_bytes
        return self.slack_bytes - used[False], self.area_bytes - used[True]

    def check(self, is_idle: bool = True) -> None:
        """Raise InvariantBroken unless sections lie apart and inside, with pages; is_idle: no more pages."""
        for in_window in (False, True):
            at = 0 if in_window else self.static_bytes
            for section in self.in_order(in_window):
                where = f"section of {section.name} at {section.offset_bytes:#x}"
                if section.offset_bytes < at or section.size_bytes <= 0:
                    raise InvariantBroken(f"{where}: {at:#x} bytes are taken already")
                at = section.end_bytes
                if at > self.area_bytes:
                    raise InvariantBroken(f"{where} ends behind {self.area_bytes:#x}")
                if self.missing_pages(section):
                    raise InvariantBroken(f"{where}: its window has no page there")
        if self.populated < 0 or self.populated >> (self.area_bytes >> PAGE_SHIFT):
            raise InvariantBroken(f"windows of {self.area_bytes} bytes: pages {self.populated:#x}")
        if is_idle and self.unused_pages():
            raise InvariantBroken(
                f"pages {self.unused_pages():#x} of the windows are used by nobody"
            )


def page_numbers(pages: int) -> list[int]:
    """Return the numbers of the bits that are set, ascending."""
    return [page for page in range(pages.bit_length()) if pages >> page & 1]
