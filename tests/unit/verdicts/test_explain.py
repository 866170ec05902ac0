import pytest

from poolhouse.cli import poolhouse
from poolhouse.verdicts.causes import BY_NAME, CAUSES
from poolhouse.verdicts.explain import MESSAGES, causes_of, explained


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_a_cause_is_explained_with_each_of_its_thresholds(cause):
    text = explained(cause.name)
    assert text.startswith(f"{cause.name}  ({cause.severity})\n")
    assert text.count("\n  - ") == len(cause.thresholds)
    told = " ".join(text.split())
    assert f"What to do: {cause.do}" in told
    assert "What shows it: - " in told
    assert f"What would disprove it: {cause.disprove}" in told
    assert max(map(len, text.splitlines())) <= 88


def test_all_causes_are_listed_by_rank():
    assert [line.split()[0] for line in explained("").splitlines() if line[:1].islower()][:-1] == [
        cause.name for cause in CAUSES
    ]


def test_a_name_may_be_written_with_a_dash_or_a_space():
    assert causes_of("Held-Idle") == causes_of(" held idle ") == (BY_NAME["held_idle"],)


@pytest.mark.parametrize(
    ("message", "first"),
    [
        ("QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00", "nested_checkout"),
        ("psycopg_pool.PoolTimeout: couldn't get a connection after 30.00 sec", "database_down"),
        ("(1040, 'Too many connections')", "server_full"),
        ('FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute', "server_full"),
        ("(2006, 'MySQL server has gone away')", "stale_connections"),
        ("The garbage collector is trying to clean up non-checked-in connection <...>", "leak"),
        ("connection to server at \"db\", port 5432 failed: Connection refused", "database_down"),
        ("SSL error: decryption failed or bad record mac", "shared_after_fork"),
    ],
)  # fmt: skip
def test_an_error_message_leads_to_its_causes(message, first):
    assert causes_of(message)[0].name == first


def test_every_cause_of_a_message_exists_and_messages_are_in_lower_case():
    for part, names in MESSAGES:
        assert part == part.lower()
        assert set(names) <= BY_NAME.keys()


def test_what_is_not_known_is_explained_by_nothing():
    assert explained("no such thing") == ""


@pytest.mark.parametrize(
    ("words", "hint"),
    [(("leek",), "did you mean leak?"), (("weather",), "without a name it lists the causes")],
)
def test_a_misspelled_cause_is_answered_with_the_one_that_was_meant(words, hint, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["poolhouse", "explain", *words])
    with pytest.raises(SystemExit, match="2"):
        poolhouse()
    assert capsys.readouterr().err == f"poolhouse explain: no such cause or message is known; {hint}\n"
