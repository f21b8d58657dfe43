"""The compare screen alone: what `kmemscope compare WORKLOAD --app` opens."""

from __future__ import annotations

from textual.app import App

from snapshots.compare.side_by_side import SideBySide
from tui.garbage import collect_rarely
from tui.screens.compare import CompareScreen
from tui.theme import DARK, DARK_NAME, LIGHT, LIGHT_NAME


class CompareApp(App[None]):
    """One comparison; leaving its screen ends the program."""

    CSS_PATH = "kmemscope.tcss"
    ENABLE_COMMAND_PALETTE = False
    TITLE = "kmemscope"

    def __init__(self, side: SideBySide, *, light: bool = False) -> None:
        super().__init__()
        self.side = side
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = LIGHT_NAME if light else DARK_NAME

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return colours for looks that are not ours."""
        return DARK.variables

    def on_mount(self) -> None:
        """Show the comparison."""
        self.push_screen(CompareScreen(self.side), lambda _: self.exit())


def run_compare_app(side: SideBySide) -> None:
    """Show a comparison on the terminal until the person leaves."""
    collect_rarely()
    CompareApp(side).run()
