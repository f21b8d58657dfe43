"""One figure: what a mail printed, what its inputs come to exactly, what a simulated machine shows.

    mail      "14K"      printed in the mail    ┐ must be the same text: the mail's own rounding,
    redone    "14K"      from the inputs        ┘ done again
    exact     14876      a formula of the inputs ┐ must be the same number
    ours      14876      measured on a machine   ┘

Where what the mail stands for is not the exact value, the row says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from snapshots.timeline import Timeline

Value: TypeAlias = int | tuple[int, ...]
"""A number, or one for each of a list of inputs."""

AGREE: Final = "agree"
DIFFERS: Final = "differs"
OFF: Final = "off"


@dataclass(frozen=True, slots=True)
class MailFigure:
    """A figure as a mail prints it, the same by the mail's arithmetic, and what that is in the row's unit."""

    printed: str
    redone: str
    value: Value


@dataclass(frozen=True, slots=True)
class Beside:
    """Another value that was measured along with a figure, and what it should be."""

    name: str
    exact: Value
    ours: Value


@dataclass(frozen=True, slots=True)
class Figure:
    """One row.

    formula: how exact comes from the inputs, with numbers. command: what shows ours to a user; shows: texts
    that its answer has. because: why mail and exact differ. note: what else is to be known.
    beside: other values that must be right too. run: of the machine on which ours was measured.
    """

    what: str
    system: str
    unit: str
    formula: str
    exact: Value
    ours: Value
    command: str
    shows: tuple[str, ...]
    mail: MailFigure | None = None
    because: str = ""
    note: str = ""
    beside: tuple[Beside, ...] = ()
    number: str = ""
    run: Timeline | None = field(default=None, compare=False, repr=False)

    @property
    def is_measured_right(self) -> bool:
        """Whether the machine shows what the formulas say."""
        return self._wrong is None

    @property
    def _wrong(self) -> Beside | None:
        values = (Beside(self.what, self.exact, self.ours), *self.beside)
        return next((each for each in values if each.ours != each.exact), None)

    @property
    def is_mail_redone(self) -> bool:
        """Whether the mail's own arithmetic gives what the mail prints."""
        return self.mail is None or self.mail.printed == self.mail.redone

    @property
    def differs(self) -> bool:
        """Whether the mail's figure is another number than the exact one."""
        return self.mail is not None and self.mail.value != self.exact

    def is_off(self, *, with_mail: bool) -> bool:
        """Say whether the row is wrong; with_mail: the inputs are the mails'."""
        return not self.is_measured_right or (with_mail and not self.is_mail_redone)

    def verdict(self, *, with_mail: bool) -> str:
        """Return AGREE, DIFFERS or OFF."""
        if self.is_off(with_mail=with_mail):
            return OFF
        return DIFFERS if with_mail and self.differs else AGREE

    def reason(self, *, with_mail: bool) -> str:
        """Return why the verdict is not AGREE, "" if it is."""
        wrong = self._wrong
        if wrong is not None:
            ours, exact = shown_value(wrong.ours), shown_value(wrong.exact)
            return f"{wrong.name}: the machine shows {ours}, the inputs come to {exact}"
        if with_mail and self.mail is not None and not self.is_mail_redone:
            return f"the mail prints {self.mail.printed}, its arithmetic gives {self.mail.redone}"
        return self.because if with_mail and self.differs else ""


def shown_value(value: Value) -> str:
    """Return a value as it reads in a row."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
