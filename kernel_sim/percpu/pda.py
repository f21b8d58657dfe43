"""x86-64's per-processor data area, before per-CPU variables had a register of their own.

    gs ──► struct x8664_pda of the CPU that runs    8 │ data_offset │   distance from a static variable's
                ▲                                  36 │ cpunumber   │   link address to this CPU's copy
    _cpu_pda[c] ┘   pointers, for who wants another CPU's

All begin in the image, as boot_cpu_pda[NR_CPUS]; a CPU that is brought up gets a copy on its own node.
So one's own offset is one gs-relative load, another CPU's is two: the pointer, then the field.
Source: include/asm-x86_64/pda.h, arch/x86_64/kernel/{setup64,smpboot,head64}.c, Linux 2.6.20.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernel_sim.alignment import align_up
from kernel_sim.errors import BadAccess, ConfigError, DoubleFree, InvariantBroken
from kernel_sim.mm.gfp import GFP_ATOMIC
from kernel_sim.percpu.protocol import Load
from kernel_sim.percpu.registers import write_at_boot
from kernel_sim.percpu.stretch import TABLE, Stretch

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

DATA_OFFSET = 8
CPU_NUMBER = 36
PDA_BYTES = 80
POINTER_BYTES = 8
KERN_ERR = 3


@dataclass(slots=True)
class PdaTable:
    """The areas of one machine. moved: CPU: where its area is now, of those that left the image."""

    machine: Machine
    image_start: int
    stride_bytes: int
    moved: dict[int, int] = field(default_factory=dict)
    changed: bool = True

    @classmethod
    def at_boot(cls, machine: Machine, line_bytes: int, offsets: dict[int, int]) -> PdaTable:
        """Return the areas after boot: offsets filled in, and those of running CPUs on their nodes.

        Raises ConfigError if the image is too small for NR_CPUS of them.
        """
        start = machine.image_addr + 3 * machine.image_bytes // 4
        table = cls(machine, start, align_up(PDA_BYTES, line_bytes))
        nr_cpus = machine.config.kernel.nr_cpus
        end = table.pointers_start + nr_cpus * POINTER_BYTES
        if end > machine.image_addr + machine.image_bytes:
            raise ConfigError(
                f"{machine.config.name}: [kernel] nr_cpus: {nr_cpus} areas of {table.stride_bytes}"
                f" bytes; expected no more than a kernel image of {machine.image_bytes} bytes holds"
            )
        machine.symbols.setdefault("boot_cpu_pda", start)
        machine.symbols.setdefault("_cpu_pda", table.pointers_start)
        for cpu in range(nr_cpus):
            table._point(cpu, table.addr_of(cpu))
        for cpu, offset in offsets.items():
            write_at_boot(machine, table.addr_of(cpu) + DATA_OFFSET, offset, POINTER_BYTES)
            write_at_boot(machine, table.addr_of(cpu) + CPU_NUMBER, cpu, 4)
        boot_cpu, *others = machine.topology.online
        for cpu in others:
            table.move_to_node(boot_cpu, cpu)
        return table

    @property
    def pointers_start(self) -> int:
        """Where _cpu_pda[] lies: behind the areas."""
        return self.image_start + self.machine.config.kernel.nr_cpus * self.stride_bytes

    def addr_of(self, cpu: int) -> int:
        """Return where the CPU's area is: what its gs base holds while it runs."""
        return self.moved.get(cpu, self.image_start + cpu * self.stride_bytes)

    def move_to_node(self, cpu: int, coming: int) -> None:
        """Give a CPU that comes up an area on its node; without memory it keeps the one it has.

        Context: on the CPU that brings it up. Source: do_boot_cpu().
        """
        machine = self.machine
        if coming in self.moved:
            return
        node = machine.topology.node_of_cpu[coming]
        phys = machine.slab.kmalloc_node(
            self.stride_bytes, GFP_ATOMIC, node, cpu, injectable=True, caller="do_boot_cpu"
        )
        if phys is None:
            text = f"Could not allocate node local PDA for CPU {coming} on node {node}"
            machine.printk(cpu, KERN_ERR, text)
            return
        old = machine.space.translate(self.addr_of(coming))
        if old is not None:
            machine.memory.write(phys, machine.memory.read(old, self.stride_bytes))
        self.moved[coming] = machine.arch.direct_map_addr + phys
        self.changed = True
        self._point(coming, self.moved[coming])
        machine.cpus[coming].gs_base = self.moved[coming]

    def _point(self, cpu: int, addr: int) -> None:
        write_at_boot(self.machine, self.pointers_start + cpu * POINTER_BYTES, addr, POINTER_BYTES)

    def own_offset(self, load: Load, cpu: int) -> int:
        """Load gs:data_offset: one reference."""
        return load(self.machine.cpus[cpu].gs_base + DATA_OFFSET, POINTER_BYTES)

    def offset_of(self, load: Load, owner: int) -> int:
        """Load _cpu_pda[owner], then its data_offset: two references."""
        pda = load(self.pointers_start + owner * POINTER_BYTES, POINTER_BYTES)
        return load(pda + DATA_OFFSET, POINTER_BYTES)

    def check_loaded(self) -> None:
        """Raise InvariantBroken unless areas that left the image are possible CPUs' and live objects."""
        for cpu, addr in self.moved.items():
            if cpu not in self.machine.cpus:
                raise InvariantBroken(f"a PDA of cpu {cpu}, which is not possible")
            try:
                held_bytes = self.machine.slab.ksize(addr - self.machine.arch.direct_map_addr)
            except (BadAccess, DoubleFree) as problem:
                raise InvariantBroken(f"PDA of cpu {cpu}: {problem}") from problem
            if held_bytes < self.stride_bytes:
                raise InvariantBroken(f"PDA of cpu {cpu}: in an object of {held_bytes} bytes")

    def stretches(self) -> Iterator[Stretch]:
        """Yield the areas in the image with the pointers behind them, then those on nodes."""
        nr_cpus = self.machine.config.kernel.nr_cpus
        strip = "kernel image, PDAs"
        size = nr_cpus * self.stride_bytes
        yield Stretch(strip, self.image_start, size, TABLE, f"boot_cpu_pda[{nr_cpus}]")
        size = nr_cpus * POINTER_BYTES
        yield Stretch(strip, self.pointers_start, size, TABLE, f"_cpu_pda[{nr_cpus}]")
        for cpu, addr in self.moved.items():
            node = self.machine.topology.node_of_cpu[cpu]
            yield Stretch(
                f"PDA of cpu {cpu}",
                addr,
                self.stride_bytes,
                TABLE,
                "struct x8664_pda",
                cpu,
                node=node,
            )
