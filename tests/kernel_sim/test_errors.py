"""The tree of what can go wrong."""

from __future__ import annotations

from kernel_sim import errors


def test_the_tree_is_divided_by_whose_fault_it_is() -> None:
    parents = {
        name: kind.__mro__[1].__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert parents == {
        "KernelSimError": "Exception",
        "ConfigError": "KernelSimError",
        "NotThisSystem": "ConfigError",
        "KernelFault": "KernelSimError",
        "BadAccess": "KernelFault",
        "PageFault": "BadAccess",
        "DoubleFree": "KernelFault",
        "KernelBug": "KernelFault",
        "InvariantBroken": "KernelSimError",
    }
