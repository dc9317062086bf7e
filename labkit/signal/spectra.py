"""Short-time spectra: STFT and back, power, log-mel and Griffin-Lim.

Every transform takes `(..., samples)` and gives `(..., freq, frames)`.
"""

import math
import warnings
from functools import lru_cache

import torch
from torch.nn import functional as F
from torchaudio.functional import melscale_fbanks

from labkit.signal.seeds import torch_generator

Tensor = torch.Tensor


def _window(n_fft: int, like: Tensor) -> Tensor:
    return torch.hann_window(n_fft, periodic=True, dtype=like.real.dtype, device=like.device)


def stft(audio: Tensor, *, n_fft: int = 2048, hop_length: int = 512) -> Tensor:
    """The STFT with a periodic Hann window; frame m is centred on sample m * hop_length.

    Complex `(..., n_fft/2 + 1, 1 + samples // hop_length)`; the ends are padded with zeros.
    """
    if n_fft % 2 or not 1 <= hop_length <= n_fft // 2:
        raise ValueError(
            f"n_fft must be even and hop_length 1 to half of it, got {n_fft} and {hop_length}"
        )
    flat = audio.reshape(-1, audio.shape[-1])
    window = _window(n_fft, audio)
    frames = torch.stft(
        flat, n_fft, hop_length, window=window, pad_mode="constant", return_complex=True
    )
    return frames.reshape(*audio.shape[:-1], *frames.shape[-2:])


def istft(spectrum: Tensor, *, hop_length: int = 512, length: int) -> Tensor:
    """The audio `(..., length)` whose STFT is nearest to a complex spectrum; undoes `stft`.

    With hops up to n_fft/4 the round trip is exact to rounding.

    Source: Griffin & Lim, IEEE TASSP 32(2), 1984, eq. 6.
    """
    n_fft = 2 * (spectrum.shape[-2] - 1)
    if spectrum.shape[-1] != 1 + length // hop_length:
        raise ValueError(
            f"length {length} at hop_length {hop_length} needs {1 + length // hop_length} frames, "
            f"got {spectrum.shape[-1]}"
        )
    flat = spectrum.reshape(-1, *spectrum.shape[-2:])
    audio = torch.istft(flat, n_fft, hop_length, window=_window(n_fft, spectrum), length=length)
    return audio.reshape(*spectrum.shape[:-2], length)


def power(spectrum: Tensor) -> Tensor:
    """|X|^2 of a complex spectrum, real. A sine of amplitude A on a bin has A^2 (sum w)^2 / 4."""
    return spectrum.real.square() + spectrum.imag.square()


@lru_cache(maxsize=32)
def _mel_filters(
    sample_rate: int, n_fft: int, n_mels: int, low_hz: float, high_hz: float
) -> Tensor:
    """Triangular filters `(n_mels, freq)`, cached: building them costs more than using them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # empty bands are an error below, not a warning
        filters = melscale_fbanks(
            n_fft // 2 + 1, low_hz, high_hz, n_mels, sample_rate
        ).T.contiguous()
    empty = int((filters.amax(1) == 0).sum())
    if empty:
        raise ValueError(
            f"n_mels={n_mels} leaves {empty} bands without a single bin at n_fft={n_fft}, "
            f"sample_rate={sample_rate}: lower n_mels or raise n_fft"
        )
    return filters


def log_mel(
    audio: Tensor,
    sample_rate: int,
    *,
    n_fft: int = 2048,
    hop_length: int = 512,
    n_mels: int = 96,
    low_hz: float = 30.0,
    high_hz: float | None = None,
    floor_db: float = -100.0,
) -> Tensor:
    """A log-mel spectrogram `(..., n_mels, 1 + samples // hop_length)` in dB of a full-scale sine.

    Bands lie between `low_hz` and `high_hz` (None is half the rate); `floor_db` is their least.

    Source: O'Shaughnessy's mel formula, 2595 log10(1 + f / 700), and triangles of height 1.
    """
    high_hz = sample_rate / 2 if high_hz is None else high_hz
    if not 0 <= low_hz < high_hz <= sample_rate / 2:
        raise ValueError(
            f"need 0 <= low_hz < high_hz <= {sample_rate / 2}, got {low_hz} and {high_hz}"
        )
    frames = stft(audio, n_fft=n_fft, hop_length=hop_length)
    filters = _mel_filters(sample_rate, n_fft, n_mels, float(low_hz), float(high_hz)).to(audio)
    full_scale_sine = (n_fft / 2) ** 2 / 4
    bands = filters @ (power(frames) / full_scale_sine)
    return 10.0 * torch.log10(bands.clamp(min=10.0 ** (floor_db / 10.0)))


def griffin_lim(
    magnitude: Tensor,
    *,
    hop_length: int = 512,
    length: int,
    n_iter: int = 32,
    momentum: float = 0.99,
    generator: torch.Generator,
) -> Tensor:
    """Audio `(..., length)` for a magnitude spectrogram `(..., freq, frames)` whose phase is lost.

    `n_iter` projections between the magnitudes and consistent spectra, from a first phase drawn
    from a CPU generator. A momentum of 0 is the original algorithm, 0.99 the fast one.

    Source: Griffin & Lim 1984; Perraudin, Balazs, Sondergaard, WASPAA 2013 (momentum).
    """
    n_fft = 2 * (magnitude.shape[-2] - 1)
    turns = torch.rand(magnitude.shape, generator=generator)
    phase = torch.polar(torch.ones_like(magnitude), (2 * math.pi * turns).to(magnitude))
    previous = torch.zeros_like(phase)
    for _ in range(n_iter):
        audio = istft(magnitude * phase, hop_length=hop_length, length=length)
        consistent = stft(audio, n_fft=n_fft, hop_length=hop_length)
        ahead = consistent + momentum * (consistent - previous)
        phase = ahead / ahead.abs().clamp(min=torch.finfo(magnitude.dtype).tiny)
        previous = consistent
    return istft(magnitude * phase, hop_length=hop_length, length=length)


def mel_to_audio(level_db: Tensor, sample_rate: int, length: int, *, n_iter: int = 32) -> Tensor:
    """Audio `(..., length)` of a log-mel spectrogram with hop 512 whose bands begin at 30 Hz."""
    n_fft, n_mels = 2048, level_db.shape[-2]
    filters = melscale_fbanks(n_fft // 2 + 1, 30.0, sample_rate / 2, n_mels, sample_rate)
    filters = filters.to(level_db)
    # Each bin gets the mean power of the bands above it; a band's power is a sum over its triangle.
    mean_power = 10 ** (level_db / 10) / filters.sum(0)[:, None]
    power = (filters @ mean_power) / filters.sum(1, keepdim=True).clamp(min=1e-6)
    magnitude = (power * (n_fft / 2) ** 2 / 4).sqrt()  # 0 dB is a full-scale sine
    rng = torch_generator(0, "phase")
    return griffin_lim(magnitude, hop_length=512, length=length, n_iter=n_iter, generator=rng)


def ripples(
    spectrum: Tensor,
    bin_hz: float,
    edges: tuple[float, ...],
    *,
    low_hz: float,
    high_hz: float,
    smooth_hz: float,
    range_db: float = 70.0,
) -> Tensor:
    """How strongly the log magnitude of spectra ripples along frequency: a band's cepstrum.

    What is added to itself t seconds late has a spectrum that ripples with a period of 1 / t Hz.
    So echoes, choruses and flangers show at their delay (and notes at the periods of their pitch).

    Args:
        spectrum: complex (..., freq), one frame or a whole clip; bins every `bin_hz`.
        edges: rising delays in s, at most half of 1 / `bin_hz`; each two hold a cell between them.
        low_hz: lower edge of the band that is looked at; `high_hz` the upper one.
        smooth_hz: what is broader than this along frequency is taken away first.
        range_db: levels are kept within this range below the loudest bin of the band.

    Returns:
        (..., cells): the largest amplitude of a ripple in each cell, in dB.

    Source: Bogert, Healy and Tukey 1963 (cepstrum); here of a band, with a Hann window over it.
    """
    first, last = math.ceil(low_hz / bin_hz), math.floor(high_hz / bin_hz) + 1
    if not 0 <= first < last <= spectrum.shape[-1]:
        raise ValueError(
            f"low_hz and high_hz must hold bins among 0 to {(spectrum.shape[-1] - 1) * bin_hz:g} "
            f"Hz, got {low_hz} and {high_hz}"
        )
    level_db = 20 * torch.log10(spectrum[..., first:last].abs() + 1e-9)
    level_db = torch.maximum(level_db, level_db.amax(-1, keepdim=True) - range_db)
    window = torch.hann_window(last - first, periodic=False).to(level_db)
    fine_db = (level_db - _running_mean(level_db, round(smooth_hz / bin_hz) | 1)) * window
    n_fft = max(4096, 2 ** math.ceil(math.log2(last - first)))
    places, counts = _places(edges, 1 / (n_fft * bin_hz), n_fft // 2 + 1)
    amplitude_db = torch.fft.rfft(fine_db, n_fft).abs()[..., places.to(fine_db.device)]
    lengths = counts.to(fine_db.device).expand(*amplitude_db.shape[:-1], -1).contiguous()
    axis = amplitude_db.ndim - 1
    # The window's sum is half the band: a ripple of 1 dB reads 1 dB.
    return torch.segment_reduce(amplitude_db, "max", lengths=lengths, axis=axis) / (
        (last - first) / 4
    )


def _running_mean(x: Tensor, size: int) -> Tensor:
    """The mean of an odd number of neighbours along the last axis; the ends are repeated."""
    half = size // 2
    rows = F.pad(x.reshape(-1, 1, x.shape[-1]), (half + 1, half), mode="replicate")
    total = rows.double().cumsum(-1)
    return ((total[..., size:] - total[..., :-size]) / size).to(x.dtype).reshape(x.shape)


@lru_cache(maxsize=32)
def _places(edges: tuple[float, ...], step: float, n: int) -> tuple[Tensor, Tensor]:
    """The bins in each cell, one cell after the other, and how many each has (one or more)."""
    bins = (torch.tensor(edges, dtype=torch.float64) / step).round().long()
    if len(edges) < 2 or (bins[1:] < bins[:-1]).any() or bins[0] < 1 or bins[-1] > n:
        given = f"{len(edges)} from {edges[0]:.2g} to {edges[-1]:.2g}"
        raise ValueError(f"edges must rise between {step:.2g} and {n * step:.2g} s, got {given}")
    counts = (bins[1:] - bins[:-1]).clamp(min=1)
    pairs = zip(bins[:-1].tolist(), counts.tolist(), strict=True)
    return torch.cat([torch.arange(first, first + count) for first, count in pairs]), counts
