"""Fits the head by which pedal order says no: no guitar, a pedal that it does not know, no pedals.

    judge.py CLIPS [--part NAME]                draws clips for the shipped network, or one part
    judge.py CLIPS --checkpoint FILE            fits; the checkpoint and its card change
    judge.py CLIPS --cabinets                   draws guitars with and without a cabinet
    judge.py CLIPS --cabinets --checkpoint FILE fits what names a cabinet

`--network FILE` draws for a network that does not ship yet. Recordings without a guitar are music
and speech of Debian's packages (`labkit doctor` names them). The guitars are generated, sampled and
recorded ones (`LABKIT_REAL_DATA`): training groups for the head, validation groups for what is
fitted to its answers. "No pedals" is told from one pedal, half of them as other makers might build
them: of several pedals one always stands out, and what is learnt from such chains overlooks one.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pedalboard
import torch
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from labkit.effects.chain import Chain
from labkit.signal.behind import behind_chain
from labkit.signal.files import resample
from labkit.signal.packaged import Packaged
from labkit.signal.paths import replacing
from labkit.signal.pool import Clip
from labkit.signal.recorded import RecordedGuitars
from labkit.signal.sampled import Sampled, programs
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars, GeneratedMixes, drums
from labkit.signal.speech import GeneratedSpeech
from labkit.systems import pedal_order
from labkit.systems.pedal_order.config import NINE, PROTOCOLS, SHELVES, THREE, Config
from labkit.systems.pedal_order.data import by_others, prepare
from labkit.systems.pedal_order.model import KINDS, PedalOrderModel, features
from labkit.systems.pedal_order.predict import CABINET_NAMED, no_pedals

SECONDS, RATE = 2.5, 44_100
N_GUITARS = {"train": 8000, "validation": 1600}
N_OTHERS = {"train": 5000, "validation": 800}
# The clips that are drawn: their kinds, and places in a permutation of all of them.
MANY, FEW = ("clean", *SHELVES, "other"), ("clean", "single")
PARTS = {
    "train_0": ("train", MANY, range(2800)),
    "train_1": ("train", MANY, range(6500, 9300)),
    "validation": ("validation", MANY, range(2400)),
    "single": ("validation", FEW, range(1600)),
}
# A chain's kind: the pedals of which it holds one at least, and the ways in which it is drawn.
CHAINS = {
    "three": (THREE, ("three", "wide")),
    "six": (("phaser", "delay"), ("six",)),
    "nine": (("flanger", "vibrato", "tremolo"), ("nine", "single")),
    "single": (NINE, ("single",)),
}
# Of the guitars through a chain, those whose pedals are as other makers might build them.
OTHERS_SHARE = {"three": 0.3, "six": 0.3, "nine": 0.3, "single": 0.5}
CABINETS = {"cabinets_train": ("train", 3000), "cabinets_validation": ("validation", 800)}
SAID_CLEAN = 0.95  # of dry validation clips
# How often each of `KINDS` is expected beside how often it is drawn. Chosen on validation clips:
# the fewest guitars are refused for which a pedal is named (.5 or more) in 2.5 % of no guitars.
EXPECTED = {"three": 1.0, "six": 0.05, "nine": 0.05, "other": 0.02, "none": 0.05}
PLUCKED = ("guitar", "bass", "plucked")


class Material:
    """Clips of one split: item i is (wet (1, samples), kind), and depends on i alone."""

    def __init__(
        self, config: Config, split: str, kinds: tuple[str, ...] = MANY, seed: int = 0
    ) -> None:
        sound = config.sound
        size = {"seconds": SECONDS, "sample_rate": RATE}
        self.sound, self.split, self.kinds, self.seed = sound, split, kinds, seed
        self.guitars = [GeneratedGuitars(**size), RecordedGuitars(**size), Sampled(**size)]
        self.others = [GeneratedSpeech(**size), GeneratedMixes(**size)]
        self.others += [Packaged(kind, **size) for kind in ("speech", "music")]
        self.families = {one.source_id: one.family for one in programs(split)}

    def __len__(self) -> int:
        return N_GUITARS[self.split] + (N_OTHERS[self.split] if self.kinds == MANY else 0)

    def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
        rng = generator(self.seed, "judge", self.split, index)
        guitar = index < N_GUITARS[self.split]
        kind = self.kinds[index % len(self.kinds)] if guitar else "none"
        wet = self.guitar(rng, kind) if guitar else self.other(rng)
        if rng.random() < 0.5:
            wet = behind_chain(wet, RATE, rng, split=self.split)
        return np.ascontiguousarray(wet, np.float32), kind

    def with_cabinet(self, index: int) -> tuple[np.ndarray, bool]:
        """A guitar, dry or through a chain, and whether a cabinet stands behind it: half do."""
        rng = generator(self.seed, "cabinets", self.split, index)
        wet = self.guitar(rng, ("clean", *SHELVES)[index % 4])
        there = bool(rng.random() < 0.5)
        if there or rng.random() < 0.5:
            wet = behind_chain(wet, RATE, rng, split=self.split, cabinet=there)
        return np.ascontiguousarray(wet, np.float32), there

    def guitar(self, rng: np.random.Generator, kind: str) -> np.ndarray:
        """A guitar, a bass or another plucked instrument: dry, or through a chain of its kind."""
        clip = self.plucked(rng)
        chain = Chain()
        if kind in CHAINS:
            wanted, names = CHAINS[kind]
            while not set(wanted) & set(chain.names):
                chain = PROTOCOLS[str(rng.choice(names))].draw(rng)
        elif kind == "other" and rng.random() < 0.3:
            chain = PROTOCOLS["three"].draw(rng)
        training = self.split == "train"
        shift_db = float(rng.uniform(-12, 12)) if training else 0.0
        dry, start = prepare(self.sound, clip, rng, training=training, shift_db=shift_db)
        if kind in CHAINS and rng.random() < OTHERS_SHARE[kind]:
            wet = by_others(chain, dry, RATE, rng)
        elif kind == "other" and rng.random() < 0.5:
            wet = unknown_pedal(chain.render(dry, RATE), rng)
        else:
            strange = unknown_pedal(dry, rng) if kind == "other" else dry
            wet = chain.render(strange, RATE)
        return wet[:, start:]

    def plucked(self, rng: np.random.Generator) -> Clip:
        """A clip of a guitar or the like that sounds."""
        source = self.guitars[rng.choice(3, p=(0.3, 0.5, 0.2))]
        while True:
            clip = source.clip(rng, self.split)
            family = self.families.get(clip.source_id.rpartition("/")[0], "guitar")
            if family in PLUCKED and np.abs(clip.audio).max() > 1e-4:
                return clip

    def other(self, rng: np.random.Generator) -> np.ndarray:
        """Speech, a band, drums, noise or a recording without a guitar; some through a chain."""
        make: list[Callable[[], np.ndarray]] = [
            *(lambda one=one: one.clip(rng, self.split).audio for one in self.others),
            lambda: self.band(rng),
            lambda: drums(rng, seconds=SECONDS, sample_rate=RATE),
            lambda: 0.1 * rng.standard_normal((1, round(SECONDS * RATE))),
        ]
        weights = np.array([2, 2, 2, 3, 3, 1.5, 0.5])
        audio = np.zeros((1, 1))
        while np.abs(audio).max() < 1e-4:
            audio = make[rng.choice(len(make), p=weights / weights.sum())]()
        audio = np.resize(audio, (1, round(SECONDS * RATE))).astype(np.float32)
        if rng.random() < 0.15:  # a telephone
            band = [pedalboard.HighpassFilter(300), pedalboard.LowpassFilter(3400)]
            audio = resample(pedalboard.Pedalboard(band)(audio, RATE), RATE, 8000)
            audio = resample(audio, 8000, RATE)
        if rng.random() < 0.2:
            audio = audio * np.float32(0.1 / audio.std())
            audio = PROTOCOLS["three"].draw(rng).render(audio, RATE)
        start = int(rng.integers(audio.shape[1] - self.sound.samples))
        return audio[:, start : start + self.sound.samples]

    def band(self, rng: np.random.Generator) -> np.ndarray:
        """Several sampled instruments at once, some with drums."""
        total = np.zeros((1, round(SECONDS * RATE)))
        for _ in range(rng.integers(3, 6)):
            part = self.guitars[2].clip(rng, self.split).audio
            total += part / max(part.std(), 1e-4) * rng.uniform(0.3, 1)
        beat = drums(rng, seconds=SECONDS, sample_rate=RATE)
        return total + (rng.random() < 0.6) * beat / max(beat.std(), 1e-4) * rng.uniform(0.5, 1.5)


def unknown_pedal(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of four effects that are on no shelf: (1, samples) as given."""
    samples = audio.shape[1]
    time = np.arange(samples) / RATE
    kind = rng.integers(4)
    if kind == 0:  # ring modulator
        out = audio * np.sin(2 * np.pi * np.exp(rng.uniform(np.log(40), np.log(1200))) * time)
    elif kind == 1:  # wah
        mode, resonance = pedalboard.LadderFilter.Mode.BPF12, float(rng.uniform(0.4, 0.9))
        board = pedalboard.LadderFilter(mode, 800, resonance)
        low_hz, high_hz = rng.uniform(250, 500), rng.uniform(1200, 2800)
        swing = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.4, 4) * time + rng.uniform(0, 6.28))
        parts = []
        for start in range(0, samples, 256):
            board.cutoff_hz = float(low_hz * (high_hz / low_hz) ** swing[start])
            piece = audio[:, start : start + 256].astype(np.float32)
            parts.append(board.process(piece, RATE, reset=False))
        out = np.concatenate(parts, axis=1)
    elif kind == 2:  # octaver
        shifted = pedalboard.PitchShift(float(rng.choice([-12, 12, 7, -5])))(audio, RATE)
        share = rng.uniform(0.4, 0.8)
        out = share * np.resize(shifted, audio.shape) + (1 - share) * audio
    else:  # bit and rate crusher
        loud = audio * np.float32(0.7 / max(float(np.abs(audio).max()), 1e-6))
        every = int(rng.integers(3, 14))
        out = pedalboard.Bitcrush(float(rng.uniform(3, 7)))(loud, RATE)
        out = np.repeat(out[:, ::every], every, axis=1)[:, :samples]
    return out.astype(np.float32)


@torch.inference_mode()
def draw(model: PedalOrderModel, material: Material, places: range) -> dict[str, np.ndarray]:
    """What `judge` knows of clips, their kinds, and the decoder's probability of no pedals."""
    found: dict[str, list] = {"known": [], "kind": [], "empty": []}
    order = np.random.default_rng(0).permutation(len(material))
    for place in places:
        wet, kind = material[int(order[place])]
        clip = features(torch.from_numpy(wet), model.config.sound)
        heard = model.hear(clip)
        found["known"].append(heard.pooled[0].numpy())
        found["kind"].append(kind)
        found["empty"].append(no_pedals(model, heard))
    return {name: np.array(values) for name, values in found.items()}


@torch.inference_mode()
def draw_cabinets(model: PedalOrderModel, material: Material, n: int) -> dict[str, np.ndarray]:
    """What `cabinet` knows of n clips, and whether there is one."""
    known, there = [], []
    for index in range(n):
        wet, cabinet = material.with_cabinet(index)
        clip = features(torch.from_numpy(wet), model.config.sound)
        known.append(model.hear(clip).pooled[0].numpy())
        there.append(cabinet)
    return {"known": np.array(known), "there": np.array(there)}


def fit_cabinet(
    model: PedalOrderModel, train: dict[str, np.ndarray], validation: dict[str, np.ndarray]
) -> None:
    """Set the buffer of `PedalOrderModel.cabinet`; how weak its prior is (C) is chosen."""
    scaler, there = StandardScaler().fit(train["known"]), validation["there"]
    known, held = (scaler.transform(part["known"]) for part in (train, validation))
    fitted = {}
    for weakness in (1e-4, 1e-3, 1e-2, 1e-1):
        line = LogisticRegression(C=weakness, max_iter=2000).fit(known, train["there"])
        stated = line.predict_proba(held)[:, 1]
        fitted[roc_auc_score(there, stated), weakness] = line
        named = stated > CABINET_NAMED
        print(
            f"C {weakness:g}: loss {log_loss(there, stated):.3f}, "
            f"area under the curve {roc_auc_score(there, stated):.3f}, "
            f"named {named[there].mean():.3f}, wrongly {named[~there].mean():.3f}"
        )
    line = fitted[max(fitted)]
    into = line.coef_[0] / scaler.scale_
    copy(model.judge_cabinet, np.append(into, line.intercept_[0] - scaler.mean_ @ into))


def fit(
    model: PedalOrderModel,
    train: dict[str, np.ndarray],
    validation: dict[str, np.ndarray],
    single: dict[str, np.ndarray],
) -> None:
    """Set the buffers of `PedalOrderModel.judge` and, from one pedal or none, those of `clean`."""
    scaler = StandardScaler().fit(train["known"])
    kinds = [KINDS.index("three" if kind == "clean" else kind) for kind in train["kind"]]
    head = MLPClassifier(
        len(model.judge_in), alpha=3.0, max_iter=60, early_stopping=True, random_state=0
    ).fit(scaler.transform(train["known"]), kinds)
    into, out = head.coefs_[0] / scaler.scale_[:, None], head.coefs_[1]
    offset = head.intercepts_[0] - scaler.mean_ @ into
    prior = np.log([EXPECTED[kind] for kind in KINDS])
    stated = head.predict_log_proba(scaler.transform(validation["known"])) + prior
    for kind in np.unique(validation["kind"]):
        said = [KINDS[place] for place in stated[validation["kind"] == kind].argmax(axis=1)]
        print(f"{kind}:", {name: round(said.count(name) / len(said), 3) for name in KINDS})
    expected = head.intercepts_[1] + prior
    copy(model.judge_in, np.column_stack([into.T, offset]))
    copy(model.judge_out, np.column_stack([out.T, expected]))
    evidence = logit(single["empty"].clip(1e-6, 1 - 1e-6))[:, None]
    clean = single["kind"] == "clean"
    line = LogisticRegression(C=1e3, class_weight="balanced").fit(evidence, clean)
    slope, limit = line.coef_[0, 0], np.quantile(evidence[clean], 1 - SAID_CLEAN)
    copy(model.judge_clean, np.array([slope, -slope * limit]))
    odds = np.exp(-slope * limit - line.intercept_[0])
    said = (evidence > limit)[:, 0]
    print(f"said to be clean: {said[clean].mean():.3f}; of one pedal {said[~clean].mean():.3f}")
    print(f"that is as if dry clips were {odds:.2f} times as frequent as those of one pedal")


def copy(buffer: torch.Tensor, values: np.ndarray) -> None:
    """Write values into a buffer of their shape."""
    buffer.copy_(torch.from_numpy(values).reshape(buffer.shape))


def main() -> None:
    """Draw what is missing, or fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    for name in ("network", "checkpoint"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--cabinets", action="store_true")
    given = parser.parse_args()
    model = pedal_order.load(given.checkpoint or given.network)
    if given.cabinets and not given.checkpoint:
        for name, (split, n) in CABINETS.items():
            target = given.clips / f"{name}.npz"
            if not target.exists():
                drawn = draw_cabinets(model, Material(model.config, split), n)
                with replacing(target) as path:
                    np.savez(path, **drawn)
        return
    if not given.checkpoint:
        for name, (split, kinds, places) in PARTS.items():
            target = given.clips / f"{name}.npz"
            if given.part in (None, name) and not target.exists():
                drawn = draw(model, Material(model.config, split, kinds), places)
                with replacing(target) as path:
                    np.savez(path, **drawn)
        return
    names = CABINETS if given.cabinets else PARTS
    parts = {name: dict(np.load(given.clips / f"{name}.npz")) for name in names}
    if given.cabinets:
        fit_cabinet(model, *parts.values())
    else:
        both = [parts["train_0"], parts["train_1"]]
        train = {name: np.concatenate([part[name] for part in both]) for name in both[0]}
        fit(model, train, parts["validation"], parts["single"])
    digest = pedal_order.save(model, given.checkpoint)
    card = given.checkpoint.with_suffix(".json")
    facts = json.loads(card.read_text())
    facts |= {"sha256": digest, "bytes": given.checkpoint.stat().st_size}
    card.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
