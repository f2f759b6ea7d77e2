/* What a SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP handler sees: si_code, si_addr, and the ucontext's
   trap number, error code and CR2.  Each line is the same natively and here. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile int got, code, trapno, err;
static void *volatile addr;
static volatile unsigned long cr2, flags;

static void handler(int sig, siginfo_t *si, void *arg)
{
    ucontext_t *uc = arg;
    got = sig;
    code = si->si_code;
    addr = si->si_addr;
#ifdef __x86_64__
    trapno = uc->uc_mcontext.gregs[REG_TRAPNO];
    err = uc->uc_mcontext.gregs[REG_ERR];
    cr2 = uc->uc_mcontext.gregs[REG_CR2];
    flags = uc->uc_flags;
#else
    trapno = uc->uc_mcontext.gregs[REG_TRAPNO];
    err = uc->uc_mcontext.gregs[REG_ERR];
    cr2 = uc->uc_mcontext.cr2;
    flags = uc->uc_flags;
#endif
    siglongjmp(back, 1);
}

static void report(const char *what, char *base)
{
    long off = base && addr ? (char *)addr - base : (long)addr;
    long off2 = base && cr2 ? (char *)cr2 - base : (long)cr2;
    printf("%s: signal %d code %d addr %#lx trapno %d err %#x cr2 %#lx flags %#lx\n", what, got, code, off, trapno, err,
           off2, flags & ~1UL);
}

int main(void)
{
    struct sigaction sa;
    int sigs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGUSR1};
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = handler;
    sa.sa_flags = SA_SIGINFO;
    for (unsigned i = 0; i < sizeof sigs / sizeof *sigs; i++)
        sigaction(sigs[i], &sa, 0);

    char *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p[0] = 1;
    munmap(p + 4096, 4096);
    mprotect(p, 4096, PROT_READ);

    if (!sigsetjmp(back, 1)) { *(volatile char *)16; report("no fault", 0); }
    report("read null+16", 0);
    if (!sigsetjmp(back, 1)) { *(volatile char *)24 = 1; }
    report("write null+24", 0);
    if (!sigsetjmp(back, 1)) { p[5] = 1; }
    report("write read-only", p);
    if (!sigsetjmp(back, 1)) { ((void (*)(void))p)(); }
    report("fetch no-exec", p);
    if (!sigsetjmp(back, 1)) { ((void (*)(void))32)(); }
    report("fetch null+32", 0);
    mprotect(p, 4096, PROT_NONE);
    if (!sigsetjmp(back, 1)) { *(volatile char *)(p + 7); }
    report("read PROT_NONE", p);
    if (!sigsetjmp(back, 1)) { raise(SIGUSR1); }
    addr = 0; /* si_pid and si_uid are there */
    report("raise after a fault", p);

    char name[] = "/tmp/segvXXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    ftruncate(fd, 100);
    char *m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    m[99] = 1;
    if (!sigsetjmp(back, 1)) { *(volatile char *)(m + 4096); }
    report("past the end of the file, read", m);
    if (!sigsetjmp(back, 1)) { m[4097] = 1; }
    report("past the end of the file, write", m);

    if (!sigsetjmp(back, 1)) {
        volatile int a = 1, b = 0;
        a = a / b;
    }
    printf("divide: signal %d code %d trapno %d err %d\n", got, code, trapno, err);
    if (!sigsetjmp(back, 1)) { __asm__ volatile("ud2"); }
    printf("ud2: signal %d code %d trapno %d err %d\n", got, code, trapno, err);
    if (!sigsetjmp(back, 1)) { __asm__ volatile("int3"); }
    printf("int3: signal %d code %d trapno %d err %d addr %#lx\n", got, code, trapno, err, (long)addr);
    if (!sigsetjmp(back, 1)) { __asm__ volatile("hlt"); }
    printf("hlt: signal %d code %d trapno %d err %d addr %#lx\n", got, code, trapno, err, (long)addr);
#ifdef __x86_64__
    if (!sigsetjmp(back, 1)) { *(volatile char *)0x123456789abcdef0; }
    printf("non-canonical: signal %d code %d trapno %d err %d addr %#lx\n", got, code, trapno, err, (long)addr);
    if (!sigsetjmp(back, 1)) { *(volatile char *)0xffffffff80000000; }
    printf("kernel address: signal %d code %d trapno %d err %#x addr %#lx\n", got, code, trapno, err, (long)addr);
#endif
    return 0;
}
