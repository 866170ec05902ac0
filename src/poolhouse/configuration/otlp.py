"""Where a daemon pushes metrics to, from its own settings and OpenTelemetry's environment variables.

Source of the variables: OpenTelemetry's specification, "OTLP Exporter Configuration" and "SDK environment
variables". Times there are in milliseconds. A variable with a wrong or unsupported value causes a warning, never
an error: it may be meant for other programs on the machine.
"""

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from poolhouse.conceal import conceal
from poolhouse.errors import SettingError
from poolhouse.record import Record

#: The path of metrics below a collector's address.
METRICS_PATH = "/v1/metrics"
#: The daemon's name if the environment has none.
DAEMON_NAME = "connmond"
#: The smallest timeout and the largest interval or timeout, in seconds.
_LEAST_S, _MOST_S = 0.1, 86_400.0
_VARIABLE = "OTEL_EXPORTER_OTLP_"
#: The shortest value of a header that is a secret, in characters; a shorter one is found in every sentence.
_LEAST_SECRET = 4


class OtlpTarget(Record, hidden=("headers",)):
    """Where and how metrics are pushed.

    Attributes:
        url: The whole address, path included.
        interval: Seconds between two pushes.
        timeout: Seconds for one attempt.
        is_gzip: Whether requests are compressed.
        headers: Further headers; they may hold passwords, so the `repr` leaves them out.
        cafile: Certificates of the trusted authorities; ``None`` for the system's.
        certfile, keyfile: The daemon's client certificate and its key; ``None`` for no certificate.
        service_name: The name of the daemon's own Resource.
        attributes: Attributes of every Resource.
    """

    url: str
    interval: float = 60.0
    timeout: float = 10.0
    is_gzip: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    service_name: str = DAEMON_NAME
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def secrets(self) -> list[str]:
        """The headers' values, and the words in them, longest first: a collector may repeat them in its answer."""
        words = {word for _, value in self.headers for word in (value, *value.split())}
        return sorted((word for word in words if len(word) >= _LEAST_SECRET), key=lambda word: (-len(word), word))


def metrics_url(text: str, where: str) -> str:
    """The address to which a collector takes metrics, from an address with or without that path.

    >>> metrics_url("http://collector:4318", "otlp"), metrics_url("https://a.example/otlp/v1/metrics/", "otlp")
    ('http://collector:4318/v1/metrics', 'https://a.example/otlp/v1/metrics')

    Raises:
        SettingError: If the text is not an HTTP address; it names `where` as the setting.
    """
    url = checked_url(text, where).rstrip("/")
    return url if url.endswith(METRICS_PATH) else url + METRICS_PATH


def checked_url(text: str, where: str) -> str:
    """The address unchanged, after a check that it is an HTTP address.

    Raises:
        SettingError: If it is not one, or contains a user or a password.
    """
    try:
        parts = urlsplit(text.strip())
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if "@" in text:
        raise SettingError(
            where, f"the address must not contain a user or a password: set {_VARIABLE}HEADERS instead"
        )
    if "?" in text or "#" in text:
        raise SettingError(
            where,
            "expected an address such as http://collector:4318, not one with ? or #: "
            f"set a key in {_VARIABLE}HEADERS",
        )
    if not is_good or not text.isascii() or set(text.strip()) & set(" \t\r\n"):
        raise SettingError(where, f"expected an address such as http://collector:4318, not {text!r}")
    return text.strip()


def otlp_target(url: str | None, environ: Mapping[str, str]) -> tuple[OtlpTarget | None, tuple[str, ...]]:
    """Where metrics are pushed to, and sentences about variables that are ignored.

    Args:
        url: The result of `metrics_url` for the daemon's own setting; empty if that is ``off``. ``None`` if there
            is no setting: then the environment decides whether anything is pushed.
        environ: The environment.

    Returns:
        The target, ``None`` if nothing is pushed; and the sentences.
    """
    variables = _Variables(environ)
    if url is None:
        url = variables.url()
    if not url:
        return None, variables.sentences()
    variables.warn_of_what_is_not_followed()
    service_name, attributes = variables.resource()
    target = OtlpTarget(
        url,
        variables.seconds("OTEL_METRIC_EXPORT_INTERVAL", least=1.0, default=60.0),
        variables.seconds(*variables.first("TIMEOUT"), least=_LEAST_S, default=10.0),
        variables.is_gzip(),
        variables.headers(),
        variables.first("CERTIFICATE")[1],
        variables.first("CLIENT_CERTIFICATE")[1],
        variables.first("CLIENT_KEY")[1],
        service_name,
        attributes,
    )
    return target, variables.sentences()


class _Variables:
    """The environment's variables; an empty one counts as unset, as the specification says."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.warnings: list[str] = []

    def sentences(self) -> tuple[str, ...]:
        """The warnings, without the passwords in values that they repeat."""
        return tuple(map(conceal, self.warnings))

    def value(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def first(self, name: str) -> tuple[str, str | None]:
        """The variable for metrics, or else the one for everything."""
        for prefix in (f"{_VARIABLE}METRICS_", _VARIABLE):
            if (value := self.value(prefix + name)) is not None:
                return prefix + name, value
        return _VARIABLE + name, None

    def url(self) -> str | None:
        """The address to push metrics to, from the environment; ``None`` for nowhere."""
        is_off = (self.value("OTEL_SDK_DISABLED") or "").lower() == "true"
        if is_off or (self.value("OTEL_METRICS_EXPORTER") or "otlp") != "otlp":
            return None
        try:
            if (whole := self.value(name := f"{_VARIABLE}METRICS_ENDPOINT")) is not None:
                return checked_url(whole, name)
            if (base := self.value(name := f"{_VARIABLE}ENDPOINT")) is not None:
                return checked_url(base, name).rstrip("/") + METRICS_PATH
        except SettingError as error:
            self.warnings.append(f"{error}; nothing is pushed")
        return None

    def seconds(self, name: str, text: str | None = None, *, least: float, default: float) -> float:
        """A time in seconds, from a variable in milliseconds."""
        text = self.value(name) if text is None else text
        if text is None:
            return default
        if text.isascii() and text.isdigit() and least <= int(text[:12]) / 1000 <= _MOST_S:
            return int(text) / 1000
        expected = f"expected milliseconds from {least * 1000:,.0f} to {_MOST_S * 1000:,.0f}"
        self.warnings.append(f"{name}: {expected}, not {text!r}; {default:g} s is used")
        return default

    def is_gzip(self) -> bool:
        name, value = self.first("COMPRESSION")
        if value not in (None, "none", "gzip"):
            self.warnings.append(f"{name}: expected gzip or none, not {value!r}; none is used")
        return value == "gzip"

    def headers(self) -> tuple[tuple[str, str], ...]:
        name, text = self.first("HEADERS")
        found = self.pairs(name, text, is_secret=True)
        good = [(key, value) for key, value in found if _is_header(key, value)]
        if len(good) != len(found):
            self.warnings.append(f"{name}: invalid headers are ignored")
        return tuple(good)

    def resource(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The daemon's name, and the attributes of every Resource; each program's Resource has its own name."""
        name = "OTEL_RESOURCE_ATTRIBUTES"
        given = dict(self.pairs(name, self.value(name), is_secret=False))
        own = given.pop("service.name", DAEMON_NAME)
        given.pop("service.instance.id", None)  # A row sums many processes, so it is no single instance.
        return self.value("OTEL_SERVICE_NAME") or own, tuple(given.items())

    def pairs(self, name: str, text: str | None, *, is_secret: bool) -> list[tuple[str, str]]:
        """``key=value,key=value``, percent-encoded."""
        pairs: list[tuple[str, str]] = []
        for item in (text or "").split(","):
            key, equals, value = item.partition("=")
            if item.strip() and equals and key.strip():
                pairs.append((unquote(key.strip()), unquote(value.strip())))
            elif item.strip():
                what = "" if is_secret else f", not {item.strip()!r}"
                self.warnings.append(f"{name}: expected key=value pairs, separated by commas{what}")
        return pairs

    def warn_of_what_is_not_followed(self) -> None:
        name, protocol = self.first("PROTOCOL")
        if protocol not in (None, "http/protobuf"):
            self.warnings.append(f"{name}={protocol}: connmond pushes http/protobuf only")
        name, temporality = self.first("TEMPORALITY_PREFERENCE")
        if temporality is not None and temporality.lower() != "cumulative":
            self.warnings.append(f"{name}={temporality}: connmond pushes cumulative sums only")
        name = f"{_VARIABLE}METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
        if (self.value(name) or "").lower() == "explicit_bucket_histogram":
            self.warnings.append(f"{name}: connmond pushes exponential histograms only")


def _is_header(name: str, value: str) -> bool:
    r"""Whether the header is safe to send: it must not end the line or replace a header of ours.

    >>> [_is_header(*header) for header in (("x-api-key", "a"), ("a b", "c"), ("a", "b\r\nc"), ("Host", "x"))]
    [True, False, False, False]
    """
    is_name = name.isascii() and all(letter.isalnum() or letter in "!#$%&'*+-.^_`|~" for letter in name)
    is_ours = name.lower() in ("host", "content-length", "content-type", "content-encoding", "transfer-encoding")
    return is_name and not is_ours and all(" " <= letter < "\x7f" or letter == "\t" for letter in value)
