"""The mails' figures, one row each: printed, exact, measured, and how to see it.

#   system         figure                    mail  exact  ours          verdict
3   legacy-static  room left for modules …    14K  14876  14876 bytes   differs
      the mail drops what is beyond a whole K
      see: kmemscope show examples/figures/legacy-1cpu.toml account
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from snapshots.figures.figure import DIFFERS, OFF, Figure, Value, shown_value
from snapshots.figures.inputs import AS_MAILED, FigureInputs, input_rows, moved_inputs
from tui.debugger.output import Output
from tui.debugger.render import table_text
from tui.debugger.table import DEC, Cell, Column, Table, count

COLUMNS: Final = (
    Column(
        "number",
        help="of the list; R references, C claims, P properties, X contradictions",
    ),
    Column("system"),
    Column("mail", help="as the mail prints it"),
    Column("exact", DEC, "from the inputs, without rounding"),
    Column("ours", DEC, "measured on a booted machine"),
    Column("unit"),
    Column("verdict", help="agree, differs, off"),
    Column("figure"),
    Column("because"),
    Column("formula"),
    Column("redone", help="what the mail's own arithmetic gives"),
    Column("note"),
    Column("beside", help="other values that were measured along with it"),
    Column("command", help="how to see it"),
)
IN_LISTING: Final = 8
INDENT: Final = " " * 6
CELL_CHARS_MAX: Final = 25


def figures_view(figures: Sequence[Figure], inputs: FigureInputs) -> Table:
    """Return the rows as a table."""
    with_mail = inputs == AS_MAILED
    rows = tuple(
        (
            each.number, each.system, each.mail.printed if each.mail else None,
            _cell(each.exact), _cell(each.ours), each.unit, each.verdict(with_mail=with_mail),
            each.what, each.reason(with_mail=with_mail) or None, each.formula,
            each.mail.redone if each.mail else None, each.note or None,
            ", ".join(f"{one.name} {shown_value(one.ours)}" for one in each.beside) or None, each.command,
        )
        for each in figures
    )  # fmt: skip
    verdicts = [each.verdict(with_mail=with_mail) for each in figures]
    nr_off = verdicts.count(OFF)
    told = ", ".join(_counted(verdicts.count(kind), kind) for kind in dict.fromkeys(verdicts))
    notes = [f"{count(len(rows), 'figure')}: {told}" if rows else "no figure"]
    if nr_off:
        notes.append("off: " + " ".join(each.number for each in figures if _is_off(each, inputs)))
    if not with_mail:
        moved = " ".join(moved_inputs(inputs))
        notes.append(f"with {moved}: the mails had other inputs, so none is compared with a mail")
    return Table("Figures of the mails", COLUMNS, rows, tuple(notes))


def figures_output(figures: Sequence[Figure], inputs: FigureInputs, *, in_detail: bool) -> Output:
    """Return the answer: rows with what is to be said of each; in_detail: all that is known."""
    table = figures_view(figures, inputs)
    rows = tuple(
        tuple(map(_short, row[: IN_LISTING - 1])) + (row[IN_LISTING - 1],) for row in table.rows
    )
    listing = Table(table.title, table.columns[:IN_LISTING], rows)
    title, *lines = table_text(listing).splitlines()
    told = [title, *lines[:1]]
    for figure, line in zip(figures, lines[1:], strict=True):
        told.append(line)
        told += [f"{INDENT}{text}" for text in _said(figure, inputs, in_detail)]
    ok = not any(_is_off(figure, inputs) for figure in figures)
    return Output((*told, *table.notes), table, ok)


def inputs_output(inputs: FigureInputs) -> Output:
    """Return every input with its value and meaning."""
    columns = (Column("input"), Column("value"), Column("meaning"))
    return Output(table=Table("Inputs of the figures", columns, tuple(input_rows(inputs))))


def _said(figure: Figure, inputs: FigureInputs, in_detail: bool) -> list[str]:
    with_mail = inputs == AS_MAILED
    long = (figure.mail.printed if figure.mail else "", shown_value(figure.ours))
    said = [text for text in long if _short(text) != text]
    said.append(figure.reason(with_mail=with_mail))
    if in_detail:
        redone = f"the mail's way: {figure.mail.redone}" if figure.mail and with_mail else ""
        said += [f"exact: {figure.formula} = {shown_value(figure.exact)} {figure.unit}", redone]
        said += [f"{one.name}: {shown_value(one.ours)}" for one in figure.beside]
        said.append(figure.note)
    said.append(f"see: {figure.command}")
    return [text for text in said if text]


def _counted(number: int, verdict: str) -> str:
    """Return `1 differs` or `6 differ`."""
    plural = "differ" if verdict == DIFFERS else verdict
    return f"{number} {verdict if number == 1 else plural}"


def _cell(value: Value) -> Cell:
    return value if isinstance(value, int) else shown_value(value)


def _short(cell: Cell) -> Cell:
    """Return a cell of a listing, cut if it is long: then it is told whole beneath."""
    if not isinstance(cell, str) or len(cell) <= CELL_CHARS_MAX:
        return cell
    return f"{cell[: CELL_CHARS_MAX - 1]}…"


def _is_off(figure: Figure, inputs: FigureInputs) -> bool:
    return figure.is_off(with_mail=inputs == AS_MAILED)
