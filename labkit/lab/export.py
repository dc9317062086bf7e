"""A chain written for other places: a program in Faust, a plug-in, a card."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from labkit.effects import faust
from labkit.effects.chain import Chain
from labkit.signal.paths import replace_text

Kind = Literal["faust", "lv2", "vst3", "card"]
ENDINGS: dict[Kind, tuple[str, ...]] = {
    "faust": (".dsp",),
    "lv2": (".lv2",),
    "vst3": (".vst3",),
    "card": (".card.svg", ".card.pdf"),
}


def endings(kinds: Iterable[str]) -> list[str]:
    """The endings of the files of these kinds, each once; ValueError for another kind, or none."""
    kinds = dict.fromkeys(kinds)
    if not kinds or not kinds.keys() <= ENDINGS.keys():
        given = ", ".join(map(repr, kinds)) or "none"
        raise ValueError(f"kinds must be among {', '.join(ENDINGS)}, got {given}")
    return [ending for kind in kinds for ending in ENDINGS[kind]]


def export(
    chain: Chain, paths: Iterable[Path], *, channels: int, input_dbfs: float | None = None
) -> Iterator[Path]:
    """Write what each path's ending says, and yield it then. A card names the input's RMS level.

    Plug-ins come first, because a compiler may fail.
    """
    for path in sorted(paths, key=lambda path: path.suffix not in (".lv2", ".vst3")):
        if path.suffix == ".dsp":
            replace_text(path, faust.program(chain, channels=channels))
        elif path.suffix in (".lv2", ".vst3"):
            faust.build_plugin(chain, path, channels=channels)
        else:
            from labkit.lab.plots import chain_card  # Matplotlib: only for a card

            chain_card(chain, input_dbfs).save(path)
        yield path
