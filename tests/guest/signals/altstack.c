/* Stack overflow caught on an alternate stack; the rules of sigaltstack. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

static sigjmp_buf back;
static char *alt;
static int depth;
static volatile int on_alt, inner_errno, inner_flags, code;

static void handler(int sig, siginfo_t *si, void *arg)
{
    char here;
    stack_t old, bad = {.ss_sp = alt, .ss_size = 65536, .ss_flags = 0};
    ucontext_t *uc = arg;
    on_alt = &here >= alt && &here < alt + 65536;
    sigaltstack(0, &old);
    inner_flags = old.ss_flags;
    errno = 0;
    sigaltstack(&bad, 0);
    inner_errno = errno;
    code = si->si_code;
    printf("uc_stack: same %d flags %#x size %lu\n", uc->uc_stack.ss_sp == alt, uc->uc_stack.ss_flags,
           (unsigned long)uc->uc_stack.ss_size);
    (void)sig;
    siglongjmp(back, 1);
}

static int __attribute__((noinline)) deeper(int n)
{
    volatile char block[4096];
    block[0] = (char)n;
    depth++;
    return deeper(n + 1) + block[0];
}

static void plain(int sig)
{
    char here;
    stack_t old;
    sigaltstack(0, &old);
    printf("plain %d: on alt %d flags %#x sp %d size %lu\n", sig, &here >= alt && &here < alt + 65536, old.ss_flags,
           old.ss_sp == alt, (unsigned long)old.ss_size);
}

int main(void)
{
    struct sigaction sa;
    struct rlimit rl = {256 * 1024, 256 * 1024};
    stack_t ss, old;
    int r;
    setvbuf(stdout, 0, _IONBF, 0);
    setrlimit(RLIMIT_STACK, &rl);
    alt = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    sigaltstack(0, &old);
    printf("at first: sp %#lx flags %#x size %lu\n", (unsigned long)old.ss_sp, old.ss_flags, (unsigned long)old.ss_size);
    memset(&ss, 0, sizeof ss);
    ss.ss_sp = alt;
    ss.ss_size = 1000;
    errno = 0;
    r = sigaltstack(&ss, 0);
    printf("too small: %d errno %d\n", r, errno);
    ss.ss_size = 65536;
    ss.ss_flags = 0x40;
    errno = 0;
    r = sigaltstack(&ss, 0);
    printf("bad flags: %d errno %d\n", r, errno);
    ss.ss_flags = 0;
    printf("good: %d\n", sigaltstack(&ss, 0));

    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = handler;
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &sa, 0);
    for (int i = 0; i < 2; i++) {
        depth = 0;
        if (!sigsetjmp(back, 1))
            deeper(0);
        printf("overflow %d: on alt %d inner errno %d inner flags %d code %d deep enough %d\n", i, on_alt, inner_errno,
               inner_flags, code, depth > 30 && depth < 64);
    }

    sa.sa_handler = plain;
    sa.sa_flags = 0;
    sigaction(SIGUSR1, &sa, 0);
    raise(SIGUSR1);
    sa.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR1, &sa, 0);
    raise(SIGUSR1);
    ss.ss_flags = SS_AUTODISARM;
    printf("autodisarm: %d\n", sigaltstack(&ss, 0));
    raise(SIGUSR1);
    sigaltstack(0, &old);
    printf("afterwards: flags %#x size %lu\n", old.ss_flags, (unsigned long)old.ss_size);
    ss.ss_flags = SS_DISABLE;
    sigaltstack(&ss, 0);
    raise(SIGUSR1);
    return 0;
}
