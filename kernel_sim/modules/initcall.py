"""The module's own two functions, played from its script: no code of it is run.

    load_module ► do_init_module ► do_one_initcall      init lines; an error frees what they allocated
    delete_module ► cleanup_module                      exit lines

Source: init/main.c, Linux 6.1: do_one_initcall().
"""

from __future__ import annotations

from kernel_sim.modules.errors import ENOMEM
from kernel_sim.modules.host import ModuleHost
from kernel_sim.modules.module import Module
from kernel_sim.modules.script import AllocCall, FreeCall, ModuleScript
from kernel_sim.primitives import PREEMPT


async def do_one_initcall(
    host: ModuleHost, cpu: int, mod: Module, script: ModuleScript, call_site: str
) -> int:
    """Run the init lines; 0 or what they return. On an error nothing of theirs stays allocated."""
    result = 0
    await PREEMPT
    for call in script.init:
        if isinstance(call, AllocCall):
            ptr = await host.pcpu_alloc(
                cpu, call.size_bytes, call.align, False, call.gfp, call_site
            )
            if not ptr:
                result = -ENOMEM
                break
            mod.variables[call.variable] = ptr
        elif isinstance(call, FreeCall):
            await host.free_percpu(cpu, mod.variables.pop(call.variable))
        else:
            result = call.value
    if result < 0:
        while mod.variables:
            _, ptr = mod.variables.popitem()
            await host.free_percpu(cpu, ptr)
    return result


async def cleanup_module(host: ModuleHost, cpu: int, mod: Module, script: ModuleScript) -> None:
    """Run the exit lines; areas they do not free stay in mod.variables."""
    await PREEMPT
    for call in script.exit:
        if isinstance(call, FreeCall):
            await host.free_percpu(cpu, mod.variables.pop(call.variable))
