"""Where metrics are pushed, by connmond's settings and OpenTelemetry's variables."""

import pytest

from poolhouse.configuration.otlp import OtlpTarget, metrics_url, otlp_target
from poolhouse.configuration.parse import parse_configuration
from poolhouse.errors import SettingError

URL = "http://collector:4318/v1/metrics"


def target(url: str | None = URL, **variables: str) -> OtlpTarget:
    found, warnings = otlp_target(url, variables)
    assert found is not None
    assert warnings == ()
    return found


def warned(**variables: str) -> str:
    found, warnings = otlp_target(URL, variables)
    assert found is not None
    (warning,) = warnings
    return warning


def test_without_setting_and_variables_nothing_is_pushed() -> None:
    assert otlp_target(None, {}) == (None, ())
    assert otlp_target("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}) == (None, ())


def test_a_setting_alone_has_the_defaults_of_the_specification() -> None:
    assert target() == OtlpTarget(URL, interval=60.0, timeout=10.0, is_gzip=False)


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, URL),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}, URL),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://a.example/otlp"}, "https://a.example/otlp/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:9999/in"}, "http://collector:9999/in"),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://b:1/in", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"},
            "http://b:1/in",
        ),
    ],
)
def test_variables_alone_say_where(variables: dict[str, str], url: str) -> None:
    found, warnings = otlp_target(None, variables)
    assert (found and found.url, warnings) == (url, ())


@pytest.mark.parametrize(
    "more",
    [{"OTEL_SDK_DISABLED": "True"}, {"OTEL_METRICS_EXPORTER": "none"}, {"OTEL_METRICS_EXPORTER": "console"}],
)
def test_the_environment_can_say_that_nothing_is_exported(more: dict[str, str]) -> None:
    assert otlp_target(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318", **more}) == (None, ())
    assert target(URL, **more).url == URL, "what was asked of connmond itself holds"


def test_a_setting_wins_over_the_environment() -> None:
    assert target(URL, OTEL_EXPORTER_OTLP_ENDPOINT="http://other:4318").url == URL


def test_times_are_in_milliseconds() -> None:
    found = target(OTEL_METRIC_EXPORT_INTERVAL="5000", OTEL_EXPORTER_OTLP_TIMEOUT="2500")
    assert (found.interval, found.timeout) == (5.0, 2.5)
    assert target(OTEL_EXPORTER_OTLP_TIMEOUT="2500", OTEL_EXPORTER_OTLP_METRICS_TIMEOUT="1500").timeout == 1.5


@pytest.mark.parametrize("text", ["10", "soon", "-5", "1e9", "999999999999999999999", "٣٠٠٠"])
def test_a_time_that_cannot_be_meant_is_warned_of(text: str) -> None:
    words = warned(OTEL_EXPORTER_OTLP_TIMEOUT=text)
    assert words == (
        f"OTEL_EXPORTER_OTLP_TIMEOUT: expected milliseconds from 100 to 86,400,000, not {text!r}; 10 s is used"
    )


def test_compression() -> None:
    assert target(OTEL_EXPORTER_OTLP_COMPRESSION="gzip").is_gzip
    assert not target(OTEL_EXPORTER_OTLP_COMPRESSION="gzip", OTEL_EXPORTER_OTLP_METRICS_COMPRESSION="none").is_gzip
    assert "expected gzip or none, not 'zstd'" in warned(OTEL_EXPORTER_OTLP_COMPRESSION="zstd")


def test_headers_are_decoded_and_stay_secret() -> None:
    found = target(OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20s3cret, x-team = a%2Cb ,")
    assert found.headers == (("Authorization", "Bearer s3cret"), ("x-team", "a,b"))
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize("text", ["s3cret", "a=b%0d%0aEvil: 1", "Host=s3cret", "a b=s3cret"])
def test_headers_that_cannot_be_sent_are_left_out_without_being_told(text: str) -> None:
    found, (warning,) = otlp_target(URL, {"OTEL_EXPORTER_OTLP_HEADERS": text})
    assert found is not None
    assert found.headers == ()
    assert "s3cret" not in warning


def test_certificates() -> None:
    found = target(
        OTEL_EXPORTER_OTLP_CERTIFICATE="ca.pem",
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE="me.pem",
        OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY="me.key",
    )
    assert (found.cafile, found.certfile, found.keyfile) == ("ca.pem", "me.pem", "me.key")


def test_attributes_of_every_resource_and_the_daemons_name() -> None:
    given = "deployment.environment.name=test,service.name=mine,service.instance.id=7"
    found = target(OTEL_RESOURCE_ATTRIBUTES=given)
    assert found.attributes == (("deployment.environment.name", "test"),)
    assert found.service_name == "mine"
    assert target(OTEL_RESOURCE_ATTRIBUTES=given, OTEL_SERVICE_NAME="first").service_name == "first"
    assert target().service_name == "connmond"


def test_what_is_not_followed_is_warned_of() -> None:
    assert "http/protobuf only" in warned(OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    explicit = "explicit_bucket_histogram"
    words = warned(OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=explicit)
    assert "exponential histograms only" in words
    assert "cumulative sums only" in warned(OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="delta")
    assert target(OTEL_EXPORTER_OTLP_METRICS_PROTOCOL="http/protobuf", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")


def test_a_wrong_address_in_the_environment_is_a_warning() -> None:
    found, (warning,) = otlp_target(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"})
    assert found is None
    assert warning.startswith("OTEL_EXPORTER_OTLP_ENDPOINT: expected an address such as http://collector:4318")


@pytest.mark.parametrize(
    "text",
    [
        "collector:4318",
        "grpc://a:4317",
        "http://",
        "http://a:b",
        "http://a:0",
        "http://[::1",
        "http://a/?x",
        "x y",
    ],
)
def test_a_wrong_address_in_a_setting_is_a_sentence(text: str) -> None:
    with pytest.raises(SettingError, match=r"^--otlp: expected an address such as http://collector:4318, not "):
        metrics_url(text, "--otlp")


@pytest.mark.parametrize(
    "address",
    [
        "http://user:s3cret@collector:4318",
        "http://user:s3cret/x@collector:4318",
        "http://user:s3cret?x@collector:4318",
        "http://collector:4318?key=s3cret",
        "http://collector:4318#s3cret",
    ],
)
def test_a_password_in_the_address_is_refused_without_being_told(address: str) -> None:
    with pytest.raises(SettingError, match="OTEL_EXPORTER_OTLP_HEADERS") as caught:
        metrics_url(address, "--otlp")
    assert "s3cret" not in str(caught.value)


def test_the_secrets_of_a_target_are_the_values_of_its_headers_and_their_words() -> None:
    headers = (("Authorization", "Bearer s3cret"), ("x-key", "other"), ("x-version", "1"))
    target = OtlpTarget(URL, headers=headers)
    assert target.secrets == ["Bearer s3cret", "Bearer", "s3cret", "other"]
    assert "s3cret" not in repr(target)


@pytest.mark.parametrize(
    ("line", "expected"),
    [("", None), ("otlp: off", ""), ("otlp: http://collector:4318", URL), ("otlp=" + URL, URL)],
)
def test_the_configuration_names_the_collector(line: str, expected: str | None) -> None:
    text = f"[connmon_service_default]\nname: default\n{line}\nnodes:\n    node1 hostname=a:5800\n"
    assert parse_configuration(text, "connmon.cfg").service().otlp == expected


def test_a_mistake_in_the_configuration_has_its_line() -> None:
    text = "[connmon_service_default]\nname: default\notlp: collector\nnodes:\n    node1 hostname=a:5800\n"
    with pytest.raises(SettingError, match=r"connmon.cfg:3: otlp: expected an address|line 3.*otlp"):
        parse_configuration(text, "connmon.cfg")


@pytest.mark.parametrize(
    "name",
    [
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    ],
)
def test_no_warning_repeats_a_password(name: str) -> None:
    warning = warned(**{name: "http://me:s3cret@collector:4318"})
    assert "me:…@collector" in warning
    assert "s3cret" not in warning
