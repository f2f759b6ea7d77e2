/* What execve(2) puts on the stack: argc, argv, envp, the auxiliary vector; what is zero, what is aligned. */
#include "check.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <sys/auxv.h>

extern char **environ;
static char zeros[3 * PAGE];
static int initialised = 42;

static size_t auxv_count(const ElfW(auxv_t) *vector, unsigned long type)
{
	size_t count = 0;

	for (; vector->a_type != AT_NULL; vector++)
		count += vector->a_type == type;
	return count;
}

static void arguments(int argc, char **argv)
{
	char text[4096], line[300];
	int fd = open("/proc/self/cmdline", O_RDONLY), i, at = 0;
	ssize_t length = read(fd, text, sizeof text);

	EQUAL("argc", argc, 4);
	for (i = 1; i < argc; i++) {
		snprintf(line, sizeof line, "argument %d is \"%s\"", i, argv[i]);
		report(1, line, "");
	}
	CHECK("argv ends in NULL", !argv[argc]);
	CHECK("envp follows it", environ == argv + argc + 1);
	for (i = 0; i < argc; i++) {
		if (i)
			CHECK("the strings lie one behind the other", argv[i] == argv[i - 1] + strlen(argv[i - 1]) + 1);
		at += at < length && !strcmp(text + at, argv[i]) ? strlen(argv[i]) + 1 : 10000;
	}
	EQUAL("/proc/self/cmdline has them all", at, length);
	CHECK("the environment", getenv("NOPAGE_TEST") && !strcmp(getenv("NOPAGE_TEST"), "a value"));
}

static void auxiliary(char **argv)
{
	char **after = environ;
	const ElfW(auxv_t) *vector;
	const char *name = (const char *)getauxval(AT_EXECFN);
	const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
	const char *vdso = (const char *)getauxval(AT_SYSINFO_EHDR), *platform = (const char *)getauxval(AT_PLATFORM);
	char file[sizeof(ElfW(auxv_t)) * 64];
	ssize_t length;
	size_t count;

	while (*after++)
		;
	vector = (const ElfW(auxv_t) *)after;
	EQUAL("AT_PAGESZ", getauxval(AT_PAGESZ), 4096);
	EQUAL("AT_CLKTCK", getauxval(AT_CLKTCK), 100);
	EQUAL("AT_PHENT", getauxval(AT_PHENT), sizeof(ElfW(Phdr)));
	CHECK("AT_PHNUM", getauxval(AT_PHNUM) >= 4 && getauxval(AT_PHNUM) < 30);
	CHECK("AT_PHDR points at program headers", ((const ElfW(Phdr) *)getauxval(AT_PHDR))->p_type <= PT_PHDR);
	CHECK("AT_ENTRY", getauxval(AT_ENTRY) != 0);
	EQUAL("AT_UID", getauxval(AT_UID), getuid());
	EQUAL("AT_EUID", getauxval(AT_EUID), geteuid());
	EQUAL("AT_GID", getauxval(AT_GID), getgid());
	EQUAL("AT_EGID", getauxval(AT_EGID), getegid());
	EQUAL("AT_SECURE", getauxval(AT_SECURE), 0);
	CHECK("AT_EXECFN", name && !strcmp(name, argv[0]));
	CHECK("AT_PLATFORM", platform && !strcmp(platform, sizeof(long) == 8 ? "x86_64" : "i686"));
	for (count = 0; vector[count].a_type != AT_HWCAP && vector[count].a_type != AT_NULL; count++)
		; /* glibc's getauxval has its own idea of it */
	CHECK("AT_HWCAP has SSE2", vector[count].a_un.a_val & 1 << 26);
	CHECK("AT_RANDOM: 16 bytes", random && !all_are(random, random[0], 16));
	CHECK("AT_SYSINFO_EHDR is an ELF file", vdso && !memcmp(vdso, ELFMAG, SELFMAG));
#ifdef __i386__
	CHECK("AT_SYSINFO lies in it", getauxval(AT_SYSINFO) - getauxval(AT_SYSINFO_EHDR) < 4 * PAGE);
#endif
	EQUAL("each type once", auxv_count(vector, AT_PAGESZ) + auxv_count(vector, AT_ENTRY), 2);
	for (count = 0; vector[count].a_type != AT_NULL; count++)
		;
	length = read(open("/proc/self/auxv", O_RDONLY), file, sizeof file);
	/* A 64-bit kernel reads a 32-bit program's vector as long words and sees its end late. */
	CHECK("/proc/self/auxv", length >= (ssize_t)((count + 1) * sizeof *vector));
	CHECK("...is the same", !memcmp(file, vector, (count + 1) * sizeof *vector));
}

static void image(void)
{
	char path[4096], own[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);

	path[length > 0 ? length : 0] = 0;
	CHECK("/proc/self/exe", length > 0 && realpath((char *)getauxval(AT_EXECFN), own) && !strcmp(path, own));
	CHECK("bss is zero", all_are(zeros, 0, sizeof zeros));
	EQUAL("data is there", initialised, 42);
	CHECK("data is writable", (initialised = 7) == 7);
	CHECK("code is not", touch((void *)(uintptr_t)arguments, 0x90) == SIGSEGV && fault_code == SEGV_ACCERR);
	CHECK("constants are not", touch((void *)(uintptr_t) "constant", 'C') == SIGSEGV && fault_code == SEGV_ACCERR);
	CHECK("the stack is aligned", ((uintptr_t)__builtin_frame_address(0) & 3) == 0);
}

/* Code in a data page: no execution without PROT_EXEC. */
static void execution(void)
{
	static const unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3}; /* mov eax, 42; ret */
	unsigned char *p = mmap(NULL, PAGE, RW, ANON, -1, 0);
	int (*function)(void) = (int (*)(void))(uintptr_t)p;

	memcpy(p, code, sizeof code);
	if (!CATCH()) {
		function();
		fault_signal = 0;
	}
	CHECK("no execution of data", fault_signal == SIGSEGV && fault_code == SEGV_ACCERR && fault_address == p);
	mprotect(p, PAGE, PROT_READ | PROT_EXEC);
	EQUAL("execution of code", function(), 42);
	mprotect(p, PAGE, RW | PROT_EXEC);
	p[1] = 43;
	EQUAL("of changed code", function(), 43);
}

int main(int argc, char **argv)
{
	catch_faults();
	arguments(argc, argv);
	auxiliary(argv);
	image();
	execution();
	return done();
}
