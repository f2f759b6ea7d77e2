"""When `open` and `close` of an area are called: each cause, and the exact sequence of 2.6.10 (MECHANISMS B6, B11).

A row is a piece of C and what the driver hears.  Before it, four pages of the device are mapped at `p`, from page 8 of
the device on; `|` is where the program says that the piece begins and ends (a write to the device), so after the second
one stands what exit does.  ``open 1+3`` is a call for the area that begins at page 1 (from `p`) and has 3 pages;
``@9`` follows where the area's vm_pgoff is not 8 more than its first page; ``child`` is said of another address space
than that of the first mapping.  A ``*`` is an address that the kernel chose.

mm/mmap.c: split_vma, do_munmap, exit_mmap; mm/mprotect.c: mprotect_fixup; mm/mremap.c: move_vma; mm/madvise.c;
kernel/fork.c: dup_mmap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.kernel.abi.errno import ENOMEM, Errno
from machine.kernel.current import set_current_kernel
from machine.kernel.mm.page import GFP_KERNEL
from tests.conftest import build

HERE = Path(__file__).parent

DRIVER = """
from machine.kernel.linux import *

heard = []
first = []

def say(what, vma):
    if not first:
        first.append((vma.vm_mm, vma.vm_start))
    mm, base = first[0]
    start, pages = (vma.vm_start - base) >> PAGE_SHIFT, (vma.vm_end - vma.vm_start) >> PAGE_SHIFT
    at = "" if vma.vm_pgoff == start + 8 else f"@{vma.vm_pgoff}"
    heard.append(("" if vma.vm_mm is mm else "child ") + f"{what} {start}+{pages}{at}")

def hear_open(vma):
    say("open", vma)

def hear_close(vma):
    say("close", vma)

def hear_mmap(filp, vma):
    if vma.vm_pgoff == 99:
        say("refused", vma)
        vma.vm_ops = hear_vm_ops
        return -EPERM
    if vma.vm_pgoff == 50:
        vma.vm_flags |= VM_DONTCOPY
    say("mmap", vma)
    vma.vm_ops = hear_vm_ops
    return 0

def hear_write(filp, buf, count, f_pos):
    heard.append("|")
    return count

hear_vm_ops = vm_operations_struct(open=hear_open, close=hear_close)
hear_fops = file_operations(owner=THIS_MODULE, mmap=hear_mmap, write=hear_write)
hear_major = register_chrdev(0, "hear", hear_fops)
devfs_mk_cdev(MKDEV(hear_major, 0), 0o666, "hear")

def hear_exit():
    devfs_remove("hear")
    unregister_chrdev(hear_major, "hear")

module_exit(hear_exit)
"""

PROGRAM = r"""
#include "scullp.h"
#include <pthread.h>
#include <sys/syscall.h>

#define P PAGE
#define MARK must(write(fd, "|", 1) == 1)
#define MOVE (MREMAP_MAYMOVE | MREMAP_FIXED)

static char *p;

static void must(int good)
{
	if (!good) {
		perror("this must work");
		_exit(2);
	}
}

static void device(int fd, int page, int pages, int pgoff)
{
	must(mmap(p + page * P, pages * P, RW, MAP_SHARED | MAP_FIXED, fd, (off_t)pgoff * P) == p + page * P);
}

static void finish(pid_t child)
{
	int status;

	must(waitpid(child, &status, 0) == child);
}

static void *touch_it(void *where)
{
	*(volatile char *)where = 1;
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = must_open("/dev/hear", O_RDWR);
	const char *which = argc > 1 ? argv[1] : "";
	pthread_t thread;
	pid_t child;

	p = hole(64) + 16 * P;
	device(fd, 0, 4, 8);
	(void)thread, (void)child, (void)finish, (void)touch_it;
#include ROWS
	return 3;
}
"""

# name, setup before the first mark, the piece, what is heard
TABLE = [
    ("first mmap", "", "", "mmap 0+4 | | close 0+4"),
    # munmap
    ("munmap whole", "", "must(!munmap(p, 4 * P));", "mmap 0+4 | close 0+4 |"),
    ("munmap head", "", "must(!munmap(p, P));", "mmap 0+4 | open 0+1 close 0+1 | close 1+3"),
    ("munmap tail", "", "must(!munmap(p + 3 * P, P));", "mmap 0+4 | open 3+1 close 3+1 | close 0+3"),
    ("munmap middle", "", "must(!munmap(p + P, P));",
     "mmap 0+4 | open 1+3 open 1+1 close 1+1 | close 0+1 close 2+2"),
    ("munmap of two halves", "device(fd, 4, 4, 12);", "must(!munmap(p + 2 * P, 4 * P));",
     "mmap 0+4 mmap 4+4 | open 2+2 open 4+2 close 2+2 close 4+2 | close 0+2 close 6+2"),
    ("munmap around", "device(fd, 6, 1, 14);", "must(!munmap(p - P, 9 * P));",
     "mmap 0+4 mmap 6+1 | close 0+4 close 6+1 |"),
    ("munmap refused", "", "must(munmap(p + 1, P) && munmap(p, 0));", "mmap 0+4 | | close 0+4"),
    # mprotect
    ("mprotect whole", "", "must(!mprotect(p, 4 * P, PROT_READ));", "mmap 0+4 | | close 0+4"),
    ("mprotect head", "", "must(!mprotect(p, P, PROT_READ));", "mmap 0+4 | open 1+3 | close 0+1 close 1+3"),
    ("mprotect tail", "", "must(!mprotect(p + 3 * P, P, PROT_READ));",
     "mmap 0+4 | open 0+3 | close 0+3 close 3+1"),
    ("mprotect middle", "", "must(!mprotect(p + P, P, PROT_READ));",
     "mmap 0+4 | open 0+1 open 2+2 | close 0+1 close 1+1 close 2+2"),
    ("mprotect without a change", "", "must(!mprotect(p + P, P, RW));", "mmap 0+4 | | close 0+4"),
    ("mprotect and back", "", "must(!mprotect(p + P, P, PROT_READ) && !mprotect(p + P, P, RW));",
     "mmap 0+4 | open 0+1 open 2+2 | close 0+1 close 1+1 close 2+2"),
    ("mprotect over two", "device(fd, 4, 4, 12);", "must(!mprotect(p + 2 * P, 4 * P, PROT_NONE));",
     "mmap 0+4 mmap 4+4 | open 0+2 open 6+2 | close 0+2 close 2+2 close 4+2 close 6+2"),
    ("mprotect refused", ('int ro = must_open("/dev/hear", O_RDONLY);'
     "must(mmap(p + 8 * P, 4 * P, PROT_READ, MAP_SHARED | MAP_FIXED, ro, 16 * P) == p + 8 * P);"),
     "must(mprotect(p + 9 * P, P, RW) == -1 && errno == EACCES);", "mmap 0+4 mmap 8+4 | | close 0+4 close 8+4"),
    # mremap
    ("mremap shrink", "", "must(mremap(p, 4 * P, 2 * P, 0) == p);", "mmap 0+4 | open 2+2 close 2+2 | close 0+2"),
    ("mremap grow in place", "", "must(mremap(p, 4 * P, 6 * P, 0) == p);", "mmap 0+4 | | close 0+6"),
    ("mremap grow blocked", "device(fd, 4, 1, 12);",
     "must(mremap(p, 4 * P, 6 * P, 0) == MAP_FAILED && errno == ENOMEM);",
     "mmap 0+4 mmap 4+1 | | close 0+4 close 4+1"),
    ("mremap grow that moves", "device(fd, 4, 1, 12);", "must(mremap(p, 4 * P, 6 * P, MREMAP_MAYMOVE) != MAP_FAILED);",
     "mmap 0+4 mmap 4+1 | open *+6@8 close 0+4 | close * close *"),
    ("mremap of the same size", "", "must(mremap(p, 4 * P, 4 * P, MREMAP_MAYMOVE) == p);", "mmap 0+4 | | close 0+4"),
    ("mremap move", "", "must(mremap(p, 4 * P, 4 * P, MOVE, p + 8 * P) == p + 8 * P);",
     "mmap 0+4 | open 8+4@8 close 0+4 | close 8+4@8"),
    ("mremap move and grow", "", "must(mremap(p, 4 * P, 6 * P, MOVE, p + 8 * P) == p + 8 * P);",
     "mmap 0+4 | open 8+6@8 close 0+4 | close 8+6@8"),
    ("mremap move and shrink", "", "must(mremap(p, 4 * P, 2 * P, MOVE, p + 8 * P) == p + 8 * P);",
     "mmap 0+4 | open 2+2 close 2+2 open 8+2@8 close 0+2 | close 8+2@8"),
    ("mremap move of the middle", "", "must(mremap(p + P, P, P, MOVE, p + 8 * P) == p + 8 * P);",
     "mmap 0+4 | open 8+1@9 open 1+3 open 1+1 close 1+1 | close 0+1 close 2+2 close 8+1@9"),
    ("mremap over another mapping", "device(fd, 8, 4, 16);",
     "must(mremap(p, 4 * P, 4 * P, MOVE, p + 8 * P) == p + 8 * P);",
     "mmap 0+4 mmap 8+4 | close 8+4 open 8+4@8 close 0+4 | close 8+4@8"),
    ("mremap over part of another", "device(fd, 8, 4, 16);",
     "must(mremap(p, 4 * P, 4 * P, MOVE, p + 10 * P) == p + 10 * P);",
     "mmap 0+4 mmap 8+4 | open 10+2 close 10+2 open 10+4@8 close 0+4 | close 8+2 close 10+4@8"),
    ("mremap that doubles", "", "must(mremap(p, 0, 2 * P, MOVE, p + 8 * P) == p + 8 * P);",
     "mmap 0+4 | open 8+2@8 | close 0+4 close 8+2@8"),
    ("mremap that keeps the old", "", "must(mremap(p, 4 * P, 4 * P, MOVE | MREMAP_DONTUNMAP, p + 8 * P) == p + 8 * P);",
     "mmap 0+4 | open 8+4@8 | close 0+4 close 8+4@8"),
    ("mremap refused", "", ("must(mremap(p, 4 * P, 4 * P, MOVE, p + P) == MAP_FAILED && errno == EINVAL);"
     "must(mremap(p, 8 * P, 9 * P, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);"), "mmap 0+4 | | close 0+4"),
    # mmap over it, refused mmap
    ("MAP_FIXED over the middle", "", "must(mmap(p + P, P, RW, ANON | MAP_FIXED, -1, 0) == p + P);",
     "mmap 0+4 | open 1+3 open 1+1 close 1+1 | close 0+1 close 2+2"),
    ("MAP_FIXED over all", "", "must(mmap(p - P, 6 * P, RW, ANON | MAP_FIXED, -1, 0) == p - P);",
     "mmap 0+4 | close 0+4 |"),
    ("MAP_FIXED of the device", "", "device(fd, 1, 1, 9);",
     "mmap 0+4 | open 1+3 open 1+1 close 1+1 mmap 1+1 | close 0+1 close 1+1 close 2+2"),
    ("refused by the driver", "", ("must(mmap(p + 8 * P, P, RW, MAP_SHARED | MAP_FIXED, fd, 99 * P) == MAP_FAILED);"
     "must(errno == EPERM);"), "mmap 0+4 | refused 8+1@99 | close 0+4"),
    ("refused over part", "", "must(mmap(p, P, RW, MAP_SHARED | MAP_FIXED, fd, 99 * P) == MAP_FAILED);",
     "mmap 0+4 | open 0+1 close 0+1 refused 0+1@99 | close 1+3"),
    # fork
    ("fork", "", "if (!(child = fork())) _exit(0); finish(child);",
     "mmap 0+4 | child open 0+4 child close 0+4 | close 0+4"),
    ("fork of two areas", "device(fd, 6, 1, 14);", "if (!(child = fork())) _exit(0); finish(child);",
     "mmap 0+4 mmap 6+1 | child open 0+4 child open 6+1 child close 0+4 child close 6+1 | close 0+4 close 6+1"),
    ("fork, part unmapped there", "", "if (!(child = fork())) { munmap(p, P); _exit(0); } finish(child);",
     "mmap 0+4 | child open 0+4 child open 0+1 child close 0+1 child close 1+3 | close 0+4"),
    ("fork, VM_DONTCOPY", "device(fd, 0, 4, 50);", "if (!(child = fork())) _exit(0); finish(child);",
     "mmap 0+4 close 0+4 mmap 0+4@50 | | close 0+4@50"),
    ("fork, part MADV_DONTFORK", "must(!madvise(p + P, P, MADV_DONTFORK));",
     "if (!(child = fork())) _exit(0); finish(child);",
     ("mmap 0+4 open 0+1 open 2+2 | child open 0+1 child open 2+2 child close 0+1 child close 2+2 | "
     "close 0+1 close 1+1 close 2+2")),
    ("killed", "", "if (!(child = fork())) for (;;) pause(); kill(child, SIGKILL); finish(child);",
     "mmap 0+4 | child open 0+4 child close 0+4 | close 0+4"),
    ("killed by a fault", "", "if (!(child = fork())) *(volatile char *)16 = 0; finish(child);",
     "mmap 0+4 | child open 0+4 child close 0+4 | close 0+4"),
    ("two generations", "", ("if (!(child = fork())) { if (!(child = fork())) _exit(0); finish(child); _exit(0); }"
     "finish(child);"),
     "mmap 0+4 | child open 0+4 child open 0+4 child close 0+4 child close 0+4 | close 0+4"),
    # exec, vfork, threads
    ("exec", "", 'execl("/bin/sh", "sh", "-c", "echo > /dev/hear", NULL);', "mmap 0+4 | close 0+4 |"),
    ("fork and exec", "", ('if (!(child = fork())) execl("/bin/sh", "sh", "-c", "echo > /dev/hear", NULL);'
     "finish(child);"), "mmap 0+4 | child open 0+4 child close 0+4 | | close 0+4"),
    ("vfork and exec", "",
     'if (!(child = vfork())) { execl("/bin/sh", "sh", "-c", "echo > /dev/hear", NULL); _exit(1); } finish(child);',
     "mmap 0+4 | | | close 0+4"),
    ("exec that fails", "", 'must(execl("/dev/null", "x", NULL) == -1);', "mmap 0+4 | | close 0+4"),
    ("threads", "", ("must(!pthread_create(&thread, NULL, touch_it, p + P)); must(!pthread_join(thread, NULL));"
     "must(p[P] == 1);"), "mmap 0+4 | | close 0+4"),
    ("thread unmaps", "", ("must(!pthread_create(&thread, NULL, touch_it, p)); must(!munmap(p + 3 * P, P));"
     "must(!pthread_join(thread, NULL));"), "mmap 0+4 | open 3+1 close 3+1 | close 0+3"),
    # advice, locks, the heap
    ("madvise that splits", "", "must(!madvise(p + P, P, MADV_RANDOM));",
     "mmap 0+4 | open 0+1 open 2+2 | close 0+1 close 1+1 close 2+2"),
    ("madvise DONTFORK that splits", "", "must(!madvise(p + 3 * P, P, MADV_DONTFORK));",
     "mmap 0+4 | open 0+3 | close 0+3 close 3+1"),
    ("madvise DONTNEED", "", "must(!madvise(p + P, P, MADV_DONTNEED));", "mmap 0+4 | | close 0+4"),
    ("mlock", "", "must(!mlock(p + P, P) && !munlock(p + P, P));",
     "mmap 0+4 | open 0+1 open 2+2 | close 0+1 close 1+1 close 2+2"),
    ("brk", "long end = syscall(SYS_brk, 0);", ("must(syscall(SYS_brk, end + 9 * P) == end + 9 * (long)P);"
     "must(syscall(SYS_brk, end) == end);"), "mmap 0+4 | | close 0+4"),
    ("close of the file", "", "int other = dup(fd); close(fd); fd = other;", "mmap 0+4 | | close 0+4"),
]  # fmt: skip


@pytest.fixture(scope="module")
def hear(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, dict[str, Any]]]:
    """One machine for all rows; nothing may be left in it at the end."""
    path = tmp_path_factory.mktemp("drivers") / "hear.py"
    path.write_text(DRIVER)
    with Machine(ram=64 << 20, check_invariants=True) as machine:
        before = set_current_kernel(machine.kernel)
        yield machine, machine.load(str(path)).namespace
        assert machine.unload("hear") == []
        set_current_kernel(before)
        assert machine.check_clean() == []


@pytest.fixture(scope="module")
def program_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The program that has all pieces, compiled once a target; its argument says which."""
    rows = "".join(
        f'if (!strcmp(which, "{name}")) {{ {setup} MARK; {piece} MARK; return 0; }}\n'
        for name, setup, piece, _ in TABLE
    )

    def make(target: str) -> Path:
        return build(PROGRAM.replace("#include ROWS\n", rows), target=target, flags=[f"-I{HERE}"])

    return make


@pytest.mark.parametrize("name, heard", [(row[0], row[3]) for row in TABLE], ids=[row[0] for row in TABLE])
def test_open_and_close(
    hear: tuple[Machine, dict[str, Any]], program_for: Callable[[str], Path], target: str, name: str, heard: str
) -> None:
    """The calls, in order; every open and every mmap has its close; the module is not in use afterwards.  # B6, B11"""
    machine, driver = hear
    driver["heard"].clear()
    driver["first"].clear()
    result = machine.run([str(program_for(target)), name], timeout=60)
    assert (result.exit, result.stderr) == (0, b""), result
    got, want = " ".join(driver["heard"]).split(" "), heard.split(" ")
    alike = [fnmatchcase(word, pattern) for word, pattern in zip(got, want, strict=False)]
    assert len(got) == len(want) and all(alike), f"heard {' '.join(got)}\nnot   {heard}"
    kinds = [call.replace("child ", "").split(" ")[0] for call in driver["heard"]]
    assert kinds.count("mmap") + kinds.count("open") == kinds.count("close")
    assert machine.kernel.modules["hear"].refcount == 0
    assert machine.kernel.reports == [] and machine.kernel.oopses == []


SEEN = """
    from machine.kernel.mm.vma import vm_area_struct
    seen = []
    page_of_device = get_zeroed_page(GFP_KERNEL)
    def state(what, vma):
        areas = [(each.vm_start - base[0] >> PAGE_SHIFT, each.vm_end - base[0] >> PAGE_SHIFT)
                 for each in vma.vm_mm.vmas if each.vm_ops is seen_vm_ops]
        seen.append((what, page_count(virt_to_page(page_of_device)), areas))
    def nopage(vma, address, type):
        page = virt_to_page(page_of_device)
        get_page(page)
        return page
    base = [0]
    def mmap(filp, vma):
        base[0] = vma.vm_start
        vma.vm_ops = seen_vm_ops
        return 0
    seen_vm_ops = vm_operations_struct(
        open=lambda vma: state("open", vma), close=lambda vma: state("close", vma), nopage=nopage)
    major = register_chrdev(0, "bad", file_operations(mmap=mmap))
    devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
"""


def test_what_open_and_close_find(m: Machine, driver: Callable[..., Any], run_c: Callable[..., Any]) -> None:
    """At fork the entries are copied and counted before `open`; at a split the old area has its old bounds still; at
    `close` the pages are unmapped and the area is out of the list.  # B6, B9"""
    d = driver(SEEN)
    run_c(m, """
        int fd = must_open("/dev/bad", O_RDWR);
        volatile char *p = map(fd, 0, 2 * PAGE, RW, MAP_SHARED);
        p[0] = 1;
        if (!fork()) _exit(0);
        wait(NULL);
        EQUAL("tail", munmap((char *)p + PAGE, PAGE), 0);
    """)  # fmt: skip
    assert d["seen"] == [
        ("open", 3, [(0, 2)]),  # the driver's own reference, the parent's entry, the child's
        ("close", 2, []),
        ("open", 2, [(0, 2)]),
        ("close", 2, [(0, 1)]),
        ("close", 1, []),
    ]


def test_fork_without_memory(m: Machine, driver: Callable[..., Any], run_c: Callable[..., Any]) -> None:
    """A fork that fails for want of page tables is ENOMEM; the areas that it had opened are closed again.  # B6"""
    d = driver(SEEN + """
    tables_left = [-1]
    def ioctl(inode, filp, cmd, arg):
        tables_left[0] = arg if cmd == 1 else -1
        return 0
    unregister_chrdev(major, "bad")
    register_chrdev(major, "bad", file_operations(mmap=mmap, ioctl=ioctl))
    """)  # fmt: skip
    alloc_pages, left = m.kernel.mem.alloc_pages, d["tables_left"]

    def alloc(gfp: int = GFP_KERNEL, order: int = 0, owner: Any = "kernel") -> int:
        if owner == "page table" and left[0] == 0:
            raise Errno(ENOMEM)
        left[0] -= owner == "page table"
        return alloc_pages(gfp, order, owner)

    m.kernel.mem.alloc_pages = alloc  # type: ignore[method-assign]
    result = run_c(m, """
        int fd = must_open("/dev/bad", O_RDWR), failed = 0;
        volatile char *p = map(fd, 0, 2 * PAGE, RW, MAP_SHARED);
        p[0] = 1;
        for (int left = 0; left < 60; left++) {
            ioctl(fd, 1, left);
            pid_t child = fork();
            int error = errno;
            if (!child) _exit(0);
            ioctl(fd, 2, 0);
            if (child > 0) { waitpid(child, NULL, 0); break; }
            failed++;
            if (error != ENOMEM) return 1;
        }
        printf("%d\\n", failed);
        EQUAL("still there", p[0], 1);
    """)  # fmt: skip
    failed = int(result.stdout.decode().replace("ok still there", "").strip())
    kinds = [what for what, *_ in d["seen"]]
    assert failed > 3 and kinds.count("open") > 1, "no fork failed after the device's area"
    assert kinds.count("close") == kinds.count("open") + 1
    assert d["seen"][-1] == ("close", 1, [])
