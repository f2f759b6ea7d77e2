"""Keys of the auxiliary vector (include/uapi/linux/auxvec.h, arch/x86/include/uapi/asm/auxvec.h)."""

from __future__ import annotations

AT_NULL, AT_IGNORE, AT_EXECFD = 0, 1, 2
AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY = 3, 4, 5, 6, 7, 8, 9
AT_NOTELF, AT_UID, AT_EUID, AT_GID, AT_EGID = 10, 11, 12, 13, 14
AT_PLATFORM, AT_HWCAP, AT_CLKTCK = 15, 16, 17
AT_SECURE, AT_BASE_PLATFORM, AT_RANDOM, AT_HWCAP2 = 23, 24, 25, 26
AT_RSEQ_FEATURE_SIZE, AT_RSEQ_ALIGN = 27, 28
AT_EXECFN, AT_SYSINFO, AT_SYSINFO_EHDR, AT_MINSIGSTKSZ = 31, 32, 33, 51

NAMES: dict[int, str] = {v: k for k, v in list(globals().items()) if k.startswith("AT_") and isinstance(v, int)}
