"""The guest's /etc: made up, but for the few files by which the host's programs find their libraries.

Names and passwords of the host's users are nobody's business, so `passwd`, `group` and `hosts` are ours.
Taken from the host, read-only and below the layer: how libraries, interpreters and data files are found, tables that
are alike everywhere, certificates.
"""

from __future__ import annotations

import os

from machine.kernel.fs.hostfs import HostTree
from machine.kernel.fs.overlay import overlay_dir
from machine.kernel.fs.tmpfs import memory_file, memory_symlink

FROM_HOST = (
    "alternatives", "debian_version", "ethertypes", "fb.modes", "fonts", "groff", "gtk-2.0", "gtk-3.0", "inputrc",
    "ld-musl-i386.path", "ld-musl-x86_64.path", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias",
    "localtime", "magic", "magic.mime", "manpath.config", "mc", "mime.types", "mke2fs.conf", "nanorc",
    "networks", "os-release", "papersize", "perl", "php", "protocols", "python3", "R", "rpc", "services", "sgml",
    "ssl/certs", "ssl/openssl.cnf", "terminfo", "texmf", "timezone", "vim", "xattr.conf", "xml",
    *(f"ImageMagick-{version}" for version in (6, 7)), *(f"java-{version}-openjdk" for version in range(8, 32)),
    *(f"python3.{minor}" for minor in range(9, 16)),
)  # fmt: skip


def texts(hostname: str, user: tuple[int, int]) -> dict[str, str]:
    """Name -> text of the files that are made up.  A user other than root is called ``user``."""
    passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    group = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"
    uid, gid = user
    if uid not in (0, 65534):
        passwd += f"user:x:{uid}:{gid}:user:/home/user:/bin/sh\n"
    if gid not in (0, 5, 65534):
        group += f"user:x:{gid}:\n"
    return {
        "group": group,
        "host.conf": "multi on\n",
        "hostname": hostname + "\n",
        "hosts": f"127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\nprotocols: files\n"
        "services: files\n",
        "passwd": passwd,
        "shells": "/bin/sh\n/bin/bash\n",
    }


def fill_etc(etc: overlay_dir, hostname: str, user: tuple[int, int], tree: HostTree | None) -> None:
    """Put everything into the empty directory `etc`; `tree` is the host's /etc, None where there is none."""
    sb = etc.i_sb
    for name, text in sorted(texts(hostname, user).items()):
        node = memory_file(sb, 0o100644)
        node.i_mapping.write(0, text.encode())
        etc.place(name, node)
    etc.place("mtab", memory_symlink(sb, "/proc/self/mounts"))
    if tree is not None:
        for name in FROM_HOST:
            _from_host(etc, tree, name)


def _from_host(etc: overlay_dir, tree: HostTree, name: str) -> None:
    info = tree.try_lstat(name)
    if info is None:
        return
    here = etc
    *above, leaf = name.split("/")
    for part in above:
        below = here.children.get(part)
        if not isinstance(below, overlay_dir):
            below = overlay_dir(etc.i_sb, 0o755)
            here.place(part, below)
        here = below
    borrowed = overlay_dir(etc.i_sb, 0o755, tree, os.path.dirname(name))
    node = borrowed.lookup(leaf)
    if node is not None:
        here.place(leaf, node)
