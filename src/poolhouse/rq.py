"""Workers of RQ whose work horses say goodbye: ``rq worker --worker-class poolhouse.rq.Worker``.

RQ forks or spawns a work horse for each job and ends it by ``os._exit``. Without a goodbye it stays visible until
it has been silent for five intervals.
"""

from typing import Any

from rq import worker

from poolhouse.report.reporter import flush

__all__ = ["Goodbye", "SpawnWorker", "Worker"]


class Goodbye:
    """Mixin, placed before an RQ worker class: work horses report their pools and say goodbye."""

    def perform_job(self, *arguments: Any, **options: Any) -> Any:
        """Perform the job. RQ calls this in the work horse, or in the worker itself if that does not fork."""
        try:
            return super().perform_job(*arguments, **options)  # type: ignore[misc]  # RQ's
        finally:
            if getattr(self, "is_horse", False):
                flush(goodbye=True)


class Worker(Goodbye, worker.Worker):
    """RQ's worker, which forks a work horse for each job."""


class SpawnWorker(Goodbye, worker.SpawnWorker):
    """RQ's worker that spawns a work horse for each job."""
