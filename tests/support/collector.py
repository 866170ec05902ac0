"""Collectors for OpenTelemetry's metrics: one of ours that answers as it is told, and rotel, a real one."""

import gzip
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags, Metric, ResourceMetrics

from support.servers import free_tcp_port
from support.waiting import wait_until

NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
ATTRIBUTE = "db.client.connection.pool.name"


def attributes(owner: Any) -> dict[str, str]:
    """Of a Resource or a point."""
    return {one.key: one.value.string_value for one in owner.attributes}


def points(metric: Metric) -> list[Any]:
    return list(getattr(metric, metric.WhichOneof("data")).data_points)


def metrics(resource: ResourceMetrics) -> dict[str, Metric]:
    (scope,) = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


@dataclass
class Pushed:
    path: str
    headers: dict[str, str]
    request: ExportMetricsServiceRequest

    @property
    def resources(self) -> dict[str, ResourceMetrics]:
        return {attributes(one.resource)["service.name"]: one for one in self.request.resource_metrics}


class Collector:
    """Listens on loopback until it is closed.

    Attributes:
        pushed: All that it has taken.
        answers: Status and headers of the next answers; 200 once there are none.
        rejected: How many points it says that it has refused.
        words: What it says about the points.
    """

    def __init__(self, context: Any = None) -> None:
        self.pushed: list[Pushed] = []
        self.asked = 0
        self.answers: deque[tuple[int, dict[str, str]]] = deque()
        self.rejected = 0
        self.words = ""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.asked += 1
                status, headers = collector.answers.popleft() if collector.answers else (200, {})
                content = b""
                if status == 200:
                    if self.headers.get("Content-Encoding") == "gzip":
                        body = gzip.decompress(body)
                    request = ExportMetricsServiceRequest.FromString(body)
                    collector.pushed.append(Pushed(self.path, dict(self.headers), request))
                    response = ExportMetricsServiceResponse()
                    if collector.rejected or collector.words:
                        response.partial_success.rejected_data_points = collector.rejected
                        response.partial_success.error_message = collector.words
                    content = response.SerializeToString()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    def newest(self, service: str) -> ResourceMetrics | None:
        return next((one.resources[service] for one in self.pushed[::-1] if service in one.resources), None)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def collector(context: Any = None) -> closing[Collector]:
    return closing(Collector(context))


class Rotel:
    """The collector of PyPI's package rotel, which prints all points that it takes."""

    def __init__(self, folder: Path) -> None:
        spec = find_spec("rotel")
        assert spec is not None
        assert spec.origin is not None
        http, grpc = free_tcp_port(), free_tcp_port()
        self.url = f"http://127.0.0.1:{http}"
        self._output = folder / "rotel.txt"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    Path(spec.origin).with_name("rotel-agent"),
                    "start",
                    f"--otlp-http-endpoint=127.0.0.1:{http}",
                    f"--otlp-grpc-endpoint=127.0.0.1:{grpc}",
                    "--exporter=blackhole",
                    "--debug-log=metrics",
                    "--debug-log-verbosity=detailed",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self._output.read_text()

    def sections(self, service: str) -> list[str]:
        """What was printed of this service's metrics, a text for each metric."""
        found: list[str] = []
        for resource in self.text().split("ResourceMetrics #")[1:]:
            if f"-> service.name: Str({service})\n" in resource:
                found += resource.split("\nMetric #")[1:]
        return found

    def newest(self, service: str, name: str) -> str:
        """The newest text of a metric; empty if there is none."""
        named = [one for one in self.sections(service) if f"-> Name: {name}\n" in one]
        return named[-1] if named else ""

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def rotel(folder: Path) -> Iterator[Rotel]:
    with closing(Rotel(folder)) as made:
        wait_until(lambda: "Starting Rotel" in made.text(), timeout=60.0)
        yield made
