"""Pedal order: how chains are drawn and written as tokens, and the settings of a training run."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from labkit.effects.chain import Chain, ChainSampler, Step, chain_space
from labkit.effects.registry import effect
from labkit.learn.training import Plan
from labkit.systems import system

Names = tuple[str, ...]

THREE = ("chorus", "distortion", "reverb")
SIX = ("compressor", "distortion", "chorus", "phaser", "delay", "reverb")
NINE = (*SIX, "flanger", "vibrato", "tremolo")
# The pedals that may be named, few or many: each shelf holds those before it.
SHELVES: Mapping[str, Names] = {"three": THREE, "six": SIX, "nine": NINE}
MAX_PEDALS = 5

# pedalboard's defaults for the knobs that the protocol "three" does not draw.
DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "chorus": {"rate_hz": 1.0, "depth": 0.25, "centre_delay_ms": 7.0, "feedback": 0.0},
    "reverb": {"room_size": 0.5, "damping": 0.5},
}


def shelf_number(pedals: Sequence[str]) -> int:
    """The number of the smallest of `SHELVES` that holds these pedals; the last where none does."""
    holds = [set(pedals) <= set(shelf) for shelf in SHELVES.values()]
    return holds.index(True) if any(holds) else len(holds) - 1


def canonical_names(names: Sequence[str]) -> Names:
    """The canonical order of distinct pedals, see `Chain.canonical`."""
    space = chain_space(names)
    return space.from_unit(np.full(space.n_knobs, 0.5)).canonical().names


@dataclass(frozen=True)
class Protocol:
    """One way to draw random chains; knobs in `fixed` (pedal -> knob -> value) are constant."""

    name: str
    description: str
    pedals: Names
    prior: Literal["subsets", "shuffled"]
    max_length: int
    fixed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def sampler(self) -> ChainSampler:
        """Draws chains, every knob at random."""
        return ChainSampler(self.pedals, self.prior, self.max_length)

    def draw(self, rng: np.random.Generator) -> Chain:
        """One canonical chain."""
        steps = []
        for step in self.sampler.sample(rng).steps:
            fixed = self.fixed.get(step.effect, {})
            steps.append(Step(step.effect, {**step.params, **fixed}))
        return Chain(tuple(steps)).canonical()

    def probabilities(self) -> dict[Names, float]:
        """Canonical order -> probability, the most probable first."""
        weights: Counter[Names] = Counter()
        for k in range(self.max_length + 1):
            orders = list(itertools.permutations(self.pedals, k))
            # Subsets: every order alike. Shuffled: every length alike, and at least one pedal.
            weight = 1.0
            if self.prior == "shuffled":
                weight = 1.0 / len(orders) if k else 0.0
            for names in orders:
                weights[canonical_names(names)] += weight
        total = weights.total()
        return {names: w / total for names, w in weights.most_common() if w > 0}

    def entropy_nats(self) -> float:
        """Entropy of the canonical orders: the order loss of a model that ignores the audio."""
        return -sum(p * math.log(p) for p in self.probabilities().values())


_SHUFFLED = "1-5 of them shuffled; every knob drawn"
_THREE_EVENLY = "3 pedals, 16 ordered subsets evenly"
PROTOCOLS = {
    "three": Protocol(
        "three", f"{_THREE_EVENLY}; drive and mixes drawn", THREE, "subsets", 3, DEFAULTS
    ),
    "wide": Protocol("wide", f"{_THREE_EVENLY}; every knob drawn", THREE, "subsets", 3),
    "six": Protocol("six", f"6 pedals, {_SHUFFLED}", SIX, "shuffled", 5),
    "nine": Protocol("nine", f"9 pedals, {_SHUFFLED}", NINE, "shuffled", 5),
    # What most recordings hold. The shuffled chains are never empty, and do not teach "no pedals".
    "single": Protocol("single", "one of 9 pedals or none, evenly", NINE, "subsets", 1),
}

PAD, START, SEPARATOR, END = range(4)


@dataclass(frozen=True)
class ChainTokens:
    """The vocabulary of chains, and the grammar of their token sequences.

    A sequence is ``start pedal ... separator bin ... end``: the pedals in order, then one bin for
    each knob in the order of the pedals. The vocabulary holds 4 special tokens, one per pedal, and
    `n_bins` (cells of a knob's unit interval) that all knobs share: the position names the knob.
    """

    pedals: Names
    n_bins: int = 16
    max_pedals: int = MAX_PEDALS

    @property
    def n_tokens(self) -> int:
        return self._first_bin + self.n_bins

    @property
    def max_length(self) -> int:
        """Length of the longest sequence, start and end included."""
        knobs = sorted((self.n_knobs([name]) for name in self.pedals), reverse=True)
        return 3 + self.max_pedals + sum(knobs[: self.max_pedals])

    @property
    def bins(self) -> slice:
        """The knob tokens in the vocabulary."""
        return slice(self._first_bin, self.n_tokens)

    def n_knobs(self, names: Sequence[str]) -> int:
        """The number of knobs of these pedals together."""
        return sum(len(effect(name).space) for name in names)

    def encode(self, chain: Chain) -> list[int]:
        """The tokens of a chain; knobs are rounded to bins."""
        tokens = self.encode_order(chain.names)
        for step in chain.steps:
            bins = effect(step.effect).space.to_bins(step.params, self.n_bins)
            tokens += [self._first_bin + b for b in bins]
        return [*tokens, END]

    def encode_order(self, names: Sequence[str]) -> list[int]:
        """The first part of a sequence. Raises ValueError for a chain that has none."""
        repeated = len(set(names)) != len(names)
        if repeated or len(names) > self.max_pedals or not set(names) <= set(self.pedals):
            raise ValueError(
                f"a chain holds at most {self.max_pedals} distinct pedals of {self.pedals}, "
                f"got {tuple(names)}"
            )
        return [START, *(4 + self.pedals.index(name) for name in names), SEPARATOR]

    def decode(self, tokens: Sequence[int]) -> Chain:
        """The chain of a sequence, knobs at their bins' centres; ValueError outside the grammar."""
        names = self.decode_order(tokens)
        bins = [token - self._first_bin for token in tokens[len(names) + 2 : -1]]
        complete = tokens[-1] == END and len(bins) == self.n_knobs(names)
        if not complete or any(not 0 <= b < self.n_bins for b in bins):
            raise ValueError(
                f"a chain of {names} has {self.n_knobs(names)} knobs and an end, got {list(tokens)}"
            )
        return chain_space(names).from_unit((np.array(bins) + 0.5) / self.n_bins)

    def decode_order(self, tokens: Sequence[int]) -> Names:
        """The pedals of a sequence or of its first part; ValueError outside the grammar."""
        tokens = list(tokens)
        if tokens[:1] != [START] or SEPARATOR not in tokens:
            raise ValueError(f"a sequence is start, pedals, separator, ..., got {tokens}")
        inner = tokens[1 : tokens.index(SEPARATOR)]
        if any(not 4 <= token < self._first_bin for token in inner):
            raise ValueError(f"only pedals may stand before the separator, got {tokens}")
        return tuple(self.pedals[token - 4] for token in inner)

    def allowed(self, prefix: Sequence[int], shelf: Sequence[str]) -> np.ndarray:
        """The grammar: which tokens may follow a legal `prefix`, (n_tokens,) bool."""
        mask = np.zeros(self.n_tokens, dtype=bool)
        prefix = list(prefix)
        if SEPARATOR not in prefix:
            used = prefix[1:]
            mask[SEPARATOR] = True
            if len(used) < self.max_pedals:
                mask[[4 + self.pedals.index(name) for name in shelf]] = True
                mask[used] = False
            return mask
        names = self.decode_order(prefix)
        if len(prefix) - len(names) - 2 < self.n_knobs(names):
            mask[self.bins] = True
        else:
            mask[END] = True
        return mask

    @property
    def _first_bin(self) -> int:
        return 4 + len(self.pedals)


@dataclass(frozen=True)
class Sound:
    """What the network receives."""

    # ways to draw chains: three, wide, six, nine, single. A name given twice is used twice as often
    protocols: tuple[str, ...] = ("nine", "nine", "six", "single", "wide", "three")
    sample_rate: int = 44100  # Hz
    seconds: float = 2.0  # length of a clip, s
    # the chain starts up to this long before the clip, s; its echoes then reach into the clip
    preroll_seconds: float = 0.5
    input_rms_dbfs: float = -20.0  # RMS level of the dry sound at the input of the chain
    # training varies that level up and down by at most this; the labels (knobs) compensate for it
    input_jitter_db: float = 12.0
    augment_strength: float = 1.0  # strength of the augmentation of dry training sound, 0 to 1
    # share of the training examples, 0 to 1, that then pass a cabinet, a room, a codec or the like
    behind_share: float = 0.0
    # share of the training examples, 0 to 1, whose pedals are as other makers might build them (see
    # `labkit.signal.makers`); the knobs of these are not taught
    others_share: float = 0.0
    dry_share: float = 0.0  # share of the training examples, 0 to 1, whose chain is made empty
    # what the network reads: the log-mel spectrogram of the clip, or of what the shipped codec
    # decodes from the clip's codes or, without its quantiser, from its latents
    front_end: Literal["mel", "codes", "latents"] = "mel"
    use_dry: bool = False  # give the network the dry clip too
    n_fft: int = 4096  # FFT length of the log-mel spectrogram, samples
    hop_length: int = 1024  # step between its frames, samples
    n_mels: int = 128  # number of its mel bands
    low_hz: float = 40.0  # lower edge of its lowest band
    high_hz: float = 14000.0  # upper edge of its highest band
    # training masks one random stripe of bands and one of frames, up to this share of all, 0 to 1
    mask: float = 0.05
    tilt_db: float = 3.0  # training tilts the spectrum at random, up to this much at either end
    n_examples: int = 256000  # number of different examples; a longer training repeats them
    first_example: int = 0  # number of the first example; raise it to continue with new examples

    def __post_init__(self) -> None:
        unknown = set(self.protocols) - set(PROTOCOLS)
        if unknown or not self.protocols:
            raise ValueError(f"protocols must be among {tuple(PROTOCOLS)}, got {self.protocols}")
        if self.front_end not in ("mel", "codes", "latents"):
            raise ValueError(f"front_end must be mel, codes or latents, got {self.front_end!r}")

    @property
    def samples(self) -> int:
        return round(self.seconds * self.sample_rate)


@dataclass(frozen=True)
class Net:
    """The network's sizes and the weights of its loss."""

    pedals: tuple[str, ...] = NINE  # that it can name, those of all protocols among them
    n_bins: int = 16  # values that a knob token can have
    width: int = 192  # channels of the transformer
    n_heads: int = 4  # attention heads
    encoder_layers: int = 2  # transformer layers that read the audio
    decoder_layers: int = 3  # transformer layers that write the tokens
    channels: tuple[int, ...] = (16, 32, 64, 112, 160)  # of the convolutions before the encoder
    dropout: float = 0.0  # dropout rate, 0 to 1
    knob_weight: float = 0.05  # weight of the loss of knob tokens; that of pedal tokens is 1
    hint_weight: float = 1.0  # weight of the auxiliary loss: which pedals are there, in which order

    @property
    def tokens(self) -> ChainTokens:
        """The vocabulary, whatever a run trains on."""
        return ChainTokens(self.pedals, self.n_bins)


PLAN = Plan(5000, 64, 7e-4, warmup_steps=200, weight_decay=0.02, n_workers=2)


@dataclass(frozen=True)
class Config(system.Config):
    """Settings of pedal order; the defaults train the shipped network's sizes."""

    sound: Sound = field(default_factory=Sound)
    net: Net = field(default_factory=Net)
    plan: Plan = field(default_factory=lambda: PLAN)

    def __post_init__(self) -> None:
        drawn = {pedal for name in self.sound.protocols for pedal in PROTOCOLS[name].pedals}
        if drawn - set(self.net.pedals):
            unknown = ", ".join(sorted(drawn - set(self.net.pedals)))
            raise ValueError(f"pedals must hold all that the protocols draw, {unknown} too")
