"""The keys of the compare screen, once: its bindings, its footer and its help are read from this table."""

from __future__ import annotations

from tui.keys import APP, LOOK, MOVE, Key

# fmt: off
COMPARE_KEYS: tuple[Key, ...] = (
    Key("n", "step(1)", "n", "operation on", "one operation on, with every system", MOVE, footer=1),
    Key("p", "step(-1)", "p", "back", "one back", MOVE, footer=2, joins=True),
    Key("N", "step(25)", "N", "", "25 operations on", MOVE),
    Key("P", "step(-25)", "P", "", "25 back", MOVE, joins=True),
    Key("f", "trouble(True)", "f", "failure", "to the next that a system did not do", MOVE, footer=3),
    Key("F", "trouble(False)", "F", "", "to the one before", MOVE, joins=True),
    Key("g", "goto", "g", "goto", "go to 1234, 50%, +10, start, end; operations are counted", MOVE, footer=4),
    Key("home", "edge('start')", "Home", "", "to where nothing is done yet", MOVE),
    Key("end", "edge('end')", "End", "", "to the end of the work", MOVE, joins=True),
    Key("right_square_bracket", "turn(1)", "]", "systems", "the next system comes into view", LOOK, footer=5),
    Key("left_square_bracket", "turn(-1)", "[", "", "the one before", LOOK, joins=True),
    Key("tab", "app.focus_next", "Tab", "", "next column; ↑ ↓ move its cursor, + - change its cells", LOOK),
    Key("plus,equals_sign", "zoom(1)", "+", "", "fewer bytes in a cell of this column", LOOK),
    Key("minus", "zoom(-1)", "-", "", "more", LOOK, joins=True),
    Key("T", "theme", "T", "", "dark or light", APP),
    Key("question_mark,f1", "help", "?", "help", "this page", APP, footer=6),
    Key("q,escape", "leave", "q", "leave", "leave the comparison (Esc too)", APP, footer=7),
)
# fmt: on
