"""Where the runs of a sweep are made: in processes of this computer, or by the workers of a Dask cluster."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from machine.errors import ConfigError, NopageError
from machine.sweep.job import Job, make_run
from machine.testing import messages
from machine.testing.foreach import MISSED, Outcome

CONNECT_SECONDS = 10


def on_this_computer(job: Job, numbers: Sequence[int], clean: Outcome, workers: int) -> Iterator[Outcome]:
    """In so many processes; outcomes as they come."""
    pool = ProcessPoolExecutor(min(workers, len(numbers)), mp_context=multiprocessing.get_context("spawn"))
    try:
        for done in as_completed([pool.submit(make_run, job, n, clean) for n in numbers]):
            yield done.result()[0]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def by_dask(job: Job, numbers: Sequence[int], clean: Outcome, scheduler: str) -> Iterator[Outcome]:
    """By the workers of the cluster at `scheduler`, where nopage has to be installed.  ConfigError: it is not there."""
    try:
        import distributed
    except ImportError:
        raise ConfigError(messages.wants_dask()) from None
    dask: Any = distributed
    logging.disable(logging.CRITICAL)  # what it would say of a lost connection is said below, in one line
    try:
        client = _connected(dask, scheduler)
        with client:
            shared = client.scatter(job, broadcast=True)
            runs = [client.submit(make_run, shared, n, clean, pure=False, retries=2) for n in numbers]
            for done in dask.as_completed(runs):
                outcome: Outcome = done.result()[0]
                if outcome.verdict == MISSED:
                    raise ConfigError(messages.another_way(outcome.n))
                yield outcome
    except NopageError:
        raise
    except (dask.client.FutureCancelledError, dask.CancelledError, OSError, TimeoutError):
        raise ConfigError(messages.scheduler_gone(scheduler)) from None
    except Exception as error:  # from unpickling there, or from a worker that was killed
        raise ConfigError(messages.workers_failed(scheduler, _first_line(error))) from None
    finally:
        logging.disable(logging.NOTSET)


def _connected(dask: Any, scheduler: str) -> Any:
    try:
        return dask.Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(messages.no_scheduler(scheduler, str(error))) from None


def _first_line(error: BaseException) -> str:
    """Dask's own texts go on with advice about Dask; the cause of one says more."""
    while error.__cause__ is not None:
        error = error.__cause__
    kind = type(error).__name__
    return (str(error).splitlines() or [kind])[0] if kind == "Exception" else f"{kind}: {error}".splitlines()[0]
