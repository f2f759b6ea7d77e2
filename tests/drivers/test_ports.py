"""`in` and `out` of compiled programs, with ioperm and iopl: CMOS, PCI configuration (issue 5; MECHANISMS A3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from machine import Machine

BODY = r"""
    #define FORBIDDEN(what) do { caught = 0; if (!sigsetjmp(back, 1)) what; EQUAL(#what, caught, SIGSEGV); } while (0)
    unsigned char bytes[4];
    FORBIDDEN(inb(0x80));
    ERRNO("too many", ioperm(0xffff, 2, 1), EINVAL);
    ERRNO("none", ioperm(0x80, 0, 1), EINVAL);
    ERRNO("no such level", iopl(4), EINVAL);
    EQUAL("one port", ioperm(0x80, 1, 1), 0);
    outb(0x5a, 0x80);
    EQUAL("it keeps the step of the power-on test", inb(0x80), 0x5a);
    FORBIDDEN(outw(0, 0x80));
    FORBIDDEN(outb(0, 0x70));
    if (fork() == 0)
        _exit(inb(0x80) == 0x5a ? 3 : 4);
    int status = 0;
    wait(&status);
    EQUAL("a child may too", status >> 8, 3);
    EQUAL("no more", ioperm(0x80, 1, 0), 0);
    FORBIDDEN(inb(0x80));

    EQUAL("all ports", iopl(3), 0);
    outb(0x15, 0x70);
    EQUAL("CMOS: 640 KiB", inb(0x71), 640 & 255);
    outl(0x80000000u, 0xcf8);
    EQUAL("the host bridge", inl(0xcfc), 0x06001234u);
    EQUAL("its upper half", inw(0xcfe), 0x0600);
    EQUAL("nobody", inl(0x5550), 0xffffffffu);
    unsigned long before = 0x1122334455667788ul;
    __asm__ volatile("inb $0x71, %%al" : "+a"(before));
    EQUAL("one byte of the register", before & ~0xfful, 0x1122334455667788ul & ~0xfful);
    insb(0x71, bytes, 4);
    CHECK("four times", bytes[0] == 128 && !memcmp(bytes, bytes + 1, 3));
    outsb(0x80, "abc", 3);
    EQUAL("the last one", inb(0x80), 'c');
    FORBIDDEN(__asm__ volatile("cli"));
    caught = 0;
    if (!sigsetjmp(back, 1))
        insb(0x71, (void *)8, 1);
    EQUAL("no memory there: SEGV_MAPERR", caught, -1);
    EQUAL("gone", iopl(0), 0);
    FORBIDDEN(inb(0x71));
    /* The fault is the instruction's: what comes next in its block has not happened, the registers are as before. */
    #define EXACTLY(label, next) do { caught = 0; \
        if (!sigsetjmp(back, 1)) \
            __asm__ volatile(".globl " #label "\n" #label ":\n in $0x71, %%al\n" next \
                             : : "a"(0x1234), "c"(8) : "memory"); \
        EQUAL(#label, caught, SIGSEGV); \
        CHECK("at the instruction", at == (unsigned long)label); \
        EQUAL("as before", accumulator & 0xffff, 0x1234); } while (0)
    EXACTLY(before_ud2, "ud2");
    EXACTLY(before_fault, "mov %%eax, (%%ecx)");
    EXACTLY(before_call, "mov $1, %%eax\n mov $77, %%ebx\n int $0x80");
    EXACTLY(before_jump, "1: jmp 1b");
    EXACTLY(before_port, "out %%al, $0x80\n in $0x80, %%al");
    EQUAL("which did not happen", ioperm(0x80, 1, 1) || inb(0x80) != 'c', 0);
    setuid(1000);
    ERRNO("not root", ioperm(0x80, 1, 1), EPERM);
    ERRNO("not root", iopl(3), EPERM);
    EQUAL("less is always right", ioperm(0x80, 1, 0), 0);
"""

SOURCE = r"""
#define _GNU_SOURCE
#include "scullp.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/io.h>
#include <sys/wait.h>
#include <ucontext.h>
static sigjmp_buf back;
static volatile int caught;
static volatile unsigned long at, accumulator;
extern char before_ud2[], before_fault[], before_call[], before_jump[], before_port[];
static void on_signal(int signo, siginfo_t *info, void *context)
{
    ucontext_t *user = context;
    #ifdef __x86_64__
    at = user->uc_mcontext.gregs[REG_RIP], accumulator = user->uc_mcontext.gregs[REG_RAX];
    #else
    at = user->uc_mcontext.gregs[REG_EIP], accumulator = user->uc_mcontext.gregs[REG_EAX];
    #endif
    caught = info->si_code == SI_KERNEL ? signo : -info->si_code;
    siglongjmp(back, 1);
}
int main(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);
%s
    return done();
}
"""


def test_ports_from_user_mode(machine_clean: Callable[..., Machine], target: str) -> None:
    """Byte, word, doubleword and string forms; forbidden ones are SIGSEGV."""
    from tests.conftest import build
    from tests.drivers.conftest import HERE

    m: Any = machine_clean(deterministic=True)
    flags = [f"-I{HERE}", "-Wno-unused-function", "-Wno-unused-value", "-Wno-incompatible-pointer-types"]
    result = m.run([str(build(SOURCE % BODY, target=target, flags=flags))], timeout=120)
    output = result.stdout.decode()
    assert result.exit == 0 and "FAIL" not in output, output + result.stderr.decode()
    assert m.kernel.board.chipset.codes[-4:] == [0x5A, *b"abc"]
