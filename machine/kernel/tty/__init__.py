"""Terminals of the machine's own: the pseudo terminals of /dev/ptmx, their line discipline, and job control.

The user's terminal is no part of this: it stays the host's, with the host's line discipline (`fs/hostio.py`).
"""
