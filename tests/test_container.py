"""The container and the devcontainer, read without Docker: what they copy, call and open is there."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from labkit.effects import faust

ROOT = Path(__file__).resolve().parents[1]
FIRST = "notebooks/00_start_here.ipynb"


@pytest.fixture(scope="module")
def dockerfile():
    """The instructions of the Dockerfile: [(name, rest of the line)]."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


def test_it_copies_what_is_there_and_what_set_up_needs(dockerfile):
    copied = []
    for place, (name, rest) in enumerate(dockerfile):
        if name == "COPY":
            sources = [word for word in rest.split() if not word.startswith("--")][:-1]
            assert [source for source in sources if not (ROOT / source).exists()] == []
            copied += sources
        if "make setup" in rest:
            assert {"Makefile", "pyproject.toml", "requirements.lock", "tools"} <= set(copied)
            assert ("COPY", "--chown=learner . .") in dockerfile[place:]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".git", ".venv", "**/runs"} <= set(ignored)
    assert not set(copied) & set(ignored)


def test_its_commands_are_those_of_make(dockerfile):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    called = [rest for name, rest in dockerfile if name == "RUN" and rest.startswith("make ")]
    start = json.loads(dict(dockerfile)["CMD"])
    commands = [*(shlex.split(one) for one in called), start]
    assert [command[:2] for command in commands] == [["make", "setup"], ["make", "lab"]]
    for _, target, *variables in commands:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
        for variable in variables:
            assert variable.split("=")[0] in makefile
    environment = " ".join(rest for name, rest in dockerfile if name == "ENV")
    assert "LABKIT_VENV=/opt/venv" in environment
    assert "VENV := $(or $(LABKIT_VENV),.venv)" in makefile


def test_a_user_without_rights_serves_with_a_token_and_keeps_data(dockerfile):
    names = [name for name, _ in dockerfile]
    users = [rest for name, rest in dockerfile if name == "USER"]
    assert users == ["learner"]
    assert names.index("USER") < names.index("CMD")
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["lab"]
    assert service["environment"]["JUPYTER_TOKEN"].startswith("${JUPYTER_TOKEN:?")
    assert service["ports"] == ["127.0.0.1:8888:8888"]
    assert dict(dockerfile)["EXPOSE"] == "8888"
    assert "data:/data" in service["volumes"]


def test_its_packages_are_those_that_ci_installs_and_that_exports_need(dockerfile, monkeypatch):
    install = next(rest for _, rest in dockerfile if "apt-get install" in rest)
    wanted = re.search(r"--no-install-recommends +(.+?) +&&", install)[1].split()
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    listed = re.search(r"packages=\((.*?)\)", script, re.DOTALL)
    assert set(wanted) <= set(listed[1].split())
    with monkeypatch.context() as bare:  # a machine without Faust, compiler and headers
        bare.setattr(Path, "is_file", lambda _: False)
        bare.setenv("PATH", "")
        installs = (faust.missing(".lv2") + " " + faust.missing(".vst3")).split()
    needed = set(installs) - {"apt-get", "install"}
    assert len(needed) == 5
    assert needed <= set(wanted)


def test_the_devcontainer_opens_notebook_00():
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    settings = json.loads(text)
    assert (ROOT / ".devcontainer" / settings["build"]["dockerfile"]).samefile(ROOT / "Dockerfile")
    assert settings["customizations"]["codespaces"]["openFiles"] == [FIRST]
    assert settings["postAttachCommand"].split()[-1] == FIRST
    assert (ROOT / FIRST).is_file()
    assert settings["remoteUser"] == "learner"
