"""scullp in both dialects: the same programs, the same answers; then what is different (docs/two-dialects.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.events import PageFault

Run = Callable[..., Any]


@pytest.fixture
def both(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with Machine(ram=32 << 20, check_invariants=True, devices=[request.param]) as machine:
        yield machine
        assert machine.kernel.reports == [] and machine.kernel.oopses == []
        assert machine.unload(request.param.split(",")[0]) == []
        assert machine.check_clean() == []


dialects = pytest.mark.parametrize("both", ["scullp", "scullp_fault"], indirect=True)
today = pytest.mark.parametrize("both", ["scullp_fault"], indirect=True)
OPEN = 'int fd = must_open("/dev/scullp0", O_RDWR);'


@dialects
def test_data_through_both_doors(both: Machine, run_c: Run) -> None:
    """write and a mapping show one another's bytes; each page is asked for once; counts are right afterwards."""
    faults: list[PageFault] = []
    both.events.listen("fault", lambda f: faults.append(f) if "/dev/scullp0" in f.vma else None)
    run_c(both, OPEN + """
        fill(fd, 0, 'a', 2 * PAGE + 10);
        char c, *p = map(fd, 0, 3 * PAGE, RW, MAP_SHARED), *q = map(fd, PAGE, PAGE, RW, MAP_PRIVATE);
        CHECK("seen", all_are(p, 'a', 2 * PAGE + 10)); EQUAL("and zeros", p[2 * PAGE + 10], 0);
        p[PAGE] = 'b'; q[1] = 'c';
        EQUAL("read", pread(fd, &c, 1, PAGE), 1); EQUAL("the store", c, 'b');
        EQUAL("read", pread(fd, &c, 1, PAGE + 1), 1); EQUAL("not the private one", c, 'a');
        if (!fork()) { p[5] = 'd'; _exit(0); }
        wait(NULL);
        EQUAL("the child's", p[5], 'd');
    """)  # fmt: skip
    method = "nopage" if "scullp" in both.kernel.modules else "fault"
    asked = [f for f in faults if f.answer.split(",")[0].endswith(method)]
    assert len(asked) == 4


@dialects
def test_holes_and_the_end(both: Machine, run_c: Run) -> None:
    """SIGBUS in a hole and past the end, at the address; EFAULT in a call.  # B10"""
    run_c(both, OPEN + """
        fill(fd, 0, 'a', PAGE); fill(fd, 3 * PAGE, 'b', 1);
        char *p = map(fd, 0, 6 * PAGE, RW, MAP_SHARED);
        catch_faults();
        NO_READ("a hole", p + PAGE + 7, SIGBUS, BUS_ADRERR);
        NO_WRITE("the end", p + 4 * PAGE, SIGBUS, BUS_ADRERR);
        EQUAL("what is there", p[0] + p[3 * PAGE], 'a' + 'b');
        int z[2]; EQUAL("pipe", pipe(z), 0);
        ERRNO("in a call", write(z[1], p + PAGE, 1), EFAULT);
    """)  # fmt: skip


@dialects
def test_mapped_data_stays(both: Machine, run_c: Run) -> None:
    """Open for writing empties the device unless it is mapped; areas are counted through fork, split and exit.  # C4"""
    run_c(both, OPEN + """
        fill(fd, 0, 'x', 3 * PAGE);
        char *p = map(fd, 0, 3 * PAGE, RW, MAP_SHARED);
        if (!fork()) { munmap(p + PAGE, PAGE); _exit(0); }
        wait(NULL);
        close(must_open("/dev/scullp0", O_WRONLY));
        EQUAL("mapped: stays", p[2 * PAGE], 'x');
        munmap(p + PAGE, PAGE); munmap(p, PAGE);
        close(must_open("/dev/scullp0", O_WRONLY));
        EQUAL("a part is mapped: stays", lseek(fd, 0, SEEK_END), 3 * PAGE);
        munmap(p + 2 * PAGE, PAGE);
        close(must_open("/dev/scullp0", O_WRONLY));
        EQUAL("unmapped: gone", lseek(fd, 0, SEEK_END), 0);
    """)  # fmt: skip


@dialects
def test_ioctl_and_order(both: Machine, run_c: Run) -> None:
    """The same commands from programs of 32 and 64 bits; mmap is ENODEV for a higher order.  # C4"""
    run_c(both, OPEN + """
        int v = 1;
        EQUAL("order", ioctl(fd, SCULLP_IOCQORDER), 0);
        EQUAL("exchange", ioctl(fd, SCULLP_IOCXORDER, &v), 0); EQUAL("old", v, 0);
        EQUAL("shift", ioctl(fd, SCULLP_IOCHQSET, 10), 500);
        ERRNO("value", ioctl(fd, SCULLP_IOCTORDER, 11), EINVAL);
        ERRNO("pointer", ioctl(fd, SCULLP_IOCGQSET, 16), EFAULT);
        ERRNO("another device's", ioctl(fd, _IO('k', 0)), ENOTTY);
        close(must_open("/dev/scullp0", O_WRONLY));
        fill(fd, 0, 'o', 3 * PAGE);
        ERRNO("mmap", map(fd, 0, PAGE, PROT_READ, MAP_SHARED), ENODEV);
        char text[2000] = "";
        (void)!read(must_open("/proc/scullpmem", O_RDONLY), text, sizeof text - 1);
        CHECK("/proc", strstr(text, "\\nDevice 0: qset 10, order 1, sz 12288, vmas 0\\n  item 0: 2 quanta\\n"));
        CHECK("its address", strstr(text, "\\n       0: ffff8"));
        EQUAL("reset", ioctl(fd, SCULLP_IOCRESET), 0);
    """)  # fmt: skip


@today
def test_a_mapping_does_not_grow(both: Machine, run_c: Run) -> None:
    """VM_RESERVED became VM_DONTEXPAND | VM_DONTDUMP: 2.6.10 grows, and asks nopage."""
    run_c(both, OPEN + """
        fill(fd, 0, 'g', 3 * PAGE);
        char *p = map(fd, 0, PAGE, RW, MAP_SHARED);
        ERRNO("grow", mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
        char *q = mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map(fd, 0, PAGE, RW, MAP_SHARED));
        EQUAL("move", q[0], 'g');
    """)  # fmt: skip


@today
def test_nodes(both: Machine, run_c: Run) -> None:
    """Nodes for all by `devnode`, a class; no link, which udev would make."""
    run_c(both, """
        struct stat s;
        EQUAL("node", stat("/dev/scullp3", &s), 0); EQUAL("mode", s.st_mode, S_IFCHR | 0666);
        EQUAL("class", stat("/sys/class/scullp/scullp3/dev", &s), 0);
        ERRNO("link", stat("/dev/scullp", &s), ENOENT);
    """)  # fmt: skip


def test_one_of_the_two(run_c: Run) -> None:
    """They make the same nodes: the second one is refused, and leaves nothing behind."""
    with Machine(ram=32 << 20, devices=["scullp"]) as machine:
        with pytest.raises(ConfigError, match="EEXIST"):
            machine.load("scullp_fault")
        assert "scullp_fault" not in machine.kernel.modules and machine.kernel.device_classes == {}
        loaded = machine.kernel.modules["scullp"]
        assert len([each for each in machine.kernel.chrdevs.cdevs if each.owner is loaded]) == 4
        run_c(machine, OPEN + 'fill(fd, 0, 1, 5); EQUAL("still works", lseek(fd, 0, SEEK_END), 5);')
        assert not any("not released" in line for line in machine.dmesg)
