"""From the engine into Python and back: host code that is the engine's hook for system calls and exceptions.

At each trap the register image is taken, Python is called, and the image is put back.  Through ctypes the two copies
and the callback cost more than what they do; so the hook is a few dozen instructions that call `uc_context_save`, a
Python object through the C API, and `uc_context_restore`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from machine.hardware.hostcode import HostCode

_API = ("PyGILState_Ensure", "PyObject_CallNoArgs", "Py_DecRef", "PyGILState_Release", "PyErr_WriteUnraisable")
(
    _SAVE, _RESTORE, _READ, _PYTHON, _ENSURE, _CALL, _DECREF, _RELEASE, _UNRAISABLE, _ENGINE, _IMAGE, _REGS,
    _FLAGS_NUMBER, _FLAGS, _VECTOR, _EARLY_STEP, _EXCEPTION, _ON_SYSCALL, _ON_PAGE_FAULT, _ON_EXCEPTION,
    _ERROR_CODE, _LENGTH_AT, _STACK, _SCRATCH,
) = range(24)  # fmt: skip
"""Indices of the words that the code works with; rbx points to the first."""

_SYSCALL_CODE = bytes.fromhex(
    "53 55 4154 4155 4156 4157 6a02"  # push rbx, rbp, r12 ... r15; push 2
    "4889f3 4889a3b0000000"  # mov rbx, rsi: the hook's user data; mov [rbx+STACK], rsp
    "488b83a8000000 4c8b34c4"  # mov rax, [rbx+LENGTH_AT]; mov r14, [rsp+8*rax]
    "488b7b48 488b7350 ff13"  # uc_context_save(engine, image)
    "488b7b50 8b7360 488d5368 ff5310"  # uc_context_reg_read(image, EFLAGS, &FLAGS)
    "488b4358"  # mov rax, [rbx+REGS]
    "488b8880000000 4c01f1 48898880000000"  # mov rcx, [rax+RIP]; add rcx, r14; mov [rax+RIP], rcx
    "48894808 488b4b68 48894858"  # mov [rax+RCX], rcx; mov rcx, [rbx+FLAGS]; mov [rax+R11], rcx
    "4c8ba388000000 ff5318"  # mov r12, [rbx+ON_SYSCALL]; call [rbx+PYTHON]
    "488b4358 4c29b080000000"  # sub [rax+RIP], r14: the engine adds the instruction's length after this hook
    "488b7b48 488b7350 ff5308"  # uc_context_restore(engine, image)
    "488b4358 4c01b080000000"  # add [rax+RIP], r14: where the program will go on
    "f7808800000000010000 7408"  # test dword [rax+EFLAGS], TF; jz 1f
    "48c7437801000000"  # mov qword [rbx+EARLY_STEP], 1
    "4883c408 415f 415e 415d 415c 5d 5b c3"  # 1: add rsp, 8; pop r15 ... r12, rbp, rbx; ret
)
"""A prefix makes SYSCALL longer, and only the function of the engine that calls this hook knows by how much: it has the
length in a register, or so `Cpu` has found, and this code has pushed it."""
_INVALID_CODE = bytes.fromhex("4889f2 be06000000")  # mov rdx, rsi; mov esi, INVALID_OPCODE; on into the next
_INTR_CODE = bytes.fromhex(
    "53 4154 4155 4889d3"  # push rbx; push r12; push r13; mov rbx, rdx
    "89f0 48894370"  # mov eax, esi; mov [rbx+VECTOR], rax
    "488b7b48 488b7350 ff13"  # uc_context_save(engine, image)
    "4c8ba398000000 8b4370"  # mov r12, [rbx+ON_EXCEPTION]; mov eax, [rbx+VECTOR]
    "488b8ba0000000 83790400 7537"  # mov rcx, [rbx+ERROR_CODE]; cmp dword [rcx+4], 0; jne 3f: `int N` was it
    "83f820 7319"  # 2: cmp eax, 32; jae 1f
    "488b8b80000000 c701ffffffff"  # mov rcx, [rbx+EXCEPTION]; mov dword [rcx], -1
    "83f80e 7507 4c8ba390000000"  # cmp eax, PAGE_FAULT; jne 1f; mov r12, [rbx+ON_PAGE_FAULT]
    "ff5318"  # 1: call [rbx+PYTHON]
    "488b7b48 488b7350 ff5308"  # uc_context_restore(engine, image)
    "b801000000"  # mov eax, 1: what the hook of an invalid instruction returns when it was dealt with
    "415d 415c 5b c3"  # pop r13; pop r12; pop rbx; ret
    "8d50fd 83fa01 76c1"  # 3: lea edx, [rax-BREAKPOINT]; cmp edx, 1; jbe 2b: that one and OVERFLOW are allowed
    "3d80000000 74ba"  # cmp eax, 0x80; je 2b
    "8d04c502000000 8901"  # lea eax, [rax*8+2]; mov [rcx], eax: which gate of the IDT it was that has DPL 0
    "b80d000000 48894370"  # mov eax, GENERAL_PROTECTION; mov [rbx+VECTOR], rax
    "488b5108 4883ea02"  # mov rdx, [rcx+8]; sub rdx, 2: a fault, at the instruction that is before exception_next_eip
    "488b4b58 48899180000000 eb93"  # mov rcx, [rbx+REGS]; mov [rcx+RIP], rdx; jmp 2b
)
"""The engine has no IDT: an `int N` arrives as if exception N had happened, and would be a page fault at the address of
the last one."""
_PYTHON_CODE = bytes.fromhex(
    "4883ec08 ff5320 4189c5"  # sub rsp, 8; PyGILState_Ensure(); mov r13d, eax
    "4c89e7 ff5328"  # PyObject_CallNoArgs(r12)
    "4885c0 7411"  # test rax, rax; jz 2f
    "4889c7 ff5330"  # Py_DecRef(rax)
    "4489ef ff5338"  # 1: PyGILState_Release(r13d)
    "4883c408 c3"  # add rsp, 8; ret
    "4c89e7 ff5340 ebed"  # 2: PyErr_WriteUnraisable(r12); jmp 1b
)


class TrapHooks:
    """The hooks of one engine: `syscall`, `intr` and `invalid` are their host addresses, `data` their user data.

    `functions` are the addresses of `uc_context_save`, `uc_context_restore` and `uc_context_reg_read`, `engine`,
    `image` and `regs` those of what they say; `eflags` is the engine's number of that register.  The object must live
    as long as the engine.
    """

    def __init__(self, functions: list[int], engine: int, image: int, regs: int, eflags: int) -> None:
        words = self._words = (ctypes.c_uint64 * 24)()
        words[_SAVE], words[_RESTORE], words[_READ] = functions
        for index, name in enumerate(_API, _ENSURE):
            words[index] = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0
        words[_ENGINE], words[_IMAGE], words[_REGS], words[_FLAGS_NUMBER] = engine, image, regs, eflags
        self.data = ctypes.addressof(words)
        words[_EXCEPTION] = words[_ERROR_CODE] = self.data + 8 * _SCRATCH
        self._code = HostCode(_SYSCALL_CODE + _INVALID_CODE + _INTR_CODE + _PYTHON_CODE)
        self.syscall = self._code.address
        self.invalid = self.syscall + len(_SYSCALL_CODE)
        self.intr = self.invalid + len(_INVALID_CODE)
        words[_PYTHON] = self.intr + len(_INTR_CODE)

    def call(
        self, on_syscall: Callable[[], None], on_page_fault: Callable[[], None], on_exception: Callable[[], None]
    ) -> None:
        """What is called from now on, with the image taken: for SYSCALL (RIP, RCX and R11 are as it leaves them),
        exception 14, and everything else.  What they raise is written to stderr and lost."""
        self._called = (on_syscall, on_page_fault, on_exception)  # the words hold no references
        for index, called in enumerate(self._called, _ON_SYSCALL):
            self._words[index] = id(called)

    def clears(self, address: int, error_code: int) -> None:
        """The host addresses of the image's mark "an exception is being delivered", which is cleared before the call,
        and of the error code, behind which the engine has exception_is_int and exception_next_eip."""
        self._words[_EXCEPTION], self._words[_ERROR_CODE] = address, error_code

    def pushed(self) -> list[int]:
        """Inside the hook of SYSCALL: 2, and the six registers of the function that called it."""
        return list((ctypes.c_int64 * 7).from_address(self._words[_STACK]))

    def length_is_at(self, index: int) -> None:
        """Which of `pushed` is the length of the instruction."""
        self._words[_LENGTH_AT] = index

    @property
    def vector(self) -> int:
        """Of the exception or interrupt that was taken last."""
        return self._words[_VECTOR]

    def take_early_step(self) -> bool:
        """Whether a SYSCALL has left with TF set since the last call."""
        early = self._words[_EARLY_STEP] != 0
        self._words[_EARLY_STEP] = 0
        return early
