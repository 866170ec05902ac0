"""Small real programs that have a cause of trouble, the same ones without it, and healthy ones.

They run on real servers, and report to a real connmond: those with a cause and the healthy ones all at once, and
where a cause has been found, the same program without it. Each test looks at its own.
"""

import os
import re
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial

import pytest

from poolhouse.verdicts.causes import CAUSES
from support.stage import Actor, Part, Stage
from support.waiting import wait_until

#: How long a program without a fault is watched, in seconds: a mended one, and a healthy one.
MENDED_SECONDS = 60.0
HEALTHY_SECONDS = float(os.environ.get("POOLHOUSE_HEALTHY_SECONDS", "120"))
#: A verdict is about so many seconds before it, and stands for so many after them.
LOOKS_BACK = 30.0
#: From the first symptom to the verdict, at most.
VERDICT_SECONDS = 10.0
#: How long a client waits in vain at most before it has the error.
TIMEOUT_SECONDS = 3.0
#: How long a busy machine has until a fault shows. It sets in after 12 s at most.
PATIENCE = 90.0


#: Who tells the verdict: the process's ``log``, ``connmon --json``, and the ``error`` of a client that waited in
#: vain. The errors of most programs are the driver's, or they have none.
ALL, NO_ERROR = ("log", "json", "error"), ("log", "json")
#: Notices are not logged, nor is what no process can know.
JSON = ("json",)


@dataclass(frozen=True)
class Case:
    """A program with a fault.

    Attributes:
        cause: What its verdict is called.
        mended_at: Where its mended version works if not at the same server.
        tells: Who tells the verdict.
        has_line: Whether the verdict names the line that is marked as the culprit.
        says: What a verdict says that names no line.
    """

    cause: str
    part: Part
    mended_at: str = ""
    tells: tuple[str, ...] = NO_ERROR
    has_line: bool = True
    says: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.part, self.mended)

    @property
    def mended(self) -> Part:
        part = self.part
        return Part(part.script, mended=True, database=self.mended_at or part.database, hosts=part.hosts)


HOSTS = ("web1", "web2", "web3")
CASES = [
    Case("leak", Part("leak_error_path"), tells=ALL),
    Case("leak", Part("leak_cancelled")),
    Case("leak", Part("leak_collected")),
    Case("leak", Part("leak_hardly_a_pause"), tells=ALL),
    Case("held_idle", Part("held_call"), tells=ALL),
    Case("held_idle", Part("held_await"), tells=ALL),
    Case("slow_statement", Part("slow_report"), tells=ALL),
    Case("slow_statement", Part("slow_query_async"), tells=ALL),
    Case("slow_statement", Part("slow_mariadb", database="mariadb"), tells=ALL),
    Case("row_lock", Part("row_lock"), tells=ALL),
    Case("row_lock", Part("row_lock_elsewhere"), tells=ALL, has_line=False, says="and none comes back: a lock"),
    Case("pool_too_small", Part("small_pool"), has_line=False, tells=ALL),
    Case("pool_too_small", Part("small_pool_async"), has_line=False, tells=ALL),
    Case("nested_checkout", Part("nested_audit"), tells=ALL),
    Case("nested_checkout", Part("nested_async"), tells=ALL),
    Case("no_cpu", Part("throttled_threads", database="sqlite"), has_line=False, tells=JSON),
    Case("no_cpu", Part("throttled_async"), has_line=False, tells=JSON),
    Case("event_loop_blocked", Part("blocked_loop")),
    Case("event_loop_blocked", Part("blocked_by_driver")),
    Case("stale_connections", Part("stale_idle_timeout"), has_line=False),
    Case("stale_connections", Part("stale_psycopg_pool"), has_line=False),
    Case("stale_connections", Part("stale_mariadb", database="mariadb"), has_line=False),
    Case("engine_per_request", Part("engine_per_request")),
    Case("engine_per_request", Part("pool_per_request")),
    Case("duplicate_engines", Part("duplicate_factory"), tells=JSON),
    Case("duplicate_engines", Part("duplicate_async"), tells=JSON),
    Case("shared_after_fork", Part("fork_shared")),
    Case("shared_after_fork", Part("fork_multiprocessing")),
    Case("database_down", Part("down_threads", database="mortal"), "main", has_line=False),
    Case("database_down", Part("down_async", database="mortal"), "main", has_line=False, tells=ALL),
    Case("database_down", Part("down_psycopg_pool", database="mortal"), "main", has_line=False, tells=ALL),
    Case("server_full", Part("full_sum", database="small", hosts=HOSTS[:2]), "main", has_line=False),
    Case("server_full", Part("full_role", database="clerk"), "clerk_of_few", has_line=False),
    Case("slow_host", Part("slow_host_threads", hosts=HOSTS), has_line=False, tells=JSON),
    Case("slow_host", Part("slow_host_async", hosts=HOSTS), has_line=False, tells=JSON),
]


@dataclass(frozen=True)
class Healthy:
    part: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.part,)


HEALTHY = [
    Healthy(Part("healthy_steady")),
    Healthy(Part("healthy_bursts")),
    Healthy(Part("healthy_batch")),
    Healthy(Part("healthy_pool_of_one", database="sqlite")),
    Healthy(Part("healthy_idle_workers", database="sqlite")),
    Healthy(Part("healthy_full_start")),
    Healthy(Part("healthy_short_runs")),
    Healthy(Part("healthy_listeners")),
]


def name_of(case: Case | Healthy) -> str:
    return case.part.name


def is_shown(stage: Stage, part: Part) -> bool:
    """Whether the fleet shows all of its processes and what they did."""
    row = stage.row(part)
    return row is not None and row["processes"] >= len(part.hosts) and row["checkouts_total"] > 0


def test_each_cause_has_two_programs() -> None:
    programs = Counter(case.cause for case in CASES)
    assert [cause.name for cause in CAUSES if programs[cause.name] < 2] == []


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_verdict_names_cause_and_line(stage: Stage, case: Case) -> None:
    actor = stage.actors[case.part.name]
    wait_until(lambda: actor.symptoms, timeout=PATIENCE, what=f"a symptom; {actor.log[-20:]}")
    site = case.part.site("culprit") if case.has_line else ""
    wanted = f"{case.cause}: .*{site or case.says}"
    first = actor.symptoms[0][0]
    for face in case.tells:
        at = wait_until(partial(told_by[face], stage, case, wanted, site), PATIENCE, told(stage, actor, wanted))
        in_time = at - first <= VERDICT_SECONDS + TIMEOUT_SECONDS * (face == "error")
        assert in_time or stage.machine.is_overloaded(first, at), f"{face} after {at - first:.1f} s"
    wait_until(lambda: is_shown(stage, case.part), what=f"{case.part.name} in the fleet; {actor.log[-20:]}")
    stage.end(case.part)


def in_log(stage: Stage, case: Case, wanted: str, _: str) -> float | None:
    return stage.actors[case.part.name].logged(f"finds trouble with .*: {wanted}")


def in_json(stage: Stage, case: Case, _: str, site: str) -> float | None:
    return stage.shown(case.part.name, case.cause, site, has_no_line=bool(case.says))


def in_error(stage: Stage, case: Case, wanted: str, _: str) -> float | None:
    symptoms = stage.actors[case.part.name].symptoms
    return next((at for at, _, text in symptoms.copy() if re.search(wanted, text)), None)


told_by = {"log": in_log, "json": in_json, "error": in_error}


def told(stage: Stage, actor: Actor, wanted: str) -> str:
    """What is wanted, and what there is so far."""
    lines = "\n".join(f"{at - actor.began:.1f} {line}" for at, line in actor.log[-20:])
    verdicts = stage.verdicts.get(actor.part.name, [])[-1:]
    return f"{wanted}\n{lines}\nerrors: {actor.errors()[-2:]}\nverdicts: {verdicts}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_without_the_fault_there_is_no_alarm(stage: Stage, case: Case) -> None:
    works_without_an_alarm(stage, case.mended, MENDED_SECONDS)


@pytest.mark.parametrize("healthy", HEALTHY, ids=name_of)
def test_a_healthy_program_raises_no_alarm(stage: Stage, healthy: Healthy) -> None:
    works_without_an_alarm(stage, healthy.part, HEALTHY_SECONDS)


def works_without_an_alarm(stage: Stage, part: Part, seconds: float) -> None:
    actor = stage.actors[part.name]
    stage.begin(part)
    wait_until(lambda: time.monotonic() > actor.began + seconds, timeout=seconds + PATIENCE)
    assert is_shown(stage, part)
    stage.end(part)
    logged = [(at, line) for at, line in actor.log if "finds trouble" in line]
    shown = [one for one in stage.verdicts.get(part.name, []) if one[1]["severity"] == "alarm"]
    # On a machine that has no time for it, no program is healthy.
    assert [one for one in (*logged, *shown) if not stage.machine.is_overloaded(one[0] - LOOKS_BACK, one[0])] == []
