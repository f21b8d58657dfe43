"""The command that asks what other per-CPU systems would have made of this run."""

from __future__ import annotations

from collections.abc import Iterable

from kernel_sim.errors import ConfigError
from kernel_sim.percpu.catalogue import CATALOGUE
from snapshots.compare.generated import KINDS, PREFIX
from tui.debugger.commands.comparing import GROUP
from tui.debugger.commands.registry import TEXT, Argument, Command, Kind, Seat
from tui.debugger.comparing_systems import OWN, checked_systems, compare_systems
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Session
from tui.debugger.views.comparison import not_run_view, summary_view


async def compare(seat: Seat, workload: str = OWN, systems: str = "") -> Output:
    """Give this run, or other work, to all per-CPU systems or some, and show what it cost them."""
    comparison = await compare_systems(seat.session, workload, systems, seat.progress)
    said = tuple(f"{row[0]} did not run: {row[1]}" for row in not_run_view(comparison).rows)
    output = Output(table=summary_view(comparison), ok=comparison.is_whole)
    return output.with_said(said)


def _offer_work(session: Session) -> Iterable[str]:
    return (OWN, *(f"{PREFIX}{kind}" for kind in KINDS))


def _read_systems(session: Session, word: str) -> str:
    try:
        checked_systems(word)
    except ConfigError as problem:
        raise CommandError(str(problem)) from problem
    return word


WORK = Kind(TEXT.read, _offer_work)
SYSTEMS = Kind(_read_systems, lambda session: CATALOGUE)
COMMANDS = (
    Command(
        "compare", (), GROUP,
        (Argument("WORKLOAD", WORK, optional=True), Argument("SYSTEMS", SYSTEMS, optional=True)),
        "this run (.) or gen:KIND on all per-CPU systems, or some with commas; key x: side by side",
        compare,
    ),
)  # fmt: skip
