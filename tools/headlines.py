"""The tables of main figures in README.md and data/README.md, from the results: `make results`."""

from fnmatch import fnmatchcase

from labkit.lab.results import Table, cells
from labkit.measure.score import read
from labkit.signal.paths import data_dir, replace_text

# The rows of README.md and data/README.md: (system, protocol, model, metric, in words). A star in
# a protocol stands for any text; "less" marks a score where less is better.
HEADLINES = [
    tuple(line.split(" | "))
    for line in """\
pedal_order | three | transformer | exact chain | chains of 3 pedals, order right
pedal_order | six | transformer | exact chain | chains of 6 pedals, order right
pedal_order | nine | transformer | exact chain | chains of 9 pedals, order right
pedal_order | single | transformer | exact chain | one of 9 pedals or none, right
knobs | nine | reader of knobs | knob error | settings of 9 pedals, error in 0 to 1; less
saturation | wet only | network | depth error | depth 1 to 10 from wet sound, error; less
blackbox | distortion* | controller, 1 render | MR-STFT left | distortion, distance left; less
blackbox | speech* | controller, 1 render | MR-STFT left | speech, distance left; less
blackbox | mastering* | controller, 1 render | MR-STFT left | mastering, distance left; less
style | treat A like B, real speech | autodiff | MR-STFT | MR-STFT to the target; less
synth | Vital, 30* | labkit synth | MSS | 30 settings of Vital, refined, MSS in dB; less
synth | Vital, 30* | labkit synth --refine 0 | in tune | 30 settings of Vital, within .25 semitone
synth | Vital, 30* | flow, best of 8 | MSS | 30 settings of Vital, best of 8, MSS in dB; less
synth | Vital, 69* | flow, best of 8 | MSS | 69 settings of Vital, best of 8, MSS in dB; less
text | EQ curve of a word never seen* | network | RMSE, standardised | EQ of a new word, RMSE; less
codec | through pedals* | our codec | mel distance | mel distance in dB; less""".splitlines()
]
# Those that README.md shows: one for each of the five systems, and the codec.
FRONT = (0, 5, 8, 10, 14, 15)
_BEGIN, _END = "<!-- results:begin -->", "<!-- results:end -->"


def headlines(*, front: bool) -> Table:
    """The main figures of every system; `front` keeps one row a system, two decimals.

    Where a baseline differs between the sources, the front page shows the range of its figures.
    """
    lines = []
    kinds = {"generated": "generated", "real": "real", "recorded": "players never seen"}
    for number in FRONT if front else range(len(HEADLINES)):
        system, protocol, name, metric, words = HEADLINES[number]
        found = {}
        for row in read(system):
            matches = fnmatchcase(row.protocol, protocol)
            if matches and (row.name, row.metric) == (name, metric) and row.sources in kinds:
                found[row.sources] = row
        beside = ("prior", "floor", "control", "oracle")
        lines.append((system.replace("_", " "), words, *cells(found, kinds, beside, short=front)))
    ours = (f"ours, {name}" for name in kinds.values())
    header = ("system", "task", *ours, "best constant", "floor", "shuffled", "oracle")
    return Table((*header, "n"), tuple(lines))


def with_headlines(page: str) -> str:
    """The text of a page with its table between the two marks made anew.

    Raises ValueError if the page does not hold both marks once, in this order.
    """
    if page.count(_BEGIN) != 1 or page.count(_END) != 1 or page.index(_BEGIN) > page.index(_END):
        raise ValueError(f"page must hold {_BEGIN} and {_END} once each, in this order")
    before, rest = page.split(_BEGIN)
    front = "git clone" in before  # README.md shows fewer rows than data/README.md
    return f"{before}{_BEGIN}\n{headlines(front=front)}\n{_END}{rest.split(_END)[1]}"


if __name__ == "__main__":
    for page in (data_dir().parent / "README.md", data_dir() / "README.md"):
        replace_text(page, with_headlines(page.read_text(encoding="utf-8")))
        print(f"wrote {page}")
