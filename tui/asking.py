"""The prompts: what is asked, how an answer is judged, and what is done with it.

An answer is judged before the prompt closes, so that what is wrong is said where it was typed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.suggester import Suggester

from tui.debugger.addresses import PERCPU, PHYSICAL, parse_address
from tui.debugger.commands.files import FORCE, FORCE_HINT, is_there
from tui.debugger.console import complete
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.owners import whatis
from tui.debugger.position import EXPECTED
from tui.debugger.table import Column, Table
from tui.panes.listings import FAULT, OUTPUT
from tui.screens.prompt_screen import Check, PromptScreen

if TYPE_CHECKING:
    from tui.app import KmemscopeApp

GOTO_HINT = "1234  50%  +10  -10  #17 (event)  @mark  start  end"
NAME_HINT = "a letter, then letters, digits or _; then a note, if you like"
ADDRESS_HINT = "0xffff…  phys:0x…  pfn:0x…  percpu:0x…  percpu:0x…@CPU  or a symbol"
UNTIL_HINT = "chunk[1].free_bytes < 4096   zone[1].free_pages < 100   alloc size=64   fail"
LAST_HINT = "mem[ADDR, 8]  percpu[SYMBOL, CPU]  chunk[1].free_bytes  pte[ADDR]  area[PTR].live"
SHORT_LINES = 1


class Asking:
    """All prompts of one app, and what was typed at them before."""

    def __init__(self, app: KmemscopeApp) -> None:
        self.app = app
        self.session = app.session
        self.searched = ""
        self.histories: dict[str, list[str]] = {}

    def _ask(
        self,
        title: str,
        hint: str,
        check: Check,
        *,
        value: str = "",
        suggester: Suggester | None = None,
    ) -> None:
        history = self.histories.setdefault(title, [])
        screen = PromptScreen(title, hint, check, value=value, history=history, suggester=suggester)
        self.app.push_screen(screen)

    def goto(self) -> None:
        """Ask for a position and go there."""
        self._ask("go to", GOTO_HINT, self._go_to)

    def _go_to(self, text: str) -> None:
        if not text:
            raise CommandError(EXPECTED)
        if text.startswith("@"):
            self.app.mover.carry_out(f"goto {text}")  # it may lead to another branch
        else:
            self.app.mover.go_to(self.session.position(text))

    def bookmark(self) -> None:
        """Ask for a name and keep this step under it."""
        names = "  ".join(f"@{name}" for name in self.session.bookmarks)
        self._ask("name this step", names or NAME_HINT, self._name_step)

    def _name_step(self, text: str) -> None:
        name, _, note = text.strip().partition(" ")
        mark = self.session.bookmark(name, note.strip() or None)
        self.app.autosave()
        self.app.say(f"@{mark.name} is step {mark.step}", "done")

    def until(self, way: int) -> None:
        """Ask for a condition or an event, and go to where it becomes true."""
        title = "run until" if way > 0 else "run back until"
        self._ask(title, UNTIL_HINT, lambda text: self._run_until(text, way))

    def _run_until(self, text: str, way: int) -> None:
        if not text:
            raise CommandError(UNTIL_HINT)
        self.app.mover.carry_out(f"{'until' if way > 0 else 'reverse-until'} {text}")

    def last(self) -> None:
        """Ask for an expression and go to where it changed last; the cursor's bytes are offered."""
        address = self.app.desk.focus_on.address(self.session)
        self._ask("who changed last", LAST_HINT, self._last, value=f"mem[{address:#x}, 8]")

    def _last(self, text: str) -> None:
        self.app.mover.carry_out(f"last {text}")

    def diff(self) -> None:
        """Ask for a position and show what is not the same there and here."""
        self._ask("what changed since", GOTO_HINT, self._diff, value="start")

    def _diff(self, text: str) -> None:
        self.app.mover.carry_out(f"diff {text}")

    def search(self) -> None:
        """Ask for an address or a call site and put the cursor on the next area that has it."""
        hint = "0xffff…  percpu:0x…  or a part of a call site or task"
        self._ask(
            "find in the map",
            f"empty: {self.searched} again" if self.searched else hint,
            self._find,
        )

    def _find(self, text: str) -> None:
        wanted = text or self.searched
        self.app.desk.map_pane.current.find(wanted)
        self.searched = wanted

    def walk(self) -> None:
        """Ask for an address to walk to."""
        hint = "0xffff…  percpu:0x…@CPU  a symbol  empty: follow the map's cursor"
        self._ask("walk the page tables for", hint, self._walk_to)

    def _walk_to(self, text: str) -> None:
        self.app.desk.focus_on.typed_address = self._virtual(text) if text else None
        self.app.call_after_refresh(self.app.open_listing, "walk")

    def _virtual(self, text: str) -> int:
        kind, value = parse_address(self.session.machine, text)
        if kind == PHYSICAL:
            raise CommandError(
                f"{text!r} is physical: page tables are walked for virtual addresses"
            )
        if kind == PERCPU:
            raise CommandError(f"{text!r} is a __percpu pointer: add @CPU for the copy of one")
        return value

    def whatis(self) -> None:
        """Ask for an address and say who owns it."""
        address = self.app.desk.focus_on.address(self.session)
        self._ask("what is", ADDRESS_HINT, self._what_is, value=f"{address:#x}")

    def _what_is(self, text: str) -> None:
        owner = whatis(self.session, text)
        self.show_output(owner.to_table())
        self.app.call_after_refresh(self.app.say, f"{owner.address:#x} is {owner.summary}", "done")

    def save(self) -> None:
        """Ask for a file and write the recording."""
        path = self.session.path
        hint = f"a file name, usually one that ends in .kms; {FORCE_HINT}"
        if path is not None:
            hint = f"empty: add what is new to {path.name}; or a file name; {FORCE_HINT}"
        self._ask("save the recording as", hint, self._save_as)

    def _save_as(self, text: str) -> None:
        if not text and self.session.path is None:
            raise CommandError("expected the name of a file")
        name, _, last = text.rpartition(" ")
        force = last == FORCE and bool(name)
        if not force and is_there(self.session, text):
            raise CommandError(f"{text}: the file exists already; {FORCE_HINT}")
        path = self.session.save(name.strip() if force else text, overwrite=force, whole=force)
        self.app.say(f"saved to {path}", "done")
        self.app.autosave()

    def command(self) -> None:
        """Ask for a command and carry it out."""
        self._ask(
            "command", "help lists them all; Tab completes", self._command, suggester=_Names(self)
        )

    def _command(self, text: str) -> None:
        if text:
            self.app.mover.carry_out(text)

    def completions(self, line: str) -> list[str]:
        """Return what the last word of a command line could become."""
        return complete(self.session, line)

    def show_answer(self, line: str, output: Output, *, has_stopped: bool = False) -> None:
        """Show what a command answered: a listing in the lower pane, one line on the status line.

        If the machine has stopped at a fault meanwhile, the fault is the answer; the status line tells it.
        """
        if has_stopped:
            self.app.call_after_refresh(self.app.open_listing, FAULT)
            return
        table = output.table
        if table is None and len(output.lines) > SHORT_LINES:
            rows = tuple((text,) for text in output.lines)
            table = Table(line, (Column("answer"),), rows)
        if table is not None:
            self.show_output(table)
        said = output.lines[0] if output.lines else table.title if table is not None else ""
        if table is not None and table.notes and said == table.title and output.lines:
            said = table.notes[0]  # where it stands shows anyway
        if said:
            kind = "done" if output.ok else "error"
            self.app.say(said, kind)

    def show_output(self, table: Table) -> None:
        """Show a table in the lower pane."""
        self.app.desk.focus_on.output = table
        self.app.call_after_refresh(self.app.open_listing, OUTPUT)


class _Names(Suggester):
    """Offers what the console would complete."""

    def __init__(self, asking: Asking) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self.asking = asking

    async def get_suggestion(self, value: str) -> str | None:
        """Return the line completed by the first word that fits."""
        head, _, word = value.rpartition(" ")
        offers = [
            each
            for each in self.asking.completions(value)
            if each.startswith(word) and each != word
        ]
        return f"{head} {offers[0]}".lstrip() if offers and value else None
