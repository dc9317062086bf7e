"""Scores of the codec: distances beside simple coders, by codebooks, and pedals named alike."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import product

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn import functional as F

from labkit.effects.chain import ChainSampler
from labkit.measure.losses import mel_distance_db
from labkit.measure.metrics import si_sdr_db
from labkit.measure.score import SOURCES, Kind, Row, row
from labkit.signal.files import resample
from labkit.signal.optional import need
from labkit.signal.pool import Clip
from labkit.signal.recorded import RecordedGuitars
from labkit.signal.sampled import Sampled
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars, recordings
from labkit.signal.spectra import log_mel, mel_to_audio
from labkit.signal.units import set_rms
from labkit.systems.codec.model import Codec
from labkit.systems.codec.train import INPUT_DBFS, PEDALS

_RANGE_DB = 80.0
_OPUS_BITS = 16_000  # of Opus, beside which ViSQOL is read
_N_VISQOL = 10  # clips: it takes seconds for each


def score(
    codec: Codec, *, n: int = 40, sources: Sequence[Kind] = (*SOURCES, "recorded"), seed: int = 1
) -> list[Row]:
    """Score the decoded audio, dry and through pedals: mel distance, SI-SDR and ViSQOL.

    Floor: a quantised log-mel spectrogram at the same bit rate, with Griffin-Lim phase. Oracle: the
    same network without quantiser. Control: the decoded audio against another clip. ViSQOL is left
    out where it is not installed; its reference is Opus at 16 kbit/s.

    Args:
        n: test clips of each kind of dry sound.
        sources: kinds of dry sound; real and recorded need recordings.
        seed: random seed of clips and pedals.
    """
    rate, bits = codec.config.sound.sample_rate, codec.config.bits_per_second
    rows = []
    for name, kind in product(("dry", "through pedals"), sources):
        clips = draw(kind, n, wet=name != "dry", seconds=2.0, sample_rate=rate, seed=seed)
        audio = [torch.from_numpy(clip.audio)[None] for clip in clips]
        codes = [codec.encode(one, rate) for one in audio]

        def said(n_books: int, codes: Sequence[Tensor] = codes, n: int = clips[0].audio.shape[1]):
            return [codec.decode(one[:, :n_books], n) for one in codes]

        n_books = codec.config.net.n_codebooks
        decoded = {
            "ours": said(n_books),
            "floor": [mel_griffin_lim(one, rate, bits) for one in audio],
            "oracle": [codec.unquantised(one, rate) for one in audio],
        }
        decoded["control"] = decoded["ours"][1:] + decoded["ours"][:1]
        metrics: dict[str, tuple[str, Callable[[Tensor, Tensor], float]]] = {
            "mel distance": ("dB", lambda ours, dry: float(mel_distance_db(ours, dry, rate))),
            "SI-SDR": ("dB", lambda ours, dry: si_sdr_db(dry.numpy(), ours.numpy())),
        }
        if find_spec("visqol"):
            metrics["ViSQOL"] = ("", partial(visqol_mos, sample_rate=rate))
            decoded["reference"] = [opus(one, rate, _OPUS_BITS) for one in audio]
        groups = [clip.source_id for clip in clips]
        facts = {"sources": kind, "seed": seed}
        for metric, (unit, distance) in metrics.items():
            who = ("ours", "reference") if unit == "" else ("ours", "floor", "oracle", "control")
            some = _N_VISQOL if unit == "" else n
            values = {
                name: [distance(*pair) for pair in zip(decoded[name][:some], audio, strict=False)]
                for name in who
            }
            head = {"protocol": f"{name}, {bits / 1000:.1f} kbit/s", "name": "our codec"}
            ours = values.pop("ours")
            rows.append(
                row(ours, groups[:some], beside=values, metric=metric, unit=unit, **head, **facts)
            )
        if name == "dry":
            continue
        for k in range(1, n_books):
            pairs = zip(said(k), audio, strict=True)
            values = [metrics["mel distance"][1](*pair) for pair in pairs]
            head = {"protocol": f"first {k} codebooks, {name}", "name": "our codec"}
            rows.append(row(values, groups, metric="mel distance", unit="dB", **head, **facts))
        rows.append(_named_alike(codec, kind, n, seed))
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
        made = {"generated": GeneratedGuitars, "sampled": Sampled, "recorded": RecordedGuitars}
        source = made[kind](**sizes)
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


def mel_griffin_lim(audio: Tensor, sample_rate: int, bits_per_second: float) -> Tensor:
    """Audio (..., samples) coded as a coarse log-mel spectrogram, its phase guessed.

    Every second frame is sent, as many bands of four bits as fit; frames between are interpolated.
    """
    hop_length, bits = 512, 4
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
    return mel_to_audio(level_db, sample_rate, audio.shape[-1])


def opus(audio: Tensor, sample_rate: int, bits_per_second: float) -> Tensor:
    """Audio (1, 1, samples) through Opus, which codes 6 to 256 kbit/s at 48 kHz."""
    samples = audio.shape[-1]
    file, level = io.BytesIO(), 1 - (bits_per_second - 6000) / 250_000
    options = {"format": "OGG", "subtype": "OPUS", "compression_level": level}
    soundfile.write(file, resample(audio[0].numpy(), sample_rate, 48_000).T, 48_000, **options)
    file.seek(0)
    coded = soundfile.read(file, dtype="float32", always_2d=True)[0].T
    back = resample(np.ascontiguousarray(coded), 48_000, sample_rate)
    return F.pad(torch.from_numpy(back)[None], (0, samples))[..., :samples]


def visqol_mos(estimate: Tensor, target: Tensor, *, sample_rate: int) -> float:
    """ViSQOL's opinion of audio (1, 1, samples), 1 to 4.75 (Chinen et al. 2020, audio mode)."""
    judge = need("visqol").VisqolApi()
    judge.create(mode="audio")
    pair = (
        resample(audio[0].numpy(), sample_rate, 48_000)[0].astype(np.float64)
        for audio in (target, estimate)
    )
    return float(judge.measure_from_arrays(*pair, 48_000).moslqo)


def _named_alike(codec: Codec, kind: str, n: int, seed: int) -> Row:
    """Whether the shipped pedal-order network names the same chain of three after coding."""
    from labkit.systems import pedal_order
    from labkit.systems.pedal_order.config import PROTOCOLS, canonical_names
    from labkit.systems.pedal_order.data import examples_for_scoring
    from labkit.systems.pedal_order.model import features
    from labkit.systems.pedal_order.predict import decode

    model, protocol = pedal_order.load(), PROTOCOLS["three"]
    sound = model.config.sound
    examples = examples_for_scoring(sound, protocol, kind, n, seed=seed)
    coders = {
        "before": lambda audio: audio,
        "ours": lambda audio: codec.round_trip(audio, sound.sample_rate),
        "floor": lambda audio: mel_griffin_lim(
            audio, sound.sample_rate, codec.config.bits_per_second
        ),
        "oracle": lambda audio: codec.unquantised(audio, sound.sample_rate),
    }
    heard: dict[str, list[tuple[str, ...]]] = {}
    for name, coder in coders.items():
        clips = [features(coder(torch.from_numpy(one.wet)[None])[0], sound) for one in examples]
        chains = [decode(model, clip, protocol.pedals).chain.names for clip in clips]
        heard[name] = [canonical_names(names) for names in chains]
    before = heard.pop("before")
    heard["control"] = heard["ours"][1:] + heard["ours"][:1]
    same = {
        name: [one == other for one, other in zip(names, before, strict=True)]
        for name, names in heard.items()
    }
    facts = {"protocol": "three, before and after coding", "name": "pedal_order's network"}
    facts |= {"metric": "same chain", "sources": kind, "seed": seed}
    return row(same.pop("ours"), [one.source_id for one in examples], beside=same, **facts)
