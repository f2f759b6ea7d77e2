"""What a driver does with an area that it has kept, and other slips that the kernel names at the driver's line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from tests.drivers.conftest import chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

LATER = """
    kept = []
    def bad_mmap(filp, vma):
        kept[:] = [vma]
        vma.vm_flags |= {flags}
        return 0
    def ioctl(inode, filp, cmd, arg):
        vma, pfn = kept[0], 0xa0
        return {what}
"""
REMAP = "remap_pfn_range(vma, vma.vm_start, pfn, PAGE_SIZE, vma.vm_page_prot)"
CALLS = [
    ("0", REMAP, "remap_pfn_range"),
    ("VM_MIXEDMAP", "vm_insert_page(vma, vma.vm_start, virt_to_page(get_zeroed_page(GFP_KERNEL)))", "vm_insert_page"),
    ("VM_PFNMAP", "-EINVAL if vmf_insert_pfn(vma, vma.vm_start, pfn) != VM_FAULT_NOPAGE else 0", "vmf_insert_pfn"),
]


@pytest.mark.parametrize("flags, what, named", CALLS)
@pytest.mark.parametrize("after", ["", "map(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED);"])
def test_an_area_that_is_gone(
    m: Machine, driver: Load, run_c: Run, flags: str, what: str, named: str, after: str
) -> None:
    """The pages would lie in no area, or in another's: nobody would take them away.  # B3, B13"""
    driver(chardev(LATER.format(flags=flags, what=what), "dict(ioctl=ioctl)"))
    if after:
        after = after.replace("map(p, PAGE", "mmap(p, PAGE").replace("MAP_FIXED);", "MAP_FIXED, -1, 0);")
    result = run_c(m, f"""
        int fd = must_open("/dev/bad", O_RDWR);
        char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED);
        munmap(p, PAGE);
        {after}
        ERRNO("ioctl", ioctl(fd, 1, 0), EINVAL);
        return *(volatile char *)p;
    """, fine=False)  # fmt: skip
    assert b"FAIL" not in result.stdout
    assert result.signal == (None if after else 11)
    said = [line for line in m.dmesg if "is gone: it was unmapped" in line]
    assert len(said) == 1 and f"BUG: bad: {named}: the area" in said[0] and "in ioctl)" in said[0]


def test_an_area_that_is_there(m: Machine, driver: Load, run_c: Run) -> None:
    """Mapping into it later than in mmap is as good.  # B3"""
    driver(chardev(LATER.format(flags="0", what=REMAP), "dict(ioctl=ioctl)"))
    run_c(m, """
        int fd = must_open("/dev/bad", O_RDWR);
        volatile char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED);
        EQUAL("ioctl", ioctl(fd, 1, 0), 0);
        return *p * 0;
    """)  # fmt: skip
    assert not [line for line in m.dmesg if "BUG" in line]


def test_a_close_that_zaps(m: Machine, driver: Load, run_c: Run) -> None:
    """The entries are gone by then, and what came into their place is another's.  # B13"""
    driver("KERNEL = (6, 1)\n" + chardev("""
        kept = []
        def close(vma):
            kept[:] = [vma]
            zap_vma_ptes(vma, vma.vm_start, PAGE_SIZE)
        ops = vm_operations_struct(close=close)
        def bad_mmap(filp, vma):
            vma.vm_ops = ops
            return remap_pfn_range(vma, vma.vm_start, 0xa0, PAGE_SIZE, vma.vm_page_prot)
        def ioctl(filp, cmd, arg):
            zap_vma_ptes(kept[0], kept[0].vm_start, PAGE_SIZE)
            return 0
    """, "dict(unlocked_ioctl=ioctl, compat_ioctl=ioctl)"))  # fmt: skip
    run_c(
        m,
        """
        int fd = must_open("/dev/bad", O_RDWR);
        char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED);
        munmap(p, PAGE);
        p = mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        *p = 7;
        ERRNO("ioctl", ioctl(fd, 1, 0), 0);
        EQUAL("the other's page", *(volatile char *)p, 7);
        return 0;
    """,
    )
    assert not [line for line in m.dmesg if "BUG" in line]


def test_a_protection_for_the_kernel_only(m: Machine, driver: Load, run_c: Run) -> None:
    """The program would fault at the same instruction for ever.  # B3"""
    driver(chardev("""
        def bad_mmap(filp, vma):
            return remap_pfn_range(vma, vma.vm_start, 0xa0, PAGE_SIZE, 1)
    """, "dict()"))  # fmt: skip
    run_c(
        m,
        """
        int fd = must_open("/dev/bad", O_RDWR);
        ERRNO("mmap", (long)mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0), EINVAL);
    """,
    )
    assert any("prot 0x1 is for the kernel only" in line and "in bad_mmap)" in line for line in m.dmesg)


def test_a_range_outside_the_area(m: Machine, driver: Load, run_c: Run) -> None:
    """EINVAL has its reason in the log.  # B3"""
    driver(chardev("""
        def bad_mmap(filp, vma):
            return remap_pfn_range(vma, vma.vm_start + 8, 0xa0, PAGE_SIZE, vma.vm_page_prot)
    """, "dict()"))  # fmt: skip
    run_c(
        m,
        """
        int fd = must_open("/dev/bad", O_RDWR);
        ERRNO("mmap", (long)mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0), EINVAL);
    """,
    )
    assert any("remap_pfn_range: 4096 bytes from" in line and "in bad_mmap)" in line for line in m.dmesg)


@pytest.mark.parametrize("method", ["read", "ioctl", "mmap", "open"])
def test_a_restart_without_a_signal(m: Machine, driver: Load, run_c: Run, method: str) -> None:
    """The call would be made again for ever; on Linux the program sees 512.  # C4"""
    methods = "dict()" if method == "mmap" else f"dict({method}=bad_{method})"
    driver(chardev(f"""
        def bad_{method}(*args):
            return -ERESTARTSYS
    """, methods))  # fmt: skip
    run_c(
        m,
        """
        int fd = open("/dev/bad", O_RDWR);
        if (fd < 0) return errno != EIO && errno != EINVAL;
        if (read(fd, &fd, 4) < 0 && errno == EIO) return 0;
        if (ioctl(fd, 1, 0) < 0 && errno == EIO) return 0;
        return mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED;
    """,
    )
    assert any(f"{method} returned -512, a restart, though no signal has come" in line for line in m.dmesg), m.dmesg


@pytest.mark.parametrize(
    "call, said",
    [
        ('printk(KERN_INFO, "x %d\\n", 5)', "the level is part of the text"),
        ('printk("%d and %d\\n", 5)', "wants more than the 1 arguments that it is given"),
        ('printk("%*d\\n", 5)', "wants more than the 1 arguments that it is given"),
    ],
)
def test_printk_with_other_arguments(m: Machine, driver: Load, run_c: Run, call: str, said: str) -> None:
    """A comma behind KERN_INFO lost the text; too few arguments were a bare StopIteration."""
    driver(chardev(f"""
        def read(*args):
            {call}
            return 0
    """, "dict(read=read)"))  # fmt: skip
    run_c(
        m,
        """
        int fd = must_open("/dev/bad", O_RDWR);
        ERRNO("read", read(fd, &fd, 4), EIO);
    """,
    )
    assert said in m.kernel.oopses[0].traceback


def test_a_later_page_of_kmalloc(m: Machine, driver: Load, run_c: Run) -> None:
    """It is not "slab now and not the driver's", and get_page was called.  # B9"""
    driver(chardev("""
        block = kmalloc(4 * PAGE_SIZE, GFP_KERNEL)
        def nopage(vma, address, type):
            page = virt_to_page(block + address - vma.vm_start)
            get_page(page)
            return page
        ops = vm_operations_struct(nopage=nopage)
        def bad_mmap(filp, vma):
            vma.vm_ops = ops
            return 0
    """, "dict()"))  # fmt: skip
    run_c(
        m,
        """
        int fd = must_open("/dev/bad", O_RDWR);
        volatile char *p = map(fd, 0, 4 * PAGE, PROT_READ, MAP_SHARED);
        return p[2 * PAGE] * 0;
    """,
    )
    assert any("returned page 2 of a block of order 2" in line for line in m.dmesg), m.dmesg


def test_text_for_bytes(m: Machine, driver: Load, run_c: Run) -> None:
    driver(chardev("""
        def read(filp, buf, count, f_pos):
            return copy_to_user(buf, "text", 4)
    """, "dict(read=read)"))  # fmt: skip
    run_c(
        m,
        """
        int fd = must_open("/dev/bad", O_RDWR);
        ERRNO("read", read(fd, &fd, 4), EIO);
    """,
    )
    assert "'text' is text, and no bytes" in m.kernel.oopses[0].traceback


def test_an_init_function_that_returns_what_has_no_repr(m: Machine, driver: Load) -> None:
    with pytest.raises(ConfigError, match=r"init function returned <Mute instance at 0x\w+>, not a number"):
        driver(chardev("""
            class Mute:
                def __repr__(self):
                    raise RuntimeError
            module_init(lambda: Mute())
        """))  # fmt: skip
