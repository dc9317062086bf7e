"""README keeps its word: its commands run, its links lead somewhere, its map and tree are the repository's.

Every ```bash block is run in a copy of the checkout, as one script that stops at the first failure. A block
that cannot be (it downloads, serves, needs a reader's file) has `<!-- not run: reason -->` on the line
above.
"""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>.+?) -->\n)?```bash\n(?P<code>.*?)```", re.DOTALL)
RUN = [match["code"] for match in BLOCK.finditer(README) if not match["reason"]]
# `make` targets other than help would set up or test inside a test.
ALLOWED = re.compile(r"(?:labkit|python|make help)\b")


def commands(block):
    joined = block.replace("\\\n", " ")
    return [
        line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what git would commit, without `.venv`: whatever the commands write stays in it."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout: the list of files is not known")
    copy = tmp_path_factory.mktemp("checkout")
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    return copy


def test_it_is_short_and_gives_reasons_for_what_no_test_runs():
    assert len(README.splitlines()) <= 130
    for words in ("MIT", "pedalboard", "GPL-3", "soxr", "LGPL"):
        assert words in README
    assert RUN
    assert README.count("```bash") == len(list(BLOCK.finditer(README)))
    for line in (line for block in RUN for line in commands(block)):
        assert ALLOWED.match(line), f"{line!r}: put <!-- not run: why --> before its block"


@pytest.mark.parametrize("block", RUN, ids=[commands(block)[0] for block in RUN])
def test_commands_run(block, checkout):
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": here, "LAB_BUDGET": "smoke", "OMP_WAIT_POLICY": "PASSIVE"}
    script = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(
        script, cwd=checkout, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_links_inside_the_repository_lead_somewhere():
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_tree_shows_what_is_there():
    tree = re.search(r"```text\n(.*?)```", README, re.DOTALL)[1]
    names = [line.split()[0] for line in tree.splitlines() if line.strip()]
    parents, missing = [ROOT], []
    for line, name in zip([line for line in tree.splitlines() if line.strip()], names, strict=True):
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth + 1 :] = [parents[depth] / name]
        if not parents[-1].exists():
            missing.append(str(parents[-1].relative_to(ROOT)))
    assert missing == []


def test_map_lists_every_notebook_and_links_no_other():
    linked = re.findall(r"\(notebooks/([\w.]+)\.ipynb\)", README)
    assert sorted(set(linked)) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("page", ["README.md", "data/README.md"])
def test_the_table_is_the_one_that_the_results_files_give(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    with_headlines = runpy.run_path(str(ROOT / "tools" / "headlines.py"))["with_headlines"]
    assert with_headlines(text) == text, "run `make results`"
    assert text.count("| pedal order |") >= 1
