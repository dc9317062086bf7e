"""A codec measured: how near its sound is, beside two plain coders with as many bits, and how it uses them."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchaudio.functional import melscale_fbanks

from labkit.effects.sampling import ChainSampler
from labkit.learn.codec import Codec
from labkit.learn.rvq import perplexity
from labkit.measure.losses import log_spectral_distance, mr_stft
from labkit.measure.metrics import si_sdr_db
from labkit.measure.score import Row, bootstrap_interval
from labkit.signal.files import resample
from labkit.signal.paths import real_data_dir
from labkit.signal.seeds import generator, torch_generator
from labkit.signal.sources import AudioFolder, GeneratedGuitars, Mixture, Sampled, Source
from labkit.signal.spectra import griffin_lim, log_mel
from labkit.signal.units import set_rms

PEDALS = ("compressor", "distortion", "chorus", "phaser", "delay", "reverb")
INPUT_DBFS = -20.0
MEL_SCALES = {256: 16, 512: 32, 1024: 64, 2048: 96}  # frame length: bands
METRICS = {"mel distance": "dB", "log-spectral distance": "dB", "MR-STFT": "", "SI-SDR": "dB"}
_NEPER_DB = 20 / math.log(10)
_RANGE_DB = 80.0
_REAL_FOLDERS = ("guitar_di", "guitar_acoustic")


def mel_distance_db(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """How far log-mel pictures are apart, averaged over four frame lengths; differentiable.

    Args:
        estimate: (b, 1, samples), full scale 1.
        target: the same shape.
        sample_rate: Hz, at least 22050.

    Returns:
        (b,), mean absolute difference in dB.

    Raises:
        ValueError: if the shapes differ.

    Source: Kumar et al. 2023, section 3.4, with four scales for seven and decibels for log10.
    """
    if estimate.shape != target.shape:
        raise ValueError(
            f"shapes must agree, got {tuple(estimate.shape)} and {tuple(target.shape)}"
        )
    found = []
    for n_fft, n_mels in MEL_SCALES.items():
        pair = [
            log_mel(x, sample_rate, n_fft=n_fft, hop_length=n_fft // 4, n_mels=n_mels)
            for x in (estimate, target)
        ]
        found.append((pair[0] - pair[1]).abs().mean((1, 2, 3)))
    return torch.stack(found).mean(0)


def mu_law(
    audio: np.ndarray, sample_rate: int, bits_per_second: float, *, bits: int = 4
) -> np.ndarray:
    """What telephone coding leaves at so few bits: the sample rate is lowered until they suffice.

    Args:
        audio: (1, samples).
        sample_rate: Hz.
        bits_per_second: to be spent; one factor for the clip's peak comes free.
        bits: a sample, 2..16. Fewer leave a wider band and more noise.

    Returns:
        The same shape.

    Raises:
        ValueError: if less than 100 samples a second are left, or `bits` is out of range.

    Source: ITU-T G.711's curve, mu = 255.
    """
    rate = min(sample_rate, int(bits_per_second / bits)) if 2 <= bits <= 16 else 0
    if rate < 100:
        raise ValueError(
            f"need bits in 2..16 and 100 samples a second, got {bits} and {bits_per_second:.0f} bit/s"
        )
    peak = max(float(np.abs(audio).max()), 1e-9)
    low = resample(audio / np.float32(peak), sample_rate, rate).clip(-1, 1)
    bent = np.sign(low) * np.log1p(255 * np.abs(low)) / math.log(256)
    steps = 2**bits - 1
    coded = np.round((bent + 1) / 2 * steps) / steps * 2 - 1
    back = (np.sign(coded) * (256 ** np.abs(coded) - 1) / 255).astype(np.float32)
    out = resample(back, rate, sample_rate)[:, : audio.shape[1]] * np.float32(peak)
    return np.pad(out, ((0, 0), (0, audio.shape[1] - out.shape[1])))


def mel_griffin_lim(
    audio: np.ndarray,
    sample_rate: int,
    bits_per_second: float,
    *,
    bits: int = 4,
    hop_length: int = 512,
    n_iter: int = 32,
    seed: int = 0,
) -> np.ndarray:
    """What a quantised log-mel picture leaves at so few bits, its phase guessed.

    Every second frame of 2048 samples is sent, as many bands as the bits allow, over 80 dB; the frames between are
    interpolated.

    Args:
        audio: (1, samples).
        sample_rate: Hz.
        bits_per_second: to be spent.
        bits: a band, 1..8.
        hop_length: samples between frames; two of them between frames that are sent.
        n_iter: rounds of Griffin-Lim.
        seed: of the starting phase.

    Returns:
        The same shape.

    Raises:
        ValueError: if fewer than four bands are left, or `bits` is out of range.

    Source: Griffin & Lim 1984; Perraudin et al. 2013.
    """
    n_mels = (
        min(96, int(bits_per_second * 2 * hop_length / sample_rate / bits)) if 1 <= bits <= 8 else 0
    )
    if n_mels < 4:
        raise ValueError(
            f"need bits in 1..8 and four bands, got {bits} and {bits_per_second:.0f} bit/s"
        )
    level_db = log_mel(
        torch.from_numpy(audio),
        sample_rate,
        hop_length=hop_length,
        n_mels=n_mels,
        floor_db=-_RANGE_DB,
    )
    step = _RANGE_DB / (2**bits - 1)
    sent = torch.round(level_db[..., ::2].clamp(max=0) / step) * step
    level_db = F.interpolate(sent, size=level_db.shape[-1], mode="linear")
    return mel_to_audio(
        level_db, sample_rate, audio.shape[1], hop_length=hop_length, n_iter=n_iter, seed=seed
    ).numpy()


def mel_to_audio(
    level_db: Tensor,
    sample_rate: int,
    length: int,
    *,
    hop_length: int = 512,
    n_iter: int = 32,
    seed: int = 0,
) -> Tensor:
    """A sound whose log-mel picture is about `level_db`: each bin gets the mean power of the bands above it.

    Args:
        level_db: (..., n_mels, frames) dB, as `log_mel` gives it with frames of 2048 samples and its default edges.
        sample_rate: Hz.
        length: samples wanted.
        hop_length: samples between frames.
        n_iter: rounds of Griffin-Lim.
        seed: of the starting phase.

    Returns:
        (..., length).

    Raises:
        ValueError: as `griffin_lim`.
    """
    n_fft = 2048
    filters = melscale_fbanks(
        n_fft // 2 + 1, 30.0, sample_rate / 2, level_db.shape[-2], sample_rate
    ).to(level_db)
    mean_power = 10 ** (level_db / 10) / filters.sum(0)[:, None]  # of the bins under each triangle
    power = (filters @ mean_power) / filters.sum(1, keepdim=True).clamp(min=1e-6)
    magnitude = (power * (n_fft / 2) ** 2 / 4).sqrt()
    phase = torch_generator(seed, "phase")
    return griffin_lim(
        magnitude, hop_length=hop_length, length=length, n_iter=n_iter, generator=phase
    )


def scores(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> dict[str, float]:
    """The distances of one decoded clip.

    Args:
        estimate: (1, samples).
        target: the same shape, not silent.
        sample_rate: Hz.

    Returns:
        Metric -> value, as `METRICS` names them; smaller is nearer, except SI-SDR (held within -60..120 dB).

    Raises:
        ValueError: as `mr_stft`.
    """
    pair = [
        torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[None]
        for x in (estimate, target)
    ]
    return {
        "mel distance": float(mel_distance_db(*pair, sample_rate)),
        "log-spectral distance": _NEPER_DB * float(log_spectral_distance(*pair)),
        "MR-STFT": mr_stft(estimate, target, sample_rate),
        "SI-SDR": float(np.clip(si_sdr_db(target, estimate), -60, 120)),
    }


@dataclass(frozen=True)
class _Clip:
    audio: np.ndarray
    source_id: str


def _source(kind: str, seconds: float, sample_rate: int) -> Source:
    if kind == "generated":
        return GeneratedGuitars(seconds=seconds, sample_rate=sample_rate)
    if kind == "sampled":
        return Sampled(seconds=seconds, sample_rate=sample_rate)
    folder = real_data_dir()
    if folder is None:
        raise FileNotFoundError(
            "no real recordings here: set LABKIT_REAL_DATA to a folder that holds guitar_di"
        )
    folders = [
        AudioFolder(folder / name, seconds=seconds, sample_rate=sample_rate, split_all="test")
        for name in _REAL_FOLDERS
    ]
    return Mixture(folders, [len(one.groups("test")) for one in folders])


def clips(
    kind: str, n: int, *, wet: bool, seconds: float, sample_rate: int, seed: int
) -> list[_Clip]:
    """`n` clips (1, samples) of test sources at -20 dBFS RMS, dry or through a random chain of one to six pedals.

    Args:
        kind: ``"generated"``, ``"sampled"`` or ``"real"``.
        n: how many.
        wet: through pedals.
        seconds: length.
        sample_rate: Hz.
        seed: of clips and chains.

    Returns:
        Objects with `audio` and `source_id`.

    Raises:
        FileNotFoundError: if `kind` is real and there are no real recordings here.
    """
    source, sampler, made = (
        _source(kind, seconds, sample_rate),
        ChainSampler(PEDALS, "shuffled"),
        [],
    )
    for k in range(n):
        rng = generator(seed, "codec clip", kind, k)
        clip = source.clip(rng, "test")
        audio = set_rms(clip.audio, INPUT_DBFS)
        if wet:
            audio = set_rms(sampler.sample(rng).render(audio, sample_rate), INPUT_DBFS)
        made.append(_Clip(audio, clip.source_id))
    return made


def evaluate(
    codec: Codec,
    *,
    n: int = 40,
    seconds: float = 2.0,
    sources: Sequence[str] = ("generated", "sampled", "real"),
    name: str = "our codec",
    checkpoint: str = "",
    seed: int = 1,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """The codec beside two plain coders at its bit rate, dry and through pedals; then its codebooks and chunks.

    Args:
        codec: in evaluation mode.
        n: clips of each kind, dry and wet.
        seconds: length of a clip.
        sources: kinds of clips; ``"real"`` needs real recordings.
        name: of the codec in the table.
        checkpoint: recorded in each row.
        seed: of the evaluation.
        say: told about progress.

    Returns:
        Rows of protocol x coder x source x metric. `control` is the decoded sound against another clip. Rows with a
        colon in their metric give codebooks one by one.

    Raises:
        FileNotFoundError: if real sources are asked for and not there.
    """
    rows, rate = [], codec.config.sample_rate
    spoken = f"{codec.config.bits_per_second() / 1000:.1f} kbit/s"
    for wet, words in ((False, f"dry, {spoken}"), (True, f"through pedals, {spoken}")):
        for kind in sources:
            started = time.perf_counter()
            tests = clips(kind, n, wet=wet, seconds=seconds, sample_rate=rate, seed=seed)
            shared = {"protocol": words, "sources": kind, "n": n, "seed": seed}
            new = []
            for coder, decode in coders(codec, name=name).items():
                new += _coder_rows(coder, decode, tests, rate, shared)
            new += _code_rows(codec, tests, shared | {"name": name})
            marks = {"seconds": time.perf_counter() - started, "checkpoint": checkpoint or None}
            rows += [Row(**row | marks) for row in new]
            say(f"{words}, {kind}: {marks['seconds']:.0f} s")
    return rows


def fixed_score(codec: Codec, *, n: int = 12) -> dict[str, float]:
    """Mean mel distance on the same few test clips every time: what the card says and a test repeats.

    Args:
        codec: in evaluation mode.
        n: clips of generated guitars, through pedals.

    Returns:
        dB.
    """
    rate = codec.config.sample_rate
    tests = clips("generated", n, wet=True, seconds=1.0, sample_rate=rate, seed=0)
    audio = torch.stack([torch.from_numpy(clip.audio) for clip in tests])
    return {
        "mel_distance_db": round(
            float(mel_distance_db(codec.round_trip(audio, rate), audio, rate).mean()), 3
        )
    }


def coders(
    codec: Codec, *, name: str = "our codec"
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Name -> (1, samples) at the codec's rate, coded and decoded: the codec, then the plain ones at its bit rate."""
    rate, bits = codec.config.sample_rate, codec.config.bits_per_second()
    return {
        name: lambda audio: codec.round_trip(torch.from_numpy(audio)[None], rate)[0].numpy(),
        "mel + Griffin-Lim": lambda audio: mel_griffin_lim(audio, rate, bits),
        "mu-law, low rate": lambda audio: mu_law(audio, rate, bits),
    }


def _coder_rows(
    coder: str,
    decode: Callable[[np.ndarray], np.ndarray],
    tests: Sequence[_Clip],
    rate: int,
    shared: Mapping,
) -> list[dict]:
    decoded = [decode(clip.audio) for clip in tests]
    found = [scores(out, clip.audio, rate) for out, clip in zip(decoded, tests, strict=True)]
    others = [
        scores(out, clip.audio, rate)
        for out, clip in zip(decoded, [*tests[1:], tests[0]], strict=True)
    ]
    groups, rows = [clip.source_id for clip in tests], []
    for metric, unit in METRICS.items():
        values = np.array([one[metric] for one in found])
        low, high = (
            bootstrap_interval(values, groups, seed=shared["seed"])
            if len(set(groups)) > 1
            else (None, None)
        )
        control = float(np.mean([one[metric] for one in others]))
        facts = {"ours": float(values.mean()), "low": low, "high": high, "control": control}
        rows.append({**shared, "name": coder, "metric": metric, "unit": unit, **facts})
    return rows


def _code_rows(codec: Codec, tests: Sequence[_Clip], shared: Mapping) -> list[dict]:
    """What the codes are like: how many words are in use, and how many change when a clip is cut into pieces."""
    config, rows = codec.config, []
    audio = torch.stack([torch.from_numpy(clip.audio) for clip in tests])
    codes = torch.cat([codec.encode(one[None], config.sample_rate) for one in audio])
    plain = {**shared, "low": None, "high": None}
    used = [perplexity(codes[:, k], config.codebook_size) for k in range(config.n_codebooks)]
    entropy = sum(math.log2(one) for one in used) * config.frames_per_second / 1000
    rows.append({**plain, "metric": "entropy of the codes", "unit": "kbit/s", "ours": entropy})
    for k, one in enumerate(used):
        rows.append(
            {**plain, "metric": f"perplexity: codebook {k + 1}", "unit": "words", "ours": one}
        )
    piece = max(1, round(0.5 * config.frames_per_second))
    for context, words in (
        (0, "codes changed by 0.5 s chunks"),
        (None, "codes changed by 0.5 s chunks: with context"),
    ):
        changed = [
            float((codec.encode_in_chunks(one[None], config.sample_rate, chunk_frames=piece, context_frames=context)
                   != whole).float().mean())
            for one, whole in zip(audio, codes, strict=True)
        ]  # fmt: skip
        rows.append({**plain, "metric": words, "unit": "", "ours": float(np.mean(changed))})
    return rows
