/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A handler that repairs what was wrong and retries: nanoseconds a SIGSEGV.  sigsegv [PAGES] */
#include "timing.h"
#include <signal.h>
#include <sys/mman.h>

static long seen;

static void repair(int signo, siginfo_t *info, void *context)
{
    (void)context;
    seen += signo == SIGSEGV;
    if (mprotect((void *)((uintptr_t)info->si_addr & -4096UL), 4096, PROT_READ | PROT_WRITE))
        _Exit(2);
}

int main(int argc, char **argv)
{
    long pages = argument(argc, argv, 1, 1000);
    struct sigaction action = {.sa_sigaction = repair, .sa_flags = SA_SIGINFO};
    need(sigaction(SIGSEGV, &action, NULL) == 0, "sigaction");
    volatile char *memory = mmap(NULL, pages << 12, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(memory != MAP_FAILED, "mmap");
    double started = now();
    for (long n = 0; n < pages; n++)
        memory[n << 12] = 1;
    result(started, pages);
    return seen != pages;
}
