"""How near one recording comes to another: what the field prints beside MR-STFT.

Estimate and target are `(channels, samples)`; a distance is of the mean of the channels.
"""

import numpy as np
import torch
from scipy.fft import dct

from labkit.measure.loudness import loudness_lufs
from labkit.signal.files import resample
from labkit.signal.optional import need
from labkit.signal.spectra import log_mel

_N_MFCC = 20
_PESQ_RATE = 16_000  # of wide-band PESQ
_PESQ_LEAST = 1.0  # of its scale


def _mean_log_mel(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """(64,) the average log-mel spectrum in dB."""
    mono = torch.from_numpy(np.ascontiguousarray(audio.mean(0))).float()
    return log_mel(mono, sample_rate, n_mels=64, floor_db=-80.0).double().numpy().mean(1)


def mfcc_distance(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """One minus the cosine between the mean MFCCs (1 to 19) of two sounds, level left out: 0..2.

    Source: Ramírez et al., ICASSP 2021, section 4.3.
    """
    a, b = (
        dct(_mean_log_mel(audio, sample_rate), norm="ortho")[1:_N_MFCC]
        for audio in (estimate, target)
    )
    return float(1 - (a * b).sum() / max(float(np.sqrt((a**2).sum() * (b**2).sum())), 1e-12))


def loudness_error_lu(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Difference of integrated loudness, LU; what is too soft to have one counts as -70 LUFS."""
    ours, theirs = (max(loudness_lufs(audio, sample_rate), -70.0) for audio in (estimate, target))
    return abs(ours - theirs)


def intelligibility(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """STOI against clean speech of at least 0.4 s, 0..1, by pystoi.

    Source: Taal et al., IEEE TASLP 19(7), 2011.
    """
    return float(need("pystoi").stoi(target.mean(0), estimate.mean(0), sample_rate))


def speech_quality(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Wide-band PESQ (ITU-T P.862.2) against clean speech: 1.0 (also for silence) to 4.64, by pesq.

    pesq is optional and needs a C compiler. A ValueError says that the target holds no speech.
    """
    pesq = need("pesq")
    ours, theirs = (
        resample(x.mean(0, keepdims=True), sample_rate, _PESQ_RATE)[0] for x in (estimate, target)
    )

    def score(sound: np.ndarray) -> float:
        if not np.any(sound):  # pesq would divide by its peak
            return -1.0
        on_error = pesq.PesqError.RETURN_VALUES
        return float(pesq.pesq(_PESQ_RATE, theirs, sound, "wb", on_error=on_error))

    if not np.any(theirs) or ((found := score(ours)) < 0 and score(theirs) < 0):
        raise ValueError("target must hold speech, PESQ finds none")
    return max(found, _PESQ_LEAST)
