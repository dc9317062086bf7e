"""Match my pedal: from a dry and a wet recording of one real unit to a chain of pedals with knobs.

The chain is found by CMA-ES through the pedals themselves, so a rack may hold any pedal of the
registry. Beside it, a Wiener-Hammerstein model in torch, a filter before and a filter behind a
curve, tells how much of the unit a model without memory in its curve can reach.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from labkit.effects.chain import Chain, Step, chain_space
from labkit.learn.minimise import minimise
from labkit.measure.align import lag_of, overlap
from labkit.measure.losses import log_spectral_distance, mr_stft
from labkit.signal.files import AudioError, check_audio, resample, to_mono
from labkit.signal.seeds import generator, seeded
from labkit.signal.units import rms_dbfs, set_rms

_TONE = ("low_shelf", "peak", "peak", "high_shelf")
# What may explain a unit, by name: a straight line with its tone, and two curves.
RACKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "equaliser": _TONE,
        "distortion": ("low_shelf", "peak", "gain", "distortion", *_TONE),
        "clipping": ("low_shelf", "peak", "gain", "clipping", *_TONE),
    }
)
# Compared at one rate and level, in blocks, of which every third one is held out.
_RATE, _INPUT_DBFS, _BLOCK_SECONDS, _MOST_BLOCKS = 44_100, -20.0, 0.5, 6
# Pedals delay a sound too; recordings may be further apart.
_PEDALS_SECONDS, _MOST_LAG_SECONDS = 0.001, 1.0
# More left over on held-out sound than this share of what doing nothing leaves: no match. Set above
# the worst of six pairs of EGFxSet (.64); likeness, by correlation, below the least of them (.23).
EXPLAINED, LEAST_LIKENESS = 0.75, 0.1


@dataclass(frozen=True)
class Match:
    """What was found; distances are MR-STFT on held-out sound, of sounds at one level."""

    chain: Chain  # with steps of gain: the dry recording through it has the wet one's level
    rack: str  # of RACKS, or the given names
    distance: float
    nothing: float  # of the dry recording itself
    grey_box: float | None
    lag_ms: float  # how far the wet recording is behind
    likeness: float  # of both recordings then, -1..1; negative: the polarity is turned
    tried: Mapping[str, float]  # rack -> distance on the fitted sound

    @property
    def left(self) -> float:
        """The share of the distance that is left: 0 is the unit itself, 1 is doing nothing."""
        return self.distance / self.nothing

    @property
    def explained(self) -> bool:
        """Whether the chain is worth using."""
        return self.left < EXPLAINED and abs(self.likeness) > LEAST_LIKENESS


def match(
    dry: np.ndarray,
    wet: np.ndarray,
    sample_rate: int,
    *,
    dry_rate: int | None = None,
    racks: Mapping[str, Sequence[str]] = RACKS,
    renders: int = 1500,
    grey_box: bool = True,
    seed: int = 0,
) -> Match:
    """The chain that makes `wet` of `dry`, of the rack that is nearest on the fitted sound.

    Args:
        dry: (channels, samples), one performance with `wet`, up to a second off.
        wet: (channels, samples), of any level and polarity.
        dry_rate: sample rate of `dry`; that of `wet` when None.
        racks: names of pedals in their order, by a name for the rack.
        renders: of each rack.
        grey_box: fit the Wiener-Hammerstein model too.

    Raises:
        AudioError: if a recording is silent, not finite, or less than 1.5 s overlap, or if both
            are the same sound.

    Source: Hansen 2016 (CMA-ES); Eichas and Zoelzer 2016 (Wiener-Hammerstein guitar amplifiers).
    """
    if renders < 1:
        raise ValueError(f"renders must be at least 1, got {renders}")
    pair = [
        resample(to_mono(check_audio(audio, rate)), rate, _RATE)[0]
        for audio, rate in ((wet, sample_rate), (dry, dry_rate or sample_rate))
    ]
    if min(rms_dbfs(audio[None]) for audio in pair) < -90:
        raise AudioError("dry and wet must both hold sound, got silence")
    lag, likeness = _lag(*pair)
    wet, dry = overlap(*pair, lag)
    n_blocks = int(len(wet) / (_BLOCK_SECONDS * _RATE))
    if n_blocks < 3:
        raise AudioError(
            f"at least {3 * _BLOCK_SECONDS} s of both recordings must overlap, "
            f"got {len(wet) / _RATE:.2f} s"
        )
    wet_dbfs = rms_dbfs(wet[None])
    wet = set_rms(wet[None] * np.float32(-1.0 if likeness < 0 else 1.0), _INPUT_DBFS)
    dry_dbfs = rms_dbfs(dry[None])
    dry = set_rms(dry[None], _INPUT_DBFS)
    if mr_stft(wet, dry, _RATE) < 1e-3:
        raise AudioError("wet must differ from dry by more than its level, got the same sound")
    held_out = range(2, n_blocks, 3)
    others = [k for k in range(n_blocks) if k not in held_out]
    spread = np.linspace(0, len(others) - 1, min(_MOST_BLOCKS, len(others)))
    fitted = [others[int(k)] for k in spread]
    found = {
        name: _search(dry, wet, fitted, pedals, renders, seed) for name, pedals in racks.items()
    }
    rack = min(found, key=lambda name: found[name][0])
    chain = found[rack][1]
    model = None
    if grey_box:
        model = seeded(lambda: fit_grey_box(dry, wet, fitted), seed, "grey box")

    def distance(out: np.ndarray) -> float:
        return mr_stft(_blocks(out, held_out)[0], _blocks(wet, held_out)[0], _RATE)

    out = chain.render(dry, _RATE)
    before, after = _INPUT_DBFS - dry_dbfs, wet_dbfs - rms_dbfs(out)
    gains = [Step("gain", {"gain_db": gain_db}) for gain_db in (before, after)]
    return Match(
        chain=Chain((gains[0], *chain.steps, gains[1])),
        rack=rack,
        distance=distance(out),
        nothing=distance(dry),
        grey_box=distance(model(torch.from_numpy(dry)).numpy()) if model else None,
        lag_ms=1000 * lag / _RATE,
        likeness=likeness,
        tried=MappingProxyType({name: loss for name, (loss, _) in found.items()}),
    )


def _lag(wet: np.ndarray, dry: np.ndarray) -> tuple[int, float]:
    """By how many samples `wet` is behind, and how alike they are then; 0 where that is as good.

    A held note is like itself a period later.
    """
    most = min(round(_MOST_LAG_SECONDS * _RATE), min(len(wet), len(dry)) // 4)
    lag, likeness = lag_of(wet, dry, most)
    here, alike = lag_of(wet, dry, round(_PEDALS_SECONDS * _RATE))
    return (here, alike) if abs(alike) > 0.8 * abs(likeness) else (lag, likeness)


def _blocks(audio: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """Blocks of sound (1, samples) as (1, blocks, samples of a block)."""
    n = round(_BLOCK_SECONDS * _RATE)
    return np.stack([audio[0, k * n : (k + 1) * n] for k in kept])[None]


def _search(
    dry: np.ndarray,
    wet: np.ndarray,
    fitted: Sequence[int],
    pedals: Sequence[str],
    renders: int,
    seed: int,
) -> tuple[float, Chain]:
    """The distance and the chain of the best knobs on the blocks `fitted`."""
    space, target = chain_space(pedals), torch.from_numpy(_blocks(wet, fitted))
    dry = dry[:, : round((fitted[-1] + 1) * _BLOCK_SECONDS * _RATE)]

    def loss(rows: np.ndarray) -> np.ndarray:
        clips = [_blocks(space.from_unit(row).render(dry, _RATE), fitted) for row in rows]
        levelled = [set_rms(clip[0], _INPUT_DBFS) for clip in clips]
        return log_spectral_distance(torch.from_numpy(np.stack(levelled)), target).numpy()

    start, rng = np.full(space.n_knobs, 0.5), generator(seed, "match", *pedals)
    found = minimise(loss, start, method="cma", evaluations=renders, rng=rng)
    return found.loss, space.from_unit(found.point)


class GreyBox(nn.Module):
    """A filter, a curve, and a filter: (channels, samples) -> the same.

    The curve is a sum of tanh with different slopes and offsets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before, self.behind = (nn.Parameter(torch.eye(1, n)[0]) for n in (128, 1024))
        self.slopes = nn.Parameter(torch.logspace(-0.5, 2, 8))
        self.offsets = nn.Parameter(torch.linspace(-0.3, 0.3, 8))
        self.weights = nn.Parameter(torch.full((8,), 0.1))

    def forward(self, audio: Tensor) -> Tensor:
        """Through the three of them; a constant is taken off."""
        x = _filtered(audio, self.before)
        curves = torch.tanh(self.slopes[:, None, None] * x + self.offsets[:, None, None])
        y = (self.weights[:, None, None] * (curves - self.offsets.tanh()[:, None, None])).sum(0)
        return _filtered(y, self.behind)


def _filtered(audio: Tensor, impulse: Tensor) -> Tensor:
    n = next_fast_len(audio.shape[-1] + len(impulse), real=True)
    return torch.fft.irfft(torch.fft.rfft(audio, n) * torch.fft.rfft(impulse, n), n)[
        ..., : audio.shape[-1]
    ]


def fit_grey_box(
    dry: np.ndarray, wet: np.ndarray, fitted: Sequence[int], *, steps: int = 400
) -> nn.Module:
    """A `GreyBox` of the blocks `fitted` of dry and wet sound (1, samples), by Adam."""
    model = GreyBox()
    x, y = (torch.from_numpy(_blocks(audio, fitted)[0]) for audio in (dry, wet))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=steps)
    for _ in range(steps):
        out = model(x)
        error = (out - y).square().mean() / y.square().mean()
        (log_spectral_distance(out[None], y[None]).mean() + 0.1 * error).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval().requires_grad_(False)
