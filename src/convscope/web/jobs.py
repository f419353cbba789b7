"""One worker thread: networks are asked one question after the other, and long questions can be watched and cancelled."""

from __future__ import annotations

import itertools
import queue
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from convscope.errors import Cancelled, ConvscopeError, UsageError

WAITING = 16  # jobs that may wait
KEPT = 64  # jobs that are remembered

Report = Callable[[int, int], None]


@dataclass
class Job:
    """A question that takes a while."""

    id: str
    work: Callable[[Report], Any]
    state: str = "queued"  # queued, running, done, failed, cancelled
    progress: float = 0.0
    error: str | None = None
    result: Any = None
    began: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    def report(self, done: int, total: int) -> None:
        """What the work calls between its steps: notes how far it is, and stops it when somebody asked for that."""
        if self.stop.is_set():
            raise Cancelled("stopped", "somebody pressed Cancel")
        self.progress = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        left = None
        if self.state == "running" and self.progress > 0:
            left = round((time.monotonic() - self.began) * (1 - self.progress) / self.progress, 1)
        return {
            "id": self.id,
            "state": self.state,
            "progress": self.progress,
            "eta": left,
            "error": self.error,
            "result": list(self.result) if isinstance(self.result, list) else self.result,
        }


class Failed(ConvscopeError):
    """A fault of ours, not of the question."""


def told(problem: Exception) -> ConvscopeError:
    """What the page is told of an error: of a fault of ours the last line, while the terminal shows all of it."""
    if isinstance(problem, ConvscopeError):
        return problem
    traceback.print_exception(problem)
    return Failed(
        "convscope failed", f"{type(problem).__name__}: {problem}", "the terminal of `convscope serve` shows where"
    )


class Worker:
    """Does one thing at a time. Short questions (`ask`) go before waiting jobs (`submit`)."""

    def __init__(self) -> None:
        self._queue: queue.PriorityQueue[tuple[int, int, Callable[[], None]]] = queue.PriorityQueue()
        self._number = itertools.count()
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[[Report], Any], so_far: Any = None) -> Job:
        """Queue a long question; `so_far` is shown as its result until it ends. Raises UsageError if too many wait."""
        with self._lock:
            if sum(job.state == "queued" for job in self._jobs.values()) >= WAITING:
                raise UsageError(
                    f"{WAITING} questions are waiting already", "the server answers one at a time", "wait, or cancel one"
                )
            job = Job(str(next(self._number)), work, result=so_far)
            self._jobs[job.id] = job
            for old in [j.id for j in self._jobs.values() if j.over][: max(0, len(self._jobs) - KEPT)]:
                del self._jobs[old]
        self._put(1, lambda: self._run(job))
        return job

    def ask(self, work: Callable[[], Any]) -> Future[Any]:
        """Queue a short question; the Future has its answer or its error."""
        answer: Future[Any] = Future()

        def run() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(work())
            except Exception as problem:  # noqa: BLE001 - handed to whoever asked, never swallowed
                answer.set_exception(told(problem))

        self._put(0, run)
        return answer

    def job(self, name: str) -> Job | None:
        return self._jobs.get(name)

    def cancel(self, job: Job) -> None:
        """A waiting job is over at once, a running one at its next report."""
        job.stop.set()
        with self._lock:
            if job.state == "queued":
                job.state = "cancelled"

    def _put(self, priority: int, action: Callable[[], None]) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="convscope-worker", daemon=True)
                self._thread.start()
        self._queue.put((priority, next(self._number), action))

    def _loop(self) -> None:
        while True:
            self._queue.get()[2]()

    def _run(self, job: Job) -> None:
        with self._lock:
            if job.state != "queued":
                return
            job.state, job.began = "running", time.monotonic()
        try:
            result = job.work(job.report)
        except Cancelled:
            job.state = "cancelled"
        except Exception as problem:  # noqa: BLE001 - said on the page, never swallowed
            job.error, job.state = str(told(problem)), "failed"
        else:
            job.result, job.progress, job.state = result, 1.0, "done"
