"""connmon.cfg as connmon 0.2.2 and 0.3.6 read it (executed with Python 2.7.18), and what is new in ours."""

import textwrap
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.configuration.files import LARGEST_FILE, load_configuration
from poolhouse.configuration.parse import parse_configuration
from poolhouse.configuration.service import (
    BUILT_IN,
    CSV_COLUMNS,
    Configuration,
    CsvDump,
    LoggingSection,
    Login,
    Node,
)
from poolhouse.errors import SettingError
from support.connmon import SEED_CLUSTER

#: The seed's configurations, word for word.
SAMPLE = """\
# sample config, listen on 0.0.0.0:5800 and clients
# will connect to 192.168.1.205:5800
[connmon_service_default]
name: default

nodes:
    node1 hostname=192.168.1.205:5800
"""
DEFAULT = """\
# default config if no /etc/connmon.cfg and no
# --config <file> option is passed
[connmon_service_default]
name: default

nodes:
    node1 hostname=localhost:5800 bind=0.0.0.0
"""


def parsed(text: str) -> Configuration:
    return parse_configuration(textwrap.dedent(text), "/etc/connmon.cfg")


def nodes(lines: str) -> tuple[Node, ...]:
    indented = textwrap.indent(textwrap.dedent(lines), "    ")
    return parsed("[connmon_service_x]\nname: x\nnodes:\n" + indented).service("x").nodes


def mistake(text: str) -> str:
    with pytest.raises(SettingError) as caught:
        parsed(text)
    return str(caught.value)


class TestSeed:
    def test_the_sample_names_one_node_that_listens_on_all_addresses(self):
        node = Node("node1", "192.168.1.205", 5800, "0.0.0.0", 5800)
        assert parsed(SAMPLE).service().nodes == (node,)

    def test_the_cluster_names_three_nodes(self):
        service = parsed(SEED_CLUSTER).service("default")
        assert [node.address for node in service.nodes] == [f"192.168.1.{n}:5800" for n in (205, 206, 207)]
        assert service.node("node3").host == "192.168.1.207"

    def test_the_built_in_configuration_is_what_the_documentation_shows(self):
        assert parsed(DEFAULT).services == BUILT_IN.services

    def test_without_a_file_the_built_in_configuration_holds(self, monkeypatch, tmp_path):
        monkeypatch.setattr("poolhouse.configuration.files.DEFAULT_PATH", str(tmp_path / "connmon.cfg"))
        assert load_configuration() is BUILT_IN


class TestWhatTheOldReleasesAccept:
    def test_a_node_without_a_port_means_5084(self):
        # zkcluster's default, though the documentation always writes 5800.
        assert nodes("n hostname=web1 bind=10.0.0.1")[0] == Node("n", "web1", 5084, "10.0.0.1", 5084)

    def test_the_bind_port_is_the_nodes_unless_it_is_named(self):
        first, second = nodes("a hostname=w:1 bind=10.0.0.1\nb hostname=w:2 bind=10.0.0.1:3")
        assert (first.bind_port, second.bind_port) == (1, 3)

    def test_blanks_around_the_equals_sign(self):
        assert nodes("n hostname = w:1   bind= 10.0.0.1 :2".replace(" :2", ":2"))[0] == Node(
            "n", "w", 1, "10.0.0.1", 2
        )

    def test_the_first_node_may_stand_behind_the_setting_and_comments_between_nodes(self):
        text = "[connmon_service_x]\nname: x\nnodes: a hostname=w:1\n    # not yet: c\n\n    b hostname=w:2\n"
        assert [node.name for node in parsed(text).service("x").nodes] == ["a", "b"]

    def test_several_services_of_which_a_second_of_one_name_replaces_the_first(self):
        configuration = parsed("""
            [connmon_service_default]
            name: default
            nodes: a hostname=w:1
            [connmon_service_other]
            name: other
            nodes: b hostname=w:2
            [connmon_service_again]
            name: default
            nodes: c hostname=w:3
        """)
        assert configuration.service().nodes[0].name == "c"
        assert configuration.service("other").nodes[0].name == "b"
        assert configuration.warnings == (
            "/etc/connmon.cfg, line 8: a second service 'default'; this one replaces the first",
        )

    def test_the_section_is_known_by_how_it_begins(self):
        assert parsed("[connmon_servicepool]\nname: p\nnodes: a hostname=w\n").service("p")

    def test_none_means_unset(self):
        service = parsed(SAMPLE + "csv_dump: none\nuse_auth: None\nssl_certfile: none\n").service()
        assert (service.csv, service.login, service.certificate) == (None, None, None)

    def test_the_csv_settings(self):
        text = (
            SAMPLE
            + "csv_dump: /var/log/connmon.csv\ncsv_token: rack4\ncsv_columns: timestamp, progname,checkout_count\n"
        )
        assert parsed(text).service().csv == CsvDump(
            "/var/log/connmon.csv", "rack4", ("timestamp", "progname", "checkout_count")
        )
        assert parsed(SAMPLE + "csv_dump: f\n").service().csv == CsvDump("f", "connmon", CSV_COLUMNS)

    def test_the_csv_file_is_rotated_when_asked(self):
        dumped = SAMPLE + "csv_dump: f\n"
        csv = parsed(dumped + "csv_rotate_bytes = 10000000\ncsv_keep: 3\n").service().csv
        assert csv == CsvDump("f", rotate_bytes=10_000_000, keep=3)
        assert parsed(dumped + "csv_rotate_bytes: 4096\n").service().csv == CsvDump("f", rotate_bytes=4096, keep=5)
        alone = parsed(dumped + "csv_keep: 3\n")
        assert alone.warnings == ("/etc/connmon.cfg, line 9: csv_keep has no effect without csv_rotate_bytes",)

    def test_the_format_of_the_log(self):
        assert parsed(SAMPLE).service().log_format is None
        assert parsed(SAMPLE + "log_format: json\n").service().log_format == "json"
        assert mistake(SAMPLE + "log_format: xml\n") == (
            "/etc/connmon.cfg, line 8: log_format: expected text or json, not 'xml'"
        )

    def test_login_and_certificate(self):
        text = (
            SAMPLE
            + "use_auth: yes\nauth_key: monitor\nauth_secret: s3cret\nssl_certfile: c.pem\nssl_keyfile: k.pem\n"
        )
        service = parsed(text).service()
        assert service.login == Login("monitor", "s3cret")
        assert service.certificate is not None
        assert (service.certificate.certfile, service.certificate.keyfile) == ("c.pem", "k.pem")

    @pytest.mark.parametrize(
        ("word", "is_on"),
        [(word, True) for word in ("true", "Yes", "1", "ON")]
        + [(word, False) for word in ("false", "no", "0", "off")],
    )
    def test_yes_and_no(self, word, is_on):
        service = parsed(SAMPLE + f"use_auth = {word}\nauth_key = k\nauth_secret = s\n").service()
        assert (service.login is not None) is is_on

    def test_a_doubled_percent_sign_is_one_and_a_single_one_is_itself(self):
        assert parsed(SAMPLE + "csv_dump: /var/%%d/100%\n").service().csv.path == "/var/%d/100%"

    def test_references_are_replaced_where_they_can_be(self):
        text = "[DEFAULT]\nbase: /var\n" + SAMPLE + "dir: %(base)s/log\ncsv_dump: %(dir)s/%(nothing)s.csv\n"
        assert parsed(text).service().csv.path == "/var/log/%(nothing)s.csv"

    def test_references_in_a_circle_end(self):
        assert parsed(SAMPLE + "a: %(b)s\nb: %(a)s\ncsv_dump: %(a)s\n").service().csv.path in ("%(a)s", "%(b)s")

    def test_a_value_ends_at_a_semicolon_behind_a_blank(self):
        assert parsed(SAMPLE + "csv_dump: /var/a ; where it goes\n").service().csv.path == "/var/a"
        # Python 2 looks at the first semicolon only.
        assert parsed(SAMPLE + "csv_dump: /var/a;b ; c\n").service().csv.path == "/var/a;b ; c"

    def test_the_logging_sections_are_kept_as_they_stand(self):
        text = SAMPLE + "[formatters]\nkeys=f\n[formatter_f]\nformat=%(asctime)s %(message)s\ndatefmt=%H:%M\n"
        assert parsed(text).logging == {
            "formatters": LoggingSection(8, {"keys": "f"}, {"keys": 9}),
            "formatter_f": LoggingSection(
                10, {"format": "%(asctime)s %(message)s", "datefmt": "%H:%M"}, {"format": 11, "datefmt": 12}
            ),
        }

    def test_references_in_a_handler_are_replaced_where_they_can_be(self):
        text = "[DEFAULT]\nfolder: /var/log\n" + SAMPLE + "[handler_f]\nargs=('%(folder)s/%H.log', '100%%')\n"
        assert parsed(text).logging["handler_f"].options["args"] == "('/var/log/%H.log', '100%')"

    def test_further_words_of_a_node_and_further_settings_are_named_and_have_no_effect(self):
        configuration = parsed(
            "[connmon_service_x]\nname: x\nnode: 1\nnodes: a hostname=w weight=3\ncluster_servers: 5\n"
        )
        assert configuration.warnings == (
            "/etc/connmon.cfg, line 3: node is no setting of a service; did you mean nodes?",
            "/etc/connmon.cfg, line 4: weight is not read; a node has hostname and bind",
        )

    def test_any_bytes_are_read(self, tmp_path):
        file = tmp_path / "connmon.cfg"
        file.write_bytes(SAMPLE.encode() + b"csv_token: caf\xe9\ncsv_dump: f\r\n")
        assert load_configuration(str(file)).service().csv.token == "café"


class TestNew:
    def test_ipv6_addresses(self):
        first, second = nodes("a hostname=[fd00::1]:5800 bind=[::]:5801\nb hostname=fd00::2 bind=::")
        assert first == Node("a", "fd00::1", 5800, "::", 5801)
        assert second == Node("b", "fd00::2", 5084, "::", 5084)
        assert first.address == "[fd00::1]:5800"

    def test_a_node_that_is_reached_by_ipv6_listens_there(self):
        first, second = nodes("a hostname=[fd00::1]:5800\nb hostname=[fd00::2]:5800 bind=0.0.0.0")
        assert (first.bind_host, first.bind_port) == ("::", 5800)
        assert second.bind_host == "0.0.0.0"

    def test_an_address_that_perhaps_ends_with_a_port_is_warned_of(self):
        def warned(host: str) -> tuple[str, ...]:
            return parsed(SAMPLE.replace("192.168.1.205:5800", host)).warnings

        (warning,) = warned("fd00::1:5800")
        assert warning.endswith(
            "fd00::1:5800 is read as an address alone, with port 5084; if 5800 is the port, write [fd00::1]:5800"
        )
        for plain in ("fd00::5800", "fd00::1:80ff", "[fd00::1:5800]:5800", "1:2:3:4:5:6:7:5800", "web1:5800"):
            assert warned(plain) == ()

    def test_a_password_that_nobody_has_to_prove_is_warned_of(self):
        (warning,) = parsed(SAMPLE + "auth_key: monitor\nauth_secret: s3cret\n").warnings
        assert warning.endswith(": auth_secret has no effect without use_auth: yes")
        assert "s3cret" not in warning
        assert parsed(SAMPLE + "use_auth: no\nauth_secret: s3cret\n").warnings == ()

    def test_no_warning_repeats_a_password(self):
        (warning,) = parsed("[postgresql://me:s3cret@db/shop]\n" + SAMPLE).warnings
        assert "[postgresql://me:…@db/shop] is not read" in warning

    def test_a_node_that_is_reached_by_a_name_listens_wherever_that_leads(self):
        first, second = nodes("a hostname=web1:5800\nb hostname=web2:5800 bind=0.0.0.0")
        assert (first.bind_host, first.bind_port) == ("*", 5800)
        assert second.bind_host == "0.0.0.0"

    def test_lists_with_and_without_blanks(self):
        for text in ("timestamp,token", "timestamp, token", " timestamp\n    token", "timestamp ,token,"):
            assert parsed(SAMPLE + f"csv_dump: f\ncsv_columns: {text}\n").service().csv.columns == (
                "timestamp",
                "token",
            )


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", "/etc/connmon.cfg: expected a section [connmon_service_default] with name and nodes"),
            ("name: x\n", "/etc/connmon.cfg, line 1: expected [section] first, not 'name: x'"),
            ("[connmon_service_x]\nhello\n", "/etc/connmon.cfg, line 2: expected name = value, not 'hello'"),
            (
                "[connmon_service_x]\nnodes: a hostname=w\n",
                "/etc/connmon.cfg, line 1: [connmon_service_x] has no name; expected name: default",
            ),
            (
                "\n[connmon_service_x]\nname: x\nnodes:\n",
                "/etc/connmon.cfg, line 4: [connmon_service_x] has no nodes; expected node1 hostname=host:port",
            ),
            (
                SAMPLE + "\n    node2\n",
                "/etc/connmon.cfg, line 9: expected a name, then hostname=host:port, not 'node2'",
            ),
            (
                SAMPLE + "    node2 hostname:10.0.0.1\n",
                "/etc/connmon.cfg, line 8: expected a name, then hostname=host:port and bind=address:port, "
                "not 'hostname:10.0.0.1'",
            ),
            (
                SAMPLE + "    node1 hostname=b\n",
                "/etc/connmon.cfg, line 8: a second node 'node1'; expected another name",
            ),
            (
                SAMPLE + "    b hostname=x hostname=y\n",
                "/etc/connmon.cfg, line 8: hostname stands twice for node 'b'",
            ),
            (SAMPLE + "    b hostname=x:port\n", "/etc/connmon.cfg, line 8: 'x:port': 'port' is not a port"),
            (SAMPLE + "    b hostname=x:0\n", "/etc/connmon.cfg, line 8: 'x:0': expected a port from 1 to 65535"),
            (
                SAMPLE + "use_auth: maybe\n",
                "/etc/connmon.cfg, line 8: use_auth: expected one of true, yes, 1, on, false, no, 0, off, "
                "not 'maybe'",
            ),
            (SAMPLE + "use_auth: 1\n", "/etc/connmon.cfg, line 8: use_auth is on, so auth_key is expected too"),
            (
                SAMPLE + "ssl_keyfile: k\n",
                "/etc/connmon.cfg, line 8: ssl_keyfile is set, so ssl_certfile is expected too",
            ),
            (
                SAMPLE + "csv_columns: when\n",
                f"/etc/connmon.cfg, line 8: no column is called 'when'; there are {', '.join(CSV_COLUMNS)}",
            ),
            (
                SAMPLE + "csv_rotate_bytes: 10 MB\n",
                "/etc/connmon.cfg, line 8: csv_rotate_bytes: expected a whole number from 4,096 to "
                "1,125,899,906,842,624, not '10 MB'",
            ),
            *(
                (
                    SAMPLE + f"csv_keep: {text}\n",
                    f"/etc/connmon.cfg, line 8: csv_keep: expected a whole number from 1 to 1,000, not '{text}'",
                )
                for text in ("0", "1001", "-1", "1.5", "٣", "9" * 5000)
            ),
        ],
    )
    def test_a_mistake_is_one_sentence_with_file_line_and_what_was_expected(self, text, sentence):
        assert mistake(text) == sentence

    def test_no_sentence_holds_the_password(self):
        service = parsed(SAMPLE + "use_auth: 1\nauth_key: k\nauth_secret: s3cret\n").service()
        assert "s3cret" not in repr(service)
        assert "s3cret" not in mistake(SAMPLE + "auth_secret: s3cret\nuse_auth: 1\n")

    @pytest.mark.parametrize(
        "line",
        ["auth_secret s3cret", "    auth_secret: s3cret", "    auth_secret = s3cret", "AUTH-PASSWORD s3cret"],
    )
    def test_no_sentence_shows_a_line_that_may_hold_the_password(self, line):
        sentence = mistake(SAMPLE + line + "\n")
        assert sentence.startswith("/etc/connmon.cfg, line 8: expected ")
        assert sentence.endswith(f"not '{line.split()[0].rstrip(':')} …'")
        assert "s3cret" not in mistake(f"{line.strip()}\n{SAMPLE}")

    def test_no_repr_shows_a_logging_section(self):
        # A handler that sends mail has its password there.
        assert "s3cret" not in repr(parsed(SAMPLE + "[handler_mail]\nargs=('mail', ('user', 's3cret'))\n"))

    def test_an_unknown_service_and_an_unknown_node_are_told_what_there_is(self):
        with pytest.raises(SettingError, match=r"there is no service 'x' in /etc/connmon\.cfg; it has default"):
            parsed(SAMPLE).service("x")
        with pytest.raises(SettingError, match="has no node 'x'; it has node1, node2, node3"):
            parsed(SEED_CLUSTER).service().node("x")
        with pytest.raises(
            SettingError, match="expected one of the nodes of service 'default': node1, node2, node3"
        ):
            parsed(SEED_CLUSTER).service().node(None)
        assert parsed(SAMPLE).service().node(None).name == "node1"

    def test_a_file_that_is_missing_a_folder_or_huge_is_told(self, tmp_path):
        with pytest.raises(SettingError, match=r"--config: there is no file '.*none\.cfg'"):
            load_configuration(str(tmp_path / "none.cfg"))
        with pytest.raises(SettingError, match=r"cannot be read: .*Is a directory"):
            load_configuration(str(tmp_path), "connmon_config")
        with pytest.raises(SettingError, match=r"cannot be read: .*null"):
            load_configuration("a\0b")
        huge = tmp_path / "huge.cfg"
        huge.write_bytes(b"#" * (LARGEST_FILE + 1))
        with pytest.raises(SettingError, match="is larger than 1,048,576 bytes"):
            load_configuration(str(huge))

    @given(st.text(st.sampled_from("[]connmon_service_x=: \n\t#;%()namenodeshostname1.0"), max_size=200))
    def test_whatever_stands_in_a_file_is_a_configuration_or_a_sentence(self, text):
        with suppress(SettingError):
            assert parse_configuration(text, "f").services


def test_lines_that_name_each_other_grow_no_further_than_a_file_may():
    """Ten lines of ten references each would be ten thousand million letters."""
    lines = [f"a{n}: {f'%(a{n + 1})s' * 10}" for n in range(10)]
    text = "\n".join(["[connmon_service_default]", *lines, "a10: x", "name: %(a0)s", "nodes: n1 hostname=a"])
    with pytest.raises(SettingError, match=r"line 13: name: its references make it longer than 1,048,576"):
        parse_configuration(text, "connmon.cfg")


@pytest.mark.long
@pytest.mark.parametrize(
    "line",
    [
        "a" + " " * 900_000,
        "name: " + "%(" * 450_000,
        "nodes: n1" + " " * 900_000 + "x",
        "nodes: n1 hostname=a:" + "9" * 5_000,
        "name: " + "=" * 900_000,
    ],
    ids=["blanks", "references", "blanks of a node", "a port of many digits", "equal signs"],
)
def test_a_line_of_a_megabyte_is_read_or_refused_in_no_time(line):
    """A pattern that tries every cut would take hours; more than 4,300 digits are no `int`."""
    with suppress(SettingError):
        parse_configuration(f"[connmon_service_default]\n{line}\n", "connmon.cfg")
