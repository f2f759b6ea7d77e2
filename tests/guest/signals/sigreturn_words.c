/* Every word of a signal frame in turn is overwritten with hostile values before rt_sigreturn: whether the
   program goes on or dies, and of what, is the same here as on the host. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __x86_64__
typedef unsigned long word;
#define CONTEXT_WORDS (304 / 8)
#define STATE_WORDS ((512 + 64 + 4) / 8)
#else
typedef unsigned int word;
#define CONTEXT_WORDS (116 / 4)
#define STATE_WORDS ((112 + 512 + 64 + 4) / 4)
#endif

static unsigned at;
static word value;
static int in_state;

static void segv(int sig, siginfo_t *si, void *arg)
{
    (void)sig; (void)arg;
    _exit(si->si_code == 0x80 ? 50 : 50 + si->si_code);
}

static void usr1(int sig, siginfo_t *si, void *arg)
{
    ucontext_t *uc = arg;
    (void)sig; (void)si;
    if (in_state)
        ((word *)uc->uc_mcontext.fpregs)[at] = value;
    else
        ((word *)uc)[at] = value;
}

static int try(void)
{
    int st;
    pid_t p = fork();
    if (!p) {
        struct sigaction sa;
        char *alt = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        stack_t ss = {.ss_sp = alt, .ss_size = 65536};
        sigaltstack(&ss, 0);
        memset(&sa, 0, sizeof sa);
        sa.sa_flags = SA_SIGINFO;
        sa.sa_sigaction = usr1;
        sigaction(SIGUSR1, &sa, 0);
        sa.sa_sigaction = segv;
        sa.sa_flags |= SA_ONSTACK;
        sigaction(SIGSEGV, &sa, 0);
        sigaction(SIGBUS, &sa, 0);
        /* after the handler nothing but immediate operands: any register may have changed */
#ifdef __x86_64__
        __asm__ volatile("syscall\n\tmov $60,%%eax\n\tmov $7,%%edi\n\tsyscall" : : "a"(SYS_kill), "D"(getpid()), "S"(SIGUSR1)
                         : "rcx", "r11", "memory");
#else
        __asm__ volatile("int $0x80\n\tmov $1,%%eax\n\tmov $7,%%ebx\n\tint $0x80" : : "a"(SYS_kill), "b"(getpid()), "c"(SIGUSR1)
                         : "memory");
#endif
    }
    waitpid(p, &st, 0);
    return st;
}

int main(void)
{
    static const word values[] = {0, ~(word)0, (word)1 << (sizeof(word) * 8 - 1), 0x1230, 0xfffff000};
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    for (in_state = 0; in_state < 2; in_state++)
        for (at = 0; at < (in_state ? STATE_WORDS : CONTEXT_WORDS); at++) {
            printf("%s %u:", in_state ? "state" : "context", at);
            for (unsigned v = 0; v < sizeof values / sizeof *values; v++) {
                value = values[v];
                fflush(stdout);
                printf(" %#x", try());
            }
            printf("\n");
        }
    return 0;
}
