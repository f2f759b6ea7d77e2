/*
 * The time functions of the vDSO: the processor's counter and one page that the kernel keeps up to date say what time
 * it is, without a system call.  `python -m firmware.build_vdso` compiles this file for both targets into
 * machine/kernel/task/vdso_code.py; each function is one piece that can be put anywhere in the page behind the data.
 */
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#ifdef __x86_64__
typedef long word;
enum { NR_clock_gettime = 228, NR_gettimeofday = 96, NR_time = 201, NR_clock_gettime64 = -1 };
#else
typedef int word;
enum { NR_clock_gettime = 265, NR_gettimeofday = 78, NR_time = 13, NR_clock_gettime64 = 403 };
#endif

enum { REALTIME, MONOTONIC, RAW = 4, REALTIME_COARSE, MONOTONIC_COARSE, BOOTTIME };
#define NSEC_PER_SEC 1000000000u
#define COARSE_NS 4000000u

/* machine/kernel/task/vvar.py writes it. */
struct vvar {
	volatile u32 seq; /* odd while it is being written */
	volatile u32 mult; /* nanoseconds a cycle, in 2^-32; 0: the counter is no clock here, ask the kernel */
	volatile u64 cycle; /* the counter when the times below were right */
	volatile u64 mono_sec, mono_nsec, real_sec, real_nsec;
};

struct timespec { word sec, nsec; };
struct timespec64 { s64 sec; s64 nsec; };

#define INLINE static inline __attribute__((always_inline))

/* The page before the one in which this code runs. */
INLINE const struct vvar *data(void)
{
	unsigned long here;

#ifdef __x86_64__
	__asm__ volatile("lea (%%rip), %0" : "=r"(here));
#else
	__asm__ volatile("call 1f\n1: pop %0" : "=r"(here));
#endif
	return (const struct vvar *)((here & ~4095ul) - 4096);
}

INLINE word call(word number, word first, word second)
{
	word result;

#ifdef __x86_64__
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
#else
	__asm__ volatile("push %%ebx; mov %2, %%ebx; int $0x80; pop %%ebx"
			 : "=a"(result) : "a"(number), "D"(first), "c"(second) : "memory");
#endif
	return result;
}

INLINE u64 rdtsc(void)
{
	u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}

/* delta * mult >> 32 without a 128-bit product. */
INLINE u64 scale(u64 delta, u32 mult)
{
	return ((u64)(u32)delta * mult >> 32) + (delta >> 32) * mult;
}

/* The time of a clock; 0 when the kernel must be asked. */
INLINE int now(int clock, u64 *sec, u32 *nsec)
{
	const struct vvar *v = data();
	int wall = clock == REALTIME || clock == REALTIME_COARSE;
	u32 seq;
	u64 delta, ns;

	if (!wall && clock != MONOTONIC && clock != MONOTONIC_COARSE && clock != RAW && clock != BOOTTIME)
		return 0;
	do {
		while ((seq = v->seq) & 1)
			__asm__ volatile("pause");
		if (!v->mult)
			return 0;
		delta = rdtsc() - v->cycle;
		if ((s64)delta < 0)
			delta = 0;
		*sec = wall ? v->real_sec : v->mono_sec;
		ns = (wall ? v->real_nsec : v->mono_nsec) + scale(delta, v->mult);
	} while (v->seq != seq);
	while (ns >= NSEC_PER_SEC) {
		ns -= NSEC_PER_SEC;
		++*sec;
		__asm__ volatile("" : "+m"(ns)); /* or the compiler would divide, which is a function on i386 */
	}
	*nsec = ns;
	if (clock == REALTIME_COARSE || clock == MONOTONIC_COARSE)
		*nsec -= *nsec % COARSE_NS;
	return 1;
}

int __vdso_clock_gettime(int clock, struct timespec *time)
{
	u64 sec;
	u32 nsec;

	if (!now(clock, &sec, &nsec))
		return call(NR_clock_gettime, clock, (word)time);
	time->sec = sec;
	time->nsec = nsec;
	return 0;
}

#ifndef __x86_64__
int __vdso_clock_gettime64(int clock, struct timespec64 *time)
{
	u64 sec;
	u32 nsec;

	if (!now(clock, &sec, &nsec))
		return call(NR_clock_gettime64, clock, (word)time);
	time->sec = sec;
	time->nsec = nsec;
	return 0;
}
#endif

int __vdso_gettimeofday(struct timespec *time, int *zone)
{
	u64 sec;
	u32 nsec;

	if (zone || !now(REALTIME, &sec, &nsec))
		return call(NR_gettimeofday, (word)time, (word)zone);
	if (time) {
		time->sec = sec;
		time->nsec = nsec / 1000;
	}
	return 0;
}

word __vdso_time(word *time)
{
	u64 sec;
	u32 nsec;

	if (!now(REALTIME, &sec, &nsec))
		return call(NR_time, (word)time, 0);
	if (time)
		*time = sec;
	return sec;
}

/* The machine has one processor. */
int __vdso_getcpu(u32 *cpu, u32 *node, void *unused)
{
	(void)unused;
	if (cpu)
		*cpu = 0;
	if (node)
		*node = 0;
	return 0;
}
