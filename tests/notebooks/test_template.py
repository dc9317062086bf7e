"""Every notebook keeps to the course's template: who knows one knows where things are in all."""

import re
import statistics
from pathlib import Path

import nbformat
import pytest

from labkit.lab.exercises import facts

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_LINES, MAX_MEDIAN_LINES, MAX_BYTES = 25, 6, 500_000
# Each stalls notebook runners or plays at a false level; lab/ has what stands in their place.
FORBIDDEN = {
    r"\binteract(?:ive|ive_output)?\(": "observe a slider and set `.value` of another widget",
    r"\bOutput\(": "set `.value` of a widget",
    r"\bIPython\.display\.Audio\b": "play through labkit.lab.listen",
    r"from IPython\.display import [^\n]*\bAudio\b": "play through labkit.lab.listen",
    r"\bdisplay\.Audio\(|\bipd\.Audio\(": "play through labkit.lab.listen",
    r"\binput\(": "a prompt blocks every runner",
    r"<iframe": "JupyterLab denies a frame in a widget its storage: print the address",
}


def read(path):
    return nbformat.read(path, as_version=4)


def sources(notebook, kind):
    return [cell.source for cell in notebook.cells if cell.cell_type == kind]


def headings(notebook):
    text = "\n".join(sources(notebook, "markdown"))
    return [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")]


def lines(source):
    return sum(1 for line in source.splitlines() if line.strip())


def test_nine_notebooks_are_numbered():
    assert [path.stem[:3] for path in NOTEBOOKS] == [f"0{k}_" for k in range(9)]


every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@every_notebook
def test_is_valid_small_and_committed_with_outputs_but_no_audio(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size <= MAX_BYTES
    assert "widgets" not in notebook.metadata, "widget state: python tools/strip_audio.py it"
    assert "data:audio" not in path.read_text(encoding="utf-8"), "python tools/strip_audio.py it"
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs, "run it, so that readers on the web see results"
    assert not [output for output in outputs if output.output_type == "error"]


@every_notebook
def test_cells_are_short(path):
    counts = {
        source.splitlines()[0]: lines(source)
        for source in sources(read(path), "code")
        if source.strip()
    }
    assert max(counts.values()) <= MAX_LINES, max(counts, key=counts.get)
    assert statistics.median(counts.values()) <= MAX_MEDIAN_LINES


@every_notebook
def test_begins_with_a_title_and_a_promise_and_ends_with_a_recap(path):
    notebook = read(path)
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "promise" in first.source.lower()
    found = headings(notebook)
    for part in ("goals", "recap"):
        assert any(part in heading for heading in found), f"no heading with {part!r} among {found}"


def exercises(path):
    """The exercises that a page checks, in the order in which they are read."""
    code = "\n".join(sources(read(path), "code"))
    return list(dict.fromkeys(re.findall(r"""\bcheck\(\s*["']([\d.]+)["']""", code)))


@every_notebook
def test_has_exercises_that_check_themselves_in_order_each_with_a_hint(path):
    found = exercises(path)
    assert len(found) >= (2 if path.stem.startswith("00") else 5)
    assert found == [f"{path.stem[:2]}.{k + 1}" for k in range(len(found))]
    assert found == [name for name in facts() if name.startswith(path.stem[:3].replace("_", "."))]
    text = "\n".join(cell.source for cell in read(path).cells)
    assert set(found) <= set(re.findall(r"""\bhint\(["']([\d.]+)["']""", text))


def test_the_learner_writes_the_core_of_each_method():
    """At least 36 exercises and 150 lines, counted in the answers of the solutions notebooks."""
    written = 0
    for path in sorted((FOLDER / "solutions").glob("*.ipynb")):
        for source in sources(read(path), "code"):
            if "check(" in source:
                skip = ("check(", "exercises.check(", "import ", "from ", "#")
                kept = [line for line in source.splitlines() if not line.strip().startswith(skip)]
                written += lines("\n".join(kept))
    assert len(facts()) >= 36
    assert written >= 150


@every_notebook
def test_has_equations_a_diagram_claims_and_from_03_on_a_blind_test(path):
    notebook = read(path)
    prose = "\n".join(sources(notebook, "markdown"))
    code = "\n".join(sources(notebook, "code"))
    number = int(path.stem[:2])
    assert prose.count("$$") >= (4 if number else 2)
    diagrams = re.findall(r"!\[[^\]]{10,}\]\((diagrams/[\w.]+\.svg)\)", prose)
    assert diagrams
    assert all((FOLDER / name).is_file() for name in diagrams)
    notices = len(re.findall(r"notice", prose, re.IGNORECASE))
    assert len(re.findall(r"\bclaim\(", code)) >= max(5, notices)
    if number >= 3:
        assert re.search(r"\babx\(", code)


@every_notebook
def test_uses_nothing_that_stalls_or_misleads(path):
    code = "\n".join(sources(read(path), "code"))
    for pattern, instead in FORBIDDEN.items():
        found = re.search(pattern, code)
        assert not found, f"{found[0]}: {instead}"


@every_notebook
def test_prints_words_and_no_raw_values(path):
    outputs = [output for cell in read(path).cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    raw = re.findall(
        r"\{(?:'[^{}]*'|[\d.]+): [^{}]*\}|\barray\(|\btensor\(|\bnp\.\w+\(|\('\w[^)]*'\)", printed
    )
    assert not raw, f"say it in words, with units: {raw[0]}"


@every_notebook
def test_a_training_cell_that_is_run_again_goes_on(path):
    trains = re.compile(r"\.train\([^()]*\brun_dir\b")
    fresh = [
        source
        for source in sources(read(path), "code")
        if "mkdtemp(" in source and trains.search(source)
    ]
    assert not fresh, (
        "every run of this cell begins in a new folder: make the folder in the cell before"
    )


@pytest.mark.parametrize("number", ["04", "05", "06", "07"])
def test_tensorboard_opens_before_what_it_shows_is_trained(number):
    (path,) = FOLDER.glob(f"{number}_*.ipynb")
    cells = sources(read(path), "code")
    opened = [k for k, source in enumerate(cells) if re.search(r"\bboard\.launch\(", source)]
    trained = [k for k, s in enumerate(cells) if re.search(r"\bSYSTEM\.train\(|SummaryWriter\(", s)]
    assert opened
    assert trained
    assert opened[0] < trained[0]


@pytest.mark.parametrize("number", ["00", "05", "06", "07", "08"])
def test_own_recordings_can_be_given(number):
    (path,) = FOLDER.glob(f"{number}_*.ipynb")
    assert any("Upload(" in source for source in sources(read(path), "code"))


def is_defined(function):
    """Whether a module holds this function or class, or a package exports it; without an import."""
    *folders, name = function.split(".")
    module = FOLDER.parent.joinpath(*folders)
    file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    words = rf'^(?:def|class) {name}\b|^    "{name}",$|^from labkit\S+ import .*\b{name}\b'
    return file.is_file() and re.search(words, file.read_text(encoding="utf-8"), re.MULTILINE)


@every_notebook
def test_the_map_of_the_glossary_names_what_there_is(path):
    """Sections by how their heading begins, functions of labkit, exercises with their titles."""
    page = (FOLDER / "GLOSSARY.md").read_text(encoding="utf-8")
    found = re.findall(rf"\| \[{path.stem[:2]} · ([^\]]+)\]\(([^)]+)\) \| `(.+)` \|(.*)\|", page)
    assert found, "no line of the map leads here"
    for section, file, function, names in found:
        assert file == path.name
        assert any(h.startswith(section.lower()) for h in headings(read(path))), section
        assert is_defined(function), function
        for name, title in re.findall(r"(\d\d\.\d+) ([^;]+?) ?(?:;|$)", names.strip()):
            assert facts()[name].title == title, f"{name} is {facts()[name].title!r}"
