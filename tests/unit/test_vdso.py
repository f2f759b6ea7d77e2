"""The vDSO is a shared object that the host's own dynamic loader accepts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from machine.kernel.task.vdso import _FUNCTIONS, elf_hash, vdso_image

USER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
int main(int argc, char **argv)
{
	void *object = dlopen(argv[1], RTLD_NOW);
	int (*read_clock)(int, struct timespec *), i;
	struct timespec time = {0, 0}, other = {0, 0};

	if (!object) {
		puts(dlerror());
		return 1;
	}
	for (i = 2; i < argc; i++)
		if (!dlsym(object, argv[i]))
			printf("no %s\\n", argv[i]);
	read_clock = (int (*)(int, struct timespec *))dlvsym(object, "__vdso_clock_gettime", "LINUX_2.6");
	/* The page of data before it: all zeros say that the kernel is to be asked. */
	Dl_info where;
	if (!dladdr((void *)read_clock, &where) || mmap((char *)where.dli_fbase - 4096, 4096, PROT_READ,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
		return 2;
	printf("%d ", read_clock(CLOCK_MONOTONIC, &time));
	clock_gettime(CLOCK_MONOTONIC, &other);
	printf("%d\\n", other.tv_sec - time.tv_sec < 2);
	return 0;
}
"""


@pytest.mark.parametrize("bits", [64, 32])
def test_the_host_can_load_it(bits: int, tmp_path: Path) -> None:
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    image = vdso_image(bits)
    library, source, program = tmp_path / "vdso.so", tmp_path / "user.c", tmp_path / "user"
    library.write_bytes(image.data)
    source.write_text(USER)
    built = subprocess.run(
        ["gcc", f"-m{bits}", "-o", program, source, "-ldl"], capture_output=True, text=True, check=False
    )
    if built.returncode:
        pytest.skip(f"gcc -m{bits} cannot link here")
    names = [name for f in _FUNCTIONS[bits] for name in (f.name, f.weak) if name]
    shown = subprocess.run([program, library, *names], capture_output=True, text=True, check=False)
    assert shown.stdout == "0 1\n"


def test_the_hash_of_version_names() -> None:
    assert elf_hash("LINUX_2.6") == 0x3AE75F6
    assert elf_hash("LINUX_2.5") == 0x3AE75F5
