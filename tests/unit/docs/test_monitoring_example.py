"""The compose file with connmond, Prometheus and Grafana, and what it mounts."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from support.pages import ROOT

FOLDER = ROOT / "examples" / "monitoring"


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


COMPOSE = read("compose.yaml")


def mounts(service: str) -> dict[str, Path]:
    """What a service sees, by its place there."""
    found = {}
    for volume in COMPOSE["services"][service].get("volumes", ()):
        source, target, *mode = volume.split(":")
        if source.startswith("."):
            assert mode == ["ro"], volume
            found[target] = (FOLDER / source).resolve()
        else:
            assert source in COMPOSE["volumes"], volume
    return found


def test_every_file_that_is_mounted_is_there() -> None:
    assert set(COMPOSE["services"]) == {"connmond", "prometheus", "grafana"}
    for service in COMPOSE["services"]:
        for source in mounts(service).values():
            assert source.is_file(), source
    build = COMPOSE["services"]["connmond"]["build"]
    context = (FOLDER / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).is_file()


def test_no_port_is_open_to_other_machines() -> None:
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_prometheus_finds_connmond_and_the_rules(tmp_path: Path) -> None:
    seen = mounts("prometheus")
    (command,) = COMPOSE["services"]["prometheus"]["command"]
    config = command.removeprefix("--config.file=")
    for place in ("prometheus.yml", *read("prometheus.yml")["rule_files"]):
        (tmp_path / place).write_bytes(seen[str(Path(config).with_name(place))].read_bytes())
    done = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ((target,),) = [one["static_configs"][0]["targets"] for one in read("prometheus.yml")["scrape_configs"]]
    assert target == "connmond:25829"


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    (source,) = read("grafana/datasources.yml")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    # The step of the scrapes is what rates are made of.
    assert source["jsonData"]["timeInterval"] == read("prometheus.yml")["global"]["scrape_interval"]
    (provider,) = read("grafana/dashboards.yml")["providers"]
    seen = mounts("grafana")
    dashboard = seen[f"{provider['options']['path']}/grafana_dashboard.json"]
    assert dashboard == ROOT / "src" / "poolhouse" / "export" / "grafana_dashboard.json"
    home = COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert seen[home] == dashboard
