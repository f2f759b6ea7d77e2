"""A `nopage` or `fault` that sleeps, and another thread that changes the area meanwhile (MECHANISMS B3, B5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.kernel.mm.invariants import check_machine
from tests.drivers.conftest import chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

OLD = """
log = []
def bad_close(vma):
    log.append("close")
def bad_nopage(vma, address, type):
    log.append("asked")
    msleep(150)
    log.append("answers")
    page = virt_to_page(page_of_device)
    get_page(page)
    return page
bad_vm_ops = vm_operations_struct(nopage=bad_nopage, close=bad_close)
"""
TODAY = """
KERNEL = (6, 1)
log = []
def bad_close(vma):
    log.append("close")
def bad_fault(vmf):
    log.append("asked")
    msleep(150)
    log.append("answers")
    vmf.page = virt_to_page(page)
    get_page(vmf.page)
    return 0
ops = vm_operations_struct(fault=bad_fault, close=bad_close)
page = get_zeroed_page(GFP_KERNEL)
def mmap(filp, vma):
    vma.vm_ops = ops
    return 0
major = register_chrdev(0, "bad", file_operations(mmap=mmap))
cls = class_create(THIS_MODULE, "bad")
device_create(cls, NULL, MKDEV(major, 0), NULL, "bad")
"""
C = """
    char *place = (char *)0x50000000;
    int pid = fork();
    if (pid == 0) {
        int fd = must_open("/dev/bad", O_RDWR);
        volatile char *p = mmap(place, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
        pthread_t thread;
        struct timespec begun, from, to;
        clock_gettime(CLOCK_MONOTONIC, &begun);
        pthread_create(&thread, NULL, toucher, (void *)p);
        while (!asked)
            usleep(1000);
        until_state(getpid(), asked, "D");
        clock_gettime(CLOCK_MONOTONIC, &from);
        CHANGE;
        clock_gettime(CLOCK_MONOTONIC, &to);
        /* It had to wait for the driver, unless we come here so late that the driver has answered. */
        if (MS(begun, from) < 100 && MS(from, to) < 40)
            _exit(3);
        usleep(300000);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    EQUAL("by its signal, or not at all", status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV), 1);
"""
TOUCH = """#include <pthread.h>
#define MS(from, to) ((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000)
static volatile pid_t asked;
static void *toucher(void *p) { asked = syscall(SYS_gettid); *(volatile char *)p; return p; }
"""
WRITE = TOUCH.replace("*(volatile char *)p;", "*(volatile char *)p = 1;")
MKWRITE = """
def bad_mkwrite(vmf):
    log.append("asked")
    msleep(150)
    log.append("answers")
    return 0
def bad_fault(vmf):
    vmf.page = virt_to_page(page)
    get_page(vmf.page)
    return 0
ops = vm_operations_struct(fault=bad_fault, page_mkwrite=bad_mkwrite, close=bad_close)
"""
CHANGES = {
    "munmap": "munmap((void *)p, PAGE)",
    "mprotect": "mprotect((void *)p, PAGE, PROT_NONE)",
    "mlock": "mlock((void *)p, PAGE)",
    "fork": "if (fork() == 0) _exit(0)",
    "mremap": "syscall(SYS_mremap, p, PAGE, PAGE, 3, place + 0x800000)",
    "another mapping": "mmap(place, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)",
}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("text", [chardev(OLD), TODAY], ids=["nopage", "fault"])
def test_the_area_waits(m: Machine, driver: Load, run_c: Run, text: str, how: str) -> None:
    """The change comes after the answer: no `close` while the driver is asked, no entry in a table that is gone."""
    d = driver(text)
    body = C.replace("CHANGE", CHANGES[how])
    run_c(m, body, before=TOUCH)
    log = d["log"]
    assert log[:2] == ["asked", "answers"], log
    assert [name for name in log if name == "close"] and m.kernel.reports == []
    assert check_machine(m.kernel) == []


@pytest.mark.parametrize("how", CHANGES)
def test_the_area_waits_for_page_mkwrite(m: Machine, driver: Load, run_c: Run, how: str) -> None:
    """The same where the driver is asked whether a page may be written."""
    d = driver(TODAY.replace("page = get_zeroed_page", MKWRITE + "page = get_zeroed_page"))
    run_c(m, C.replace("CHANGE", CHANGES[how]), before=WRITE)
    assert d["log"][:2] == ["asked", "answers"], d["log"]
    assert "close" in d["log"] and m.kernel.reports == []
    assert check_machine(m.kernel) == []
