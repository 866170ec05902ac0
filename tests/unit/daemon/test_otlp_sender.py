"""What is joined for a collector, and what its answer says."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from poolhouse.configuration.otlp import OtlpTarget
from poolhouse.daemon import otlp_sender
from poolhouse.daemon.otlp_sender import partial_success, prepare, requests
from poolhouse.errors import SettingError


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=30), st.integers(1, 64))
def test_requests_are_the_pieces_in_their_order_and_no_larger_than_they_may(
    pieces: list[bytes], most: int
) -> None:
    bodies = list(requests(pieces, most))
    assert b"".join(bodies) == b"".join(pieces)
    assert all(bodies)
    for body in bodies:
        assert len(body) <= most or body in pieces


@given(st.integers(0, 2**63 - 1), st.text(max_size=40))
def test_an_answer_says_what_was_refused(number: int, words: str) -> None:
    answer = ExportMetricsServiceResponse()
    answer.partial_success.rejected_data_points = number
    answer.partial_success.error_message = words
    assert partial_success(answer.SerializeToString()) == (number, words)


@given(st.binary(max_size=60))
def test_no_answer_is_an_error(content: bytes) -> None:
    rejected, words = partial_success(content)
    assert rejected >= 0
    assert isinstance(words, str)


def test_a_target_for_which_a_module_cannot_be_loaded_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_descriptors(name: str) -> None:
        raise OSError(errno.EMFILE, "Too many open files", name)

    monkeypatch.setattr(otlp_sender, "import_module", out_of_descriptors)
    with pytest.raises(SettingError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT: .*Too many open files"):
        prepare(OtlpTarget("http://collector.test:4318/v1/metrics"))
