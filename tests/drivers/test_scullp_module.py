"""scullp as a module: loading, numbers, use count, unloading (MECHANISMS A4, C4, D6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.events import DriverCall

Run = Callable[..., Any]
Make = Callable[..., Machine]

DEMO = "/usr/local/bin/"
FILL = 'int fd = must_open("/dev/scullp0", O_RDWR); fill(fd, 0, 0x41, 3 * PAGE);'


def device(m: Machine, number: int = 0) -> Any:
    return m.kernel.modules["scullp"].namespace["scullp_devices"][number]


def frames(m: Machine) -> list[int]:
    """Frames that hold scullp's pages."""
    module = m.kernel.modules["scullp"]
    return sorted(pfn for pfn in module.pages if m.kernel.mem.owner_of(pfn) is module)


def free_now(m: Machine) -> int:
    """Free frames, what the page cache keeps counted as free."""
    return m.kernel.mem.free_frames() + m.kernel.vfs.page_cache_frames()


def test_everything_is_given_back(machine_clean: Make, run_c: Run) -> None:
    """After unload the free list is whole and as long as before.  # C4, B9, D6"""
    m = machine_clean()
    before = free_now(m)
    m.load("scullp")
    run_c(m, FILL + "char *p = map(fd, 0, 3 * PAGE, RW, MAP_SHARED); p[0] = p[PAGE] = 1; fill(fd, 700 * PAGE, 2, 9);")
    assert len(frames(m)) == 4
    assert m.unload("scullp") == []
    assert "scullp" not in m.kernel.modules and "scullpmem" not in m.kernel.proc_entries
    assert m.kernel.mem.check_free_lists() == []
    assert free_now(m) == before
    assert m.run([DEMO + "mapper", "/dev/scullp0", "0", "1"]).stderr == b"/dev/scullp0: No such file or directory\n"


def test_in_use_while_open_or_mapped(machine_clean: Make, run_c: Run) -> None:
    from machine.errors import ConfigError

    m = machine_clean(devices=["scullp"])
    seen: list[str] = []

    def try_unload(call: DriverCall) -> None:
        if call.operation == "ioctl":
            with pytest.raises(ConfigError) as refused:
                m.unload("scullp")
            seen.append(str(refused.value))

    m.events.listen("driver_call", try_unload)
    run_c(m, FILL + 'char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED); int other = must_open("/dev/scullp1", O_RDWR);'
                    'close(fd); ioctl(other, SCULLP_IOCQORDER, 0); EQUAL("still", p[0], 65);')  # fmt: skip
    assert seen == ["scullp: Resource temporarily unavailable"]
    assert m.kernel.modules["scullp"].refcount == 0
    assert m.unload("scullp") == []


def test_numbers_and_nodes(machine_clean: Make, run_c: Run) -> None:
    """/proc/devices, /proc/modules, the nodes and the link.  # A4, C4"""
    m = machine_clean(devices=["scullp,scullp_major=60,scullp_devs=2"])
    assert " 60 scullp\n" in m.read_file("/proc/devices").decode()
    assert m.read_file("/proc/modules").decode().startswith("scullp ")
    run_c(
        m,
        """
        struct stat s;
        char target[64] = "";
        EQUAL("stat", stat("/dev/scullp1", &s), 0);
        CHECK("device", S_ISCHR(s.st_mode) && s.st_rdev == (60 << 8 | 1));
        CHECK("link", readlink("/dev/scullp", target, sizeof target) > 0 && !strcmp(target, "scullp0"));
        ERRNO("not made", open("/dev/scullp2", O_RDONLY), ENOENT);
    """,
    )


def test_load_errors(machine_clean: Make) -> None:
    from machine.errors import ConfigError

    m = machine_clean()
    for device_text, message in (
        ("scullq", "no driver 'scullq'; there are: "),
        ("scullp,scullp_sets=3", "scullp has no parameter 'scullp_sets'; it has: scullp_major (int), "),
        ("scullp,scullp_order=big", "scullp: scullp_order=big: not a number"),
        ("scullp,scullp_order=11", "scullp: its init function failed: EINVAL"),
        ("scullp,scullp_major=1", "scullp: its init function failed: EBUSY"),
        ("scullp,scullp_order", "'scullp_order' is not parameter=value"),
        ("./nowhere.py", "no such driver: ./nowhere.py"),
    ):
        with pytest.raises(ConfigError) as refused:
            m.load(device_text)
        assert message in str(refused.value)
    assert "scullp: can't get major 1" in m.dmesg
    assert list(m.kernel.modules) == ["mem"]
    m.load("scullp,scullp_qset=0x10")
    assert device(m).qset == 16
    with pytest.raises(ConfigError, match="loaded already"):
        m.load("scullp")


def test_two_machines_have_two_scullps(machine_clean: Make, run_c: Run) -> None:
    one, two = machine_clean(devices=["scullp"]), machine_clean(devices=["scullp,scullp_qset=9"])
    run_c(one, FILL)
    assert (device(one).size, device(two).size, device(one).qset, device(two).qset) == (3 * 4096, 0, 500, 9)


def test_the_fault_is_told(machine_clean: Make) -> None:
    """Who answered, with which frame, its count before and after.  # F1, B7"""
    m = machine_clean(devices=["scullp"])
    m.run([DEMO + "devwrite", "/dev/scullp", "0", "text"])
    faults: list[Any] = []
    m.events.listen("fault", faults.append)
    m.run([DEMO + "mapper", "/dev/scullp", "0", "4"])
    mine = [fault for fault in faults if fault.answer == "scullp.nopage"]
    assert [(f.pfn, f.count_before, f.count_after, f.outcome) for f in mine] == [(frames(m)[0], 1, 2, "minor")]
