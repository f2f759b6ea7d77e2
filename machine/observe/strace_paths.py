"""What -y and -yy of strace add to descriptors: paths, devices, sockets."""

from __future__ import annotations

from stat import S_ISBLK, S_ISCHR
from typing import Any

from machine.kernel.fs.file import MAJOR, MINOR
from machine.observe.strace_args import PATH_LIMIT, Call, quote

AT_FDCWD = -100
_GONE = " (deleted)"
_KINDS = {1: "STREAM", 2: "DGRAM", 5: "SEQPACKET"}


def describe_fd(call: Call, fd: int, at: bool) -> str:
    """``</path>`` of a descriptor of the calling process, "" for one that is not open.  `at`: AT_FDCWD is one too."""
    task: Any = call.task
    if at and fd == AT_FDCWD:
        return _bracketed(task.fs.cwd.path(), "")
    filp = task.files.fds.get(fd) if task.files is not None else None
    if filp is None:
        return ""
    return _bracketed(filp.f_path, _more(filp) if call.paths > 1 else "")


def _bracketed(path: str, more: str) -> str:
    gone = path.endswith(_GONE)
    if more.startswith("UNIX"):
        return f"<{more}>"
    name = (path[: -len(_GONE)] if gone else path).encode(errors="surrogateescape")
    shown = quote(name[:PATH_LIMIT])[1:-1] + ("..." if len(name) > PATH_LIMIT else "")
    shown = shown.replace("<", "\\74").replace(">", "\\76")
    return f"<{shown}{more}>" + ("(deleted)" if gone else "")


def _more(filp: Any) -> str:
    """Of -yy: ``<char 1:3>``, ``UNIX-STREAM:[12->13]``."""
    node = filp.f_inode
    if S_ISCHR(node.i_mode) or S_ISBLK(node.i_mode):
        kind = "char" if S_ISCHR(node.i_mode) else "block"
        return f"<{kind} {MAJOR(node.i_rdev)}:{MINOR(node.i_rdev)}>"
    sock = filp.private_data
    if filp.f_path.startswith("socket:[") and hasattr(sock, "sk_type"):
        peer = getattr(getattr(sock, "peer", None), "node", None)
        return f"UNIX-{_KINDS.get(sock.sk_type, 'STREAM')}:[{node.i_ino}" + (f"->{peer.i_ino}]" if peer else "]")
    return ""
