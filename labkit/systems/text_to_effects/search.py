"""Settings without a decoder: search, for one clip and one word, until the contrastive encoder is content."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from labkit.effects.registry import effect
from labkit.learn.minimise import minimise
from labkit.measure.score import Row, bootstrap_interval, wilson_interval
from labkit.signal.files import check_audio, to_mono
from labkit.signal.seeds import generator, torch_generator
from labkit.signal.shipped import load_phrase, phrase_names
from labkit.systems.text_to_effects.contrast import Encoder, played
from labkit.systems.text_to_effects.descriptors import N_FOLDS, Word, fold_of
from labkit.systems.text_to_effects.direction import SILENT_DB, band_levels_db
from labkit.systems.text_to_effects.preset import BAND, Preset
from labkit.systems.text_to_effects.ranking import unseen_clips
from labkit.systems.text_to_effects.response import START

LOSSES = ("cosine", "directional")
_TWINS = {"low_shelf": "low_shelf", "bell": "peak", "high_shelf": "high_shelf"}
_LEARNING_RATE = 1e-2
_SECONDS = 1.0
_WORDS_PER_FOLD = 2
_DB_PER_UNIT = 6.0


class Ear(Protocol):
    """What a search asks: `contrast.Encoder`, or `labkit.learn.pretrained.Clap`."""

    @property
    def sample_rate(self) -> int:
        """Hz of what it hears."""

    def moments(self, audio: Tensor) -> Tensor:
        """(b, samples) -> what `hear_powers` takes, differentiable."""

    def hear_powers(self, before: Tensor, after: Tensor) -> Tensor:
        """Dry and wet, of `moments` -> (b, embedding), differentiable."""

    def read(self, prompts: Sequence[str]) -> Tensor:
        """Sentences -> (n, embedding)."""

    def nothing(self) -> Tensor:
        """(1, embedding) of a sentence that asks for nothing."""


@dataclass(frozen=True)
class Found:
    """What a search ended with.

    Attributes:
        preset: five bands of the types of `response.START`; nothing else is on.
        renders: how often the clip was played through them.
        seconds: processor time.
    """

    preset: Preset
    renders: int
    seconds: float


def optimise(
    encoder: Ear,
    audio: np.ndarray,
    sample_rate: int,
    prompt: str,
    *,
    loss: str = "cosine",
    steps: int = 600,
    seed: int = 0,
) -> Found:
    """Text2FX: gradient steps on the knobs of one clip's equaliser, through the twins and the encoder.

    Knobs live behind a sigmoid, begin where nothing is done, and every step hears the clip rolled by a random number
    of samples, so that no setting wins by an accident of time.

    Args:
        encoder: of `contrast.train_encoder`, or CLAP.
        audio: (channels, samples), not silent, at the encoder's rate; heard in mono.
        sample_rate: Hz.
        prompt: the sentence.
        loss: ``"cosine"`` brings the sound to the word; ``"directional"`` brings its change from the dry sound to the
            word's way from a sentence that asks for nothing.
        steps: renders.
        seed: of the rolls.

    Returns:
        The settings after the last step.

    Raises:
        ValueError: for another rate than the encoder's, an unknown loss, or no steps.

    Source: Chu et al. 2024 (Text2FX), with 5 bands for 6, and our encoder where CLAP is not to be had.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    dry, begun = _heard(encoder, audio, sample_rate, steps), time.process_time()
    rng, knobs = torch_generator(seed, "text2fx"), torch.logit(_start()).requires_grad_(True)
    target = _target(encoder, prompt, loss)
    optimizer = torch.optim.Adam([knobs], _LEARNING_RATE)
    for _ in range(steps):
        rolled = dry.roll(int(torch.randint(dry.shape[-1], (1,), generator=rng)), -1)
        wet = _through(torch.sigmoid(knobs), rolled, sample_rate)
        before, after = (encoder.moments(sound[:, 0]) for sound in (rolled, wet))
        distance = 1 - _closeness(encoder, before, after, target, loss)
        optimizer.zero_grad()
        distance.sum().backward()
        optimizer.step()
    return Found(preset_of_unit(torch.sigmoid(knobs).detach()), steps, time.process_time() - begun)


def evolve(
    encoder: Ear,
    audio: np.ndarray,
    sample_rate: int,
    prompt: str,
    *,
    loss: str = "cosine",
    renders: int = 600,
    seed: int = 0,
) -> Found:
    """CMA-ES on the same knobs and the same closeness, through pedalboard, without a gradient.

    Args:
        encoder: as in `optimise`.
        audio: as in `optimise`.
        sample_rate: Hz.
        prompt: the sentence.
        loss: as in `optimise`.
        renders: budget.
        seed: of the draws.

    Returns:
        The best settings met.

    Raises:
        ValueError: as `optimise`.
        ModuleNotFoundError: without the `cma` package.

    Source: Hansen and Ostermeier 2001, by the `cma` package.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    dry, begun = _heard(encoder, audio, sample_rate, renders), time.process_time()
    before = encoder.moments(dry[:, 0])
    target, start, rng = (
        _target(encoder, prompt, loss),
        _start().flatten().numpy(),
        generator(seed, "text cma"),
    )

    def apart(rows: np.ndarray) -> np.ndarray:
        boards = [
            preset_of_unit(torch.from_numpy(row).view(-1, 3)).board(sample_rate) for row in rows
        ]
        wet = torch.from_numpy(
            np.stack([board(dry[0].numpy(), sample_rate)[0] for board in boards])
        )
        with torch.no_grad():
            after = encoder.moments(wet)
            return (1 - _closeness(encoder, before.expand_as(after), after, target, loss)).numpy()

    found = minimise(apart, start, evaluations=renders, rng=rng, spread=0.15)
    preset = preset_of_unit(torch.from_numpy(found.point).view(-1, 3))
    return Found(preset, found.evaluations, time.process_time() - begun)


def preset_of_unit(unit: Tensor) -> Preset:
    """(5, 3) knobs in 0..1 as a preset with the types of `response.START`."""
    knobs = BAND.from_unit_batch(unit.double().clamp(0, 1))
    values = zip(*(knobs[name].tolist() for name in BAND.names), strict=True)
    ends = [(knob.low, knob.high) for knob in BAND.parameters]
    eq = []
    for band, row in zip(Preset().eq, values, strict=True):
        held = [min(max(value, low), high) for value, (low, high) in zip(row, ends, strict=True)]
        eq.append(replace(band, **dict(zip(BAND.names, held, strict=True))))
    return Preset(tuple(eq))


def _heard(encoder: Ear, audio: np.ndarray, sample_rate: int, renders: int) -> Tensor:
    """(1, 1, samples), peak 1."""
    if sample_rate != encoder.sample_rate:
        raise ValueError(f"sample_rate must be {encoder.sample_rate}, got {sample_rate}")
    if renders < 1:
        raise ValueError(f"renders must be at least 1, got {renders}")
    mono = to_mono(check_audio(audio, sample_rate))
    if not np.any(mono):
        raise ValueError("audio must not be silent: nobody hears an effect on silence")
    return torch.from_numpy(mono / np.abs(mono).max()).float()[None]


def _start() -> Tensor:
    units = [[BAND["frequency_hz"].to_unit(hz), 0.5, BAND["q"].to_unit(q)] for _, hz, q in START]
    return torch.tensor(units)


def _through(unit: Tensor, audio: Tensor, sample_rate: int) -> Tensor:
    knobs = BAND.from_unit_batch(unit)
    for k, (kind, _, _) in enumerate(START):
        hz, gain_db, q = (knobs[name][k] for name in BAND.names)
        audio = effect(_TWINS[kind]).differentiable(
            audio, sample_rate, cutoff_frequency_hz=hz, gain_db=gain_db, q=q
        )
    return audio


@torch.no_grad()
def _target(encoder: Ear, prompt: str, loss: str) -> Tensor:
    word = encoder.read([prompt])
    return word if loss == "cosine" else word - encoder.nothing()


def _closeness(encoder: Ear, before: Tensor, after: Tensor, target: Tensor, loss: str) -> Tensor:
    heard = encoder.hear_powers(before, after)
    if loss == "directional":
        heard = heard - encoder.hear_powers(before, before)
    return nn.functional.cosine_similarity(heard, target)


# How they stand beside a network that needs no search


def contest_words(words: Sequence[Word]) -> list[Word]:
    """Two words of each fold, those with the most contributors."""
    ordered = sorted(words, key=lambda word: (-word.n, word.word))
    return [
        word
        for fold in range(N_FOLDS)
        for word in [w for w in ordered if fold_of(w.word) == fold][:_WORDS_PER_FOLD]
    ]


def contest_rows(
    encoders: Sequence[Encoder],
    words: Sequence[Word],
    spread: np.ndarray,
    shapes: Mapping[str, np.ndarray],
    seed: int,
    *,
    renders: int = 600,
    clap: Ear | None = None,
) -> list[Row]:
    """Rows for searches beside answers that need none, on one clip: curve, direction, and time for a clip.

    Args:
        encoders: one for each fold, none of which saw the fold's words.
        words: the test words; `contest_words` of them are asked.
        spread: (40,), the unit of the curve's error.
        shapes: other rivals by name, (n, 40) for all of `words`, in standard deviations.
        seed: of searches and clip.
        renders: of each search.
        clap: asked too where it is given; it may have met the words.
    """
    chosen, (kind, clip, rate) = contest_words(words), contest_clip(encoders[0], seed)
    place = [list(words).index(word) for word in chosen]
    rows = []
    for name, said in shapes.items():
        rows += _verdicts(name, kind, chosen, _DB_PER_UNIT * said[place], clip, rate, spread, seed)
    contests = [("Text2FX", optimise, encoders), ("CMA-ES over pedalboard", evolve, encoders)]
    contests += [("Text2FX on CLAP", optimise, [clap] * N_FOLDS)] if clap else []
    for title, search, ears in contests:
        for loss in LOSSES:
            given = {
                "loss": loss,
                "seed": seed,
                "steps" if search is optimise else "renders": renders,
            }
            found = [
                search(ears[fold_of(word.word)], clip, rate, word.word, **given) for word in chosen
            ]
            curves = np.array([one.preset.eq_curve_db() for one in found])
            rows += _verdicts(f"{title}, {loss}", kind, chosen, curves, clip, rate, spread, seed)
            spent = float(np.mean([one.seconds for one in found]))
            rows.append(
                replace(
                    rows[-1],
                    metric="processor time for a clip",
                    unit="s",
                    ours=spent,
                    chance=None,
                    low=None,
                    high=None,
                )
            )
    return rows


def contest_clip(encoder: Encoder, seed: int) -> tuple[str, np.ndarray, int]:
    """A second of a real recording, or of a shipped phrase where there is none: its kind, (1, samples) and Hz."""
    for clip in unseen_clips("real", encoder.config, seed=seed):
        rate = encoder.config.sample_rate
        return "real", clip[None, : round(_SECONDS * rate)].astype(np.float32), rate
    phrase, rate = load_phrase(phrase_names()[0])
    return "sampled", phrase[:, : round(_SECONDS * rate)], rate


def _verdicts(
    name: str,
    kind: str,
    words: Sequence[Word],
    curves_db: np.ndarray,
    audio: np.ndarray,
    rate: int,
    spread: np.ndarray,
    seed: int,
) -> list[Row]:
    """Rows for (n, 40) curves: error of their shape, and whether the sound goes the way of people's curve."""
    truth = np.array([word.settings for word in words])
    shapes = (curves_db - curves_db.mean(1, keepdims=True)) / _DB_PER_UNIT
    errors = np.sqrt((((shapes - truth) / spread) ** 2).mean(1))
    flat = float(np.sqrt(((truth / spread) ** 2).mean(1)).mean())
    right = sum(
        _goes(said, audio, rate, word.settings) > 0
        for said, word in zip(curves_db, words, strict=True)
    )
    shared = {
        "protocol": f"{len(words)} words never seen on one clip, searches beside answers",
        "name": name,
    }
    shared |= {"sources": kind, "seed": seed, "unit": "", "n": len(words)}
    low, high = bootstrap_interval(errors, np.arange(len(errors)), seed=seed)
    shares = wilson_interval(right, len(words))
    return [
        Row(
            metric="RMSE, standardised",
            ours=float(errors.mean()),
            low=low,
            high=high,
            prior=flat,
            **shared,
        ),
        Row(
            metric="right direction",
            ours=right / len(words),
            low=shares[0],
            high=shares[1],
            chance=0.5,
            **shared,
        ),
    ]


def _goes(curve_db: np.ndarray, audio: np.ndarray, rate: int, wanted: np.ndarray) -> float:
    """The correlation of what a curve does to the bands that hold sound with what people wanted; 0 for a flat one."""
    before = band_levels_db(audio[0], rate)
    heard = before > before.max() - SILENT_DB
    moved = (band_levels_db(played(audio[0], curve_db, rate), rate) - before)[heard]
    return float(np.corrcoef(moved, wanted[heard])[0, 1]) if moved.std() > 1e-6 else 0.0
