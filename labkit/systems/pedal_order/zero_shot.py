"""The network on pedals that it has never heard: real units and other makers' plug-ins, one at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from labkit.effects.hosts import installed_plugins, open_plugin
from labkit.measure.score import Row, bootstrap_interval, wilson_interval
from labkit.signal.files import read_audio
from labkit.signal.paths import real_data_dir
from labkit.signal.units import set_rms
from labkit.systems.pedal_order.config import SIX
from labkit.systems.pedal_order.examination import dry_clips
from labkit.systems.pedal_order.model import PedalOrderModel
from labkit.systems.pedal_order.predict import predict

# How the file names of EGFxSet (Pedroza et al. 2022, CC BY 4.0) begin, and what a shelf of six calls that unit.
UNITS = {
    "bd-2": "distortion",
    "rat": "distortion",
    "ts": "distortion",
    "bluesdriver": "distortion",
    "tubescreamer": "distortion",
    "ch3": "chorus",
    "ph": "phaser",
    "dd": "delay",
    "se": "delay",
    "te": "delay",
    "hr": "reverb",
    "pr": "reverb",
    "sr": "reverb",
}


@dataclass(frozen=True)
class ForeignPedal:
    """A plug-in by another maker.

    Attributes:
        name: as `labkit plugins` prints it.
        pedal: what a shelf of six calls it.
        settings: knobs that do not rest at their defaults, 0..1, so that it can be heard.
    """

    name: str
    pedal: str
    settings: Mapping[str, float] = field(default_factory=dict)


FOREIGN = (
    ForeignPedal("ZamComp", "compressor", {"threshold_db": 0.5, "ratio": 0.26}),
    ForeignPedal("gx_compressor", "compressor", {"threshold": 0.6, "ratio": 0.26}),
    ForeignPedal("gxts9", "distortion"),
    ForeignPedal("gx_muff", "distortion"),
    ForeignPedal("gx_bossds1", "distortion"),
    ForeignPedal("gx_mxrdist", "distortion"),
    ForeignPedal("gx_chorus_stereo", "chorus", {"depth": 0.3}),
    ForeignPedal("MultiChorus", "chorus"),
    ForeignPedal("gx_phaser", "phaser"),
    ForeignPedal("ZamDelay", "delay", {"time_ms": 0.035, "feedback": 0.4, "dry_wet": 0.4}),
    ForeignPedal(
        "gx_delay_stereo",
        "delay",
        {"l_time": 0.07, "r_time": 0.07, "l_level": 0.45, "r_level": 0.45},
    ),
    ForeignPedal("gx_reverb_stereo", "reverb"),
    ForeignPedal("gx_zita_rev1_stereo", "reverb"),
)


def real_units(folder: Path) -> Iterator[tuple[Path, str]]:
    """The recordings of a single real unit below `folder`, each with the pedal that comes nearest to it."""
    for file in sorted(
        [
            *(folder / "egfxset_wet").glob("*.wav"),
            *(folder / "pairs" / "egfxset").glob("*_wet.flac"),
        ]
    ):
        pedal = UNITS.get(file.stem.split("_")[0])
        if pedal:
            yield file, pedal


def unit_rows(
    model: PedalOrderModel, *, checkpoint: str = "", say: Callable[[str], None] = print
) -> list[Row]:
    """How the network names real units that stand alone, with six pedals on the shelf.

    Args:
        model: in evaluation mode.
        checkpoint: name recorded in each row.
        say: told what each recording was taken for.

    Returns:
        Rows "the unit is named" and "nothing else is named", with the share of the best constant answer; no rows
        where there are no such recordings.
    """
    folder = real_data_dir()
    found = []
    for file, pedal in real_units(folder) if folder else ():
        audio, sample_rate = read_audio(file)
        names = predict(model, audio, sample_rate, shelf=SIX).chain.names
        say(f"{file.stem}: {pedal}, heard as {' '.join(names) or 'nothing'}")
        found.append((pedal, names))
    if not found:
        return []
    pedals = [pedal for pedal, _ in found]
    commonest = max(pedals.count(pedal) for pedal in set(pedals)) / len(pedals)
    rows = []
    for metric, right in {
        "the unit is named": [pedal in names for pedal, names in found],
        "and nothing else": [names == (pedal,) for pedal, names in found],
    }.items():
        low, high = wilson_interval(int(np.sum(right)), len(right))
        facts = {
            "ours": float(np.mean(right)),
            "low": low,
            "high": high,
            "n": len(right),
            "prior": commonest,
        }
        shared = {
            "name": "transformer",
            "sources": "real",
            "unit": "",
            "seed": 0,
            "checkpoint": checkpoint or None,
        }
        rows.append(
            Row(protocol="real units, one at a time, shelf of 6", metric=metric, **shared | facts)
        )
    return rows


def plugin_rows(
    model: PedalOrderModel,
    *,
    n: int = 10,
    sources: Sequence[str] = ("generated", "sampled"),
    seed: int = 1,
    checkpoint: str = "",
    say: Callable[[str], None] = print,
) -> list[Row]:
    """How the network names plug-ins by other makers that stand alone, with six pedals on the shelf.

    Args:
        model: in evaluation mode.
        n: dry clips through each plug-in.
        sources: kinds of dry sources, none trained on; ``"real"`` needs real recordings.
        seed: of the clips.
        checkpoint: name recorded in each row.
        say: told which plug-ins are missing, and what the others were taken for.

    Returns:
        Rows "the pedal is named" and "and nothing else" for each source, with the share of the best constant answer
        and intervals over plug-ins; then each plug-in by itself. None where no such plug-in is installed.
    """
    here = {info.name for info in installed_plugins() if info.usable}
    pedals = [one for one in FOREIGN if one.name in here]
    missing = [one.name for one in FOREIGN if one.name not in here]
    if missing:
        say(
            f"plug-ins that are not installed: {', '.join(missing)} (labkit plugins says what would mend it)"
        )
    rows = []
    for kind in sources if pedals else ():
        heard = [_heard_behind(model, one, kind, n, seed) for one in pedals]
        rows += _plugin_rows(pedals, heard, kind, seed, checkpoint)
        for one, answers in zip(pedals, heard, strict=True):
            said = sorted({" ".join(names) or "nothing" for names in answers})
            say(f"{kind}, {one.name}: {one.pedal}, heard as {', '.join(said)}")
    return rows


def _heard_behind(
    model: PedalOrderModel, one: ForeignPedal, kind: str, n: int, seed: int
) -> list[tuple[str, ...]]:
    """What the network says of `n` dry clips through a plug-in that has been running when the clip begins."""
    config, answers = model.config, []
    with open_plugin(one.name, parameters=tuple(one.settings)) as plugin:
        for clip in dry_clips(config, kind, n, seed, "test"):
            dry = set_rms(clip.audio, config.input_rms_dbfs)
            wet = plugin.process(dry, clip.sample_rate, np.array(list(one.settings.values())))
            answers.append(
                predict(model, wet[:, -config.samples :], clip.sample_rate, shelf=SIX).chain.names
            )
    return answers


def _plugin_rows(
    pedals: Sequence[ForeignPedal],
    heard: Sequence[list[tuple[str, ...]]],
    kind: str,
    seed: int,
    checkpoint: str,
) -> list[Row]:
    flat = [(one, names) for one, answers in zip(pedals, heard, strict=True) for names in answers]
    kinds = [one.pedal for one in pedals]
    commonest = max(kinds.count(pedal) for pedal in set(kinds)) / len(kinds)
    shared = {
        "protocol": "plug-ins of other makers, one at a time, shelf of 6",
        "name": "transformer",
        "sources": kind,
    }
    shared |= {"unit": "", "seed": seed, "checkpoint": checkpoint or None, "prior": commonest}
    rows = []
    for metric, right in {
        "the pedal is named": [one.pedal in names for one, names in flat],
        "and nothing else": [names == (one.pedal,) for one, names in flat],
    }.items():
        values, groups = np.array(right, float), [one.name for one, _ in flat]
        low, high = (
            bootstrap_interval(values, groups, seed=seed) if len(pedals) > 1 else (None, None)
        )
        rows.append(
            Row(metric=metric, ours=float(values.mean()), low=low, high=high, n=len(flat), **shared)
        )
    for one, answers in zip(pedals, heard, strict=True):
        share = float(np.mean([one.pedal in names for names in answers]))
        facts = {"ours": share, "low": None, "high": None, "n": len(answers), "prior": None}
        rows.append(Row(metric=f"the pedal is named: {one.name} ({one.pedal})", **shared | facts))
    return rows
