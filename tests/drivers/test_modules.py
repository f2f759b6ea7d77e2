"""Loading a driver, its parameters, the log, locks (MECHANISMS A4, D9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.kernel.modfile import available_drivers

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]


def test_parameters(m: Machine, driver: Load) -> None:
    text = """
        number, flag, word, limits, small = 1, False, "a", [1], 0
        module_param("number", int, 0)
        module_param("flag", bool, 0)
        module_param("word", charp, 0)
        module_param("small", byte, 0)
        module_param_array("limits", uint, 0)
    """
    d = driver(text, ",number=-0x10,flag=y,word=b=c,limits=1:0x2:010,small=255")
    assert (d["number"], d["flag"], d["word"], d["limits"], d["small"]) == (-16, True, "b=c", [1, 2, 8], 255)
    for setting, message in (
        ("number=2147483648", "int is from -2147483648 to 2147483647"),
        ("number=ten", "not a number"),
        ("flag=maybe", "a bool is 0, 1, y or n"),
        ("small=256", "byte is from 0 to 255"),
        ("limits=1:-2", "uint is from 0 to"),
        ("irq=3", "it has: number (int), flag (bool), word (charp), small (byte), limits (array of uint)"),
    ):
        with pytest.raises(ConfigError) as refused:
            driver(text, "," + setting, name="other")
        assert message in str(refused.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("def f(:\n", "SyntaxError"),
        ("x = 1\ny = 1 // 0\n", "(line 3): ZeroDivisionError"),
        ("from machine.kernel.linux import vmalloc_64\n", "vmalloc_64"),
        ("def init():\n    return -ENODEV\nmodule_init(init)\n", "its init function failed: ENODEV"),
        ("def init():\n    return nothing\nmodule_init(init)\n", "NameError: name 'nothing' is not defined"),
        ("module_param('ghost', int, 0)\n", "no such global"),
        ("fops = file_operations(mmmap=None)\n", "no member 'mmmap'"),
    ],
)
def test_a_driver_that_does_not_load(m: Machine, driver: Load, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        driver(text)
    assert message in str(refused.value)
    assert "bad" not in m.kernel.modules


def test_names_that_depend_on_the_machine(m: Machine, driver: Load) -> None:
    d = driver("me = THIS_MODULE\nend = __pa(high_memory)\n")
    assert d["me"] is m.kernel.modules["bad"] and d["end"] == 32 << 20


def test_available_drivers() -> None:
    drivers = {name: (text, parameters) for name, text, parameters in available_drivers()}
    assert {"mem", "scullp"} <= set(drivers)
    assert all(text for text, _ in drivers.values())
    assert ("scullp_qset", "int", 500, "quanta in a quantum set") in drivers["scullp"][1]


def test_printk(m: Machine, driver: Load) -> None:
    d = driver("""
        def test():
            printk(KERN_NOTICE + "virt %lx, phys %08lx\\n", 0x7fff0000, 0x1234)
            printk("no level %d %5u|%-4s|%c %% %p %llx\\n", -1, 7, "ab", "z", PAGE_OFFSET, -1)
            printk(KERN_ERR + "in ")
            printk("pieces %x\\n", -1)
            printk(KERN_DEBUG + "two\\nlines\\n")
    """)
    records: list[Any] = []
    m.events.listen("printk", records.append)
    d["test"]()
    m.kernel.log.lines()
    assert [(r.level, r.text) for r in records] == [
        (5, "virt 7fff0000, phys 00001234"),
        (4, "no level -1     7|ab  |z % ffff888000000000 ffffffffffffffff"),
        (3, "in pieces ffffffff"),
        (7, "two"),
        (4, "lines"),
    ]
    assert m.kernel.log.dump().decode().splitlines()[-5].endswith("] virt 7fff0000, phys 00001234")


def test_semaphores_and_spinlocks(m: Machine, driver: Load) -> None:
    d = driver("""
        def test():
            sem, lock = semaphore(), spinlock_t()
            first = down_interruptible(sem), down_trylock(sem)
            up(sem)
            second = down_trylock(sem)
            spin_lock(lock)
            third = spin_trylock(lock)
            spin_unlock(lock)
            spin_unlock(lock)
            return first, second, third
    """)
    assert d["test"]() == ((0, 1), 0, 0)
    assert m.kernel.reports == ["BUG: bad: spin_unlock of a lock that is free (bad.py:11 in test)"]
