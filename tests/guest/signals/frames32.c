/* i386: the classic frame and the real-time frame, as the handler finds them on its stack, with sigaction(2) by number. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

struct kernel_sigaction { void *handler; unsigned long flags; void (*restorer)(void); unsigned long mask[2]; };
struct old_sigaction { void *handler; unsigned long mask, flags; void (*restorer)(void); };

void back(void);
void rt_back(void);
__asm__("back: popl %eax\n movl $119,%eax\n int $0x80\n"
        "rt_back: movl $173,%eax\n int $0x80\n");

struct sigcontext_32 {
    uint32_t gs, fs, es, ds, di, si, bp, sp, bx, dx, cx, ax, trapno, err, ip, cs, flags, sp_at_signal, ss, fpstate, oldmask, cr2;
};

static int classic(int sig)
{
    uint32_t *frame = (uint32_t *)&sig - 1;
    struct sigcontext_32 *sc = (void *)(frame + 2);
    uint16_t *fx = (void *)sc->fpstate;
    uint32_t *sw = (void *)(sc->fpstate + 112 + 464);
    printf("classic: restorer %d sig %d cs %#x ss %#x ds %#x trapno %u oldmask %#x sp %d\n", frame[0] == (uint32_t)back,
           frame[1], sc->cs & 0xffff, sc->ss & 0xffff, sc->ds & 0xffff, sc->trapno, sc->oldmask, sc->sp == sc->sp_at_signal);
    printf("  fpstate: cw %#x magic %#x above %d aligned %d frame %d\n", fx[0], ((uint16_t *)fx)[55], sc->fpstate > (uint32_t)frame,
           (sc->fpstate + 112) % 64 == 0, ((uint32_t)frame + 4) % 16);
    printf("  fx magic %#x extra %d\n", sw[0], ((uint32_t *)frame)[1 + 1 + 22 + 156] );
    return 0;
}

static void rt(int sig, siginfo_t *si, void *arg)
{
    uint32_t *frame = (uint32_t *)&sig - 1;
    ucontext_t *uc = arg;
    printf("rt: restorer %d sig %d info %d uc %d code %d\n", frame[0] == (uint32_t)rt_back, sig, (uint32_t)si == (uint32_t)(frame + 4),
           (uint32_t)arg == (uint32_t)frame + 16 + 128, si->si_code);
    printf("  cs %#x mask %#lx frame %d\n", uc->uc_mcontext.gregs[REG_CS] & 0xffff, *(unsigned long *)&uc->uc_sigmask, ((uint32_t)frame + 4) % 16);
}

int main(void)
{
    struct kernel_sigaction sa, old;
    struct old_sigaction osa = {(void *)classic, 1UL << (SIGHUP - 1), 0x04000000, back}, oold;
    uint32_t mask = 1U << (SIGTERM - 1), was = 0, pend = 0;
    setvbuf(stdout, 0, _IONBF, 0);
    memset(&sa, 0, sizeof sa);
    printf("sigprocmask %ld\n", syscall(126, SIG_BLOCK, &mask, &was));
    printf("sigaction %ld\n", syscall(67, SIGUSR1, &osa, 0));
    double d = 1.5;
    unsigned long bx = 0x12345;
    raise(SIGUSR1);
    printf("back %g %lx\n", d * 2, bx);
    printf("old sigaction %ld", syscall(67, SIGUSR1, 0, &oold));
    printf(" handler %d mask %#lx flags %#lx\n", oold.handler == (void *)classic, oold.mask, oold.flags);
    sa.handler = (void *)rt;
    sa.flags = SA_SIGINFO | 0x04000000;
    sa.restorer = rt_back;
    printf("rt_sigaction %ld\n", syscall(174, SIGUSR2, &sa, &old, 8));
    raise(SIGUSR2);
    printf("signal %d\n", (void *)syscall(48, SIGUSR2, SIG_IGN) == (void *)rt);
    kill(getpid(), SIGTERM);
    printf("sigpending %ld", syscall(73, &pend));
    printf(" %#x\n", pend);
    printf("sgetmask %#lx\n", syscall(68));
    printf("ssetmask %#lx then %#lx\n", syscall(69, 0x4000 | 0x8000), syscall(68));
    return 0;
}
