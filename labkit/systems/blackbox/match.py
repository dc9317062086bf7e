"""Match my pedal: from a dry and a wet recording of one real unit to a chain of pedals with knobs.

The chain is found by CMA-ES through the pedals themselves, so a rack may hold any pedal of the
registry. Beside it a grey box in torch, a Wiener-Hammerstein model (filter, curve, filter) with a
bias and a straight path, tells how much of the unit a simple model can reach.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from labkit.effects.chain import Chain, Step, chain_space
from labkit.learn.minimise import Found, minimise
from labkit.measure.align import lag_of, overlap
from labkit.measure.losses import magnitude_distance, mr_stft
from labkit.signal.files import AudioError, check_audio, resample, to_mono
from labkit.signal.optional import need
from labkit.signal.seeds import generator
from labkit.signal.units import rms_dbfs, set_rms

_TONE = ("low_shelf", "peak", "peak", "high_shelf")
# What may explain a unit, by name: a straight line with its tone, and two curves.
RACKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "equaliser": _TONE,
        "distortion": ("low_shelf", "peak", "gain", "distortion", *_TONE, "lowpass"),
        "clipping": ("low_shelf", "peak", "gain", "clipping", *_TONE, "lowpass"),
    }
)
# Compared at one rate and level, in blocks, of which every third one is held out.
_RATE, _INPUT_DBFS, _BLOCK_SECONDS, _MOST_BLOCKS = 44_100, -20.0, 0.5, 6
_TAPS, _RUN_IN = 2048, 8820  # of the model's filters; samples that it hears before a block
# Most drives cut the bass before their curve, some do not, and a fit that begins with the wrong
# phase goes astray: it begins at each of these cutoffs (Hz), and the nearest one goes on.
_STARTS_HZ = 0.0, 150.0, 700.0
# Pedals delay a sound too; recordings may be further apart.
_PEDALS_SECONDS, _MOST_LAG_SECONDS = 0.001, 1.0
# More left over on held-out sound than this share of what doing nothing leaves: no match. It lies
# above the worst of six pairs of EGFxSet (.64, by an earlier search); likeness, by correlation,
# below the least of them (.23).
EXPLAINED, LEAST_LIKENESS = 0.75, 0.1


@dataclass(frozen=True)
class Match:
    """What was found; distances are MR-STFT on held-out sound, of sounds at one level."""

    chain: Chain  # with steps of gain: the dry recording through it has the wet one's level
    distance: float
    nothing: float  # of the dry recording itself
    grey_box: float | None
    lag_ms: float  # how far the wet recording is behind
    likeness: float  # of both recordings then, -1..1; negative: the polarity is turned
    tried: Mapping[str, float]  # rack -> distance on the fitted sound, before the best is refined

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
        renders: of the best rack, after a fourth as many of each.
        grey_box: fit the grey box too.

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
    first = max(1, renders // 4)
    found = {name: _search(dry, wet, fitted, p, first, None, seed) for name, p in racks.items()}
    rack = min(found, key=lambda name: found[name].loss)
    best = _search(dry, wet, fitted, racks[rack], renders, found[rack].point, seed)
    chain = chain_space(racks[rack]).from_unit(best.point)
    model = fit_grey_box(dry, wet, fitted) if grey_box else None

    def distance(out: np.ndarray) -> float:
        return mr_stft(_blocks(out, held_out)[0], _blocks(wet, held_out)[0], _RATE)

    out = chain.render(dry, _RATE)
    before, after = _INPUT_DBFS - dry_dbfs, wet_dbfs - rms_dbfs(out)
    gains = [Step("gain", {"gain_db": gain_db}) for gain_db in (before, after)]
    return Match(
        chain=Chain((gains[0], *chain.steps, gains[1])),
        distance=distance(out),
        nothing=distance(dry),
        grey_box=distance(model(torch.from_numpy(dry)).numpy()) if model else None,
        lag_ms=1000 * lag / _RATE,
        likeness=likeness,
        tried=MappingProxyType({name: one.loss for name, one in found.items()}),
    )


def _lag(wet: np.ndarray, dry: np.ndarray) -> tuple[int, float]:
    """By how many samples `wet` is behind, and how alike they are then; 0 where that is as good.

    A held note is like itself a period later.
    """
    most = min(round(_MOST_LAG_SECONDS * _RATE), min(len(wet), len(dry)) // 4)
    lag, likeness = lag_of(wet, dry, most)
    here, alike = lag_of(wet, dry, round(_PEDALS_SECONDS * _RATE))
    return (here, alike) if abs(alike) > 0.8 * abs(likeness) else (lag, likeness)


def _blocks(audio: np.ndarray, kept: Sequence[int], run_in: int = 0) -> np.ndarray:
    """Blocks of sound (1, samples) as (1, blocks, samples of a block), and `run_in` before them."""
    n, padded = round(_BLOCK_SECONDS * _RATE), np.pad(audio[0], (run_in, 0))
    return np.stack([padded[k * n : (k + 1) * n + run_in] for k in kept])[None]


def _search(
    dry: np.ndarray,
    wet: np.ndarray,
    fitted: Sequence[int],
    pedals: Sequence[str],
    renders: int,
    start: np.ndarray | None,
    seed: int,
) -> Found:
    """The best knobs (0..1) on the blocks `fitted`, from the middle or near `start`."""
    space, target = chain_space(pedals), torch.from_numpy(_blocks(wet, fitted))
    dry = dry[:, : round((fitted[-1] + 1) * _BLOCK_SECONDS * _RATE)]

    def loss(rows: np.ndarray) -> np.ndarray:
        clips = [_blocks(space.from_unit(row).render(dry, _RATE), fitted) for row in rows]
        made = torch.from_numpy(np.stack([set_rms(clip[0], _INPUT_DBFS) for clip in clips]))
        # Its floor lies as low as that of the distance that is reported: dark units need it.
        return magnitude_distance(made, target.expand_as(made), n_ffts=(512, 2048)).numpy()

    begun, spread = (np.full(space.n_knobs, 0.5), 0.3) if start is None else (start, 0.15)
    rng = generator(seed, "match", *pedals)
    return minimise(loss, begun, evaluations=renders, rng=rng, spread=spread)


class GreyBox(nn.Module):
    """A filter, a curve, and a filter: (channels, samples) -> the same.

    The curve is a sum of tanh, at twice the rate against aliasing. Its offset follows the level, as
    a unit's bias does, and a filtered part of the input goes around it, as in a Tube Screamer.
    Filters are of minimum phase, by their levels (nepers) at frequencies evenly spaced in octaves.
    The first one begins as a high-pass.
    """

    def __init__(self, cutoff_hz: float = 0.0) -> None:
        super().__init__()
        hz, bins = np.geomspace(20, _RATE / 2, 40), np.fft.rfftfreq(2 * _TAPS, 1 / _RATE)
        ramps = [np.interp(np.log(bins.clip(20)), np.log(hz), row) for row in np.eye(len(hz))]
        self.register_buffer("ramps", torch.tensor(np.array(ramps).T, dtype=torch.float32))
        highpass = torch.tensor(-0.5 * np.log1p((cutoff_hz / hz) ** 2), dtype=torch.float32)
        starts = highpass, torch.full_like(highpass, -1.0), torch.zeros_like(highpass)
        self.before, self.beside, self.behind = map(nn.Parameter, starts)
        self.slopes = nn.Parameter(torch.linspace(0, 8, 6))  # their logarithms
        self.offsets = nn.Parameter(torch.linspace(-0.3, 0.3, 6))
        self.weights = nn.Parameter(torch.full((6,), 1 / 6))
        self.bias, self.log_seconds = (nn.Parameter(torch.tensor(x)) for x in (0.0, -3.5))

    def forward(self, audio: Tensor) -> Tensor:
        """Through all of it; silence stays silence."""
        n = 2 * next_fast_len((audio.shape[-1] + _TAPS) // 2 + 1, real=True)
        spectrum = torch.fft.rfft(audio, n)
        x = 2 * torch.fft.irfft(spectrum * self._response(self.before, n), 2 * n)
        radians = 2 * torch.pi * _RATE / n * torch.arange(n + 1)  # per second
        follower = 1 / (1 + 1j * radians * self.log_seconds.exp())
        x = x + self.bias * torch.fft.irfft(torch.fft.rfft(x.abs()) * follower, 2 * n)
        rows = zip(self.slopes.exp(), self.offsets, self.weights, strict=True)
        y = sum(weight * ((slope * x + at).tanh() - at.tanh()) for slope, at, weight in rows)
        mixed = torch.fft.rfft(y)[..., : n // 2 + 1] / 2
        mixed = mixed + spectrum * self._response(self.beside, n)
        return torch.fft.irfft(mixed * self._response(self.behind, n), n)[..., : audio.shape[-1]]

    def _response(self, levels: Tensor, n: int) -> Tensor:
        """Of the filter with these levels, at the frequencies of n samples.

        Source: Oppenheim and Schafer 1975 (a minimum-phase sequence has a causal cepstrum).
        """
        cepstrum = torch.fft.irfft(self.ramps @ levels)[: _TAPS + 1]
        causal = torch.cat((cepstrum[:1], 2 * cepstrum[1:-1], cepstrum[-1:]))
        impulse = torch.fft.irfft(torch.fft.rfft(causal, 2 * _TAPS).exp())[:_TAPS]
        return torch.fft.rfft(impulse, n)


def fit_grey_box(
    dry: np.ndarray, wet: np.ndarray, fitted: Sequence[int], *, steps: int = 400, tried: int = 60
) -> nn.Module:
    """A `GreyBox` of the blocks `fitted` of dry and wet sound (1, samples), by Adam.

    It begins at several cutoffs of the first filter, and the nearest after `tried` steps, while
    the learning rate rises, goes on.
    """
    x, y = (torch.from_numpy(_blocks(a, fitted, n)[0]) for a, n in ((dry, _RUN_IN), (wet, 0)))
    begun = []
    for cutoff_hz in _STARTS_HZ:
        model = GreyBox(cutoff_hz)
        losses = _improved(model, x, y, steps, tried)
        last = [next(losses) for _ in range(tried)][-10:]
        begun.append((float(np.mean(last)), model, losses))
    _, model, losses = min(begun, key=lambda one: one[0])
    for _ in losses:
        pass
    return model.eval().requires_grad_(False)


def _improved(model: GreyBox, x: Tensor, y: Tensor, steps: int, rising: int) -> Iterator[float]:
    """The loss of each step of Adam on blocks of dry and wet sound.

    It is the distance that is reported, from spectra a fourth as dense, and the error of the
    waveform, which alone hears phase.
    """
    distance = need("auraloss").freq.MultiResolutionSTFTLoss(hop_sizes=[480, 960, 200])
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 5e-2, total_steps=steps, pct_start=rising / steps
    )
    for step in range(steps):
        out = model(x)[:, _RUN_IN:]
        error = (out - y).square().mean() / y.square().mean()
        first = 397 * step % 960  # so that the sparse spectra lie elsewhere each time
        levelled = out * (0.1 / out.square().mean().sqrt())
        loss = distance(levelled[None, :, first:], y[None, :, first:]) + 0.3 * error
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        yield loss.item()
