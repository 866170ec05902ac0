"""A linter of the dashboard; `test_prometheus` asks a real Prometheus its queries."""

import json
import re
import runpy
from typing import Any

import pytest

from poolhouse.export.families import CONVENTION, FAMILIES, OWN, RowTimes, sample_name
from support.pages import ROOT

PATH = ROOT / "src" / "poolhouse" / "export" / "grafana_dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: Names of metrics in a query.
_METRIC = re.compile(r"\b(?:db_client_connection|poolhouse|process)_\w+(?=\{)")
_LABELS = {"db_client_connection_state", "db_client_connection_pool_name"}


def queries() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def used() -> set[str]:
    """The families that the dashboard draws."""
    names = {name for query in queries() for name in _METRIC.findall(query)}
    return {name.removesuffix("_bucket") for name in names}


def test_the_file_is_the_tools() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "grafana_dashboard.py"))
    assert tool["text"]() == PATH.read_text(encoding="utf-8"), "python tools/grafana_dashboard.py writes it anew"


def test_it_can_be_imported_again_and_is_not_edited() -> None:
    assert DASHBOARD["uid"] == "poolhouse"
    assert "id" not in DASHBOARD
    assert DASHBOARD["editable"] is False
    assert DASHBOARD["title"]
    assert DASHBOARD["description"]


def test_its_variables_choose_source_job_program_and_host() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "service_name", "host_name"]
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for name in ("job", "service_name", "host_name"):
        one = variables[name]
        assert (one["multi"], one["includeAll"], one["datasource"]) == (True, True, DATASOURCE)
        assert one["query"]["query"].startswith("label_values(db_client_connection_count")
    # Rows of whole programs have no host.
    every = [variables[name]["allValue"] for name in ("job", "service_name", "host_name")]
    assert every == [".+", ".+", ".*"]


def test_no_two_panels_share_a_number_or_a_place() -> None:
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert 0 <= at["x"] <= at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places, panel["title"]
        places |= cells


def test_the_verdict_is_on_top_and_the_titles_are_hikaricps_words() -> None:
    assert "poolhouse_verdict" in PANELS[0]["targets"][0]["expr"]
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)
    assert {"Active", "Idle", "Pending", "Acquire", "Usage", "Creation"} <= set(titles)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_is_described_and_has_a_unit_and_the_chosen_source(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == DATASOURCE
    assert panel["targets"]
    assert [target["refId"] for target in panel["targets"]] == list("ABC")[: len(panel["targets"])]
    for target in panel["targets"]:
        assert target["datasource"] == DATASOURCE
        assert target["legendFormat"] or panel["type"] == "table"


@pytest.mark.parametrize("query", queries())
def test_every_query_chooses_rows_and_holds_for_a_pair_of_daemons(query: str) -> None:
    selectors = re.findall(r"(\w+)\{([^}]*)\}", query)
    assert selectors
    own = {sample_name(family) for family in OWN}
    for name, selector in selectors:
        assert 'job=~"$job"' in selector
        if name not in own:
            assert 'service_name=~"$service_name"' in selector
            assert ('host_name=~"$host_name"' in selector) == (
                not name.startswith(("poolhouse_line", "poolhouse_ver"))
            )
    # A range is Grafana's to choose.
    assert set(re.findall(r"\[([^]]*)\]", query)) <= {"$__rate_interval"}
    if not {name for name, _ in selectors} & own:
        # What several daemons tell of one row is taken once; equal native histograms may be added up.
        without_native = re.sub(r"sum by \(service_name\) \(rate\(\w+_seconds\{", "", query)
        sums = re.findall(r"sum by \([\w, ]+\) \((\w+ by)", without_native)
        assert without_native.count("sum by") == len(sums)
        assert set(sums) <= {"max by"}
        assert "max by" in without_native
    for name in _METRIC.findall(query):
        kind = {sample_name(family): family.kind for family in FAMILIES}.get(name.removesuffix("_bucket"))
        assert kind is not None, name
        is_rate = f"rate({name}{{" in query
        assert is_rate == (kind != "gauge"), name


def test_every_metric_of_the_convention_is_drawn() -> None:
    assert {sample_name(family) for family in CONVENTION} <= used()
    assert {"poolhouse_verdict", "poolhouse_line_open_connections"} <= used()
    assert sum(isinstance(family, RowTimes) for family in CONVENTION) == sum(
        "histogram_quantile(0.99" in one for one in queries()
    )
