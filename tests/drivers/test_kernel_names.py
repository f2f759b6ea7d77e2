"""KERNEL in a driver: which dialect it gets, what each refuses, and names of today besides memory's."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from tests.drivers.conftest import chardev
from tests.drivers.test_dialects import today

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

OPEN = 'int fd = must_open("/dev/bad", O_RDWR);'
NAMES = "values = VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_FAULT_MINOR, VM_FAULT_MAJOR\n"


@pytest.mark.parametrize(
    "line, values",
    [
        ("", (-1, 0, 1, 2)),
        ("KERNEL = (2, 2)", (-1, 0, 1, 2)),
        ("KERNEL = (2, 6, 10)", (-1, 0, 1, 2)),
        ("KERNEL = (6, 1)", (1, 2, 0, 4)),
        ("KERNEL: tuple[int, int] = (6, 1)  # today", (1, 2, 0, 4)),
        ("KERNEL = (\n    4, 17,\n)", (1, 2, 0, 4)),
        ('"""\nKERNEL = (6, 1)\n"""', (-1, 0, 1, 2)),
    ],
)
def test_values_follow_the_line(driver: Load, line: str, values: tuple[int, ...]) -> None:
    """Below the import, which the fixture puts in front; in a docstring it is no line of the program."""
    assert driver(line + "\n" + NAMES)["values"] == values


def test_the_line_may_stand_above(m: Machine, tmp_path: Any) -> None:
    path = tmp_path / "above.py"
    path.write_text("KERNEL = (6, 1)\nfrom machine.kernel.linux import VM_FAULT_SIGBUS\n")
    assert m.load(str(path)).namespace["VM_FAULT_SIGBUS"] == 2


@pytest.mark.parametrize(
    "text, message",
    [
        ("KERNEL = (3, 10)", r"KERNEL = \(3, 10\) is not a kernel that drivers can be written for here: .*\(6, 1\)"),
        ("KERNEL = (1, 0)", "is not a kernel"),
        ("KERNEL = 6.1", r"KERNEL = 6\.1 is no version: it is written as"),
        ("KERNEL = tuple([6, 1])", "is no version"),
        ("KERNEL = (6, True)", "is no version"),
        ("KERNEL = (6, 1)\ndef f(: pass", r"line 3.*SyntaxError"),
        (
            "KERNEL = (6, 1)\nops = vm_operations_struct(nopage=print)",
            r"line 3.*no member 'nopage' in Linux 6\.1: .*2\.6\.26.*fault=.*vmf\.page",
        ),
        ("KERNEL = (6, 1)\nops = file_operations(ioctl=print)", r"no member 'ioctl' in Linux 6\.1: .*unlocked_ioctl="),
        ("ops = vm_operations_struct(fault=print)", r"no member 'fault' in Linux 2\.6\.10: .*2\.6\.23: use nopage="),
        ("ops = vm_operations_struct(page_mkwrite=print)", r"no member 'page_mkwrite' in Linux 2\.6\.10: .*2\.6\.18"),
        ("ops = file_operations(unlocked_ioctl=print)", r"in Linux 2\.6\.10: .*2\.6\.11: use ioctl="),
        ("KERNEL = (2, 2)\nops = file_operations(compat_ioctl=print)", r"in Linux 2\.2: .*2\.6\.11"),
    ],
)  # fmt: skip
def test_what_is_refused_at_load(m: Machine, driver: Load, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        driver(text)
    assert re.search(message, str(refused.value)), refused.value
    assert "bad.py" in str(refused.value) and "bad" not in m.kernel.modules


def test_a_table_made_in_mmap_is_checked_too(m: Machine, driver: Load, run_c: Run) -> None:
    driver(today("def bad_mmap(filp, vma):\n    vma.vm_ops = vm_operations_struct(nopage=print)\n    return 0"))
    run_c(m, OPEN + 'ERRNO("mmap", map(fd, 0, PAGE, PROT_READ, MAP_SHARED), EIO);')
    assert any("BUG: bad: TypeError" in line and "use fault=" in line for line in m.dmesg)


def test_both_dialects_in_one_machine(m: Machine, driver: Load, run_c: Run) -> None:
    """Each driver's areas follow its own kernel: RAM remapped, an area without methods, growth."""
    text = """
        page_of_device = get_zeroed_page(GFP_KERNEL)
        memcpy(page_of_device, b"data", 4)
        def mmap(filp, vma):
            if vma.vm_pgoff:
                return 0
            return remap_pfn_range(vma, vma.vm_start, __pa(page_of_device) >> PAGE_SHIFT, PAGE_SIZE, vma.vm_page_prot)
        fops = file_operations(mmap=mmap)
        register_chrdev(NUMBER, "dev", fops)
        devfs_mk_cdev(MKDEV(NUMBER, 0), 0o666, "dev%d", NUMBER)
        def cleanup():
            devfs_remove("dev%d", NUMBER)
            unregister_chrdev(NUMBER, "dev")
            free_page(page_of_device)
        module_exit(cleanup)
    """
    for number, line in ((60, "KERNEL = (2, 6, 10)\n"), (61, "KERNEL = (6, 1)\n")):
        driver(line + textwrap.dedent(text).replace("NUMBER", str(number)), name=f"dev{number}")
    run_c(m, """
        int old = must_open("/dev/dev60", O_RDWR), new = must_open("/dev/dev61", O_RDWR);
        char *p = map(old, 0, PAGE, PROT_READ, MAP_SHARED), *q = map(new, 0, PAGE, PROT_READ, MAP_SHARED);
        CHECK("zeros and data", all_are(p, 0, PAGE) && !memcmp(q, "data", 4));
        CHECK("grows", mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED);
        ERRNO("does not", mremap(q, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
        EQUAL("zero page", *(char *)map(old, PAGE, PAGE, PROT_READ, MAP_SHARED), 0);
        int status;
        if (!fork()) { volatile char c = *(char *)map(new, PAGE, PAGE, PROT_READ, MAP_SHARED); _exit(c); }
        wait(&status);
        EQUAL("none", WIFSIGNALED(status) ? WTERMSIG(status) : 0, SIGBUS);
    """)  # fmt: skip
    assert m.unload("dev60") == m.unload("dev61") == []


# -- ioctl ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("methods", ["unlocked_ioctl=ioctl", "unlocked_ioctl=ioctl, compat_ioctl=compat_ptr_ioctl"])
def test_ioctl_of_32_bit_programs(m: Machine, driver: Load, run_c: Run, target: str, methods: str) -> None:
    """(filp, cmd, arg); ENOTTY for a 32-bit program unless the driver has a compat_ioctl."""
    text = """
        def bad_mmap(filp, vma):
            return -ENODEV
        def ioctl(filp, cmd, arg):
            results.append((file_inode(filp) is filp.f_inode, cmd))
            return put_user(42, arg) or 7
    """
    d = driver(today(text, f"dict({methods})"))
    works = target == "x86_64" or "compat" in methods
    run_c(m, OPEN + ("int v = 0; EQUAL('c', ioctl(fd, 9, &v), 7); EQUAL('v', v, 42);" if works
                     else "int v; ERRNO('c', ioctl(fd, 9, &v), ENOTTY);").replace("'", '"'))  # fmt: skip
    assert d["results"] == ([(True, 9)] if works else [])


# -- class_create, device_create, proc_create_single ------------------------------------------------------------

CLASS = """
KERNEL = (6, 1)
def bad_open(inode, filp):
    return 0
fops = file_operations(open=bad_open)
major = register_chrdev(0, "bad", fops)
cls = class_create(THIS_MODULE, "bad")
def devnode(dev, mode):
    if mode and dev_get_drvdata(dev) == "open to all":
        mode[0] = 0o666
        return "in/" + dev.name
cls.devnode = devnode
first = device_create(cls, None, MKDEV(major, 0), None, "bad%d", 0)
second = device_create(cls, None, MKDEV(major, 1), "open to all", "bad%d", 1)
again = device_create(cls, None, MKDEV(major, 1), None, "bad%d", 1), class_create(THIS_MODULE, "bad")
def show(m, v):
    seq_printf(m, "%s %04x\\n", "text", 255)
    seq_puts(m, "more")
    seq_putc(m, "\\n")
    return -EACCES if m.private == "secret" else 0
proc_create_single("bad", 0, None, show)
proc_create_single_data("bad2", 0, None, show, "secret")
def cleanup():
    remove_proc_entry("bad", None)
    remove_proc_entry("bad2", None)
    device_destroy(cls, MKDEV(major, 0))
    device_destroy(cls, MKDEV(major, 1))
    class_destroy(cls)
    unregister_chrdev(major, "bad")
"""


def test_classes_and_proc_files(m: Machine, driver: Load, run_c: Run) -> None:
    """Nodes of mode 0600 unless `devnode` says else, /sys/class, ERR_PTR(-EEXIST), a /proc file of seq_printf."""
    d = driver(CLASS + "module_exit(cleanup)\n")
    assert [(d["IS_ERR"](each), d["PTR_ERR"](each)) for each in d["again"]] == [(True, -17)] * 2
    assert not d["IS_ERR"](d["first"])
    major = d["major"]
    run_c(m, f"""
        struct stat s;
        char room[100] = "";
        EQUAL("node", stat("/dev/bad0", &s), 0); EQUAL("mode", s.st_mode, S_IFCHR | 0600);
        EQUAL("elsewhere", stat("/dev/in/bad1", &s), 0); EQUAL("mode", s.st_mode, S_IFCHR | 0666);
        must_open("/dev/in/bad1", O_RDWR);
        (void)!read(must_open("/sys/class/bad/bad1/dev", O_RDONLY), room, 99);
        CHECK("number", !strcmp(room, "{major}:1\\n"));
        memset(room, 0, 100);
        (void)!read(must_open("/proc/bad", O_RDONLY), room, 99);
        CHECK("text", !strcmp(room, "text 00ff\\nmore\\n"));
        ERRNO("refused", read(must_open("/proc/bad2", O_RDONLY), room, 9), EACCES);
    """)  # fmt: skip
    assert m.unload("bad") == []
    run_c(m, 'ERRNO("gone", open("/sys/class/bad", O_RDONLY), ENOENT); ERRNO("", open("/dev/bad0", 0), ENOENT);')


def test_what_an_unloaded_driver_left(m: Machine, driver: Load) -> None:
    driver(CLASS)
    left = m.unload("bad")
    assert [line for line in left if line.startswith("class 'bad', made at bad.py:")]
    assert "/dev/bad0" in left and "/proc/bad" in left
    assert driver(CLASS + "module_exit(cleanup)\n", name="bad2")["cls"].name == "bad"  # everything is free again
    assert m.unload("bad2") == []


def test_mistakes_with_classes(m: Machine, driver: Load) -> None:
    d = driver(CLASS)
    d["device_destroy"](d["cls"], 12345)
    d["class_destroy"](d["cls"])
    d["class_destroy"](d["cls"])
    told = "\n".join(m.kernel.reports)
    assert "has no device" in told and "still has devices: bad0, bad1" in told and "does not exist any more" in told


def test_flags_and_locks(m: Machine, driver: Load, run_c: Run) -> None:
    """vm_flags_set, _clear, _mod, vma_pages; page locks, dirty marks, get_page_unless_zero."""
    d = driver(chardev("""
        bad_vm_ops = None
        page = virt_to_page(page_of_device)
        locks = [trylock_page(page), trylock_page(page), PageLocked(page), unlock_page(page), PageLocked(page)]
        dirty = [PageDirty(page), set_page_dirty(page), set_page_dirty(page), PageDirty(page)]
        freed = virt_to_page(__get_dma_pages(GFP_KERNEL, 0))
        put_page(freed)
        counts = [get_page_unless_zero(freed), get_page_unless_zero(page), page_count(page), put_page(page)]
        seen = []
        def bad_mmap2(filp, vma):
            was = vma.vm_flags
            vm_flags_set(vma, VM_IO | VM_DONTCOPY)
            vm_flags_clear(vma, VM_IO)
            vm_flags_mod(vma, VM_DONTDUMP, VM_DONTCOPY)
            seen.append((vma.vm_flags ^ was == VM_DONTDUMP, vma_pages(vma)))
            return 0
    """).replace("mmap=bad_mmap", "mmap=bad_mmap2"))  # fmt: skip
    assert d["locks"] == [1, 0, True, None, False] and d["dirty"] == [False, 1, 0, True]
    assert d["counts"] == [0, 1, 2, None]
    run_c(m, OPEN + 'map(fd, 0, 3 * PAGE, PROT_READ, MAP_SHARED); CHECK("", 1);')
    assert d["seen"] == [(True, 3)]
    assert m.kernel.reports == []
    d["unlock_page"](d["page"])
    assert "not locked" in m.kernel.reports[0]


def test_lock_page_sleeps(m: Machine, driver: Load, run_c: Run) -> None:
    """Who wants a locked page waits for the one who has it."""
    d = driver(chardev("""
        bad_vm_ops = None
        order = []
        def ioctl(inode, filp, cmd, arg):
            page = virt_to_page(page_of_device)
            if cmd == 1:
                lock_page(page)
                order.append("locked")
            if cmd == 2:
                order.append("to be unlocked")
                unlock_page(page)
            return 0
    """, "dict(ioctl=ioctl)"))  # fmt: skip
    run_c(m, OPEN + """
        ioctl(fd, 1, 0);
        if (!fork()) { ioctl(fd, 1, 0); _exit(0); }
        usleep(20000); ioctl(fd, 2, 0); wait(NULL); ioctl(fd, 2, 0);
        CHECK("", 1);
    """)  # fmt: skip
    assert d["order"] == ["locked", "to be unlocked", "locked", "to be unlocked"]


def test_a_directory_of_sys_without_parent(m: Machine, driver: Load) -> None:
    """kobject_create_and_add(name, NULL), as a module's own directory is made."""
    driver("""
    def show(dev, attr, buf):
        return sysfs_emit(buf, "%d\\n", 7)
    attribute = DEVICE_ATTR("value", 0o444, show)
    def init():
        global made
        made = kobject_create_and_add("mine", None)
        return sysfs_create_file(made, attribute)
    module_init(init)
    module_exit(lambda: kobject_put(made))
    """)
    assert m.run(["cat", "/sys/mine/value"]).stdout == b"7\n"
    m.unload("bad")
    assert m.run(["ls", "/sys/mine"]).exit == 2
