/* A program edits its signal frame: what may be changed is taken over, what would harm the kernel is a SIGSEGV. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static int what;
static volatile int second;
static int depth;

static void segv(int sig, siginfo_t *si, void *arg)
{
    ucontext_t *uc = arg;
    char line[100];
    if (depth++ > 2) _exit(77);
    int n = snprintf(line, sizeof line, "  SIGSEGV code %d trapno %lld err %lld\n", si->si_code,
                     (long long)uc->uc_mcontext.gregs[REG_TRAPNO], (long long)uc->uc_mcontext.gregs[REG_ERR]);
    write(1, line, n);
    (void)sig;
    _exit(55);
}

static void target(void) { write(1, "  jumped\n", 9); _exit(3); }

static void usr1(int sig, siginfo_t *si, void *arg)
{
    ucontext_t *uc = arg;
    greg_t *g = uc->uc_mcontext.gregs;
    unsigned long csgsfs = g[REG_CSGSFS];
    (void)sig; (void)si;
    switch (what) {
    case 0: g[REG_RIP] = (greg_t)target; g[REG_RSP] = (g[REG_RSP] & -16) - 8; break;
    case 1: g[REG_RIP] = 0x123456789abcdef0; break;
    case 2: g[REG_RIP] = (greg_t)0xffffffff80000000; break;
    case 3: g[REG_CSGSFS] = (csgsfs & ~0xffffUL) | 0x10; break;
    case 4: g[REG_CSGSFS] = (csgsfs & ~0xffffUL) | 0x43; break;
    case 5: g[REG_CSGSFS] = (csgsfs & 0xffffffffffffUL) | 0x10UL << 48; break;
    case 6: uc->uc_mcontext.fpregs->mxcsr |= 0x10000; break;
    case 7: uc->uc_mcontext.fpregs = (void *)8; break;
    case 8: uc->uc_mcontext.fpregs = 0; break;
    case 9: g[REG_EFL] |= 0x3000 | 0x20000 | 0x4000; break; /* IOPL, VM, NT: ignored */
    case 10: g[REG_EFL] &= ~0x200; break;                     /* IF stays on */
    case 11: *(unsigned long *)((char *)uc->uc_mcontext.fpregs + 512) = ~0UL; break;
    case 12: *(unsigned *)((char *)uc->uc_mcontext.fpregs + 464) = 0; break; /* no magic: plain FXSAVE */
    case 13: g[REG_RSP] = 0x1000; break;
    case 14: sigfillset(&uc->uc_sigmask); break;
    }
}

int main(void)
{
    struct sigaction sa;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    setvbuf(stdout, 0, _IONBF, 0);
    for (int with_handler = 0; with_handler < 2; with_handler++)
        for (what = 0; what <= 14; what++) {
            int st;
            pid_t p = fork();
            if (!p) {
                memset(&sa, 0, sizeof sa);
                sa.sa_flags = SA_SIGINFO;
                sa.sa_sigaction = usr1;
                sigaction(SIGUSR1, &sa, 0);
                stack_t ss = {.ss_sp = malloc(65536), .ss_size = 65536};
                sigaltstack(&ss, 0);
                sa.sa_sigaction = segv;
                sa.sa_flags |= SA_ONSTACK;
                if (with_handler) sigaction(SIGSEGV, &sa, 0);
                unsigned long flags;
                raise(SIGUSR1);
                __asm__ volatile("pushf\n\tpop %0" : "=r"(flags));
                if (what == 14) {
                    sigset_t s;
                    sigprocmask(SIG_BLOCK, 0, &s);
                    printf("  blocked: term %d kill %d\n", sigismember(&s, SIGTERM), sigismember(&s, SIGKILL));
                }
                if (what == 9 || what == 10) printf("  flags %#lx\n", flags & 0x27200);
                _exit(1);
            }
            waitpid(p, &st, 0);
            printf("%d.%d: %s %d\n", what, with_handler, WIFEXITED(st) ? "exit" : "signal",
                   WIFEXITED(st) ? WEXITSTATUS(st) : WTERMSIG(st));
        }
    return 0;
}
