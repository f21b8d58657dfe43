"""The words behind a call that is given to the machine: which CPU makes it, how, and when.

    kmalloc 64 node=1 gfp=GFP_ATOMIC cpu=2 later
               1      a number stands for the node as well

Words may come in any order; without cpu= the first CPU online makes the call.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel_sim.errors import ConfigError
from kernel_sim.mm.gfp import GFP_KERNEL, gfp_from_text
from kernel_sim.topology import NUMA_NO_NODE
from tui.debugger.addresses import parse_number
from tui.debugger.commands.registry import ONLINE_CPU, Argument, Kind, Value
from tui.debugger.errors import CommandError
from tui.debugger.session import Session

LATER = "later"
CPU, NODE, GFP = "cpu", "node", "gfp"


@dataclass(frozen=True, slots=True)
class CallWords:
    """Who makes a call and how; node -1 is that CPU's own."""

    cpu: int
    node: int = NUMA_NO_NODE
    gfp: int = GFP_KERNEL
    later: bool = False


def first_cpu(session: Session) -> int:
    """Return the CPU that makes calls for which nobody named one."""
    return session.machine.online_cpus()[0]


def call_words(session: Session, words: tuple[Value, ...]) -> CallWords:
    """Return what checked words say; of two that say the same thing the last one counts."""
    said: dict[str, str] = {}
    for word in words:
        name, _, value = str(word).partition("=")
        said[name] = value
    return CallWords(
        cpu=int(said[CPU]) if CPU in said else first_cpu(session),
        node=int(said[NODE]) if NODE in said else NUMA_NO_NODE,
        gfp=gfp_from_text(said[GFP]) if GFP in said else GFP_KERNEL,
        later=LATER in said,
    )


def _read_node(session: Session, text: str) -> str:
    node, nodes = parse_number(text), session.machine.topology.nodes
    if node is None or node not in nodes:
        raise CommandError(f"{text!r} is no node: expected {nodes[0]} to {nodes[-1]}")
    return f"{NODE}={node}"


def _read(takes: tuple[str, ...], session: Session, word: str) -> str:
    name, equals, value = word.partition("=")
    if not equals and name == LATER:
        return word
    if not equals and NODE in takes and parse_number(word) is not None:
        return _read_node(session, word)
    if not equals or name not in takes:
        forms = ", ".join(f"{each}=…" for each in takes)
        raise CommandError(f"{word!r}: expected {forms} or {LATER}")
    if name == CPU:
        return f"{CPU}={ONLINE_CPU.read(session, value)}"
    if name == NODE:
        return _read_node(session, value)
    try:
        gfp_from_text(value)
    except ConfigError as problem:
        raise CommandError(f"{word!r}: {problem}") from problem
    return word


def is_call_word(word: str) -> bool:
    """Say whether a word tells who makes a call, or when."""
    return word == LATER or word.startswith(f"{CPU}=")


def words_or(name: str, other: Kind) -> Argument:
    """Return the argument that takes cpu=, later, and words of another kind besides."""

    def read_either(session: Session, word: str) -> Value:
        return _read((CPU,), session, word) if is_call_word(word) else other.read(session, word)

    kind = Kind(read_either, lambda session: (f"{CPU}=", LATER))
    return Argument(f"{name}|{CPU}=…|{LATER}", kind, optional=True, many=True)


def words_argument(*takes: str) -> Argument:
    """Return the argument that takes cpu=, later and, if named, node= and gfp=."""
    known = (*takes, CPU)
    kind = Kind(
        lambda session, word: _read(known, session, word),
        lambda session: (*(f"{name}=" for name in known), LATER),
    )
    shown = "|".join((*(f"{name}=…" for name in known), LATER))
    return Argument(shown, kind, optional=True, many=True)
