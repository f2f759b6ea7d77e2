"""Sockets on one machine: AF_UNIX.  A guest has no way out; no socket of the host is ever used."""
