"""How near one recording comes to another: what the field prints beside MR-STFT."""

import numpy as np
import torch
from scipy.fft import dct

from labkit.measure.loudness import loudness_lufs
from labkit.signal.files import resample
from labkit.signal.optional import need
from labkit.signal.spectra import log_mel

_N_MFCC = 20
# The rate of wide-band PESQ, and the lowest of its scale.
_PESQ_RATE, _PESQ_LEAST = 16_000, 1.0


def _picture(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    sizes = {"n_fft": 2048, "hop_length": 512, "n_mels": 64, "floor_db": -80.0}
    return (
        log_mel(torch.from_numpy(np.ascontiguousarray(audio.mean(0))).float(), sample_rate, **sizes)
        .double()
        .numpy()
    )


def mfcc_distance(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """One minus the cosine between the mean MFCCs of two sounds, level left out.

    Args:
        estimate: (channels, samples).
        target: (channels, samples).
        sample_rate: Hz, >= 8000.

    Returns:
        0..2; 0 for the same average spectrum.

    Source: Ramírez et al., ICASSP 2021, section 4.3 (cosine distance of MFCCs). Ours takes coefficients 1 to 19 of
        64 log-mel bands, averaged over time.
    """
    ours, theirs = (
        dct(_picture(audio, sample_rate).mean(1), norm="ortho")[1:_N_MFCC]
        for audio in (estimate, target)
    )
    return float(
        1 - (ours * theirs).sum() / max(float(np.sqrt((ours**2).sum() * (theirs**2).sum())), 1e-12)
    )


def spectral_difference_db(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Mean difference of two average spectra in 64 mel bands, dB (MSD); a difference of level counts.

    Args and result as `mfcc_distance`, in dB.

    Source: Steinmetz et al., JAES 70(9), 2022, table 5 (mean spectral difference), here in mel bands.
    """
    ours, theirs = (_picture(audio, sample_rate).mean(1) for audio in (estimate, target))
    return float(np.abs(ours - theirs).mean())


def centroid_error_hz(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Difference of the spectral centroids of two whole recordings, Hz (SCE). Args as `mfcc_distance`.

    Source: Steinmetz et al., JAES 70(9), 2022, table 5. Ours weighs all frames by their energy.
    """
    found = []
    for audio in (estimate, target):
        power = np.abs(np.fft.rfft(audio.mean(0, dtype=np.float64))) ** 2
        frequency = np.fft.rfftfreq(audio.shape[1], 1 / sample_rate)
        found.append(float((frequency * power).sum() / max(float(power.sum()), 1e-20)))
    return abs(found[0] - found[1])


def loudness_error_lu(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Difference of integrated loudness, LU; what is too soft to have one counts as -70 LUFS. Args as `mfcc_distance`."""
    ours, theirs = (max(loudness_lufs(audio, sample_rate), -70.0) for audio in (estimate, target))
    return abs(ours - theirs)


def intelligibility(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """STOI: how well speech would be understood, 0..1, by pystoi.

    Args:
        estimate: (channels, samples).
        target: (channels, samples), the clean speech, with at least 0.4 s of it.
        sample_rate: Hz.

    Returns:
        0..1.

    Raises:
        ModuleNotFoundError: without pystoi.

    Source: Taal et al., IEEE TASLP 19(7), 2011.
    """
    return float(need("pystoi").stoi(target.mean(0), estimate.mean(0), sample_rate))


def speech_quality(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """PESQ, wide band: how listeners would rate speech beside the clean one, by pesq.

    Args:
        estimate: (channels, samples).
        target: (channels, samples), the clean speech, with a quarter of a second of it at least.
        sample_rate: Hz; both are brought to 16 kHz.

    Returns:
        1.0 to 4.64; 1.0 where nothing is heard in the estimate.

    Raises:
        ModuleNotFoundError: without pesq, which is optional (`pip install pesq` needs a C compiler).
        ValueError: where PESQ finds no speech in the target.

    Source: ITU-T P.862.2 (2007).
    """
    pesq = need("pesq")
    ours, theirs = (
        resample(x.mean(0, keepdims=True), sample_rate, _PESQ_RATE)[0] for x in (estimate, target)
    )

    def score(sound: np.ndarray) -> float:
        if not np.any(sound):  # pesq would divide by its peak
            return -1.0
        return float(
            pesq.pesq(_PESQ_RATE, theirs, sound, "wb", on_error=pesq.PesqError.RETURN_VALUES)
        )

    if not np.any(theirs) or ((found := score(ours)) < 0 and score(theirs) < 0):
        raise ValueError("target must hold speech, PESQ finds none")
    return max(found, _PESQ_LEAST)
