"""Whose code a frame runs, where its module's name alone does not say."""

import sysconfig
from pathlib import Path
from types import CodeType
from zipfile import ZipFile

import pytest

from poolhouse.sites.modules import Kind, Modules, modules_of

SITE_PACKAGES = sysconfig.get_paths()["purelib"]


def code_in(file: str) -> CodeType:
    return compile("pass", file, "exec")


@pytest.mark.parametrize(
    "program", ["/srv/app/job.py", "<ipython-input-3-0a1b2c>", "/tmp/ipykernel_12/3456.py", "<stdin>"]
)
@pytest.mark.parametrize("is_program_first", [True, False])
def test_a_program_and_the_command_that_runs_it_are_both_main(program: str, is_program_first: bool) -> None:
    """As in notebooks, and as `runpy.run_path(…, run_name="__main__")` has it."""
    modules, names = Modules(), {"__name__": "__main__"}
    expected = {
        program: Kind.APPLICATION,
        "/opt/venv/bin/gunicorn": Kind.LIBRARY,
        f"{SITE_PACKAGES}/ipykernel_launcher.py": Kind.LIBRARY,
    }
    files = list(expected) if is_program_first else [*expected][::-1]
    assert {file: modules.kind(code_in(file), names) for file in files} == expected


@pytest.mark.parametrize("generated", ["<string>", "<attrs generated init httpx.Timeout>"])
def test_code_that_a_library_generates_is_the_library_s(generated: str) -> None:
    """Whichever of its frames is seen first: the kind of a module is remembered."""
    file = f"{SITE_PACKAGES}/httpx/_config.py"
    modules, names = Modules(), {"__name__": "httpx._config", "__file__": file}
    assert modules.kind(code_in(generated), names) is Kind.LIBRARY
    assert modules.kind(code_in(file), names) is Kind.LIBRARY


def test_code_that_an_application_generates_is_the_application_s() -> None:
    modules, names = Modules(), {"__name__": "shop.models", "__file__": "/srv/shop/models.py"}
    assert modules.kind(code_in("<string>"), names) is Kind.APPLICATION


def test_a_setting_and_the_environment_name_packages_that_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLHOUSE_SKIP", "acme.db, acme.web,")
    modules_of.cache_clear()
    names = ("acme.db.pools", "acme.web", "acme.dbx", "acme.jobs")
    codes = [code_in(f"/srv/{name.replace('.', '/')}.py") for name in names]

    def passed(*skip: str) -> list[str]:
        modules = modules_of(skip)
        kinds = [modules.kind(code, {"__name__": name}) for name, code in zip(names, codes, strict=True)]
        return [name for name, kind in zip(names, kinds, strict=True) if kind is Kind.PASSED]

    try:
        assert passed() == ["acme.db.pools", "acme.web"]
        assert passed("acme.jobs") == ["acme.db.pools", "acme.web", "acme.jobs"]
    finally:
        modules_of.cache_clear()


def kinds_of(*modules: tuple[str, str]) -> list[Kind]:
    """The kinds of modules, by their names and files."""
    known = Modules()
    return [known.kind(code_in(file), {"__name__": name}) for name, file in modules]


@pytest.fixture(params=["archive", "folder"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A program beside which pip has installed a library: an archive of zipapp, or a folder."""
    root = tmp_path / "shop.pyz"
    names = ("shop/views.py", "acme/db/__init__.py", "Acme-1.0.dist-info/RECORD", "__main__.py")
    if request.param == "archive":
        with ZipFile(root, "w") as archive:
            for name in names:
                archive.writestr(name, "")
    for name in names if request.param == "folder" else ():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def test_what_pip_has_installed_beside_a_program_is_a_library(packed: str) -> None:
    assert kinds_of(
        ("shop.views", f"{packed}/shop/views.py"),
        ("acme.db", f"{packed}/acme/db/__init__.py"),
        ("acme.db.rows", f"{packed}/acme/db/rows.py"),
        ("shop.acme", f"{packed}/shop/acme.py"),
    ) == [Kind.APPLICATION, Kind.LIBRARY, Kind.LIBRARY, Kind.APPLICATION]


@pytest.mark.parametrize("site", ["venv/lib/python3.11/site-packages", "shop"])
def test_what_pip_has_installed_from_its_source_is_the_application_s(site: str, tmp_path: Path) -> None:
    """Else a library between it and the pool would hold its connections, as no application stands further out."""
    root = tmp_path / site
    origins = {
        "shop-1.0": '{"dir_info": {}, "url": "file:///build"}',
        "acme-1.0": '{"archive_info": {}}',
        "flask-3": "",
    }
    for name, origin in origins.items():
        folder = root / f"{name}.dist-info"
        folder.mkdir(parents=True)
        package = name.partition("-")[0]
        (folder / "RECORD").write_text(f"../../bin/x,,\n{package}/web.py,sha256=x,9\n{package}_jobs.py,,\n")
        if origin:
            (folder / "direct_url.json").write_text(origin)
    assert kinds_of(
        ("shop.web", f"{root}/shop/web.py"),
        ("shop_jobs", f"{root}/shop_jobs.py"),
        ("acme.web", f"{root}/acme/web.py"),
        ("flask.web", f"{root}/flask/web.py"),
    ) == [Kind.APPLICATION, Kind.APPLICATION, Kind.LIBRARY, Kind.LIBRARY]
    if "site-packages" in site:
        assert kinds_of(("__main__", f"{root}/shop/web.py")) == [Kind.APPLICATION], "python -m shop.web"
        assert kinds_of(("__main__", f"{root}/flask/__main__.py")) == [Kind.LIBRARY], "flask run"


def test_what_starts_a_packed_program_is_not_the_program(tmp_path: Path) -> None:
    """Else it would hold all connections of a program that is packed as a library is, as shiv does it."""
    archive, pex = tmp_path / "shop.pyz", tmp_path / "unzipped"
    ZipFile(archive, "w").close()
    (pex / ".bootstrap").mkdir(parents=True)
    assert (
        kinds_of(
            ("__main__", f"{archive}/__main__.py"),
            ("_bootstrap", f"{archive}/_bootstrap/__init__.py"),
            ("__main__", f"{pex}/__main__.py"),
            ("pex.pex", f"{pex}/.bootstrap/pex/pex.py"),
            ("__main__", "/root/.cache/pex/venvs/9f/shop/pex"),
            ("acme.db", "/root/.cache/pex/installed_wheels/3/0ef8/Acme-1.0-py3-none-any.whl/acme/db.py"),
        )
        == [Kind.LIBRARY] * 6
    )
    assert (
        kinds_of(
            ("__main__", "/srv/shop/__main__.py"),  # python -m shop
            ("_bootstrap", "/srv/shop/_bootstrap.py"),
            ("shop.views", f"{pex}/shop/views.py"),
            ("shop.views", f"{archive}/shop/views.py"),
        )
        == [Kind.APPLICATION] * 4
    )


def test_a_folder_that_cannot_be_read_has_nothing_installed(tmp_path: Path) -> None:
    (tmp_path / "shop.pyz").write_text("no archive")
    assert (
        kinds_of(("acme", f"{tmp_path}/shop.pyz/acme.py"), ("acme", "/nowhere/acme.py")) == [Kind.APPLICATION] * 2
    )
