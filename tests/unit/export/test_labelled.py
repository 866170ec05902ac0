"""Lines and verdicts have labels that differ, whatever programs tell."""

from hypothesis import given
from hypothesis import strategies as st

from poolhouse.export.labelled import Labelled, Labels, line_labels, verdict_labels
from poolhouse.fleet.holders import Line
from poolhouse.verdicts.verdict import Verdict, parse_line


def written(labels: Labels) -> bytes:
    return repr(labels).encode()


def test_lines_with_the_same_text_are_one() -> None:
    labelled = Labelled(written)
    # Control characters are shown as the same placeholder.
    labelled.add_lines([Line("shop", "a.py:1 in f\u200b", 2, 5.0, 10.0)])
    labelled.add_lines([Line("shop", "a.py:1 in f\u200d", 1, 7.0, 1.0)])
    labelled.add_lines([Line("other", "a.py:1 in f\u200d", 4)])
    shop, other = labelled.lines.values()
    assert (shop.open, shop.oldest_s, shop.held_s) == (3, 7.0, 11.0)
    assert other.open == 4


def test_of_verdicts_with_the_same_labels_the_main_one_is_told() -> None:
    labelled = Labelled(written)
    labelled.add_verdicts(
        [Verdict("leak", 5.0, "shop", pool="a"), Verdict("leak", 4.0, "shop", pool="a", target="b")]
    )
    assert [verdict.since for verdict in labelled.verdicts.values()] == [5.0]


def test_a_verdict_names_its_line_as_the_lines_do() -> None:
    line = "app/views.py:88 in cart via lib/db.py:12 in session"
    (line_label,) = [label for label in line_labels("shop", line) if label[0] == "code_line"]
    assert line_label == ("code_line", line)
    assert line_label in verdict_labels(Verdict("leak", 0.0, "shop", culprit=parse_line(line, "app/x.py:1 in g")))


@given(st.text(), st.text(), st.text())
def test_no_label_is_empty_and_every_value_can_be_shown(pool: str, target: str, line: str) -> None:
    for name, value in verdict_labels(
        Verdict("leak", 0.0, "shop", pool=pool, target=target, culprit=parse_line(line))
    ):
        assert name
        assert value.isprintable()
        assert value
