"""What a module does, as text: no code of a module is ever run.

    # nft_ct
    init: counters = pcpu_alloc 64 8            size and align in bytes, GFP_KERNEL
    init: scratch = pcpu_alloc 128 64 GFP_ATOMIC|__GFP_ZERO
    init: return -19                            the module does not want to load after all
    exit: free_percpu scratch
    exit: free_percpu counters

Lines run in order, those of init when the module is loaded, those of exit when it goes. If an allocation
fails or init returns an error, what init had allocated is freed in reverse order, as a module's error path
does. What exit does not free is leaked, as in a real kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel_sim.alignment import is_power_of_two
from kernel_sim.errors import ConfigError
from kernel_sim.mm.gfp import GFP_KERNEL, gfp_from_text

LINES_MAX = 1000
TEXT_MAX = 64 << 10
SIZE_BYTES_MAX = 1 << 20
ALIGN_MAX = 1 << 20
ERRNO_MAX = 4095
NAME_MAX = 64


@dataclass(frozen=True, slots=True)
class AllocCall:
    """variable = pcpu_alloc size align gfp."""

    variable: str
    size_bytes: int
    align: int
    gfp: int


@dataclass(frozen=True, slots=True)
class FreeCall:
    """free_percpu variable."""

    variable: str


@dataclass(frozen=True, slots=True)
class Return:
    """The value that init returns: 0 or -errno."""

    value: int


ScriptCall = AllocCall | FreeCall | Return


@dataclass(frozen=True, slots=True)
class ModuleScript:
    """The calls of both functions, in order."""

    init: tuple[ScriptCall, ...] = ()
    exit: tuple[ScriptCall, ...] = ()


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    line: int
    column: int

    def refuse(self, problem: str) -> ConfigError:
        return ConfigError(f"script line {self.line}, column {self.column}: {problem}")


def parse_script(text: str) -> ModuleScript:
    """Return the calls in a script. Raises ConfigError, naming line and column, for anything else."""
    lines = text.split("\n")
    if len(text) > TEXT_MAX or len(lines) > LINES_MAX:
        raise ConfigError(
            f"script of {len(text)} characters, {len(lines)} lines: "
            f"expected at most {TEXT_MAX}, {LINES_MAX}"
        )
    calls: dict[str, list[ScriptCall]] = {"init:": [], "exit:": []}
    live: dict[str, dict[str, None]] = {"init:": {}, "exit:": {}}
    exit_words: list[tuple[_Word, FreeCall]] = []
    for number, line in enumerate(lines, 1):
        words = _words(line.partition("#")[0], number)
        if not words:
            continue
        phase = words[0]
        if phase.text not in calls:
            raise phase.refuse(f"{phase.text[:40]!r}: expected 'init:' or 'exit:'")
        if any(isinstance(call, Return) for call in calls[phase.text]):
            raise phase.refuse("nothing runs after 'return'")
        call = _parse_call(phase, words[1:])
        if phase.text == "init:":
            _follow(words, call, live["init:"])
        elif isinstance(call, FreeCall):
            exit_words.append((words[2], call))
        else:
            raise words[1].refuse("exit can only free_percpu")
        calls[phase.text].append(call)
    for word, call in exit_words:
        if call.variable not in live["init:"]:
            raise word.refuse(f"{call.variable!r} is not allocated at that time")
        del live["init:"][call.variable]
    return ModuleScript(tuple(calls["init:"]), tuple(calls["exit:"]))


def _words(line: str, number: int) -> list[_Word]:
    words = []
    column = 0
    for text in line.replace("\t", " ").split(" "):
        if text:
            words.append(_Word(text, number, column + 1))
        column += len(text) + 1
    return words


def _parse_call(phase: _Word, words: list[_Word]) -> ScriptCall:
    if not words:
        raise phase.refuse("expected a call behind it")
    if words[0].text == "free_percpu":
        _expect_count(words, 2, 2, "free_percpu NAME")
        return FreeCall(_variable(words[1]))
    if words[0].text == "return":
        _expect_count(words, 2, 2, "return 0 or return -ERRNO")
        return Return(_return_value(words[1]))
    if len(words) >= 3 and words[1].text == "=" and words[2].text == "pcpu_alloc":
        _expect_count(words, 5, 6, "NAME = pcpu_alloc SIZE ALIGN [GFP]")
        variable = _variable(words[0])
        size_bytes = _number(words[3], SIZE_BYTES_MAX)
        align = _number(words[4], ALIGN_MAX)
        if not is_power_of_two(align):
            raise words[4].refuse(f"align {align}: expected a power of two")
        return AllocCall(variable, size_bytes, align, _gfp(words[5]) if words[5:] else GFP_KERNEL)
    raise words[0].refuse(
        f"{words[0].text[:40]!r}: expected NAME = pcpu_alloc SIZE ALIGN, free_percpu NAME or return N"
    )


def _follow(words: list[_Word], call: ScriptCall, live: dict[str, None]) -> None:
    """Keep account of the variables that hold an area while init runs."""
    if isinstance(call, AllocCall):
        if call.variable in live:
            raise words[1].refuse(f"{call.variable!r} holds an area already")
        live[call.variable] = None
    elif isinstance(call, FreeCall):
        if call.variable not in live:
            raise words[2].refuse(f"{call.variable!r} is not allocated at that time")
        del live[call.variable]


def _expect_count(words: list[_Word], least: int, most: int, form: str) -> None:
    if len(words) < least:
        raise words[-1].refuse(f"too few words: expected {form}")
    if len(words) > most:
        raise words[most].refuse(f"too many words: expected {form}")


def _variable(word: _Word) -> str:
    if not word.text.isidentifier() or not word.text.isascii() or len(word.text) > NAME_MAX:
        raise word.refuse(f"{word.text[:40]!r}: expected a name of up to {NAME_MAX} characters")
    return word.text


def _number(word: _Word, most: int) -> int:
    digits = word.text
    value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
    if not 0 < value <= most:
        raise word.refuse(f"{digits[:40]!r}: expected a number from 1 to {most}")
    return value


def _return_value(word: _Word) -> int:
    if word.text == "0":
        return 0
    if not word.text.startswith("-"):
        raise word.refuse(f"{word.text[:40]!r}: expected 0 or a negative error number")
    return -_number(_Word(word.text[1:], word.line, word.column + 1), ERRNO_MAX)


def _gfp(word: _Word) -> int:
    try:
        return gfp_from_text(word.text)
    except ConfigError as problem:
        raise word.refuse(str(problem)) from None
