"""What the driver tests share: a machine with a driver, and guest programs written in the test."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.kernel.current import set_current_kernel
from tests.conftest import build

HERE = Path(__file__).parent


@pytest.fixture(params=["x86_64", "i386"])
def target(request: pytest.FixtureRequest) -> str:
    """Both kinds of guest program."""
    return str(request.param)


@pytest.fixture
def run_c(target: str) -> Callable[..., Any]:
    """Run the body of a C main (scullp.h and asleep.h are included) in a machine; every check of check.h must be ok."""

    def run(m: Machine, body: str, *, fine: bool = True, before: str = "") -> Any:
        text = '#include "scullp.h"\n#include "asleep.h"\n#include <sys/mman.h>\n'
        text += f"{before}int main(void)\n{{\n{body}\nreturn done();\n}}\n"
        flags = [f"-I{HERE}", f"-I{HERE.parent / 'guest'}", "-D_FILE_OFFSET_BITS=64", "-Wno-unused-function"]
        program = build(text, target=target, flags=flags)
        result = m.run([str(program)], timeout=120)
        output = (result.stdout + result.stderr).decode(errors="replace")
        if fine:
            assert result.exit == 0 and "FAIL" not in output, f"exit {result.exit}, signal {result.signal}\n{output}"
        return result

    return run


@pytest.fixture
def m() -> Iterator[Machine]:
    """A machine that may end with reports: these tests provoke them."""
    with Machine(ram=32 << 20, check_invariants=True) as machine:
        before = set_current_kernel(machine.kernel)
        yield machine
        set_current_kernel(before)
        assert machine.kernel.mem.check_free_lists() == []


@pytest.fixture
def driver(m: Machine, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Load a driver from its text; gives its globals."""

    def load(text: str, parameters: str = "", name: str = "bad") -> dict[str, Any]:
        path = tmp_path / f"{name}.py"
        path.write_text("from machine.kernel.linux import *\n" + textwrap.dedent(text))
        return m.load(str(path) + parameters).namespace  # type: ignore[no-any-return]

    return load


@pytest.fixture
def easel() -> Iterator[Machine]:
    """A machine whose guest may load easel.py, the driver beside this file."""
    with Machine(ram=32 << 20, modules=[str(HERE / "easel.py")], check_invariants=True) as machine:
        before = set_current_kernel(machine.kernel)
        yield machine
        set_current_kernel(before)
        assert machine.kernel.mem.check_free_lists() == []


CHARDEV = """
def bad_mmap(filp, vma):
    vma.vm_ops = bad_vm_ops
    return 0
page_of_device = get_zeroed_page(GFP_KERNEL)
{body}
fops = file_operations(mmap=bad_mmap, **{methods})
major = register_chrdev(0, "bad", fops)
devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
def cleanup():
    devfs_remove("bad")
    unregister_chrdev(major, "bad")
    free_page(page_of_device)
module_exit(cleanup)
"""


def chardev(body: str, methods: str = "{}") -> str:
    return CHARDEV.replace("{body}", textwrap.dedent(body)).replace("{methods}", methods)
