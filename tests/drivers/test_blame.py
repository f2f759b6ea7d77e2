"""Whatever a device model or a driver raises is told with its line; what is on its way through it is let through."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from greenlet import GreenletExit

from machine import Machine
from machine.errors import DeviceError
from machine.hardware import blame
from machine.testing import Reg, RegisterBlock
from tests.drivers.conftest import chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

AT = 0xFD000000


class Mute(Exception):
    """It has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


FAILURES = [SystemExit(4), SystemExit(0), BaseException("base"), GeneratorExit(), GreenletExit(), Mute()]


class Raising(RegisterBlock):
    """Raises `Raising.what` when it is written or read."""

    what: BaseException = ValueError()
    ctrl = Reg(0)
    status = Reg(4)
    soon = Reg(8)

    @ctrl.on_write
    def written(self, value: int) -> None:
        raise self.what

    @status.on_read
    def asked(self) -> int:
        raise self.what

    @soon.on_write
    def later(self, value: int) -> None:
        self.after(1, self.expired)

    def expired(self) -> None:
        raise self.what


@pytest.fixture
def block(m: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[BaseException], None]]:
    """Attach it; call with what it is to raise: a copy, since an exception that was raised keeps its machine."""
    m.attach(f"/dev/mem@{AT:#x}", Raising)
    yield lambda what: monkeypatch.setattr(Raising, "what", copy.copy(what))


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("access", ["p[0] = 1", "return p[1]", "p[2] = 1; pause()"])
@pytest.mark.parametrize("target", ["x86_64"])
def test_a_device_model(
    m: Machine, run_c: Run, block: Callable[[BaseException], None], failure: BaseException, access: str
) -> None:
    """sys.exit() ended nopage with that status, in silence; others came out as a traceback of ours."""
    block(failure)
    with pytest.raises(DeviceError) as caught:
        run_c(m, f"""
            int fd = must_open("/dev/mem", O_RDWR);
            volatile unsigned *p = map(fd, {AT:#x}, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
            {access};
        """)  # fmt: skip
    text = str(caught.value)
    assert f"Raising ('raising') raised {type(failure).__name__} in " in text and "test_blame.py:" in text
    assert "its __str__ raised RuntimeError" in text or not isinstance(failure, Mute)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, blame.Passing, pytest.fail.Exception, pytest.skip.Exception])
def test_what_passes(m: Machine, block: Callable[[BaseException], None], kind: type[BaseException]) -> None:
    """Ctrl-C, what a test says: they come out as they are."""
    block(kind("it"))
    for call in (lambda: m.kernel.bus.read(AT + 4, 4), lambda: m.kernel.bus.write(AT, 4, 1)):
        with pytest.raises(kind):
            call()
    assert m.kernel.bus.failures == []


@pytest.mark.parametrize(
    "failure, named",
    [
        ("BaseException('base')", "BaseException: base at bad.py:"),
        ("GeneratorExit", "GeneratorExit:  at bad.py:"),
        ("SystemExit(3)", "SystemExit: 3 at bad.py:"),
        ("__import__('greenlet').GreenletExit('no')", "GreenletExit: no at bad.py:"),
        ("Mute()", "Mute: <its __str__ raised RuntimeError> at bad.py:"),
    ],
)
def test_a_driver(m: Machine, driver: Load, run_c: Run, failure: str, named: str) -> None:
    """EIO, SIGBUS, and an oops each; the driver can be unloaded."""
    driver(chardev(f"""
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError("no text")
        def read(*args):
            raise {failure}
        def nopage(*args):
            raise {failure}
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """, "dict(read=read)"))  # fmt: skip
    result = run_c(m, """
        int fd = must_open("/dev/bad", O_RDWR);
        char room[4];
        ERRNO("read", read(fd, room, 4), EIO);
        return *(char *)map(fd, 0, PAGE, PROT_READ, MAP_SHARED);
    """, fine=False)  # fmt: skip
    assert result.signal == 7 and b"FAIL" not in result.stdout
    assert [oops.where for oops in m.kernel.oopses] == ["bad.read", "bad.nopage"]
    assert sum(named in line for line in m.dmesg) == 2, m.dmesg
    assert m.unload("bad") == []


def test_a_file_that_exits(m: Machine, driver: Load) -> None:
    """At the top of a driver's file."""
    with pytest.raises(Exception, match=r"bad.py \(line 3\): SystemExit: 3"):
        driver("import sys\nsys.exit(3)")
    assert "bad" not in m.kernel.modules and "bad" not in sys.modules
