"""First touch of a page in the area of a driver of today: its `fault` method (mm/memory.c of 6.1: do_fault).

`fault(vmf)` replaced `nopage` in Linux 2.6.23.  It stores the page in `vmf.page`, or maps it by itself and says
VM_FAULT_NOPAGE.  `page_mkwrite(vmf)` (2.6.18) hears of the first write to a page of a shared area.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.paging import RW, A, D
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.answers import MAX_ERRNO, nonsense
from machine.kernel.mm.copy_page import copy_frame
from machine.kernel.mm.given_page import bad_page_of, check_reference
from machine.kernel.mm.page import GFP_HIGHUSER, Page, PG_exec, PG_locked, PG_reserved
from machine.kernel.mm.page import VM_FAULT_MAJOR as MAJOR
from machine.kernel.mm.page import VM_FAULT_MINOR as MINOR
from machine.kernel.mm.page import VM_FAULT_OOM as OOM
from machine.kernel.mm.page import VM_FAULT_SIGBUS as SIGBUS
from machine.kernel.mm.pte import PTE_PFN
from machine.kernel.mm.refusal import refused
from machine.kernel.mm.vma import VM_EXEC, VM_SHARED, vm_area_struct
from machine.kernel.module import DRIVER_FAILED, call_driver, call_for_page

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct

# What a method of today returns (include/linux/mm_types.h of 6.1: enum vm_fault_reason).
VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_FAULT_MAJOR, VM_FAULT_SIGSEGV = 0x1, 0x2, 0x4, 0x40
VM_FAULT_NOPAGE, VM_FAULT_LOCKED = 0x100, 0x200
_ERROR = VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV
_KNOWN = _ERROR | VM_FAULT_MAJOR | VM_FAULT_NOPAGE | VM_FAULT_LOCKED

# vmf.flags (enum fault_flag).
FAULT_FLAG_WRITE, FAULT_FLAG_MKWRITE, FAULT_FLAG_USER, FAULT_FLAG_INSTRUCTION = 0x1, 0x2, 0x40, 0x100

SIGSEGV = -2
"""Outcome of `handle_mm_fault` for VM_FAULT_SIGSEGV; MINOR, MAJOR, SIGBUS and OOM are those of 2.6.10."""
PATIENCE = 100
"""VM_FAULT_NOPAGE for one address in a row, without an entry, before it counts as a mistake."""


class vm_fault:
    """`struct vm_fault`: one fault, as a `fault` or `page_mkwrite` method sees it."""

    __slots__ = ("address", "flags", "gfp_mask", "page", "pgoff", "real_address", "vma")

    def __init__(self, vma: vm_area_struct, address: int, flags: int) -> None:
        self.vma = vma
        self.address = address & -PAGE_SIZE
        """Rounded down to its page."""
        self.real_address = address
        """As it was accessed."""
        self.pgoff = vma.vm_pgoff + ((self.address - vma.vm_start) >> PAGE_SHIFT)
        """Offset into the file in pages."""
        self.flags = flags
        """FAULT_FLAG_ bits."""
        self.gfp_mask = GFP_HIGHUSER
        """How to allocate here."""
        self.page: Optional[Page] = None
        """`fault` stores the page here, its count raised for the entry; `page_mkwrite` finds it here."""

    def __repr__(self) -> str:
        return f"<vm_fault {self.address:#x} pgoff {self.pgoff:#x} flags {self.flags:#x} page {self.page!r}>"


def do_fault(mm: mm_struct, vma: vm_area_struct, address: int, write: bool, index: int, flags: int) -> int:
    """Ask the driver and install what it gave.  `address` as accessed, `index` the entry's place in RAM.

    Returns MINOR, MAJOR, SIGBUS, OOM or SIGSEGV.
    """
    kernel, mem, words = mm.kernel, mm.mem, mm.ram.words
    ops = vma.vm_ops
    assert ops is not None
    if ops.fault is None:  # dummy_vm_ops of 6.1: a driver's area has no zero pages
        kernel.fault_answer = "no fault method"
        kernel.refused = (vma, f"{ops.owner.name} has no fault method, and its mmap mapped nothing there")
        return SIGBUS
    vmf = vm_fault(vma, address, flags | (FAULT_FLAG_WRITE if write else 0))
    answer, fresh = call_for_page(mm, ops.owner, "fault", ops.fault, (vmf,))
    kernel.fault_answer = f"{ops.owner.name}.fault"
    bits = _checked(vma, "fault", ops.fault, answer)
    if bits is None:
        refused(vma, "fault", ops.fault, "gave no answer that means something")
        return SIGBUS
    if bits & _ERROR:
        refused(vma, "fault", ops.fault, f"returned {_error_name(bits)}")
        return _outcome(bits)
    if bits & VM_FAULT_NOPAGE:
        if not words[index]:
            return _no_entry(mm, vma, vmf)
        mapped = (words[index] & PTE_PFN) >> PAGE_SHIFT
        kernel.fault_pfn = mapped if mem.pfn_valid(mapped) else None
        return MINOR
    pfn = _frame(vma, ops.fault, vmf, answer)
    if pfn < 0:
        return SIGBUS
    kernel.fault_pfn = pfn
    if not mem.flags[pfn] & PG_reserved:
        check_reference(kernel, vma, vmf.address, pfn, fresh, "fault")
    outcome = _finish(mm, vma, vmf, index, pfn)
    _unlock(vma, "fault", ops.fault, bits, pfn)
    return MAJOR if outcome == MINOR and bits & VM_FAULT_MAJOR else outcome


def _checked(vma: vm_area_struct, operation: str, method: Any, answer: Any) -> Optional[int]:
    """The VM_FAULT_ bits of an answer; None when it is none, which is reported."""
    assert vma.vm_ops is not None
    if answer is DRIVER_FAILED:
        return None
    if isinstance(answer, int) and not answer & ~_KNOWN:
        return int(answer)
    owner = vma.vm_ops.owner
    if isinstance(answer, Page):
        why = "a page: store it in vmf.page and return 0"
    elif not isinstance(answer, int):
        why = "which is no VM_FAULT_ bits"
    elif -MAX_ERRNO <= answer < 0:
        why = f"an errno: {operation} returns VM_FAULT_ bits (VM_FAULT_SIGBUS, VM_FAULT_OOM)"
    else:
        why = f"{answer:#x}, in which {answer & ~_KNOWN:#x} is none of the VM_FAULT_ bits that mean something here"
    nonsense(owner, operation, method, answer, why)
    return None


def _error_name(bits: int) -> str:
    return (
        "VM_FAULT_OOM" if bits & VM_FAULT_OOM else "VM_FAULT_SIGSEGV" if bits & VM_FAULT_SIGSEGV else "VM_FAULT_SIGBUS"
    )


def _outcome(bits: int) -> int:
    if bits & VM_FAULT_OOM:
        return OOM
    return SIGSEGV if bits & VM_FAULT_SIGSEGV else SIGBUS


def _no_entry(mm: mm_struct, vma: vm_area_struct, vmf: vm_fault) -> int:
    """VM_FAULT_NOPAGE, and there is no entry: the instruction faults again.

    This is right when another thread has just unmapped the page, or a signal is to be delivered first; a port from
    `nopage` that forgot vmf.page goes on for ever (a process that hangs at full speed, on a real machine).
    """
    task, ops = mm.kernel.current, vma.vm_ops
    if task is not None and task.sigpending:
        return MINOR
    address, times = mm.empty_answers
    times = times + 1 if address == vmf.address else 1
    mm.empty_answers = (vmf.address, times)
    if times < PATIENCE:
        return MINOR
    mm.empty_answers = (0, 0)
    assert ops is not None
    why = (
        f"{times} times for {vmf.address:#x}, where it has mapped nothing: the same instruction faults again and again"
    )
    if vmf.page is not None:
        why += " (it has stored a page in vmf.page: with that, it returns 0)"
    nonsense(ops.owner, "fault", ops.fault, "VM_FAULT_NOPAGE", why)
    return SIGBUS


def _frame(vma: vm_area_struct, method: Any, vmf: vm_fault, answer: int) -> int:
    """The frame that the driver gave, -1 for none that can be mapped, which is reported."""
    assert vma.vm_ops is not None
    page, why = vmf.page, ""
    mem = vma.vm_mm.mem
    if page is None:
        why = "but stored no page in vmf.page"
    elif not isinstance(page, Page):
        why = f"but stored {page!r}, which is no struct page, in vmf.page"
    else:
        why = bad_page_of(mem, page)
    if why:
        nonsense(vma.vm_ops.owner, "fault", method, answer, why)
        return -1
    assert isinstance(page, Page)
    return page.pfn


def _finish(mm: mm_struct, vma: vm_area_struct, vmf: vm_fault, index: int, pfn: int) -> int:
    """do_read_fault, do_cow_fault, do_shared_fault: from the page to the entry."""
    kernel, mem, words = mm.kernel, mm.mem, mm.ram.words
    write = vmf.flags & FAULT_FLAG_WRITE
    if write and not vma.vm_flags & VM_SHARED:
        try:
            new = copy_frame(mm, pfn)
        finally:
            mem.put_page(pfn)
        if words[index]:
            mem.put_page(new)
            return MINOR
        kernel.fault_answer += ", copied"
        kernel.fault_pfn = new
        mm.rss_anon += 1
        mem.mapcount[new] = 1
        words[index] = new << PAGE_SHIFT | vma.vm_page_prot | RW | A | D
        if vma.vm_flags & VM_EXEC:
            mem.flags[new] |= PG_exec
        return MINOR
    if write and vma.vm_ops is not None and vma.vm_ops.page_mkwrite is not None:
        outcome = page_mkwrite(vma, vmf)
        if outcome is not None:
            mem.put_page(pfn)
            return outcome
    if words[index]:  # somebody else mapped it while a method slept
        mem.put_page(pfn)
        return MINOR
    install_page(mm, vma, index, pfn, RW | D if write else 0)
    return MINOR


def install_page(mm: mm_struct, vma: vm_area_struct, index: int, pfn: int, more: int = 0) -> None:
    """Make the entry for a page whose reference is taken; counted unless the page is reserved (do_set_pte)."""
    mem = mm.mem
    if not mem.flags[pfn] & PG_reserved:
        mm.rss_file += 1
        mem.mapcount[pfn] += 1
    if vma.vm_flags & VM_EXEC:
        mem.flags[pfn] |= PG_exec
    mm.ram.words[index] = pfn << PAGE_SHIFT | vma.vm_page_prot | more | A


def _asked(vma: vm_area_struct, operation: str, method: Any, vmf: vm_fault) -> Any:
    """The driver's answer; no area of the space changes meanwhile."""
    mm, ops = vma.vm_mm, vma.vm_ops
    assert ops is not None
    mm.faulting += 1
    try:
        return call_driver(mm.kernel, ops.owner, operation, method, vmf)
    finally:
        mm.faulting -= 1
        if mm.faulted is not None:
            mm.fault_is_over()


def page_mkwrite(vma: vm_area_struct, vmf: vm_fault) -> Optional[int]:
    """Ask the driver before `vmf.page` becomes writable: None, go on; else the fault's outcome (do_page_mkwrite)."""
    ops = vma.vm_ops
    assert ops is not None and ops.page_mkwrite is not None and vmf.page is not None
    kernel = vma.vm_mm.kernel
    vmf.flags |= FAULT_FLAG_WRITE | FAULT_FLAG_MKWRITE
    pfn = vmf.page.pfn
    answer = _asked(vma, "page_mkwrite", ops.page_mkwrite, vmf)
    kernel.fault_answer = f"{ops.owner.name}.page_mkwrite"
    bits = _checked(vma, "page_mkwrite", ops.page_mkwrite, answer)
    if bits is None:
        return SIGBUS
    if bits & _ERROR:
        return _outcome(bits)
    if bits & VM_FAULT_NOPAGE:
        return MINOR  # the access is tried again
    _unlock(vma, "page_mkwrite", ops.page_mkwrite, bits, pfn)
    return None


def write_shared(mm: mm_struct, vma: vm_area_struct, address: int, index: int, pte: int, pfn: int) -> Optional[int]:
    """First write to a page of a shared area that is mapped read-only: `page_mkwrite` (wp_page_shared), or
    `pfn_mkwrite` with `pfn` < 0 (wp_pfn_shared).  None: the entry may become writable."""
    ops, mem, words = vma.vm_ops, mm.mem, mm.ram.words
    if ops is None:
        return None
    vmf = vm_fault(vma, address, FAULT_FLAG_WRITE)
    if pfn < 0:
        if ops.pfn_mkwrite is None:
            return None
        vmf.flags |= FAULT_FLAG_MKWRITE
        answer = _asked(vma, "pfn_mkwrite", ops.pfn_mkwrite, vmf)
        bits = _checked(vma, "pfn_mkwrite", ops.pfn_mkwrite, answer)
        outcome = SIGBUS if bits is None else _outcome(bits) if bits & _ERROR else None
    else:
        if ops.page_mkwrite is None:
            return None
        vmf.page = Page(mem, pfn)
        counted = not mem.flags[pfn] & PG_reserved
        if counted:
            mem.get_page(pfn)  # the method may sleep, and the page must not go meanwhile
        outcome = page_mkwrite(vma, vmf)
        if counted:
            mem.put_page(pfn)
    if outcome is None and words[index] | A | D != pte | A | D:
        return MINOR  # the entry changed while the method slept: the access is tried again
    return outcome


def _unlock(vma: vm_area_struct, operation: str, method: Any, bits: int, pfn: int) -> None:
    """The page's lock, which the driver took when it said VM_FAULT_LOCKED, is the kernel's to release."""
    mem = vma.vm_mm.mem
    if not bits & VM_FAULT_LOCKED:
        return
    if not mem.flags[pfn] & PG_locked:
        assert vma.vm_ops is not None
        why = "but the page is not locked (lock_page)"
        nonsense(vma.vm_ops.owner, operation, method, "VM_FAULT_LOCKED", why)
        return
    mem.unlock_page(pfn)
