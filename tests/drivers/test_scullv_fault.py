"""scullv in both dialects: vmalloc memory, mapped page by page whatever the order (C5, LDD3 §15.2.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from machine import Machine

Run = Callable[..., Any]
OPEN = 'int fd = must_open("/dev/scullv0", O_RDWR);'


@pytest.fixture(params=["scullv,scullv_order=2", "scullv_fault,scullv_order=2"])
def both(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with Machine(ram=32 << 20, check_invariants=True, devices=[request.param]) as machine:
        yield machine
        assert machine.kernel.reports == [] and machine.kernel.oopses == []
        assert machine.unload(request.param.split(",")[0]) == []
        assert machine.check_clean() == []


def test_pages_inside_a_quantum(both: Machine, run_c: Run) -> None:
    """Offset and page agree across quanta of four pages, through a mapping with an offset, a fork and a split."""
    run_c(both, OPEN + """
        for (int i = 0; i < 9; i++) fill(fd, i * PAGE, 'a' + i, PAGE);
        char c, *p = map(fd, 0, 10 * PAGE, RW, MAP_SHARED), *q = map(fd, 5 * PAGE, 2 * PAGE, RW, MAP_PRIVATE);
        for (int i = 0; i < 9; i++) CHECK("page", all_are(p + i * PAGE, 'a' + i, PAGE));
        EQUAL("offset", q[0] * 1000 + q[PAGE], 'f' * 1000 + 'g');
        p[6 * PAGE + 9] = 'X'; q[10] = 'Y';
        EQUAL("read", pread(fd, &c, 1, 6 * PAGE + 9), 1); EQUAL("the store", c, 'X');
        EQUAL("private", pread(fd, &c, 1, 5 * PAGE + 10), 1); EQUAL("not there", c, 'f');
        if (!fork()) { munmap(p, 3 * PAGE); p[4 * PAGE] = 'Z'; _exit(0); }
        wait(NULL);
        EQUAL("the child's", p[4 * PAGE], 'Z');
        catch_faults();
        NO_READ("the end", p + 9 * PAGE, SIGBUS, BUS_ADRERR);
        close(must_open("/dev/scullv0", O_WRONLY));
        EQUAL("mapped: stays", p[8 * PAGE], 'i');
    """)  # fmt: skip


def test_ioctl_of_both_targets(both: Machine, run_c: Run) -> None:
    run_c(both, OPEN + """
        int v = 3;
        EQUAL("order", ioctl(fd, SCULLP_IOCQORDER), 2);
        EQUAL("set", ioctl(fd, SCULLP_IOCXORDER, &v), 0); EQUAL("old", v, 2);
        char text[2000] = "";
        close(must_open("/dev/scullv0", O_WRONLY));
        fill(fd, 0, 'o', PAGE);
        (void)!read(must_open("/proc/scullvmem", O_RDONLY), text, sizeof text - 1);
        CHECK("/proc", strstr(text, "Device 0: qset 500, order 3, sz 4096"));
        CHECK("a vmalloc address", strstr(text, "ffffc9"));
    """)  # fmt: skip
