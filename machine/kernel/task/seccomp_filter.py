"""Classic BPF programs that decide about system calls: checked, then run (net/core/filter.c, kernel/seccomp.c).

An instruction is (code, jt, jf, k) of `struct sock_filter`.  A program sees the sixteen 32-bit words of `struct
seccomp_data` and answers with an action and 16 bits of data.
"""

from __future__ import annotations

from collections.abc import Sequence

from machine.kernel.abi.errno import EINVAL, Errno

Instruction = tuple[int, int, int, int]

BPF_MAXINSNS = 4096
BPF_MEMWORDS = 16
SECCOMP_DATA_SIZE = 64
_MASK = 0xFFFF_FFFF
_ALL_VALID = (1 << BPF_MEMWORDS) - 1

# include/uapi/linux/bpf_common.h: class, size and mode, operation and source
LD_IMM, LDX_IMM, ST, STX, TAX, TXA = 0x00, 0x01, 0x02, 0x03, 0x07, 0x87
LD_ABS, LD_LEN, LDX_LEN, LD_MEM, LDX_MEM = 0x20, 0x80, 0x81, 0x60, 0x61
RET_K, RET_A, NEG, JA, DIV_K, LSH_K, RSH_K = 0x06, 0x16, 0x84, 0x05, 0x34, 0x64, 0x74
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, XOR = 0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0xA4
JEQ, JGT, JGE, JSET = 0x15, 0x25, 0x35, 0x45
_X = 0x08
"""The operand is X, not the constant."""
_ARITHMETIC = frozenset(code | source for code in (ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, XOR) for source in (0, _X))
_CONDITIONS = frozenset(code | source for code in (JEQ, JGT, JGE, JSET) for source in (0, _X))
_KNOWN = _ARITHMETIC | _CONDITIONS | frozenset(
    (LD_IMM, LDX_IMM, ST, STX, TAX, TXA, LD_ABS, LD_LEN, LDX_LEN, LD_MEM, LDX_MEM, RET_K, RET_A, NEG, JA)
)  # fmt: skip


def check(program: Sequence[Instruction]) -> None:
    """EINVAL for a program that could leave itself, read what it has not written, or ask for what seccomp has not
    (bpf_check_classic, seccomp_check_filter)."""
    length = len(program)
    for at, (code, jt, jf, k) in enumerate(program):
        left = length - at - 1
        bad = (
            code not in _KNOWN
            or (code == LD_ABS and (k >= SECCOMP_DATA_SIZE or k & 3))
            or (code == DIV_K and not k)
            or (code in (LSH_K, RSH_K) and k >= 32)
            or (code in (ST, STX, LD_MEM, LDX_MEM) and k >= BPF_MEMWORDS)
            or (code == JA and k >= left)
            or (code in _CONDITIONS and max(jt, jf) >= left)
        )
        if bad:
            raise Errno(EINVAL)
    if program[-1][0] not in (RET_K, RET_A):
        raise Errno(EINVAL)
    _check_memory(program)


def _check_memory(program: Sequence[Instruction]) -> None:
    """No word of the scratch memory is read on a way on which it was not written (check_load_and_stores)."""
    masks = [_ALL_VALID] * len(program)
    valid = 0
    for at, (code, jt, jf, k) in enumerate(program):
        valid &= masks[at]
        if code in (ST, STX):
            valid |= 1 << k
        elif code in (LD_MEM, LDX_MEM):
            if not valid >> k & 1:
                raise Errno(EINVAL)
        elif code == JA or code in _CONDITIONS:
            for target in (k,) if code == JA else (jt, jf):
                masks[at + 1 + target] &= valid
            valid = _ALL_VALID


def run(program: Sequence[Instruction], data: Sequence[int]) -> tuple[int, bool]:
    """What the program says of the call whose `seccomp_data` are the words `data`.

    With it, whether it looked at nothing but number and architecture, so that it will say so again."""
    a = x = at = 0
    memory = [0] * BPF_MEMWORDS
    by_number = True
    while True:
        code, jt, jf, k = program[at]
        at += 1
        if code == LD_ABS:
            a = data[k >> 2]
            by_number = by_number and k < 8
        elif code in _CONDITIONS:
            at += jt if _holds(code & ~_X, a, x if code & _X else k) else jf
        elif code == RET_K:
            return k, by_number
        elif code == RET_A:
            return a, by_number
        elif code == JA:
            at += k
        elif code in _ARITHMETIC:
            operand = x if code & _X else k
            if code & ~_X == DIV and not operand:
                return 0, by_number
            a = _compute(code & ~_X, a, operand)
        elif code == NEG:
            a = -a & _MASK
        elif code in (ST, STX):
            memory[k] = a if code == ST else x
        elif code in (TAX, LDX_IMM, LDX_MEM, LDX_LEN):
            x = a if code == TAX else k if code == LDX_IMM else memory[k] if code == LDX_MEM else SECCOMP_DATA_SIZE
        else:
            a = x if code == TXA else k if code == LD_IMM else memory[k] if code == LD_MEM else SECCOMP_DATA_SIZE


def _holds(code: int, a: int, operand: int) -> bool:
    if code == JEQ:
        return a == operand
    if code == JSET:
        return a & operand != 0
    return a > operand if code == JGT else a >= operand


def _compute(code: int, a: int, operand: int) -> int:
    if code == ADD:
        return a + operand & _MASK
    if code == SUB:
        return a - operand & _MASK
    if code == MUL:
        return a * operand & _MASK
    if code == DIV:
        return a // operand
    if code == OR:
        return a | operand
    if code == AND:
        return a & operand
    if code == XOR:
        return a ^ operand
    return (a << (operand & 31)) & _MASK if code == LSH else a >> (operand & 31)
