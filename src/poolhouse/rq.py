"""Workers of RQ whose work horses say goodbye: ``rq worker --worker-class poolhouse.rq.Worker``.

A work horse is forked, or spawned, for one job, and ends by ``os._exit``. Without its goodbye it is shown until it
has been silent for five intervals.
"""

from typing import Any

from rq import worker

from poolhouse.report.reporter import flush

__all__ = ["Goodbye", "SpawnWorker", "Worker"]


class Goodbye:
    """For a class of workers, before the class of RQ: the work horse reports its pools and says goodbye."""

    def perform_job(self, *arguments: Any, **options: Any) -> Any:
        """Do the job; RQ calls this in the work horse, or in the worker itself where that forks nothing."""
        try:
            return super().perform_job(*arguments, **options)  # type: ignore[misc]  # RQ's
        finally:
            if getattr(self, "is_horse", False):
                flush(goodbye=True)


class Worker(Goodbye, worker.Worker):
    """RQ's worker, which forks a work horse for each job."""


class SpawnWorker(Goodbye, worker.SpawnWorker):
    """RQ's worker that spawns its work horses."""
