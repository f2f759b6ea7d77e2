"""Calls from the kernel into a driver and from a driver into the kernel (MECHANISMS B3, B7 to B10, D7, D9)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.events import DriverCall, Oops
from machine.kernel.current import set_current_kernel
from tests.drivers.conftest import chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]


@pytest.fixture
def target() -> str:
    return "x86_64"


OPEN = 'int fd = must_open("/dev/bad", O_RDWR);'


def test_a_forgotten_get_page_is_reported(m: Machine, driver: Load, run_c: Run) -> None:
    """Which page, which area, which driver.  # B9"""
    driver(
        chardev("""
        def nopage(vma, address, type):
            return virt_to_page(page_of_device)
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """)
    )
    run_c(m, OPEN + 'char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED); EQUAL("read", p[0], 0);')
    assert len(m.kernel.reports) >= 1
    assert "Bad page state" in m.kernel.reports[0]
    assert "bad.nopage returned it without get_page (nopage, bad.py:8)" in m.kernel.reports[0]
    assert re.search(r"r--s 00000000 \w+:\w+ \d+ /dev/bad; ", m.kernel.reports[0])
    assert len(m.kernel.reports[0]) < 280


def test_pages_of_a_driver_that_counts_right(m: Machine, driver: Load, run_c: Run) -> None:
    """A page of its own, and a page that is handed over for good: it is freed at unmap.  # B7, B9"""
    driver(
        chardev("""
        def nopage(vma, address, type):
            if address == vma.vm_start:
                page = virt_to_page(page_of_device)
                get_page(page)
            else:
                page = virt_to_page(get_zeroed_page(GFP_KERNEL))
            if type:
                type[0] = VM_FAULT_MINOR
            return page
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """)
    )
    free = m.kernel.mem.free_frames() + m.kernel.vfs.page_cache_frames()
    run_c(
        m, OPEN + 'char *p = map(fd, 0, 3 * PAGE, RW, MAP_SHARED); p[0] = p[PAGE] = p[2 * PAGE] = 1; CHECK("yes", 1);'
    )
    assert m.kernel.reports == []
    assert m.kernel.mem.free_frames() + m.kernel.vfs.page_cache_frames() == free
    assert m.unload("bad") == []


def test_nopage_is_called_once_a_page(m: Machine, driver: Load, run_c: Run) -> None:
    """First touch only, with the address rounded down; not at mmap.  # B7"""
    d = driver(
        chardev("""
        seen = []
        def nopage(vma, address, type):
            seen.append((address - vma.vm_start, type is not None))
            page = virt_to_page(page_of_device)
            get_page(page)
            return page
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """)
    )
    run_c(m, OPEN + """
        volatile char c, *p = map(fd, 0, 4 * PAGE, RW, MAP_SHARED);
        c = p[2 * PAGE + 77]; c = p[2 * PAGE + 78]; p[2 * PAGE] = 1; p[5] = 2;
        CHECK("yes", c == 0);
    """)  # fmt: skip
    assert d["seen"] == [(2 * 4096, True), (0, True)]


def test_without_nopage_the_zero_page(m: Machine, driver: Load, run_c: Run) -> None:
    """No method: zeros, copied at the first write; a written page of a shared area is shared with a child.  # B8"""
    driver(chardev("bad_vm_ops = vm_operations_struct()"))
    run_c(
        m,
        OPEN
        + """
        char *p = map(fd, 0, 3 * PAGE, RW, MAP_PRIVATE), *s = map(fd, 0, 2 * PAGE, RW, MAP_SHARED);
        CHECK("zeros", all_are(p, 0, 3 * PAGE));
        p[PAGE] = 1;
        EQUAL("others stay", p[0] + p[2 * PAGE], 0);
        s[0] = 1;
        if (!fork()) { s[0] = 2; s[PAGE] = 2; p[PAGE] = 2; _exit(0); }
        wait(NULL);
        EQUAL("written before the fork: shared", s[0], 2);
        EQUAL("private", p[PAGE], 1);
    """,
    )
    assert m.kernel.reports == []


@pytest.mark.parametrize(
    "answer, signal", [("NOPAGE_SIGBUS", 7), ("None", 7), ("NOPAGE_OOM", 9), ("17", 7), ("1 // 0", 7)]
)
def test_what_nopage_may_answer(m: Machine, driver: Load, run_c: Run, answer: str, signal: int) -> None:
    """SIGBUS, the OOM kill; nonsense and an exception are SIGBUS and are reported.  # B10"""
    oopses: list[Oops] = []
    m.events.listen("oops", oopses.append)
    driver(
        chardev(f"""
        def nopage(vma, address, type):
            return {answer}
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """)
    )
    result = run_c(m, OPEN + "return *(char *)map(fd, 0, PAGE, PROT_READ, MAP_SHARED);", fine=False)
    assert result.signal == signal
    if answer == "1 // 0":
        assert [oops.where for oops in oopses] == ["bad.nopage"]
        assert oopses[0].in_driver and "bad.py" in oopses[0].traceback and "module.py" not in oopses[0].traceback
        assert any("BUG: bad: ZeroDivisionError" in line and "in nopage" in line for line in m.dmesg)
    assert (answer == "17") == any("no struct page" in text for text in m.kernel.reports)


def test_an_exception_in_a_call_is_eio(m: Machine, driver: Load, run_c: Run) -> None:
    driver(
        chardev(
            """
        bad_vm_ops = None
        def broken(*args):
            raise ValueError("no")
    """,
            "dict(read=broken, write=broken, ioctl=broken, llseek=broken, poll=broken, release=broken)",
        )
    )
    run_c(
        m,
        OPEN
        + """
        char c;
        ERRNO("read", read(fd, &c, 1), EIO);
        ERRNO("write", write(fd, &c, 1), EIO);
        ERRNO("ioctl", ioctl(fd, 1, 1), EIO);
        ERRNO("lseek", lseek(fd, 0, SEEK_SET), EIO);
        EQUAL("close", close(fd), 0);
    """,
    )
    assert {oops.where for oops in m.kernel.oopses} == {
        "bad.read",
        "bad.write",
        "bad.ioctl",
        "bad.llseek",
        "bad.release",
    }
    assert m.kernel.modules["bad"].refcount == 0
    assert sum("BUG: bad: ValueError: no at bad.py" in line for line in m.dmesg) == 1  # one place, one report


def test_driver_calls_are_told(m: Machine, driver: Load, run_c: Run) -> None:
    driver(chardev("bad_vm_ops = None\ndef read(filp, buf, count, f_pos):\n    return 0", "dict(read=read)"))
    calls: list[DriverCall] = []
    m.events.listen("driver_call", calls.append)
    run_c(m, OPEN + 'char c; EQUAL("end", read(fd, &c, 1), 0);')
    assert [(c.driver, c.operation, c.result) for c in calls if c.driver == "bad"] == [("bad", "read", 0)]


def test_old_remap_page_range(m: Machine, driver: Load, run_c: Run) -> None:
    """Four arguments, physical addresses; a reserved page is shown, an ordinary one is zeros.  # B3, D5"""
    d = driver("""
        buffer = get_free_page(GFP_KERNEL)
        def mmap(filp, vma):
            if vma.vm_offset != 0 or vma.vm_end - vma.vm_start != PAGE_SIZE:
                return -EINVAL
            return -EAGAIN if remap_page_range(vma.vm_start, __pa(buffer), PAGE_SIZE, vma.vm_page_prot) else 0
        fops = file_operations(mmap=mmap)
        register_chrdev(42, "bad", fops)
        devfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")
        def cleanup():
            mem_map_unreserve(MAP_NR(buffer))
            free_page(buffer)
            devfs_remove("bad")
            unregister_chrdev(42, "bad")
        module_exit(cleanup)
    """)
    memory = m.kernel.ram.view
    physical = d["buffer"] - 0xFFFF_8880_0000_0000
    memory[physical : physical + 4] = b"data"
    body = (
        OPEN
        + 'char *p = map(fd, 0, PAGE, RW, MAP_SHARED); CHECK("shown", !memcmp(p, %s, 4)); p[0] = 68;'
        + ('ERRNO("offset", map(fd, PAGE, PAGE, RW, MAP_SHARED), EINVAL);')
    )
    run_c(m, body % '"\\0\\0\\0\\0"')
    assert bytes(memory[physical : physical + 4]) == b"data"
    set_current_kernel(m.kernel)
    d["mem_map_reserve"](d["MAP_NR"](d["buffer"]))
    run_c(m, body % '"data"')
    assert bytes(memory[physical : physical + 4]) == b"Data"
    assert m.unload("bad") == [] and m.kernel.reports == []


def test_uaccess(m: Machine, driver: Load, run_c: Run) -> None:
    """What each function returns for good, half good and bad addresses.  # D7"""
    d = driver(
        chardev(
            """
        bad_vm_ops = None
        got = {}
        def ioctl(inode, filp, cmd, arg):
            # `arg`: one page that is there, then one that is not
            x = [1]
            edge = arg + PAGE_SIZE - 8
            text = bytearray(20)
            got.update(
                access=(access_ok(VERIFY_READ, arg, 10), access_ok(VERIFY_WRITE, PAGE_OFFSET, 1)),
                verify=(verify_area(VERIFY_READ, arg, 10), verify_area(VERIFY_READ, PAGE_OFFSET, 1)),
                to=[copy_to_user(*to) for to in ((arg, b"hello\\0", 6), (edge, bytes(12), 12), (PAGE_OFFSET, b"x", 1))],
                string=[strncpy_from_user(text, *src) for src in ((arg, 20), (arg, 3), (8, 3))],
                length=(strnlen_user(arg, 20), strnlen_user(arg, 3), strnlen_user(8, 3)),
                clear=(clear_user(arg, 6), clear_user(edge, 12)),
                put=(put_user(-2, arg), put_user(1, edge + 6), put_user(7, arg + 8, 8)),
                get=(get_user(x, arg), x[0], get_user(x, edge + 6), x[0], get_user(x, arg + 8, 8), x[0]),
                kernel=current.comm[:4],
            )
            data = bytearray(b"?" * 12)
            got["from"] = copy_from_user(data, edge, 12), bytes(data)
            return 5
    """,
            "dict(ioctl=ioctl)",
        )
    )
    run_c(m, OPEN + 'char *p = anonymous(2); munmap(p + PAGE, PAGE); memset(p + PAGE - 8, 1, 8);'
                    'EQUAL("ioctl", ioctl(fd, 1, p), 5);'
                    'EQUAL("put", *(int *)p, -2); EQUAL("put 8", p[8], 7);')  # fmt: skip
    assert d["got"] == {
        "access": (1, 0), "verify": (0, -14), "to": [0, 4, 1], "string": [5, 3, -14], "length": (6, 4, 0),
        "clear": (0, 4), "put": (0, -14, 0), "get": (0, 0xFFFF_FFFE, -14, 0, 0, 7), "kernel": "prog",
        "from": (4, b"\0" * 8 + b"\0" * 4),
    }  # fmt: skip


def test_blocking_read(m: Machine, driver: Load, run_c: Run) -> None:
    """A wait queue: the reader sleeps until the writer wakes it; a signal ends the sleep; poll sees it.  # D9"""
    driver(
        chardev(
            """
        bad_vm_ops = None
        queue = DECLARE_WAIT_QUEUE_HEAD()
        data = []
        def read(filp, buf, count, f_pos):
            while not data:
                if filp.f_flags & O_NONBLOCK:
                    return -EAGAIN
                if wait_event_interruptible(queue, lambda: data):
                    return -ERESTARTSYS
            return 1 if not copy_to_user(buf, data.pop(0), 1) else -EFAULT
        def write(filp, buf, count, f_pos):
            byte = bytearray(1)
            if copy_from_user(byte, buf, 1):
                return -EFAULT
            data.append(bytes(byte))
            wake_up_interruptible(queue)
            return 1
        def poll(filp, table):
            poll_wait(filp, queue, table)
            return POLLOUT | (POLLIN if data else 0)
    """,
            "dict(read=read, write=write, poll=poll)",
        )
    )
    run_c(
        m,
        """
        #define POLLIN 1
        struct { int fd; short events, revents; } p;
        extern int poll(void *, unsigned long, int);
        char c = 0;
        int fd = must_open("/dev/bad", O_RDWR), nb = must_open("/dev/bad", O_RDWR | O_NONBLOCK);
        ERRNO("nonblocking", read(nb, &c, 1), EAGAIN);
        p.fd = fd; p.events = POLLIN;
        EQUAL("nothing to poll", poll(&p, 1, 0), 0);
        if (!fork()) { usleep(20000); (void)!write(fd, "x", 1); usleep(20000); (void)!write(fd, "y", 1); _exit(0); }
        EQUAL("blocking read", read(fd, &c, 1), 1);
        EQUAL("woken by", c, 'x');
        EQUAL("poll", poll(&p, 1, -1), 1);
        EQUAL("events", p.revents, POLLIN);
        EQUAL("read", read(fd, &c, 1), 1);
        wait(NULL);
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_sigaction = fault_handler;
        signal(SIGALRM, (void (*)(int))getpid);
        siginterrupt(SIGALRM, 1);
        ualarm(100000, 100000); /* again and again: the first may come before the call */
        ERRNO("interrupted", read(fd, &c, 1), EINTR);
    """,
    )


def test_a_later_page_of_a_block(m: Machine, driver: Load, run_c: Run) -> None:
    """LDD3 §15.2.7: why scullp maps only what was allocated with order 0.  The counted reference is not denied."""
    driver(chardev("""
        block = get_free_pages(GFP_KERNEL, 2)
        def nopage(vma, address, type):
            page = virt_to_page(block + (address - vma.vm_start))
            get_page(page)
            return page
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """) + "module_exit(lambda: (cleanup(), free_pages(block, 2)))\n")  # fmt: skip
    run_c(m, """
        volatile char *p = map(must_open("/dev/bad", O_RDWR), 0, 3 * PAGE, PROT_READ, MAP_SHARED);
        EQUAL("first", p[0], 0);
        EQUAL("second", p[PAGE], 0);
        EQUAL("third", p[2 * PAGE], 0);
    """)  # fmt: skip
    (report,) = m.kernel.reports
    assert "bad.nopage returned page 1 of a block of order 2 (nopage, bad.py:" in report
    assert "only its first page has a count of its own" in report and "without get_page" not in report
    assert m.unload("bad") == []


@pytest.mark.parametrize(
    ("taken", "seen"),
    [
        ("filp, dentry, datasync", "dentry is filp.f_dentry and datasync == 1"),
        ("filp, datasync", "datasync == 1"),
        ("filp, start, end, datasync", "(start, end, datasync) == (0, (1 << 63) - 1, 1)"),
        ("*all", "all[1] is all[0].f_dentry and all[2] == 1"),
    ],
)
def test_fsync_of_three_ages(m: Machine, driver: Load, run_c: Run, taken: str, seen: str) -> None:
    """2.6.10 has the dentry, 2.6.35 has not, today's has a range: a driver takes its own.  # B3"""
    driver(
        chardev(
            f"""
            bad_vm_ops = None
            class Bad:
                def method({taken.replace("filp", "self, filp") if "filp" in taken else "self, *all"}):
                    return 0 if {seen} else -EINVAL
            def function({taken}):
                return 0 if {seen} else -EIO
            """,
            "dict(fsync=Bad().method, ioctl=lambda inode, filp, cmd, arg: setattr(filp.f_op, 'fsync', function) or 0)",
        )
    )
    run_c(
        m,
        OPEN
        + """
        ERRNO("a method", fdatasync(fd), 0);
        ERRNO("now", ioctl(fd, 1, 0), 0);
        ERRNO("a function", fdatasync(fd), 0);
        """,
        before="#include <sys/ioctl.h>\n",
    )
    assert not m.kernel.reports and not m.kernel.oopses


def test_what_rwf_flags_a_driver_sees(m: Machine, driver: Load, run_c: Run) -> None:
    """A file with `read` and `write` takes RWF_HIPRI alone (do_loop_readv_writev): its fsync is not called.  # E4"""
    driver(
        chardev(
            """
            bad_vm_ops = None
            def fails(filp, dentry, datasync):
                raise KeyError("fsync")
            """,
            "dict(fsync=fails, write=lambda filp, buf, count, f_pos: count, read=lambda filp, buf, count, f_pos: 0)",
        )
    )
    run_c(
        m,
        OPEN
        + """
        struct iovec v = { "text", 4 };
        EQUAL("plain", pwritev2(fd, &v, 1, 0, 0), 4);
        EQUAL("RWF_HIPRI", pwritev2(fd, &v, 1, 0, 1), 4);
        ERRNO("RWF_DSYNC", pwritev2(fd, &v, 1, 0, 2), EOPNOTSUPP);
        ERRNO("RWF_SYNC", pwritev2(fd, &v, 1, 0, 4), EOPNOTSUPP);
        ERRNO("reading", preadv2(fd, &v, 1, 0, 4), EOPNOTSUPP);
        ERRNO("fsync", fsync(fd), EIO);
        """,
        before="#include <sys/uio.h>\n#include <sys/ioctl.h>\n",
    )
    assert [oops.where for oops in m.kernel.oopses] == ["bad.fsync"]
