"""Page faults: from the exception to the page (arch/x86/mm/fault.c, mm/memory.c of 2.6.10).

`do_page_fault` is entered from the CPU's trap, `faultin` from the kernel's own copies; both meet in
`handle_mm_fault`.  Handlers leave who answered in `kernel.fault_answer` and the frame in
`kernel.fault_pfn` for whoever watches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.paging import NX, PF_FETCH, PF_PRESENT, PF_RSVD, PF_USER, PF_WRITE, RW, US, A, D, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import Errno
from machine.kernel.abi.signal import BUS_ADRERR, SEGV_ACCERR, SEGV_MAPERR, SIGBUS, SIGKILL, SIGSEGV
from machine.kernel.answers import nonsense
from machine.kernel.mm.ahead import SMALLEST, fault_ahead
from machine.kernel.mm.copy_page import copy_frame
from machine.kernel.mm.do_fault import FAULT_FLAG_INSTRUCTION, FAULT_FLAG_USER, do_fault, write_shared
from machine.kernel.mm.do_fault import SIGSEGV as FAULT_SIGSEGV
from machine.kernel.mm.fault_around import fault_around
from machine.kernel.mm.filemap import generic_file_vm_ops
from machine.kernel.mm.given_page import bad_page_of, check_reference
from machine.kernel.mm.page import (
    ANONYMOUS,
    NOPAGE_OOM,
    NOPAGE_SIGBUS,
    VM_FAULT_MAJOR,
    VM_FAULT_MINOR,
    VM_FAULT_OOM,
    VM_FAULT_SIGBUS,
    Page,
    PG_exec,
    PG_reserved,
)
from machine.kernel.mm.pte import DEVICE, PROTNONE, PTE_PFN, SPECIAL, UFFD_WP
from machine.kernel.mm.refusal import refused
from machine.kernel.mm.vma import VM_EXEC, VM_GROWSDOWN, VM_READ, VM_SHARED, VM_WRITE, vm_area_struct
from machine.kernel.module import DRIVER_FAILED, call_for_page

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.task import Task

_ACCESS = VM_READ | VM_WRITE | VM_EXEC
PAGE_FAULT_VECTOR = 14
NO_FRAME = "out of memory"
"""`kernel.fault_answer` when the machine itself had no frame."""


_NEVER = 1 << 62


def _needed(error_code: int) -> int:
    """What an area must allow for an access that faulted so: any of these VM_ bits (access_error).

    An absent page is brought for a fetch that its area forbids, too; the fetch that follows faults on it.  No area
    allows reserved bits in an entry.
    """
    if error_code & PF_RSVD:
        return _NEVER
    if error_code & PF_WRITE:
        return VM_WRITE
    return VM_EXEC if error_code & PF_FETCH and error_code & PF_PRESENT else _ACCESS


_NEEDED = tuple(_needed(code) for code in range(32))
_BOGUS = "bogus page"
"""`kernel.fault_answer` where a driver has mapped a page that there is none of for a private copy."""
_FLAGS = tuple(FAULT_FLAG_USER | (FAULT_FLAG_INSTRUCTION if code & PF_FETCH else 0) for code in range(32))
"""By error code, the FAULT_FLAG_ bits of the user's own access."""
_PAGE_MASK = ~(PAGE_SIZE - 1)
TASK_SIZE_MAX = (1 << 47) - PAGE_SIZE
"""Error codes of faults from here on say that there is a page, whatever the task's ABI (set_signal_archinfo)."""


def do_page_fault(
    kernel: Kernel, task: Task, address: int, error_code: int, vma: Optional[vm_area_struct] = None
) -> None:
    """The guest's own access faulted: make the page present or send the signal.  `vma` covers the address, if known."""
    mm = task.mm
    if vma is None:
        if address >= mm.task_size:
            bad_area(kernel, task, SEGV_MAPERR, address, error_code | (PF_PRESENT if address >= TASK_SIZE_MAX else 0))
            return
        vma = mm.find_vma(address)
        if vma is None or (vma.vm_start > address and not expand_stack(mm, vma, address)):
            bad_area(kernel, task, SEGV_MAPERR, address, error_code)
            return
    if not vma.vm_flags & _NEEDED[error_code & 31]:
        if error_code & PF_RSVD:
            _pgtable_bad(kernel, task, address, error_code)
        else:
            bad_area(kernel, task, SEGV_ACCERR, address, error_code)
        return
    leaf, index, pte = mm.tables.leaves.get(address >> 21), -1, 0
    if leaf is not None:
        index = leaf + (address >> PAGE_SHIFT & 511)
        pte = mm.ram.words[index]
        if pte & DEVICE and not pte & P:
            if error_code & PF_FETCH and not vma.vm_flags & VM_EXEC:
                bad_area(kernel, task, SEGV_ACCERR, address, error_code | PF_PRESENT)
                return
            kernel.fault_answer = "device registers"
            if not kernel.mmio.access(task, vma, address, error_code, (pte & PTE_PFN) | (address & (PAGE_SIZE - 1))):
                kernel.force_sig_fault(task, SIGBUS, BUS_ADRERR, address, PAGE_FAULT_VECTOR, error_code)
            return
    write = error_code & PF_WRITE != 0
    if not pte and index >= 0 and (ops := vma.vm_ops) is not None and ops.nopage is not None:
        try:  # what handle_mm_fault comes to for most pages of a driver, on the shortest way
            outcome = do_no_page(mm, vma, address & _PAGE_MASK, write, index)
        except Errno:
            kernel.fault_answer, outcome = NO_FRAME, VM_FAULT_OOM
        if kernel.check_invariants:
            kernel.check_mm(mm)
    else:
        outcome = handle_mm_fault(mm, vma, address, write, _FLAGS[error_code & 31], index, pte)
    if outcome == VM_FAULT_MINOR:
        task.min_flt += 1
    elif outcome == VM_FAULT_MAJOR:
        task.maj_flt += 1
    elif outcome == VM_FAULT_SIGBUS:
        kernel.force_sig_fault(task, SIGBUS, BUS_ADRERR, address, PAGE_FAULT_VECTOR, error_code)
    elif outcome == FAULT_SIGSEGV:
        kernel.force_sig_fault(task, SIGSEGV, SEGV_MAPERR, address, PAGE_FAULT_VECTOR, error_code)
    elif of_driver(kernel, vma) or not _memory_will_come(kernel, task):
        kernel.printk(f"VM: killing process {task.comm}", 3)
        kernel.force_sig_fault(task, SIGKILL, 0, 0, PAGE_FAULT_VECTOR, error_code)


def _pgtable_bad(kernel: Kernel, task: Task, address: int, error_code: int) -> None:
    """An entry with bits that must be 0: Linux calls the tables corrupt, and ends the process (pgtable_bad)."""
    kernel.printk(f"{task.comm}: Corrupted page table at address {address:x}", 1)
    kernel.fault_answer = "reserved bit in the entry"
    kernel.force_sig_fault(task, SIGKILL, 0, 0, PAGE_FAULT_VECTOR, error_code)


def of_driver(kernel: Kernel, vma: vm_area_struct) -> bool:
    """Whether a driver has answered that there is no memory (NOPAGE_OOM), or has mapped what can't be copied: its
    process ends, as in 2.6.10, and no frame is missing."""
    ops = vma.vm_ops
    if kernel.fault_answer == _BOGUS:
        return True
    return ops is not None and ops.owner is not None and kernel.fault_answer != NO_FRAME


def _memory_will_come(kernel: Kernel, task: Task) -> bool:
    """Somebody has to end: the instruction runs again when it was another process, and the signal ends this one."""
    from machine.kernel.mm.oom_kill import out_of_memory

    return out_of_memory(kernel, task) or task.sigpending


def bad_area(kernel: Kernel, task: Task, si_code: int, address: int, error_code: int) -> None:
    kernel.refused = (None, "")
    kernel.fault_answer = "no area" if si_code == SEGV_MAPERR else "area does not allow it"
    error_code |= PF_USER  # the engine makes some accesses of ring 3 with the rights of ring 0 (hardware/gdt.py)
    kernel.force_sig_fault(task, SIGSEGV, si_code, address, PAGE_FAULT_VECTOR, error_code)


def access_error(vma: vm_area_struct, error_code: int) -> bool:
    """Whether the area forbids the access (arch/x86/mm/fault.c: access_error)."""
    return not vma.vm_flags & _NEEDED[error_code & 31]


def faultin(mm: mm_struct, address: int, error_code: int) -> bool:
    """The kernel wants to touch user memory at `address`: True when it may now (mm/gup.c: faultin_page)."""
    vma = mm.find_vma(address)
    if vma is None or (vma.vm_start > address and not expand_stack(mm, vma, address)):
        return False
    if access_error(vma, error_code):
        return False
    pte = mm.tables.get(address)
    if pte & DEVICE and not pte & P:
        return False
    if pte & P:
        mm.flush_tlb()  # the guest may have read the page through the entry that changes now
    outcome = handle_mm_fault(mm, vma, address, bool(error_code & PF_WRITE))
    current = mm.kernel.current
    if outcome == VM_FAULT_MINOR:
        if current is not None:
            current.min_flt += 1
        return True
    if outcome == VM_FAULT_MAJOR:
        if current is not None:
            current.maj_flt += 1
        return True
    if outcome == VM_FAULT_OOM and current is not None:
        if not of_driver(mm.kernel, vma):
            if mm.kernel.wait_for_memory():
                return faultin(mm, address, error_code)
            if current.sigpending:
                return False
        mm.kernel.printk(f"VM: killing process {current.comm}", 3)
        mm.kernel.force_sig_fault(current, SIGKILL, 0, 0, PAGE_FAULT_VECTOR, error_code)
    return False


def handle_mm_fault(
    mm: mm_struct, vma: vm_area_struct, address: int, write: bool, flags: int = 0, index: int = -1, pte: int = 0
) -> int:
    """Make `address` present for this access.  Returns VM_FAULT_MINOR, _MAJOR, _SIGBUS, _OOM or FAULT_SIGSEGV.

    `flags`: FAULT_FLAG_USER, FAULT_FLAG_INSTRUCTION, for a driver's `fault`.  `index` is the place of the page's entry
    among the words of RAM, and `pte` what is there; -1: not known.
    """
    kernel = mm.kernel
    page = address & _PAGE_MASK
    try:
        if index < 0:
            index = mm.tables.leaf(address)
            pte = mm.ram.words[index]
        if not pte:
            ops = vma.vm_ops
            if ops is None:
                outcome = do_anonymous_page(mm, vma, page, write, index)
            elif ops.nopage is not None:
                outcome = do_no_page(mm, vma, page, write, index)
            elif ops.today:
                outcome = do_fault(mm, vma, address, write, index, flags)
            elif ops.userfault is not None:
                outcome = ops.userfault(vma, address, write, index, flags)
            else:
                outcome = do_anonymous_page(mm, vma, page, write, index)
        elif not pte & P and not pte & PROTNONE:
            kernel.fault_answer = "entry neither present nor empty"
            kernel.refused = (vma, "the entry is neither present nor empty: made with a protection of 0?")
            outcome = VM_FAULT_SIGBUS
        elif write and not pte & RW:
            if pte & UFFD_WP and vma.vm_ops is not None and vma.vm_ops.userfault is not None:
                outcome = vma.vm_ops.userfault(vma, address, write, index, flags)
            else:
                outcome = do_wp_page(mm, vma, page, index, pte)
        else:
            kernel.fault_answer = "already present"
            mm.ram.words[index] = pte | A
            mm.flush_tlb()
            outcome = VM_FAULT_MINOR
    except Errno:
        kernel.fault_answer = NO_FRAME
        return VM_FAULT_OOM
    if kernel.check_invariants:
        kernel.check_mm(mm)
    return outcome


def do_anonymous_page(mm: mm_struct, vma: vm_area_struct, page: int, write: bool, index: int) -> int:
    """No object behind the area: the shared zero page for a read, a zeroed frame for a write."""
    kernel = mm.kernel
    if not write:
        kernel.fault_answer = "zero page"
        kernel.fault_pfn = kernel.zero_pfn
        mm.ram.words[index] = (kernel.zero_pfn << PAGE_SHIFT | vma.vm_page_prot | A) & ~RW
        return VM_FAULT_MINOR
    mem = mm.mem
    large = vma.vm_end - vma.vm_start >= SMALLEST
    if large and kernel.batch_faults and kernel.events.fault is None and fault_ahead(mm, vma, page, index):
        return VM_FAULT_MINOR
    pfn = mem.alloc_zeroed("anonymous")
    mem.mapcount[pfn] = 1
    mm.rss_anon += 1
    mm.ram.words[index] = pfn << PAGE_SHIFT | vma.vm_page_prot | RW | A | D
    kernel.fault_answer = "stack" if vma.vm_flags & VM_GROWSDOWN else "anonymous"
    kernel.fault_pfn = pfn
    if vma.vm_flags & VM_EXEC:
        mem.flags[pfn] |= PG_exec
    return VM_FAULT_MINOR


def do_no_page(mm: mm_struct, vma: vm_area_struct, page: int, write: bool, index: int, ops: Any = None) -> int:
    """First touch of a page that the area's `nopage` method, or that of `ops`, provides (mm/memory.c: do_no_page)."""
    kernel, mem, words = mm.kernel, mm.mem, mm.ram.words
    if ops is None:
        ops = vma.vm_ops
    owner, kind = ops.owner, [VM_FAULT_MINOR]
    if owner is not None:
        answer, fresh = call_for_page(mm, owner, "nopage", ops.nopage, (vma, page, kind))
        kernel.fault_answer = owner.nopage_name
        if not isinstance(answer, Page):
            return _no_page(vma, answer)
        pfn = answer.pfn
        usual = answer.mem is mem and 0 <= pfn < mem.low_pfn
        count, whose = (mem.count[pfn], mem._owner[pfn]) if usual else (0, 0)
        if (count <= 0 or not whose) and bad_page_of(mem, answer):
            return _no_page(vma, answer)
        page_flags, mapped = mem.flags[pfn], mem.mapcount[pfn]
        if (fresh or count < mapped + 2) and not page_flags & PG_reserved:
            check_reference(kernel, vma, page, pfn, fresh)
    else:
        if not write and kernel.batch_faults and kernel.events.fault is None and ops is generic_file_vm_ops:
            outcome = fault_around(mm, vma, page, index)
            if outcome >= 0:
                return outcome
        answer = ops.nopage(vma, page, kind)
        kernel.fault_answer = "file"
        if not isinstance(answer, Page):
            return _no_page(vma, answer)
        pfn = answer.pfn
        page_flags, mapped = mem.flags[pfn], mem.mapcount[pfn]
    kernel.fault_pfn = pfn
    if words[index]:  # somebody else mapped it while the method slept
        mem.put_page(pfn)
        return VM_FAULT_MINOR
    prot = vma.vm_page_prot | A
    if write and not vma.vm_flags & VM_SHARED:
        try:
            new = copy_frame(mm, pfn)
        finally:
            mem.put_page(pfn)
        kernel.fault_answer += ", copied"
        kernel.fault_pfn = pfn = new
        entry = pfn << PAGE_SHIFT | prot | RW | D
        mm.rss_anon += 1
        mem.mapcount[pfn] = 1
    else:
        entry = pfn << PAGE_SHIFT | prot
        if write:
            entry |= D
            if ops is generic_file_vm_ops:
                vma.vm_file.f_inode.file_update_time()  # type: ignore[union-attr]
        if not page_flags & PG_reserved:
            if mem._owner[pfn] == ANONYMOUS:  # a window on physical memory shows a page of some process
                mm.rss_anon += 1
            else:
                mm.rss_file += 1
            mem.mapcount[pfn] = mapped + 1
    if vma.vm_flags & VM_EXEC:
        mem.flags[pfn] |= PG_exec
    words[index] = entry
    return VM_FAULT_MAJOR if kind[0] == VM_FAULT_MAJOR else VM_FAULT_MINOR


def _no_page(vma: vm_area_struct, answer: Any) -> int:
    """The fault's outcome for an answer that is no page: NOPAGE_SIGBUS (NULL), NOPAGE_OOM, or nonsense, reported."""
    ops = vma.vm_ops
    assert ops is not None
    if answer is NOPAGE_OOM:
        refused(vma, "nopage", ops.nopage, "returned NOPAGE_OOM")
        return VM_FAULT_OOM
    is_null = answer is None or (type(answer) is int and answer == 0)
    refused(vma, "nopage", ops.nopage, "raised" if answer is DRIVER_FAILED else "returned NOPAGE_SIGBUS")
    if answer is not NOPAGE_SIGBUS and answer is not DRIVER_FAILED and not is_null:
        why = "which is no struct page"
        if isinstance(answer, Page):
            why = bad_page_of(vma.vm_mm.mem, answer)
        nonsense(ops.owner, "nopage", ops.nopage, answer, why)
    return VM_FAULT_SIGBUS


def do_wp_page(mm: mm_struct, vma: vm_area_struct, page: int, index: int, pte: int) -> int:
    """A write to a present page whose entry is read-only (mm/memory.c: do_wp_page)."""
    kernel, mem, words = mm.kernel, mm.mem, mm.ram.words
    old = (pte & PTE_PFN) >> PAGE_SHIFT
    special = pte & SPECIAL
    if not special and not mem.pfn_valid(old):
        kernel.printk(f"do_wp_page: bogus page at address {page:08x}", 3)
        kernel.fault_answer = _BOGUS
        return VM_FAULT_OOM
    if not special:
        kernel.fault_pfn = old
    uncounted = special or mem.flags[old] & PG_reserved
    if vma.vm_flags & VM_SHARED and old != kernel.zero_pfn:  # the zero page is copied for shared areas too
        ops = vma.vm_ops
        if ops is not None and ops.today:
            outcome = write_shared(mm, vma, page, index, pte, -1 if special else old)
            if outcome is not None:
                return outcome
        words[index] = pte | RW | A | D
        kernel.fault_answer = "write enabled"
        return VM_FAULT_MINOR
    if not uncounted and mem.count[old] == 1 and mem.owner_of(old) == "anonymous":
        words[index] = pte | RW | A | D
        kernel.fault_answer = "copy-on-write, last user"
        if not pte & NX:
            mm.flush_tlb()
        return VM_FAULT_MINOR
    new = copy_frame(mm, old)
    mem.mapcount[new] = 1
    kernel.fault_answer = "copy-on-write"
    kernel.fault_pfn = new
    words[index] = new << PAGE_SHIFT | vma.vm_page_prot | RW | A | D
    mm.rss_anon += 1
    if not uncounted:
        if mem.owner_of(old) == "anonymous":
            mm.rss_anon -= 1
        else:
            mm.rss_file -= 1
        mem.mapcount[old] -= 1
        mem.put_page(old)
    if vma.vm_flags & VM_EXEC:
        mem.flags[new] |= PG_exec
        mm.flush_tlb()
    return VM_FAULT_MINOR


def expand_stack(mm: mm_struct, vma: vm_area_struct, address: int) -> bool:
    """Grow a VM_GROWSDOWN area down to `address`, within the limits (mm/mmap.c: expand_downwards)."""
    if not vma.vm_flags & VM_GROWSDOWN or address >= vma.vm_start:
        return False
    from machine.kernel.mm.stack import grow_down

    return grow_down(mm, vma, address & ~(PAGE_SIZE - 1))


__all__ = [
    "PF_USER", "PROTNONE", "US", "access_error", "bad_area", "do_anonymous_page", "do_no_page", "do_page_fault",
    "do_wp_page", "faultin", "handle_mm_fault",
]  # fmt: skip
