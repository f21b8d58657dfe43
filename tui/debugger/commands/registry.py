"""A command: its name, its arguments by kind, its help, and the function that carries it out.

    typed      alloc 1 64 atomic
    words      CPU=1  SIZE=64  WORDS=("atomic",)      by the kinds in the command's row
    called     alloc(seat, 1, 64, "atomic")

The kinds say how a word is read, how usage is written and what completion offers, so that none of
the three can say something else. Whoever carries a command out gets checked values.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kernel_sim.topology import format_cpu_list
from tui.debugger.addresses import PERCPU, PHYSICAL, VIRTUAL, parse_address, parse_number
from tui.debugger.chunk_names import chunk_by_text
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Progress, Session

Value: TypeAlias = int | str
FAMILIAR = {  # words of gdb and its kin that mean something else here, or nothing
    "break": "until EVENT|EXPR, or watch EXPR and continue",
    "info": "where, chunks, cpus, stack, watch, bookmark, branches …; help lists them all",
    "list": "events, inputs or stack",
    "display": "print EXPR, or watch EXPR and continue",
    "checkpoint": "bookmark NAME [NOTE…]",
    "undo": "back, or reverse-continue; history itself is read-only",
}
TEXT_ONLY, TABLE_ONLY, BOTH = "text", "table", "both"


@dataclass(slots=True)
class Seat:
    """Who gives a command: a session, and where to tell of progress on long moves.

    wants: what of a long answer is made at all. rows_max: how many rows of it a screen can use. remarks:
    what is to be said besides the answer, such as that a branch began.
    """

    session: Session
    progress: Progress | None = None
    wants: str = BOTH
    rows_max: int | None = None
    remarks: tuple[str, ...] = ()


Carry: TypeAlias = Callable[..., Awaitable[Output]]
Read: TypeAlias = Callable[[Session, str], Value]
Offer: TypeAlias = Callable[[Session], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of argument: how it is read and what completion offers for it."""

    read: Read
    offer: Offer = lambda session: ()


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument; an optional one that is missing is not passed; many takes all that follow."""

    name: str
    kind: Kind
    optional: bool = False
    many: bool = False

    @property
    def usage(self) -> str:
        """How it stands in a usage line."""
        text = f"{self.name}…" if self.many else self.name
        return f"[{text}]" if self.optional else text


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the registry; group is the heading under which help lists it."""

    name: str
    aliases: tuple[str, ...]
    group: str
    arguments: tuple[Argument, ...]
    help: str
    carry: Carry

    @property
    def usage(self) -> str:
        """Name and arguments."""
        return " ".join((self.name, *(argument.usage for argument in self.arguments)))

    def values(self, session: Session, words: Sequence[str]) -> list[Value]:
        """Return the arguments' values. Raises CommandError, naming the word and the usage."""
        values: list[Value] = []
        rest = list(words)
        for argument in self.arguments:
            if not rest and not argument.optional:
                raise CommandError(f"{self.name}: {argument.name} is missing; usage: {self.usage}")
            taken, rest = (rest, []) if argument.many else (rest[:1], rest[1:])
            for word in taken:
                try:
                    values.append(argument.kind.read(session, word))
                except CommandError as problem:
                    raise CommandError(f"{self.name}: {problem}; usage: {self.usage}") from problem
        if rest:
            raise CommandError(f"{self.name}: {rest[0]!r} is too much; usage: {self.usage}")
        return values

    def argument_at(self, index: int) -> Argument | None:
        """Return the argument to which the word of that number belongs."""
        if index < len(self.arguments):
            return self.arguments[index]
        return self.arguments[-1] if self.arguments and self.arguments[-1].many else None


def find_command(registry: Mapping[str, Command], word: str) -> Command:
    """Return a command by name or alias. Raises CommandError with the nearest one's usage."""
    command = registry.get(word)
    if command is not None:
        return command
    if word in FAMILIAR:
        raise CommandError(f"there is no command {word!r}; here it is: {FAMILIAR[word]}")
    near = [name for name in registry if word and name.startswith(word)]
    near += difflib.get_close_matches(word, registry, n=1, cutoff=0.5)
    if not near:
        raise CommandError(f"there is no command {word!r}; help lists them all")
    usage = registry[near[0]].usage
    raise CommandError(f"there is no command {word!r}; did you mean: {usage}")


# -- kinds ---------------------------------------------------------------------------------------


def _read_number(session: Session, word: str) -> int:
    value = parse_number(word)
    if value is None:
        raise CommandError(f"{word!r} is no number: expected 0 to 2^64-1, decimal or 0x…")
    return value


def _read_cpu(session: Session, word: str) -> int:
    cpu = parse_number(word)
    if cpu is None or cpu not in session.machine.cpus:
        cpus = session.machine.topology.possible
        raise CommandError(f"{word!r} is no CPU: expected a possible one, {cpus[0]} to {cpus[-1]}")
    return cpu


def _read_online_cpu(session: Session, word: str) -> int:
    cpu = _read_cpu(session, word)
    if not session.machine.cpus[cpu].online:
        online = format_cpu_list(session.machine.online_cpus())
        raise CommandError(
            f"CPU {cpu} is not online: nothing can run there; online: {online}, see hotplug"
        )
    return cpu


def _read_chunk(session: Session, word: str) -> int:
    return chunk_by_text(session.machine, word).number


def _read_ptr(session: Session, word: str) -> int:
    kind, value = parse_address(session.machine, word)
    if kind == PHYSICAL or (kind == VIRTUAL and "@" in word):
        raise CommandError(f"{word!r} is no __percpu pointer")
    return value


def _read_virtual(session: Session, word: str) -> int:
    kind, value = parse_address(session.machine, word)
    if kind == VIRTUAL:
        return value
    wish = "add @CPU for the copy of one" if kind == PERCPU else "expected a virtual one"
    raise CommandError(f"{word!r} is a {kind} address: {wish}")


def _read_owned(session: Session, word: str) -> str:
    parse_address(session.machine, word)
    return word


def _read_goal(session: Session, word: str) -> str:
    if word.removeprefix("@") not in session.bookmarks or not word.startswith("@"):
        session.position(word)
    return word


def _read_text(session: Session, word: str) -> str:
    if not word or not word.isprintable():
        raise CommandError(f"{word!r} is empty or holds characters that do not print")
    return word


def _offer_positions(session: Session) -> Iterable[str]:
    return ("start", "end", *(f"@{name}" for name in session.bookmarks))


def _offer_cpus(session: Session) -> Iterable[str]:
    return (str(cpu) for cpu in session.machine.topology.possible)


def _offer_online_cpus(session: Session) -> Iterable[str]:
    return (str(cpu) for cpu in session.machine.online_cpus())


def _offer_chunks(session: Session) -> Iterable[str]:
    percpu = session.machine.bitmap
    return ("first", "reserved", *map(str, percpu.chunks)) if percpu is not None else ()


def _offer_symbols(session: Session) -> Iterable[str]:
    names = (symbol.name for each in session.machine.modules.modules for symbol in each.symbols)
    return ("percpu:", "phys:", "pfn:", *session.machine.symbols, *names)


def _read_module(session: Session, word: str) -> str:
    names = [module.name for module in session.machine.modules.modules]
    if word not in names:
        raise CommandError(f"there is no module {word!r}; there are: {' '.join(names) or 'none'}")
    return word


def _offer_modules(session: Session) -> Iterable[str]:
    return (module.name for module in session.machine.modules.modules)


NUMBER = Kind(_read_number)
CPU = Kind(_read_cpu, _offer_cpus)
ONLINE_CPU = Kind(_read_online_cpu, _offer_online_cpus)
CHUNK = Kind(_read_chunk, _offer_chunks)
PTR = Kind(_read_ptr, _offer_symbols)
ADDRESS = Kind(_read_virtual, _offer_symbols)
OWNED = Kind(_read_owned, _offer_symbols)
MODULE = Kind(_read_module, _offer_modules)
TEXT = Kind(_read_text)
POSITION = Kind(lambda session, word: session.position(word), _offer_positions)
GOAL = Kind(_read_goal, _offer_positions)  # a position, or a bookmark of any branch


def one_of(*choices: str) -> Kind:
    """Return the kind of argument that is one of these words."""

    def read(session: Session, word: str) -> str:
        if word not in choices:
            raise CommandError(f"{word!r}: expected {' or '.join(choices)}")
        return word

    return Kind(read, lambda session: choices)
