"""Work for a per-CPU memory system, free of any system: what is asked, by whose name, in which order.

    Alloc #7 64 B align 8          an area for every CPU, named by a number
    Access #7 cpu 2 of 0           CPU 2 reads CPU 0's copy of it
    Free #7
    ModuleLoad ipv6 512 B          a module's per-CPU section comes, ModuleUnload ipv6 takes it away
    CpuDown 1 … CpuUp 1

No address occurs: where things lie is what the systems differ in. The same operations are therefore
given to each of them, and what differs afterwards is theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias


class Alloc(NamedTuple):
    """Ask for an area on behalf of all CPUs; number is its name from here on."""

    number: int
    size_bytes: int
    align_bytes: int
    atomic: bool = False
    cpu: int = 0


class Free(NamedTuple):
    """Give an area back; nothing happens on a system that never had room for it."""

    number: int
    cpu: int = 0


class Access(NamedTuple):
    """A CPU reads or writes the first word of owner's copy of an area."""

    number: int
    cpu: int
    owner: int
    write: bool = False


class StaticAccess(NamedTuple):
    """The same with a variable of the kernel's own section; the offset is cut to its size."""

    offset_bytes: int
    cpu: int
    owner: int
    write: bool = False


class ModuleLoad(NamedTuple):
    """A module comes with a per-CPU section of so many variables."""

    name: str
    size_bytes: int
    align_bytes: int
    nr_variables: int
    cpu: int = 0


class ModuleUnload(NamedTuple):
    """A module goes, and its section with it."""

    name: str
    cpu: int = 0


class ModuleAccess(NamedTuple):
    """A CPU reads or writes owner's copy of a module's first per-CPU variable."""

    name: str
    cpu: int
    owner: int
    write: bool = False


class CpuUp(NamedTuple):
    """A CPU comes online."""

    cpu: int


class CpuDown(NamedTuple):
    """A CPU goes offline."""

    cpu: int


Operation: TypeAlias = (
    Alloc
    | Free
    | Access
    | StaticAccess
    | ModuleLoad
    | ModuleUnload
    | ModuleAccess
    | CpuUp
    | CpuDown
)
ACCESSES = (Access, StaticAccess, ModuleAccess)
ONE_VARIABLE_EACH = (
    "nothing says how many variables some of the modules' sections have: one each is assumed"
)


@dataclass(frozen=True, slots=True)
class Workload:
    """A named list of operations; nr_cpus is how many CPUs they speak of.

    origin: what they were made of. left_out: what that held besides and no operation stands for, by kind.
    notes: what else was decided on the way.
    """

    name: str
    origin: str
    operations: tuple[Operation, ...]
    nr_cpus: int = 1
    left_out: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many operations there are of each kind, in order of first appearance."""
        return dict(Counter(type(operation).__name__ for operation in self.operations))

    @property
    def has_accesses(self) -> bool:
        """Say whether anybody uses what is allocated."""
        return any(isinstance(operation, ACCESSES) for operation in self.operations)


def operation_text(operation: Operation) -> str:
    """Return an operation as it is shown in a line."""
    match operation:
        case Alloc(number, size, align, atomic, cpu):
            return f"alloc #{number} {size} B align {align}{' atomic' * atomic} on cpu {cpu}"
        case Free(number, cpu):
            return f"free #{number} on cpu {cpu}"
        case Access(number, cpu, owner, write):
            return _access_text(f"#{number}", cpu, owner, write)
        case StaticAccess(offset, cpu, owner, write):
            return _access_text(f"static+{offset}", cpu, owner, write)
        case ModuleAccess(name, cpu, owner, write):
            return _access_text(f"module {name}", cpu, owner, write)
        case ModuleLoad(name, size, align, nr_variables, cpu):
            return f"load {name} {size} B align {align} in {nr_variables} variables on cpu {cpu}"
        case ModuleUnload(name, cpu):
            return f"unload {name} on cpu {cpu}"
        case CpuUp(cpu):
            return f"cpu {cpu} up"
        case CpuDown(cpu):
            return f"cpu {cpu} down"


def _access_text(what: str, cpu: int, owner: int, write: bool) -> str:
    whose = "its copy" if cpu == owner else f"cpu {owner}'s copy"
    return f"cpu {cpu} {'writes' if write else 'reads'} {whose} of {what}"


OTHER_USES_EVERY = 4
STATIC_USES_EVERY = 8
STATIC_STRIDE_BYTES = 192


def with_accesses(workload: Workload) -> Workload:
    """Return a workload whose areas are used: logs say who allocates, never who reads and writes.

    After each allocation one CPU, each in its turn, writes its copy; after every fourth it also reads
    another CPU's, after every eighth a static variable of its own. Only CPUs that are up take part.
    A workload that has accesses of its own stays as it is.
    """
    if workload.has_accesses:
        return workload
    operations = tuple(_used(workload.operations, workload.nr_cpus))
    nr_added = len(operations) - len(workload.operations)
    note = f"{nr_added} accesses were added, as it has none: each area is written once, every fourth read"
    return replace(workload, operations=operations, notes=(*workload.notes, note))


def _used(operations: Iterable[Operation], nr_cpus: int) -> Iterator[Operation]:
    up = list(range(nr_cpus))
    nr_made = 0
    for operation in operations:
        yield operation
        if isinstance(operation, CpuDown) and operation.cpu in up:
            up.remove(operation.cpu)
        elif isinstance(operation, CpuUp) and operation.cpu not in up:
            up.append(operation.cpu)
        if not isinstance(operation, Alloc | ModuleLoad) or not up:
            continue
        nr_made += 1
        turn = nr_made + nr_made // OTHER_USES_EVERY
        cpu = up[turn % len(up)]
        other = up[(turn + 1 + nr_made // OTHER_USES_EVERY % max(len(up) - 1, 1)) % len(up)]
        yield _use_of(operation, cpu, cpu, write=True)
        if nr_made % OTHER_USES_EVERY == 0:
            yield _use_of(operation, cpu, other, write=False)
        if nr_made % STATIC_USES_EVERY == 0:
            yield StaticAccess(nr_made * STATIC_STRIDE_BYTES, cpu, cpu)


def _use_of(made: Alloc | ModuleLoad, cpu: int, owner: int, *, write: bool) -> Operation:
    if isinstance(made, Alloc):
        return Access(made.number, cpu, owner, write)
    return ModuleAccess(made.name, cpu, owner, write)
