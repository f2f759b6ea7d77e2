"""64-bit and 32-bit code in one engine, TLS descriptors, and tasks that change inside a hook."""

from __future__ import annotations

from machine.hardware.cpu import CS, GENERAL_PROTECTION, MXCSR, RAX, RBX, RCX, RIP, SIMD_FP
from machine.hardware.gdt import GDT_ENTRY_TLS_MIN, USER32_CS, USER_CS
from tests.engine.board import CODE, CODE_BITS, DATA, SYSCALL, UD2, Board

INT80 = b"\xcd\x80"


def tls_descriptor(base: int) -> int:
    """A 32-bit data segment with a limit of 4 GiB, as `set_thread_area` makes it."""
    return 0x00CF_F300_0000_FFFF | (base & 0xFFFFFF) << 16 | (base >> 24) << 56


def test_compatibility_mode(board: Board) -> None:
    """`dec eax` (48) is a prefix in 64-bit code and an instruction in 32-bit code."""
    board.start(b"\x48\x90" + INT80, bits=32, rax=5)
    assert board.exceptions == [(0x80, CODE + 4)] and board.cpu.regs[RAX] == 4
    assert board.cpu.get_register(CS) == USER32_CS
    board.start(b"\x48\x90" + SYSCALL, at=CODE + 0x100, rax=5)
    assert board.cpu.regs[RAX] == 5 and board.cpu.get_register(CS) == USER_CS


def test_addresses_wrap_at_four_gibibytes_in_32_bit_code(board: Board) -> None:
    board.map(DATA, content=b"\x2a")
    board.start(b"\x8a\x81" + (DATA + 0x10).to_bytes(4, "little") + INT80, bits=32, rcx=0xFFFF_FFF0)
    assert board.cpu.regs[RAX] & 0xFF == 0x2A


def test_thread_local_storage_through_gs(board: Board) -> None:
    board.map(DATA, content=bytes(8) + (0xCAFE).to_bytes(4, "little"))
    board.cpu.gdt[GDT_ENTRY_TLS_MIN] = tls_descriptor(DATA)
    selector = GDT_ENTRY_TLS_MIN << 3 | 3
    code = b"\x8e\xe8" + b"\x65\xa1\x08\x00\x00\x00" + INT80  # mov gs, eax; mov eax, gs:[8]
    board.start(code, bits=32, rax=selector)
    assert board.cpu.regs[RAX] == 0xCAFE


def test_a_64_bit_and_a_32_bit_task_take_turns_inside_hooks(board: Board) -> None:
    """Each has its own tables; general and SSE registers and memory stay its own."""
    turns = 2000
    first, second = board.tables, board.new_tables()
    load = b"\x66\x0f\xef\xc0"  # pxor xmm0, xmm0
    # 1: inc ebx; movd xmm1, ebx; paddd xmm0, xmm1; movd [DATA], xmm0; (trap); jmp 1b
    step = b"\xff\xc3" + b"\x66\x0f\x6e\xcb" + b"\x66\x0f\xfe\xc1"
    store64 = b"\x66\x0f\x7e\x04\x25" + DATA.to_bytes(4, "little")
    store32 = b"\x66\x0f\x7e\x05" + DATA.to_bytes(4, "little")
    images: list[bytes] = []
    frames = []
    for tables, store, trap, bits in ((first, store64, SYSCALL, 64), (second, store32, INT80, 32)):
        board.tables = tables
        body = step + store + trap
        frames.append(board.map(DATA))
        board.map(CODE, CODE_BITS, content=load + body + b"\xeb" + (256 - len(body) - 2).to_bytes(1, "little"))
        board.cpu.fresh_image(bits, tables.cr3)
        board.cpu.regs[RIP] = CODE
        board.cpu.regs[RBX] = 1000 if bits == 32 else 0
        images.append(bytes(board.cpu.image))
    count = 0

    def switch(_vector: int = 0) -> None:
        nonlocal count
        images[count & 1] = bytes(board.cpu.image)
        count += 1
        if count == 2 * turns:
            board.cpu.stop()
            return
        board.cpu.image[:] = images[count & 1]
        board.cpu.flush_tlb()

    board.on_syscall = board.on_exception = switch
    board.cpu.image[:] = images[0]
    board.cpu.run()
    assert not board.faults
    expected = [sum(range(start + 1, start + turns + 1)) for start in (0, 1000)]
    assert [int.from_bytes(board.ram.view[frame : frame + 4], "little") for frame in frames] == expected
    board.cpu.image[:] = images[0]
    assert (board.cpu.regs[RBX], int.from_bytes(board.cpu.get_xmm(0)[:4], "little")) == (turns, expected[0])
    board.cpu.image[:] = images[1]
    assert (board.cpu.regs[RBX], int.from_bytes(board.cpu.get_xmm(0)[:4], "little")) == (1000 + turns, expected[1])


def test_xmm_and_fxsave_of_the_image(board: Board) -> None:
    board.map(DATA, content=bytes(range(16)))
    board.start(b"\x0f\x10\x3f" + b"\xd9\xe8" + SYSCALL, rdi=DATA)  # movups xmm7, [rdi]; fld1
    assert board.cpu.get_xmm(7) == bytes(range(16))
    area = board.cpu.fxsave()
    assert area[160 + 7 * 16 : 160 + 8 * 16] == bytes(range(16))
    assert area[:2] == (0x37F).to_bytes(2, "little") and area[24:28] == (0x1F80).to_bytes(4, "little")
    assert area[32:42] == bytes.fromhex("0000000000000080ff3f"), "1.0 at the top of the x87 stack"
    board.cpu.fxrstor(bytes(32) + bytes(480))
    board.cpu.fxrstor(area)
    assert board.cpu.fxsave() == area


def test_floating_point_exceptions(board: Board) -> None:
    """1/3 is inexact, and with that not masked exception 19, before the result is stored; reserved bits are 13."""
    physical = board.map(DATA, content=b"\x00\x00\x80\x3f" + b"\x00\x00\x40\x40")  # 1.0f, 3.0f
    board.start(b"\xf3\x0f\x10\x07" + b"\xf3\x0f\x5e\x47\x04" + SYSCALL, rdi=DATA)  # movss, divss
    assert board.cpu.get_xmm(0)[:4] == bytes.fromhex("abaaaa3e")
    assert board.cpu.get_register(MXCSR) == 0x1FA0
    board.ram.view[physical + 8 : physical + 16] = bytes.fromhex("800f0000 801f0100")  # PE not masked; a bit too many
    load = b"\x0f\xae\x57\x08\xf3\x0f\x10\x07"  # ldmxcsr, movss
    board.start(load + b"\xf3\x0f\x5e\x47\x04" + SYSCALL, at=CODE + 0x100, rdi=DATA)
    assert board.exceptions == [(SIMD_FP, CODE + 0x100 + len(load))]
    assert board.cpu.get_xmm(0)[:4] == bytes.fromhex("0000803f")
    assert board.cpu.get_register(MXCSR) == 0xFA0
    board.start(b"\x0f\xae\x57\x0c" + SYSCALL, at=CODE + 0x200, rdi=DATA)
    assert board.exceptions[1:] == [(GENERAL_PROTECTION, CODE + 0x200)]


def test_what_the_processor_says_it_can(board: Board) -> None:
    """SSE4.2 and popcnt, no AVX: what AT_HWCAP and a libc's choices rest on."""
    board.start(b"\x0f\xa2" + UD2, rax=1)  # cpuid
    features = board.cpu.regs[RCX]
    assert features >> 20 & 1 and features >> 23 & 1, "SSE4.2, popcnt"
    assert not features >> 28 & 1, "AVX"
    board.start(b"\x0f\xa2" + UD2, rax=7, rcx=0)
    assert board.cpu.regs[RBX] & 0x389 == 0x281, "FSGSBASE, SMEP, ERMS; not BMI1 and BMI2: the engine's have faults"
