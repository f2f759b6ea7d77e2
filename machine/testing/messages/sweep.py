"""Texts: nopage sweep."""

from __future__ import annotations


def wants_dask() -> str:
    """--scheduler without the extra."""
    return "--scheduler: Dask is not installed here: pip install 'nopage[sweep]'"


def no_scheduler(address: str, why: str) -> str:
    """Nobody answers there."""
    return f"--scheduler {address}: no scheduler of Dask answers there: {why}"


def scheduler_gone(address: str) -> str:
    """The scheduler was stopped, or the network is."""
    return f"--scheduler {address}: the connection to the scheduler is lost"


def workers_failed(address: str, why: str) -> str:
    """A worker without nopage, or one that dies of the runs."""
    return (
        f"--scheduler {address}: its workers can't make the runs: {why}. nopage has to be installed where the "
        "workers are, and where the scheduler is"
    )


def other_nopage(where: str, there: str, here: str) -> str:
    """A worker with another version."""
    return f"{where}: nopage is {there} there and {here} here: install the same"


def not_here(where: str, why: str) -> str:
    """What runs on this computer doesn't on a worker's."""
    return f"{where}: {why}"


def another_way(n: int) -> str:
    """A worker's run that does not meet what this computer's did."""
    return (
        f"run {n} did not come to what was to fail in it: where the worker is, the program's libraries or the files "
        "that it reads are others. --file takes files along"
    )


def sweep_stopped(why: str, done: int, total: int, journal: object) -> str:
    """No more runs can be made."""
    return f"{why}\n{done} of {total} runs are done" + ("; the same command goes on from there" if journal else "")


def other_sweep(path: str) -> str:
    """The journal is of another program, or of another version of it."""
    differs = "it is of another sweep (program, options, files or nopage differ)"
    return f"--journal {path}: {differs}; remove it, or name another"


def sweep_interrupted(done: int, total: int, journal: object) -> str:
    """Ctrl-C."""
    return f"interrupted: {done} of {total} runs are done" + (
        "; the same command goes on from there" if journal else ""
    )
