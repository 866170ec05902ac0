"""connmond pushes to a collector: one that is real, and one that answers as a test wants."""

import re
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest

from poolhouse.configuration.parse import parse_configuration
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import PoolSigns, SiteReading
from support import zygote
from support.collector import NO_VALUE, Collector, Pushed, attributes, collector, metrics, points, rotel
from support.connmond import COMMAND, Connmond
from support.pages import ROOT, under
from support.reports import Reporting, report, send
from support.servers import free_tcp_port
from support.waiting import wait_until

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"
#: A push a second.
OFTEN = ("env", "OTEL_METRIC_EXPORT_INTERVAL=1000")
WAIT_TIME = "db.client.connection.wait_time"


def waits() -> Histogram:
    """980 waits of a millisecond, 20 of three seconds, one that is no wait."""
    histogram = Histogram()
    histogram.record_all([1_000_000] * 980 + [3_000_000_000] * 20 + [500])
    return histogram


def connmond(url: str, *variables: str, options: tuple[str, ...] = ()) -> Connmond:
    return Connmond("--otlp", url, *options, prefix=(*OFTEN, *variables))


def value(taken: Collector, service: str, name: str) -> float | None:
    """The newest value of a metric with one series."""
    resource = taken.newest(service)
    metric = None if resource is None else metrics(resource).get(name)
    return None if metric is None else points(metric)[0].as_int


def logged(daemon: Connmond) -> str:
    status, output, errors = daemon.end()
    assert status == 0
    return output + errors


def test_a_real_collector_takes_the_truth(tmp_path: Path) -> None:
    with rotel(tmp_path) as real, connmond(real.url) as daemon:
        assert f"otlp      {real.url}/v1/metrics every 1 s" in daemon.announcement
        held = PoolSigns(sites=(SiteReading("app/views.py:88 in cart", open=7, oldest_s=41.0, held_s=99.5),))
        with Reporting(
            "shop", daemon.reports, used=7, idle=3, waiting=2, timeouts=5, wait=waits(), pool_signs=held
        ):
            text = wait_until(lambda: real.newest("shop", WAIT_TIME), 60.0)
            assert "DataType: ExponentialHistogram" in text
            assert "AGGREGATION_TEMPORALITY_CUMULATIVE" in text
            assert "Count: 1001\n" in text
            assert "-> db.client.connection.pool.name: Str(db1:5432/shop)" in text
            buckets = [
                (float(low), float(high), int(count))
                for low, high, count in re.findall(r"Bucket \((\S+), (\S+)\], Count: (\d+)", text)
                if count != "0"
            ]
            # A millisecond is in (2**-10, 2**(-10 + 1/8)], three seconds in (2**(1 + 4/8), 2**(1 + 5/8)].
            exact = [(2**-10, 2 ** (-10 + 1 / 8), 980), (2**1.5, 2**1.625, 20)]
            for (low, high, count), expected in zip(buckets, exact, strict=True):
                assert (low, high, count) == pytest.approx(expected, rel=1e-12)
            states = real.newest("shop", "db.client.connection.count")
            assert re.findall(r"state: Str\((\w+)\)", states) == ["idle", "used", "detached"]
            assert re.findall(r"Value: (\d+)", states) == ["3", "7", "0"]
            assert "Value: 5" in real.newest("shop", "db.client.connection.timeouts")
            line = wait_until(lambda: real.newest("shop", "poolhouse.line_connection"), 60.0)
            assert "-> code_line: Str(app/views.py:88 in cart)" in line
            assert "Value: 99.5" in line
            assert real.newest("connmond", "poolhouse.build_info")


@pytest.fixture
def taken() -> Iterator[Collector]:
    with collector() as one:
        yield one


def test_a_program_that_says_goodbye_is_marked_once(taken: Collector) -> None:
    with connmond(taken.url) as daemon:
        send(report("shop", interval=0.2, used=1), daemon.reports)
        with Reporting("cart", daemon.reports):
            wait_until(lambda: value(taken, "shop", "poolhouse.processes") is not None, 60.0)
            resource = taken.newest("shop")
            assert resource is not None
            send(report("shop", number=2, interval=0.2, goodbye=True), daemon.reports)

            def marks() -> list[int]:
                return [
                    place
                    for place, one in enumerate(taken.pushed)
                    if "shop" in one.resources
                    and points(metrics(one.resources["shop"])["poolhouse.processes"])[0].flags & NO_VALUE
                ]

            wait_until(marks, 60.0)
            pushes = len(taken.pushed)
            wait_until(lambda: len(taken.pushed) > pushes + 1, 60.0)
            (mark,) = marks()
            assert not any("shop" in one.resources for one in taken.pushed[mark + 1 :])
            assert value(taken, "cart", "poolhouse.processes") == 1


def test_the_environment_says_where_and_how(taken: Collector) -> None:
    variables = (
        f"OTEL_EXPORTER_OTLP_ENDPOINT={taken.url}/base",
        "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20s3cret",
        "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
        "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
        "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test",
        "OTEL_SERVICE_NAME=aggregator",
    )
    # The announcement has a line more, as with the option.
    with Connmond(prefix=(*OFTEN, *variables)) as daemon:
        wait_until(lambda: taken.newest("aggregator"), 60.0)
        log = logged(daemon)
    pushed = taken.pushed[0]
    assert pushed.path == "/base/v1/metrics"
    assert pushed.headers["authorization"] == "Bearer s3cret"
    assert pushed.headers["Content-Encoding"] == "gzip"
    assert pushed.headers["Content-Type"] == "application/x-protobuf"
    own = attributes(pushed.resources["aggregator"].resource)
    assert own["deployment.environment.name"] == "test"
    assert own["service.instance.id"].endswith("/default/node1")
    assert "connmond pushes http/protobuf only" in log
    assert "s3cret" not in log


def test_a_collector_that_is_away_costs_a_count_and_a_line(tmp_path: Path) -> None:
    port = free_tcp_port()
    options = "--otlp", f"http://127.0.0.1:{port}", "--http", "127.0.0.1:0"
    with Connmond(*options, prefix=OFTEN) as daemon:

        def failed() -> int:
            with urlopen(f"http://127.0.0.1:{daemon.http}/metrics", timeout=30) as answer:
                found = re.search(rb"poolhouse_otlp_pushes_failed_total (\d+)", answer.read())
            assert found is not None
            return int(found[1])

        with Reporting("shop", daemon.reports):
            wait_until(lambda: failed() >= 3, 60.0)
        log = logged(daemon)
    assert log.count("metrics are not pushed to") == 1
    assert f"http://127.0.0.1:{port}/v1/metrics: Connection refused" in log


def test_a_collector_that_is_busy_is_asked_again(taken: Collector) -> None:
    taken.answers += [(503, {"Retry-After": "0"}), (429, {"Retry-After": "0"}), (502, {"Retry-After": "0"})]
    with connmond(taken.url) as daemon:
        wait_until(lambda: taken.newest("connmond"), 60.0)
        assert taken.asked == 4
        assert value(taken, "connmond", "poolhouse.otlp_pushes_failed") == 0
        assert "metrics are not pushed" not in logged(daemon)


def test_an_answer_that_is_final_fails_once_and_the_next_push_goes_on(taken: Collector) -> None:
    taken.answers += [(400, {})]
    with connmond(taken.url) as daemon:
        wait_until(lambda: taken.newest("connmond"), 60.0)
        assert value(taken, "connmond", "poolhouse.otlp_pushes_failed") == 1
        # The next push begins when the answer to this one has been read.
        pushes = len(taken.pushed)
        wait_until(lambda: len(taken.pushed) > pushes)
        log = logged(daemon)
    assert "it answered with status 400" in log
    assert "again" in log


@pytest.mark.parametrize(
    ("rejected", "line"),
    [(3, "refused 3 points of metrics: 'too old'"), (0, "took all metrics and warns: 'too old'")],
)
def test_what_a_collector_says_of_points_is_told_once(taken: Collector, rejected: int, line: str) -> None:
    taken.rejected, taken.words = rejected, "too old"
    with connmond(taken.url) as daemon:
        wait_until(lambda: len(taken.pushed) > 2, 60.0)
        log = logged(daemon)
    assert log.count(line) == 1


def test_a_certificate_is_checked() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "node.pem", CERTIFICATES / "node.key")
    trust = f"OTEL_EXPORTER_OTLP_CERTIFICATE={CERTIFICATES / 'node.pem'}"
    with collector(context) as taken:
        with connmond(taken.url, trust):
            wait_until(lambda: taken.newest("connmond"), 60.0)
        known = len(taken.pushed)
        with connmond(taken.url) as daemon:
            assert daemon.process.stderr is not None
            line = wait_until(daemon.process.stderr.readline, 60.0)
        assert "certificate verify failed" in line
        assert len(taken.pushed) == known


def test_sighup_changes_the_collector(tmp_path: Path, taken: Collector) -> None:
    config = tmp_path / "connmon.cfg"
    text = "[connmon_service_default]\nname: default\nnodes:\n    node1 hostname=127.0.0.1:5800\n"
    config.write_text(text)
    with Connmond("--config", str(config), prefix=OFTEN) as daemon:
        config.write_text(text + f"otlp: {taken.url}\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: taken.newest("connmond"), 60.0)


def test_check_says_where_metrics_go() -> None:
    command = [*COMMAND, "--check", "--otlp", "http://collector:4318"]
    found = zygote.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "OTLP           http://collector:4318/v1/metrics every 60 s\n" in found.stdout
    wrong = zygote.run([*COMMAND, "--otlp", "collector"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2
    assert "--otlp: expected an address such as http://collector:4318, not 'collector'" in wrong.stderr


def test_a_collector_that_never_answers_is_given_up(taken: Collector) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Connmond("--otlp", f"http://127.0.0.1:{port}", prefix=OFTEN) as daemon:
            held = [silent.accept()[0] for _ in range(2)]  # The second only because the first was given up.
            assert daemon.process.stderr is not None
            line = wait_until(daemon.process.stderr.readline, 60.0)
            for one in held:
                one.close()
            status, _, _ = daemon.end()
    assert "metrics are not pushed to" in line
    assert "the last push has not ended yet" in line
    assert status == 0


def test_a_program_has_one_start_time_from_before_its_first_push(taken: Collector) -> None:
    before = time.time_ns()
    with connmond(taken.url) as daemon, Reporting("shop", daemon.reports, timeouts=5):
        wait_until(lambda: len(taken.pushed) > 3 and taken.newest("shop"), 60.0)
    pushed = [one.resources["shop"] for one in taken.pushed if "shop" in one.resources]
    starts = {
        point.start_time_unix_nano
        for one in pushed
        for metric in metrics(one).values()
        for point in points(metric)
    }
    (start,) = starts
    times = [points(metrics(one)["poolhouse.processes"])[0].time_unix_nano for one in pushed]
    assert before - 1_000_000_000 < start < times[0]
    assert times == sorted(set(times))


CLUSTER = """
[connmon_service_default]
name: default
otlp: {url}

nodes:
    node1 hostname=127.0.0.1:{port} bind=127.0.0.1
    node2 hostname=127.0.0.2:{port} bind=127.0.0.2
    node3 hostname=127.0.0.3:{port} bind=127.0.0.3
"""


def test_of_three_nodes_one_pushes_and_the_next_takes_over(tmp_path: Path, taken: Collector) -> None:
    config = tmp_path / "connmon.cfg"
    config.write_text(CLUSTER.format(url=taken.url, port=free_tcp_port()))

    def pushers(since: int) -> set[str]:
        """The nodes that have pushed since then, and that count the program."""
        return {
            attributes(one.resources["connmond"].resource)["service.instance.id"].rpartition("/")[2]
            for one in taken.pushed[since:]
            if "shop" in one.resources
        }

    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                Connmond(
                    *("--config", str(config), "--node", f"node{number}"),
                    host=f"127.0.0.{number}",
                    has_tcp=True,
                    has_otlp=True,
                    prefix=OFTEN,
                )
            )
            for number in (1, 2, 3)
        ]
        # A program that reports to the last node: the others know it from that one.
        stack.enter_context(Reporting("shop", nodes[2].reports, to="127.0.0.3", used=2))
        for killed, next_one in (("node1", "node2"), ("node2", "node3")):
            since = len(taken.pushed)
            wait_until(lambda since=since, name=killed: name in pushers(since), 60.0)
            since = len(taken.pushed)
            wait_until(lambda since=since: len(pushes(taken, since)) > 2, 60.0)
            assert pushers(since) == {killed}
            nodes[int(killed[-1]) - 1].process.kill()
            since = len(taken.pushed)
            wait_until(lambda since=since, name=next_one: name in pushers(since), 60.0)
        assert value(taken, "shop", "poolhouse.processes") == 1


def pushes(taken: Collector, since: int) -> list[Pushed]:
    """Those with the program."""
    return [one for one in taken.pushed[since:] if "shop" in one.resources]


def test_the_pages_configuration_names_the_collector() -> None:
    page = ROOT / "docs" / "howto" / "opentelemetry.md"
    (text,) = under(page, "From connmond", "ini")
    service = parse_configuration(text, "connmon.cfg").service()
    assert service.otlp == "http://collector:4318/v1/metrics"
