"""Every key, once: bindings, the footer and the help are read from this table.

Small letters go forward and the same letter, large, goes back, as in rr and lazygit. `where` says in which
pane a key works: "" everywhere, else the pane's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.binding import Binding

MOVE, LOOK, MAP, ASK, APP = "Move in time", "Look around", "Chunk map", "Ask and act", "The rest"
GROUPS = (MOVE, LOOK, MAP, ASK, APP)


@dataclass(frozen=True, slots=True)
class Key:
    """A key or several that do the same, how they are written, and their rank in the footer, 0 for none."""

    keys: str
    action: str
    shown: str
    label: str
    help: str
    group: str
    where: str = ""
    footer: int = 0
    joins: bool = False  # stands on the line of the key before it in the help


# fmt: off
KEYS: tuple[Key, ...] = (
    Key("n", "step(1)", "n", "step", "one step on", MOVE, footer=1),
    Key("p", "step(-1)", "p", "back", "back (← → too, outside the map)", MOVE, footer=2, joins=True),
    Key("right", "step(1)", "", "", "", MOVE),
    Key("left", "step(-1)", "", "", "", MOVE),
    Key("N", "next_call", "N", "call", "to the end of this call or the next", MOVE),
    Key("P", "previous_call", "P", "", "to where one began", MOVE, joins=True),
    Key("e", "next_event", "e", "event", "to the next event", MOVE, footer=3),
    Key("E", "previous_event", "E", "", "to the one before", MOVE, joins=True),
    Key("c", "next_mark('cd')", "c", "chunk", "run to where a chunk is made or destroyed", MOVE, footer=4),
    Key("C", "previous_mark('cd')", "C", "", "backwards", MOVE, joins=True),
    Key("f", "next_mark('f')", "f", "", "run to the next failed allocation", MOVE),
    Key("F", "previous_mark('f')", "F", "", "backwards", MOVE, joins=True),
    Key("space", "play", "space", "play", "run and pause, event by event", MOVE, footer=5),
    Key("less_than_sign", "speed(-1)", "<", "", "play slower", MOVE),
    Key("greater_than_sign", "speed(1)", ">", "", "faster", MOVE, joins=True),
    Key("g", "goto", "g", "goto", "go to 1234, 50%, +10, #17 (event), @mark, end", MOVE, footer=8),
    Key("home", "edge('start')", "Home", "", "to the start", MOVE),
    Key("end", "edge('end')", "End", "", "to the end", MOVE, joins=True),
    Key("escape", "stop", "Esc", "", "stop a long move where it is; leave a zoomed pane", MOVE),
    Key("1,2,3,4,5,6,7,8,9", "pane", "1-9", "", "show that listing and put the keys there", LOOK),
    Key("tab", "app.focus_next", "Tab", "", "next pane (Shift+Tab: the one before)", LOOK),
    Key("right_square_bracket", "turn(1)", "]", "", "next listing in the lower pane", LOOK),
    Key("left_square_bracket", "turn(-1)", "[", "", "the one before", LOOK, joins=True),
    Key("b", "turn_beneath(1)", "b", "memory", "zones, page lists, TLB, modules, hotplug …", LOOK, footer=7),
    Key("B", "turn_beneath(-1)", "B", "", "backwards", LOOK, joins=True),
    Key("up,down,enter,h,l", "", "↑ ↓ Enter", "", "in a listing: go where a row leads; h l: sideways", LOOK),
    Key("z", "zoom_pane", "z", "", "this pane on the whole screen, and back", LOOK),
    Key("v", "walk_address", "v", "", "walk the page tables for an address", LOOK),
    Key("u", "next_cpu", "u", "", "look at the next CPU; after the last, at the one that runs", LOOK),
    Key("up,down,left,right,h,j,k,l", "", "← → ↑ ↓ hjkl", "", "move the cursor, as a click does", MAP, "map"),
    Key("plus,equals_sign", "map_zoom(1)", "+", "zoom", "fewer bytes in a cell", MAP, footer=10),
    Key("minus", "map_zoom(-1)", "-", "", "more", MAP, joins=True),
    Key("0", "map_zoom(0)", "0", "", "a size of cell that suits the window", MAP),
    Key("slash", "search", "/", "find", "find an address or a call site in the map", ASK, footer=9),
    Key("w", "whatis", "w", "", "who owns this address, or another", ASK),
    Key("a", "last", "a", "", "who changed this last: an address, a field, a page-table entry", ASK),
    Key("i", "until(1)", "i", "", "run until a condition becomes true", ASK),
    Key("I", "until(-1)", "I", "", "back to where it last did", ASK, joins=True),
    Key("d", "diff", "d", "", "what is not the same here and at another position", ASK),
    Key("x", "compare", "x", "", "this run, or other work, on all per-CPU systems side by side", ASK),
    Key("y", "copy_place", "y", "", "copy this place, for somebody else to open", ASK),
    Key("colon", "command", ":", "cmd", "a command; `help` lists them", ASK, footer=6),
    Key("m", "bookmark", "m", "", "name this step; g @name comes back", ASK),
    Key("s", "save", "s", "", "save the recording", ASK),
    Key("question_mark,f1", "help", "?", "help", "this page", APP, footer=11),
    Key("T", "theme", "T", "", "dark or light", APP),
    Key("q", "quit", "q", "quit", "leave", APP, footer=12),
)
# fmt: on


def bindings(keys: Sequence[Key] = KEYS) -> list[Binding]:
    """Return the bindings of the app, or of a screen; keys of the map's own cursor are the map's business."""
    found: list[Binding] = []
    for key in keys:
        if not key.action or key.action.startswith("app."):
            continue
        for name in key.keys.split(","):
            action = f"pane({name})" if key.action == "pane" else key.action
            # The command line opens before the next key is looked at: a paste brings many at once.
            first = key.action == "command"
            found.append(Binding(name, action, key.label or key.help, show=False, priority=first))
    return found


def footer_keys(keys: Sequence[Key] = KEYS) -> list[tuple[str, str, str]]:
    """Return what the footer shows: (key, label, action), the weightiest first."""
    found = sorted((key for key in keys if key.footer), key=lambda key: key.footer)
    return [(key.shown, key.label, key.action) for key in found]


def help_groups(
    pane_id: str, keys: Sequence[Key] = KEYS
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the keys that work in a pane, group by group, as (keys, what they do)."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for group in GROUPS:
        lines: list[tuple[str, str]] = []
        for key in keys:
            if key.group != group or not key.shown or key.where not in ("", pane_id):
                continue
            if key.joins:
                shown, what = lines.pop()
                lines.append((f"{shown} {key.shown}", f"{what}; {key.help}"))
            else:
                lines.append((key.shown, key.help))
        found.append((group, lines))
    return found
