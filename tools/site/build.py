"""Makes a static book of the notebooks, with sound: `python tools/site/build.py --out site`.

Every notebook is executed (at LAB_BUDGET), its players' sounds become Opus files of their own, and
Sphinx makes pages with search, equations, figures, and links from code to labkit's documentation.
Nothing is fetched: no page needs another server. `--as-committed` does not execute (no sound then).
"""

import argparse
import base64
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import soundfile
from live import write_live
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
AUDIO = re.compile(r'src="data:audio/\w+;base64,([A-Za-z0-9+/=]+)"')
WIDGET = "application/vnd.jupyter.widget-view+json"
IN_ITS_PLACE = "<em>A control stands here when the notebook runs.</em>"
OPUS_RATE = 48_000
ROOMS = ("signal", "effects", "measure", "learn", "systems", "lab")


def execute(notebook, folder):
    """Run all cells in place, in `folder`."""
    NotebookClient(
        notebook, timeout=1800, resources={"metadata": {"path": str(folder)}}, kernel_name="python3"
    ).execute()


def with_sound_files(notebook, stem, sounds):
    """Move every sound in the outputs into an Opus file; returns how many there were."""
    count = 0

    def moved(match):
        nonlocal count
        count += 1
        name = f"{stem}-{count:02d}.opus"
        write_opus(base64.b64decode(match[1]), sounds / name)
        return f'src="_static/sounds/{name}"'

    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET in data:
                data.pop(WIDGET)
                data["text/html"] = IN_ITS_PLACE
            if "text/html" in data:
                data["text/html"] = AUDIO.sub(moved, data["text/html"])
            # Progress bars and warnings are for the one who runs the cell.
            if output.output_type != "stream" or output.name != "stderr":
                kept.append(output)
        if "outputs" in cell:
            cell.outputs = kept
    notebook.metadata.pop("widgets", None)
    return count


def write_opus(file, path):
    """A WAV or Ogg file's bytes as Opus."""
    from labkit.signal.files import resample

    audio, rate = soundfile.read(io.BytesIO(file), always_2d=True, dtype="float32")
    audio = resample(audio.T, rate, OPUS_RATE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(
        path, "w", OPUS_RATE, len(audio), format="OGG", subtype="OPUS", compression_level=0.85
    ) as out:
        # libsndfile's encoders overflow their stack on minutes at once.
        for start in range(0, audio.shape[1], OPUS_RATE):
            out.write(audio[:, start : start + OPUS_RATE].T)


def write_sources(notebooks, source, *, run):
    """The folder that Sphinx reads."""
    sounds = source / "_static" / "sounds"
    counts = {}
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        if run:
            print(f"running {path.name}", flush=True)
            execute(notebook, path.parent)
        counts[path.stem] = with_sound_files(notebook, path.stem, sounds)
        nbformat.write(notebook, source / path.name)
        solutions = path.parent / "solutions" / f"{path.stem[:2]}_solutions.ipynb"
        if solutions.is_file():
            (source / "solutions").mkdir(exist_ok=True)
            shutil.copy(solutions, source / "solutions")
    for diagrams in {path.parent / "diagrams" for path in notebooks}:
        if diagrams.is_dir():
            shutil.copytree(diagrams, source / "diagrams", dirs_exist_ok=True)
    for name in ("conf.py", "favicon.svg"):
        shutil.copy(Path(__file__).with_name(name), source / name)
    shutil.copytree(ROOT / "data" / "pictures", source / "data" / "pictures")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    # Links to notebooks go to their pages; those to other files of the repository stay words.
    readme = re.sub(r"\((?:\.?/)?notebooks/(\d\d_\w+)\.ipynb\)", r"(\1.ipynb)", readme)
    readme = re.sub(r"\[([^\]]+)\]\((?!http|#|\d\d_|data/pictures)[^)]+\)", r"\1", readme)
    solutions = [f"solutions/{path.stem}" for path in sorted(source.glob("solutions/*.ipynb"))]
    play = ["play"] if write_live(source) else []
    parts = {"Notebooks": list(counts), "Play": play, "Solutions": solutions, "labkit": ROOMS}
    for caption, pages in parts.items():
        lines = ["", "```{toctree}", ":hidden:", f":caption: {caption}", *pages, "```", ""]
        readme += "\n".join(lines) if pages else ""
    (source / "index.md").write_text(readme, encoding="utf-8")
    for room in ROOMS:
        write_room(room, source / f"{room}.md")
    return counts


def write_room(room, page):
    """One page of documentation: every module of a room of labkit."""
    folder = ROOT / "labkit" / room
    parts = [f"# labkit.{room}", ""]
    for file in sorted(folder.rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        if file.name == "__init__.py":
            if not file.read_text(encoding="utf-8").strip():
                continue
            module = module.removesuffix(".__init__")
        options = [f".. automodule:: {module}", "   :members:"]
        parts += [f"## {module}", "", "```{eval-rst}", *options, "```", ""]
    page.write_text("\n".join(parts), encoding="utf-8")


def main():
    """Build the book, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder of the pages")
    parser.add_argument("--as-committed", action="store_true", help="do not run the notebooks")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    options = parser.parse_args()
    notebooks = options.notebooks or sorted((ROOT / "notebooks").glob("0*.ipynb"))
    source = options.out.with_name(f"{options.out.name}-source")
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    counts = write_sources(notebooks, source, run=not options.as_committed)
    doctrees = source / ".doctrees"
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-b",
        "html",
        "-d",
        doctrees,
        source,
        options.out,
    ]
    subprocess.run(command, check=True)
    size = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    sounds = sorted((options.out / "_static" / "sounds").glob("*.opus"))
    weight = sum(file.stat().st_size for file in sounds)
    print(
        f"{options.out}: {size / 1e6:.1f} MB, of which {len(sounds)} sounds {weight / 1e6:.1f} MB"
    )
    for name, count in counts.items():
        print(f"  {name}: {count} sounds")


if __name__ == "__main__":
    main()
