from datetime import UTC

from poolhouse.fleet.snapshot import Row
from poolhouse.verdicts.verdict import Verdict, parse_line
from poolhouse.views.line import cells, text_of
from poolhouse.views.verdict_line import verdict_line, verdict_lines, verdict_page

FLEET = Row("", pools=40, used=62, max_open=100)
LEAK = Verdict(
    "leak",
    0.0,
    "billing",
    ("host7",),
    pool="db:5432/billing",
    target="db:5432/billing",
    culprit=parse_line("app/export.py:88 in rows via app/db.py:5 in session", "app/mail.py:3 in send"),
    evidence=(("kept", 12.0), ("max", 15.0), ("oldest_s", 9.1), ("waiting", 23.0), ("ended", 1.0)),
)
NOTICE = Verdict("duplicate_engines", 0.0, "shop", evidence=(("pools", 2.0),))


def test_the_first_line_is_the_main_verdict():
    assert text_of(verdict_line((LEAK,), FLEET, 200)) == (
        "✗ leak  billing on host7: app/export.py:88 in rows via app/db.py:5 in session keeps 12 of 15 "
        "connections, oldest 9 s; its call has ended; 23 wait   w why"
    )


def test_or_that_nothing_is_wrong():
    assert text_of(verdict_line((), FLEET, 80)) == "✓ nothing is wrong: 40 pools, 62 % in use"
    assert text_of(verdict_line((), Row(""), 80)) == "✓ nothing is wrong"


def test_a_notice_alone_is_nothing_wrong():
    assert text_of(verdict_line((NOTICE,), FLEET, 200)) == (
        "✓ nothing is wrong: 40 pools, 62 % in use   notice: duplicate_engines  shop: one line made 2 pools for "
        "the database   w why"
    )


def test_in_any_width_the_line_says_that_there_is_more():
    for width in (40, 60, 100):
        line = verdict_line((LEAK, LEAK), FLEET, width)
        assert cells(text_of(line)) <= width
        assert text_of(line).endswith("   and 1 more   w why")


def test_as_text_the_first_line_goes_on_until_all_is_said():
    lines = verdict_lines((LEAK, LEAK), FLEET, 80)
    assert [text_of(line) for line in lines] == [
        "✗ leak  billing on host7: app/export.py:88 in rows via app/db.py:5 in session",
        "  keeps 12 of 15 connections, oldest 9 s; its call has ended; 23 wait   and 1",
        "  more",
    ]
    assert [span.text for span in lines[0] if span.tone == "bad"] == ["✗ ", "leak"]
    assert [text_of(line) for line in verdict_lines((), FLEET, 80)] == [
        "✓ nothing is wrong: 40 pools, 62 % in use"
    ]


def test_the_page_tells_numbers_what_to_do_and_what_would_disprove_it():
    page = "\n".join(text_of(line) for line in verdict_page(LEAK, 80, 84.0, UTC))
    assert page.startswith("leak  alarm, since 00:00:00, for 84 s\n")
    for text in (
        "line          app/export.py:88 in rows\n",
        "via           app/db.py:5 in session\n",
        "now at        app/mail.py:3 in send\n",
        "oldest        9 s\n",
        "ended         100 %\n",
        "what to do    Return the connection on every path",
        "wrong if      The line keeps connections on purpose",
        "more          poolhouse explain leak",
    ):
        assert text in page + "\n"
    assert max(map(len, page.splitlines())) <= 80


def test_a_cause_that_only_the_server_knows_is_shown_as_far_as_it_goes():
    page = "\n".join(text_of(line) for line in verdict_page(Verdict("new_cause", 0.0, "shop"), 80, 1.0, UTC))
    assert "new_cause  alarm" in page
    assert "what to do" not in page
