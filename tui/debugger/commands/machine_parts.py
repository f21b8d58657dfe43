"""Acting on parts of the machine that come and go: modules, CPUs; and telling what shall fail.

An object file is read here and handed to the machine as bytes, so that a recording holds it. A file that no
kernel could load is refused before anything is given to the machine.
"""

from __future__ import annotations

from errno import errorcode
from pathlib import Path

from kernel_sim.fault_knobs import parse_fault_settings
from kernel_sim.hotplug.states import STATE_OF_NUMBER
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.modules.load_info import read_load_info
from tui.debugger.addresses import parse_number
from tui.debugger.commands.acting import act, told
from tui.debugger.commands.call_words import (
    call_words,
    first_cpu,
    is_call_word,
    words_argument,
    words_or,
)
from tui.debugger.commands.registry import (
    CPU,
    MODULE,
    TEXT,
    Argument,
    Command,
    Kind,
    Seat,
    Value,
    one_of,
)
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Session

GROUP = "modules, CPUs, failures"
OBJECT_BYTES_MAX = 16 << 20
SCRIPT_BYTES_MAX = 64 << 10
SUFFIXES = (".ko", ".o")
PHASES = ("init:", "exit:")
UP, DOWN = "up", "down"
PAGE_ALLOC, HOTPLUG, OFF = "page-alloc", "hotplug", "off"
LOG_LINES_TOLD = 5


async def insmod(seat: Seat, path: str, *words: str) -> Output:
    """Load an object file as a module; a script tells what its code would do."""
    session = seat.session
    image = read_bounded(Path(path), OBJECT_BYTES_MAX)
    said = call_words(session, tuple(word for word in words if is_call_word(word)))
    script = "\n".join(_script_text(word) for word in words if not is_call_word(word))
    name = module_name(path)
    machine = session.machine
    info = read_load_info(
        image, name, script, arch=machine.arch.name, page_size=PAGE_SIZE_BYTES
    )  # refuses what no kernel could load, before anything is given to the machine
    nr_logged = len(machine.kernel_log)
    result = await act(seat, said.cpu, "load_module", image, name, script, later=said.later)
    if isinstance(result, Output):
        return result
    loaded = info.modinfo.name
    return _ended(seat, result, f"{loaded} is loaded", f"{loaded} could not be loaded", nr_logged)


async def rmmod(seat: Seat, name: str, *words: Value) -> Output:
    """Unload a module."""
    session = seat.session
    said = call_words(session, words)
    nr_logged = len(session.machine.kernel_log)
    result = await act(seat, said.cpu, "delete_module", name, later=said.later)
    if isinstance(result, Output):
        return result
    return _ended(seat, result, f"{name} is gone", f"{name} stays", nr_logged)


async def cpu_hotplug(seat: Seat, way: str, cpu: int, *words: Value) -> Output:
    """Bring a CPU up, or take it down."""
    session = seat.session
    said = call_words(session, words)
    control = said.cpu
    if not words and control == cpu:
        others = [each for each in session.machine.online_cpus() if each != cpu]
        control = others[0] if others else cpu
    nr_logged = len(session.machine.kernel_log)
    result = await act(seat, control, f"cpu_{way}", cpu, later=said.later)
    if isinstance(result, Output):
        return result
    state = "online" if way == UP else "offline"
    is_absent = way == UP and cpu not in session.machine.topology.present
    bad = f"cpu {cpu} is not present" if is_absent else f"cpu {cpu} stays"
    return _ended(seat, result, f"cpu {cpu} is {state}", bad, nr_logged)


async def fail(seat: Seat, what: str, *words: str) -> Output:
    """Tell page allocations or a step of hotplug to fail."""
    cpu = first_cpu(seat.session)
    if what == PAGE_ALLOC:
        text = "" if words in ((), (OFF,)) else " ".join(words)
        parse_fault_settings(text)
        result = await act(seat, cpu, "fail_page_alloc", text)
        remark = (
            f"page allocations fail by: {text}" if text else "no page allocation is told to fail"
        )
    else:
        for_cpu, state = _hotplug_failure(seat.session, words)
        result = await act(seat, cpu, "cpuhp_fail", for_cpu, state)
        remark = "no step of hotplug is told to fail"
        if state:
            name = STATE_OF_NUMBER[state].name
            remark = f"step {state} ({name}) of cpu {for_cpu} fails once"
    return result if isinstance(result, Output) else told(seat, remark)


def _hotplug_failure(session: Session, words: tuple[str, ...]) -> tuple[int, int]:
    """Return CPU and step. Raises CommandError."""
    if words in ((), (OFF,)):
        return first_cpu(session), 0
    numbers = [parse_number(word) for word in words]
    steps = " ".join(str(number) for number in STATE_OF_NUMBER)
    if len(numbers) == len(("CPU", "STATE")):
        cpu, state = numbers
        if cpu in session.machine.cpus and cpu is not None and state in STATE_OF_NUMBER:
            return cpu, int(state or 0)
    raise CommandError(f"fail hotplug: expected CPU STATE, or off; steps are {steps}")


def module_name(path: str) -> str:
    """Return what a module is called that does not say it itself: its file's name."""
    name = Path(path).name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name.replace("-", "_")


def read_bounded(path: Path, bytes_max: int) -> bytes:
    """Return a file's bytes. Raises CommandError if it cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise CommandError(f"{path}: {why}") from problem
    if len(data) > bytes_max:
        raise CommandError(f"{path}: larger than {bytes_max} bytes, the most that is read")
    return data


def _script_text(word: str) -> str:
    """Return a script typed as it is, with ; between its lines, or that of a file."""
    if word.lstrip().startswith(PHASES):
        return word.replace(";", "\n")
    try:
        return read_bounded(Path(word), SCRIPT_BYTES_MAX).decode()
    except UnicodeDecodeError as problem:
        raise CommandError(f"{word}: a script is text in UTF-8: {problem}") from problem


def _ended(seat: Seat, result: object, good: str, bad: str, nr_logged: int) -> Output:
    """Return how a call that returns 0 or -errno ended, with what the kernel said meanwhile."""
    if not isinstance(result, int):
        return told(seat, "the call has not ended: see cpus and locks")
    if not result:
        return told(seat, good)
    name = errorcode.get(-result, str(result))
    said = [text for _, text in seat.session.machine.kernel_log[nr_logged:]][-LOG_LINES_TOLD:]
    return told(seat, f"{bad}: -{name}", *said)


WHAT = Argument("WHAT", one_of(PAGE_ALLOC, HOTPLUG))
CPU_WORDS = words_argument()
SETTINGS = Kind(TEXT.read, lambda session: (OFF, "nth=", "probability=", "caller=", "times="))

COMMANDS = (
    Command(
        "insmod", (), GROUP,
        (Argument("FILE", TEXT), words_or("SCRIPT", TEXT)),
        "load an object file; SCRIPT: a file, or 'init: a = pcpu_alloc 64 8; exit: free_percpu a'",
        insmod,
    ),
    Command("rmmod", (), GROUP, (Argument("MODULE", MODULE), CPU_WORDS), "unload a module", rmmod),
    Command(
        "cpu", (), GROUP,
        (Argument("up|down", one_of(UP, DOWN)), Argument("CPU", CPU), CPU_WORDS),
        "bring a CPU up or take it down, step by step", cpu_hotplug,
    ),
    Command(
        "fail", (), GROUP,
        (WHAT, Argument("SETTING", SETTINGS, optional=True, many=True)),
        "let fail: page-alloc nth=3 caller=vmalloc, page-alloc off, hotplug CPU STATE", fail,
    ),
)  # fmt: skip
