"""Who is running a cell: two coordinators on one store share the work, and a dead one gives it up.

The owner of a lease is a process. Its name says on which machine, since which boot and with which
start time, so that whoever stands on the same machine sees at once whether it is still there. From
elsewhere (another container) it is taken for dead when its lease has not been renewed for a
minute of the watcher's own monotonic clock. No clock of the day is read: setting it does no harm.
A lease only saves work: cells are idempotent, and a result is stored once whoever brings it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.errors import StoreError
from rlsuite.store import Lease, Store

__all__ = ["BEAT_SECONDS", "DEAD_SECONDS", "Watch", "heartbeat", "is_alive", "new_owner"]

BEAT_SECONDS = 5.0
DEAD_SECONDS = 60.0

_OWNERS_HERE: set[str] = set()
"""Owners of this process that have not ended yet."""


def new_owner() -> str:
    """A name for this process that no other one has: place, process id, start time, something."""
    pid = os.getpid()
    owner = "/".join((_place(), str(pid), _start_time(pid), uuid.uuid4().hex[:12]))
    _OWNERS_HERE.add(owner)
    return owner


def is_alive(owner: str) -> bool | None:
    """Whether the process of a lease is there; None where that cannot be seen from here."""
    place, _, rest = owner.rpartition("/")[0].partition("/")
    pid, _, started = rest.partition("/")
    if place != _place() or not started or not pid.isdecimal():
        return None
    now = _start_time(int(pid))
    if now == "unknown":
        return None
    if int(pid) == os.getpid() and owner not in _OWNERS_HERE:
        return False  # an earlier run in this process, which could not end its leases
    return now == started


class Watch:
    """Watches the leases of others, and says which owners are dead.

    Args:
        patience: Seconds without a renewal after which an owner that cannot be seen is dead.
        clock: A clock that never jumps.
    """

    def __init__(
        self, patience: float = DEAD_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience, self._clock = patience, clock
        self._seen: dict[str, tuple[Lease, float]] = {}

    def is_dead(self, digest: str, lease: Lease) -> bool:
        """Whether the cell may be taken over."""
        alive = is_alive(lease.owner)
        if alive is not None:
            return not alive
        known, since = self._seen.get(digest, (None, 0.0))
        if known != lease:
            self._seen[digest] = (lease, self._clock())
            return False
        return self._clock() - since > self._patience


@contextmanager
def heartbeat(store: Store, owner: str, seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """Renews the leases of `owner` inside, from a thread; all of them end with it."""
    done = threading.Event()

    def renew() -> None:
        with contextlib.suppress(StoreError), Store(store.path) as own:
            while not done.wait(seconds):
                with contextlib.suppress(StoreError):  # a full disk may have room again
                    own.beat(owner)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _OWNERS_HERE.discard(owner)
        with contextlib.suppress(StoreError):  # they end by themselves with this process
            store.release(owner)


def _place() -> str:
    """This machine since its last start, and the space of process ids seen from here."""
    boot = _read("/proc/sys/kernel/random/boot_id").strip() or "unknown"
    try:
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        space = "unknown"
    return f"{platform.node().replace('/', '_')}:{boot}:{space}"


def _start_time(pid: int) -> str:
    """When a process began, in ticks since the boot; empty if it is not there, or only a corpse."""
    if not Path("/proc/self/stat").exists():
        return "unknown"
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in "ZX":
        return ""
    return fields[19]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
