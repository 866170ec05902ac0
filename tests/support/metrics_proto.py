"""Prometheus' protobuf, read by Google's library with the fields of client_model's ``metrics.proto``."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.decoder import _DecodeVarint32

#: Of each message its fields: number, name, type, and whether it is repeated. Enumerations are read as numbers.
MESSAGES = {
    "LabelPair": [(1, "name", "string"), (2, "value", "string")],
    "Gauge": [(1, "value", "double")],
    "Counter": [(1, "value", "double")],
    "Bucket": [(1, "cumulative_count", "uint64"), (2, "upper_bound", "double")],
    "BucketSpan": [(1, "offset", "sint32"), (2, "length", "uint32")],
    "Histogram": [
        (1, "sample_count", "uint64"),
        (2, "sample_sum", "double"),
        (3, "bucket", "[Bucket]"),
        (5, "schema", "sint32"),
        (6, "zero_threshold", "double"),
        (7, "zero_count", "uint64"),
        (12, "positive_span", "[BucketSpan]"),
        (13, "positive_delta", "[sint64]"),
    ],
    "Metric": [
        (1, "label", "[LabelPair]"),
        (2, "gauge", "Gauge"),
        (3, "counter", "Counter"),
        (7, "histogram", "Histogram"),
    ],
    "MetricFamily": [
        (1, "name", "string"),
        (2, "help", "string"),
        (3, "type", "int32"),
        (4, "metric", "[Metric]"),
    ],
}
TYPES = {0: "counter", 1: "gauge", 4: "histogram"}


def _family_class() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="metrics.proto", package="io.prometheus.client", syntax="proto3"
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, known_as, kind in fields:
            made = message.field.add(name=known_as, number=number)
            made.label = field.LABEL_REPEATED if kind.startswith("[") else field.LABEL_OPTIONAL
            kind = kind.strip("[]")
            if kind in MESSAGES:
                made.type, made.type_name = field.TYPE_MESSAGE, f".io.prometheus.client.{kind}"
            else:
                made.type = getattr(field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("io.prometheus.client.MetricFamily"))


FAMILY = _family_class()


def families(data: bytes) -> list[Any]:
    """The messages of an answer; every field of theirs must be known."""
    found = []
    at = 0
    while at < len(data):
        size, at = _DecodeVarint32(data, at)
        family = FAMILY.FromString(data[at : at + size])
        at += size
        # A field that the schema does not have would be kept, and written again.
        known = FAMILY()
        known.CopyFrom(family)
        known.DiscardUnknownFields()
        assert known.SerializeToString() == family.SerializeToString(), family.name
        found.append(family)
    return found


def labels(metric: Any) -> dict[str, str]:
    """A metric's labels."""
    found = {pair.name: pair.value for pair in metric.label}
    assert len(found) == len(metric.label), metric
    return found


def buckets(histogram: Any) -> dict[float, int]:
    """The counts of a native histogram's buckets by their upper bounds in seconds, the zero bucket's too."""
    found = {histogram.zero_threshold: histogram.zero_count}
    index, place, count = 0, 0, 0
    for span in histogram.positive_span:
        index += span.offset
        for _ in range(span.length):
            count += histogram.positive_delta[place]
            found[2.0 ** (index * 2.0**-histogram.schema)] = count
            index, place = index + 1, place + 1
    assert place == len(histogram.positive_delta)
    return found
