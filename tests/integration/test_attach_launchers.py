"""Other tools that begin in a process before the application: ``poolhouse run`` beside them, in both orders."""

from pathlib import Path

from support.attached import COMMANDS, PYTHON, SHOP, Case, expected, run_all, write

POOLHOUSE = (str(COMMANDS / "poolhouse"), "run", "--")
#: Nothing of theirs looks for a server.
QUIET = {
    "DD_TRACE_ENABLED": "false",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_CRASHTRACKING_ENABLED": "false",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}
#: They say in the output whether they are there themselves.
CHECKED = f"{SHOP}    import os, sys; assert os.environ['TOOL'] in sys.modules, 'the tool is not there'\n"


def test_both_are_there_but_where_the_other_hides_ours_which_is_said(tmp_path: Path) -> None:
    write(tmp_path, shop=CHECKED)
    names = {"ddtrace-run": "ddtrace", "opentelemetry-instrument": "opentelemetry.instrumentation"}
    cases: dict[str, Case] = {}
    for tool, module in names.items():
        variables = {**QUIET, "TOOL": module}
        command, theirs = [PYTHON, "shop.py"], str(COMMANDS / tool)
        cases[f"{tool}-first"] = Case(command, launcher=[theirs, *POOLHOUSE], variables=variables)
        cases[f"{tool}-second"] = Case(command, launcher=[*POOLHOUSE, theirs], variables=variables)
    hidden = "opentelemetry-instrument-second"
    cases[hidden] = Case(
        cases[hidden].command,
        [],
        errors="poolhouse run: opentelemetry-instrument hides poolhouse: write it in front, ",
        launcher=cases[hidden].launcher,
        variables=cases[hidden].variables,
    )
    relic, variables = str(COMMANDS / "newrelic-admin"), {**QUIET, "TOOL": "sqlalchemy"}
    cases["newrelic-first"] = Case(command, launcher=[relic, "run-program", *POOLHOUSE], variables=variables)
    cases["newrelic-second"] = Case(command, launcher=[*POOLHOUSE, relic, "run-program"], variables=variables)
    assert run_all(cases, tmp_path) == expected(cases)
