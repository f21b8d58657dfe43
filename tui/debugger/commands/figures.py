"""The mails' figures, measured again. They have machines of their own: the session's is not touched."""

from __future__ import annotations

from snapshots.figures.catalogue import FIGURES, figures_of, numbers_of
from snapshots.figures.inputs import AS_MAILED
from tui.debugger.commands.comparing import GROUP
from tui.debugger.commands.registry import Argument, Command, Seat, one_of
from tui.debugger.output import Output
from tui.debugger.views.figures import figures_output


async def figures(seat: Seat, *numbers: str) -> Output:
    """Measure all figures, or some with all that is known of them."""
    measured = figures_of(AS_MAILED, numbers_of(numbers))
    return figures_output(measured, AS_MAILED, in_detail=bool(numbers))


COMMANDS = (
    Command(
        "figures", (), GROUP, (Argument("NUMBER", one_of(*FIGURES), optional=True, many=True),),
        "figures that the mails give of their systems, measured on machines of their own", figures,
    ),
)  # fmt: skip
