"""The exam of the codec: mel distance beside a plain coder at its bit rate."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from labkit.effects.sampling import ChainSampler
from labkit.measure.losses import mel_distance_db
from labkit.measure.score import SOURCES, Row, row
from labkit.signal.pool import Clip
from labkit.signal.sampled import Sampled
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars, recordings
from labkit.signal.spectra import log_mel, mel_to_audio
from labkit.signal.units import set_rms
from labkit.systems.codec.model import Codec
from labkit.systems.codec.train import INPUT_DBFS, PEDALS

_RANGE_DB = 80.0


def score(
    codec: Codec, *, n: int = 40, sources: Sequence[str] = SOURCES, seed: int = 1
) -> list[Row]:
    """Mel distance, dry and through pedals.

    Floor: a quantised log-mel spectrogram at the same bit rate with Griffin-Lim phase. Control: the
    decoded audio against another clip.

    Args:
        n: clips of each kind of source.
        sources: kinds of dry sources; real needs recordings.
        seed: of clips and pedals.
    """
    rate, bits = codec.config.sound.sample_rate, codec.config.bits_per_second
    rows = []
    for name, kind in itertools.product(("dry", "through pedals"), sources):
        clips = draw(kind, n, wet=name != "dry", seconds=2.0, sample_rate=rate, seed=seed)
        audio = [torch.from_numpy(clip.audio)[None] for clip in clips]
        ours = [codec.round_trip(one, rate) for one in audio]
        floor = [mel_griffin_lim(one, rate, bits) for one in audio]
        pairs = {"ours": (ours, audio), "floor": (floor, audio)}
        pairs["control"] = (ours, audio[1:] + audio[:1])
        values = {
            who: [float(mel_distance_db(*pair, rate)) for pair in zip(*both, strict=True)]
            for who, both in pairs.items()
        }
        facts = {"protocol": f"{name}, {bits / 1000:.1f} kbit/s", "name": "our codec"}
        facts |= {"sources": kind, "metric": "mel distance", "unit": "dB", "seed": seed}
        groups = [clip.source_id for clip in clips]
        rows.append(row(values.pop("ours"), groups, beside=values, **facts))
    return rows


def fixed_score(codec: Codec) -> dict[str, float]:
    """The mean mel distance of fixed generated guitars through pedals, dB."""
    rate = codec.config.sound.sample_rate
    clips = draw("generated", 12, wet=True, seconds=1.0, sample_rate=rate, seed=0)
    audio = torch.stack([torch.from_numpy(clip.audio) for clip in clips])
    mel_db = mel_distance_db(codec.round_trip(audio, rate), audio, rate)
    return {"mel_distance_db": round(float(mel_db.mean()), 3)}


def draw(
    kind: str, n: int, *, wet: bool, seconds: float, sample_rate: int, seed: int
) -> list[Clip]:
    """`n` test clips at -20 dBFS RMS, dry or through one to six random pedals."""
    sizes = {"seconds": seconds, "sample_rate": sample_rate}
    if kind == "real":
        source = recordings(("guitar_di", "guitar_acoustic"), **sizes)
    else:
        source = {"generated": GeneratedGuitars, "sampled": Sampled}[kind](**sizes)
    sampler = ChainSampler(PEDALS, "shuffled")
    clips = []
    for k in range(n):
        rng = generator(seed, "codec clip", kind, k)
        clip = source.clip(rng, "test")
        audio = set_rms(clip.audio, INPUT_DBFS)
        if wet:
            audio = set_rms(sampler.sample(rng).render(audio, sample_rate), INPUT_DBFS)
        clips.append(Clip(audio, sample_rate, clip.source_id, clip.kind))
    return clips


def mel_griffin_lim(
    audio: Tensor, sample_rate: int, bits_per_second: float, *, bits: int = 4, n_iter: int = 32
) -> Tensor:
    """Audio (..., samples) coded as a coarse log-mel spectrogram, its phase guessed.

    Every second frame is sent, as many bands as the bits allow; frames between are interpolated.
    """
    hop_length = 512
    n_mels = min(96, int(bits_per_second * 2 * hop_length / sample_rate / bits))
    if n_mels < 4:
        raise ValueError(f"four bands need more bits, got {bits_per_second:.0f} bit/s")
    level_db = log_mel(
        audio, sample_rate, hop_length=hop_length, n_mels=n_mels, floor_db=-_RANGE_DB
    )
    step = _RANGE_DB / (2**bits - 1)
    sent = torch.round(level_db[..., ::2].clamp(max=0) / step) * step
    flat = sent.reshape(1, -1, sent.shape[-1])
    level_db = F.interpolate(flat, size=level_db.shape[-1], mode="linear").reshape(level_db.shape)
    return mel_to_audio(level_db, sample_rate, audio.shape[-1], n_iter=n_iter)
