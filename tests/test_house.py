"""The house rules that no linter knows. One test per rule; each reports all that break it at once."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("kernel_sim", "snapshots", "tui")
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
ARCHITECTURE_LINES_MAX = 200
DATA_BYTES_MAX = 8 << 20
VAGUE_WORDS = ("util", "utils", "helper", "helpers", "common", "misc", "manager", "managers")
SOURCES_WITHOUT_TESTS: dict[str, str] = {}  # path: why it needs none; empty __init__.py are exempt
IMPURE_BUILTINS = ("hash", "id", "open", "eval", "exec", "set", "frozenset")
IMPURE_MODULES = (
    "time", "random", "datetime", "secrets", "uuid", "os", "pathlib", "threading", "tempfile",
    "pickle", "shelve", "marshal", "dill",
)  # fmt: skip
CODE_IN_DATA_MODULES = (
    "pickle",
    "cPickle",
    "shelve",
    "marshal",
    "dill",
    "cloudpickle",
    "jsonpickle",
)
ASYNC_OUTSIDE_THE_KERNEL = (
    "kernel_sim/drive.py",
)  # asyncio's side of the machine, never in a stack
KERNEL_FUNCTIONS = (
    # mm/percpu.c
    "pcpu_alloc", "free_percpu", "pcpu_balance_workfn", "pcpu_balance_free",
    "pcpu_reclaim_populated", "pcpu_balance_populated",
    # mm/percpu-vm.c, mm/percpu-km.c
    "pcpu_create_chunk", "pcpu_destroy_chunk", "pcpu_populate_chunk", "pcpu_depopulate_chunk",
    "pcpu_post_unmap_tlb_flush", "pcpu_alloc_pages", "pcpu_map_pages",
    # mm/vmalloc.c, arch/x86/kernel/module.c
    "vmalloc", "vzalloc", "vmalloc_node", "__vmalloc_node_range", "vm_area_alloc_pages", "vfree",
    "module_alloc", "module_memfree",
    # mm/page_alloc.c, mm/slab.c; a plain access to an address
    "free_pages", "drain_all_pages", "kmalloc_node", "kfree", "read", "write",
    # arch/x86/mm/tlb.c, kernel/smp.c
    "flush_tlb_kernel_range", "flush_tlb_all", "on_each_cpu", "do_flush_tlb_all",
    "do_kernel_range_flush", "csd_lock_wait",
    # kernel/cpu.c, kernel/smpboot.c, arch/x86/kernel/smpboot.c
    "cpu_up", "do_cpu_up", "_cpu_up", "bringup_cpu", "start_secondary", "cpuhp_thread_fun",
    "cpuhp_up_callbacks", "cpuhp_down_callbacks", "cpuhp_kick_ap", "cpuhp_invoke_callback",
    "cpu_down", "cpu_down_maps_locked", "_cpu_down", "takedown_cpu", "take_cpu_down",
    # include/linux/gfp.h, include/linux/percpu-defs.h
    "alloc_pages", "alloc_pages_node", "this_cpu_read", "this_cpu_write", "this_cpu_add",
    "per_cpu_ptr", "per_cpu",
    # kernel/module/main.c, init/main.c
    "load_module", "layout_and_allocate", "move_module", "add_unformed_module", "percpu_modalloc",
    "simplify_symbols", "resolve_symbol", "resolve_symbol_wait", "apply_relocations",
    "post_relocation", "percpu_modcopy", "percpu_modfree", "complete_formation", "do_init_module",
    "do_one_initcall", "cleanup_module", "delete_module", "free_module", "module_deallocate",
    "module_unload_free", "try_module_get", "module_put", "cpa_flush",
    "do_free_init",
    # R. Thirumalai's mm/percpu.c of 2005, with what it calls of mm/vmalloc.c, 2.6.13
    "add_percpu_block", "valloc_percpu", "vfree_percpu", "free_percpu_obj",
    "__get_vm_area", "remove_vm_area", "map_vm_area", "unmap_vm_area",
    # mm/percpu.c, Linux 2.6.30 to 2.6.34
    "pcpu_extend_area_map", "pcpu_reclaim", "pcpu_kill_chunk", "pcpu_map",
    # mm/slab.c, kernel/module.c, Linux 2.6.17
    "__alloc_percpu", "split_block",
)  # fmt: skip
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
TEXT_SUFFIXES = (".py", ".md", ".toml", ".tcss", ".txt", ".yml", ".yaml", ".cfg", "")


def sources(*packages: str) -> list[Path]:
    return sorted(p for package in packages for p in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path), str(path))


def report(broken: list[str]) -> None:
    assert not broken, f"{len(broken)} times:\n" + "\n".join(broken)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines from `def` to the end, the docstring not counted."""
    nr_lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        nr_lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return nr_lines


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, top-level module) of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.split(".")[0]


def constant_memberships(tree: ast.Module) -> list[ast.AST]:
    """Return the set displays that only answer `x in {1, 2}`, with constants in them."""
    found: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for operator, right in zip(node.ops, node.comparators, strict=True):
                plain = isinstance(right, ast.Set) and all(
                    isinstance(element, ast.Constant) for element in right.elts
                )
                if plain and isinstance(operator, (ast.In, ast.NotIn)):
                    found.append(right)
    return found


def house_files() -> list[Path]:
    """Return all texts that we wrote: code, tests, documents, examples."""
    files = [p for p in ROOT.iterdir() if p.is_file() and not p.name.startswith(".")]
    for folder in (*PACKAGES, "tests", "docs", "examples", "benchmarks", ".ci"):
        files += [p for p in (ROOT / folder).rglob("*") if p.is_file()]
    skipped = ("__pycache__", "golden", "__snapshots__")
    return sorted(
        path
        for path in files
        if path.suffix in TEXT_SUFFIXES and not any(part in skipped for part in path.parts)
    )


def test_a_file_has_at_most_500_lines() -> None:
    """One subject per file; who needs more has two."""
    report(
        [
            f"{name_of(path)}: {nr_lines} lines"
            for path in sources(*PACKAGES)
            if (nr_lines := len(text_of(path).splitlines())) > FILE_LINES_MAX
        ]
    )


def test_a_function_has_at_most_60_lines() -> None:
    """What does not fit on a screen is not understood at a glance."""
    report(
        [
            f"{name_of(path)}:{function.lineno}: {function.name} has {nr_lines} lines"
            for path in sources(*PACKAGES)
            for function in functions(tree_of(path))
            if (nr_lines := body_lines(function)) > FUNCTION_LINES_MAX
        ]
    )


def test_no_file_has_a_vague_name() -> None:
    """A function with no home means a concept with no name yet."""
    report(
        [
            name_of(path)
            for path in sources(*PACKAGES, "tests")
            for part in path.relative_to(ROOT).with_suffix("").parts
            if any(word in VAGUE_WORDS for word in part.lower().split("_"))
        ]
    )


def test_every_source_file_has_its_test_file() -> None:
    """kernel_sim/x/y.py is tested in tests/kernel_sim/x/test_y.py, so that nobody has to search."""
    missing = []
    for path in sources(*PACKAGES):
        name = name_of(path)
        if name in SOURCES_WITHOUT_TESTS or (path.name == "__init__.py" and not text_of(path)):
            continue
        mirror = ROOT / "tests" / path.relative_to(ROOT).with_name(f"test_{path.name}")
        if not mirror.exists():
            missing.append(f"{name}: expected {name_of(mirror)}")
    report(missing)


def test_the_exceptions_from_having_a_test_file_are_needed() -> None:
    report(
        [
            f"{name}: {reason}"
            for name, reason in SOURCES_WITHOUT_TESTS.items()
            if not reason or not (ROOT / name).exists()
        ]
    )


def test_tests_are_no_packages() -> None:
    """pytest imports them by path; an __init__.py would give them names that can clash."""
    report([name_of(path) for path in (ROOT / "tests").rglob("__init__.py")])


def test_the_kernel_has_no_sets() -> None:
    """Their order depends on the hash seed; a dict is our ordered set."""
    broken = []
    for path in sources("kernel_sim"):
        tree = tree_of(path)
        allowed = constant_memberships(tree)
        broken += [
            f"{name_of(path)}:{node.lineno}: a set"
            for node in ast.walk(tree)
            if isinstance(node, (ast.Set, ast.SetComp)) and not any(node is a for a in allowed)
        ]
    report(broken)


def test_the_kernel_uses_no_builtin_that_sees_the_world_or_depends_on_the_run() -> None:
    report(
        [
            f"{name_of(path)}:{node.lineno}: {node.id}"
            for path in sources("kernel_sim")
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Load)
            and node.id in IMPURE_BUILTINS
        ]
    )


def test_the_kernel_imports_no_clock_chance_or_file() -> None:
    report(
        [
            f"{name_of(path)}:{line}: {module}"
            for path in sources("kernel_sim")
            for line, module in imported(tree_of(path))
            if module in IMPURE_MODULES
            or (module == "asyncio" and name_of(path) not in ASYNC_OUTSIDE_THE_KERNEL)
        ]
    )


def test_in_the_kernel_async_functions_are_the_kernels_own() -> None:
    """The chain of coroutines is shown as a call stack; a function of ours would stand in it."""
    report(
        [
            f"{name_of(path)}:{function.lineno}: {function.name}"
            for path in sources("kernel_sim")
            if name_of(path) not in ASYNC_OUTSIDE_THE_KERNEL
            for function in functions(tree_of(path))
            if isinstance(function, ast.AsyncFunctionDef) and function.name not in KERNEL_FUNCTIONS
        ]
    )


def test_every_listed_kernel_function_is_there() -> None:
    written = [
        function.name
        for path in sources("kernel_sim")
        for function in functions(tree_of(path))
        if isinstance(function, ast.AsyncFunctionDef)
    ]
    report([name for name in KERNEL_FUNCTIONS if name not in written])


MEASURES_PICKLE = "benchmarks/timetravel.py"  # against ours; what it packs, it never loads


def test_no_data_is_ever_run_as_code() -> None:
    """A recording of a stranger can do no harm: nothing here could run it."""
    broken = []
    for path in sources(*PACKAGES, "tests", "benchmarks"):
        for line, module in imported(tree_of(path)):
            if module in CODE_IN_DATA_MODULES and name_of(path) != MEASURES_PICKLE:
                broken.append(f"{name_of(path)}:{line}: imports {module}")
        broken += [
            f"{name_of(path)}:{node.lineno}: {node.id}"
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.Name) and node.id in ("eval", "exec")
        ]
    report(broken)


def test_nothing_is_left_for_later() -> None:
    report(
        [
            f"{name_of(path)}:{number}: {line.strip()}"
            for path in house_files()
            for number, line in enumerate(text_of(path).splitlines(), 1)
            if UNFINISHED.search(line)
        ]
    )


def test_the_architecture_fits_on_200_lines() -> None:
    path = ROOT / "ARCHITECTURE.md"
    assert path.exists(), "ARCHITECTURE.md is missing"
    assert len(text_of(path).splitlines()) <= ARCHITECTURE_LINES_MAX


def test_golden_data_and_examples_stay_small() -> None:
    """A clone should not cost more than the code is worth."""
    sizes = {
        name_of(path): path.stat().st_size
        for folder in ("tests/golden", "examples")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    largest = sorted(sizes, key=lambda name: -sizes[name])[:10]
    assert sizes
    assert sum(sizes.values()) <= DATA_BYTES_MAX, [(name, sizes[name]) for name in largest]
