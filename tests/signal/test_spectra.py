"""Textbook facts, exact: every expected number here is a closed form or a line of Harris (1978), table 1."""

import math

import librosa
import numpy as np
import pytest
import torch

from labkit.signal import spectra
from labkit.signal.seeds import torch_generator

N_FFT, HOP = 1024, 256


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_generator(0, "spectra"), dtype=torch.float64).to(
        dtype
    )


def test_shapes_and_frame_count() -> None:
    frames = spectra.stft(noise(3, 2, 5000), n_fft=N_FFT, hop_length=HOP)
    assert frames.shape == (3, 2, 513, 1 + 5000 // 256)
    assert spectra.log_mel(noise(3, 2, 5000), 44100, n_fft=N_FFT, n_mels=40).shape == (
        3,
        2,
        40,
        1 + 5000 // 512,
    )


def test_hann_overlap_is_constant() -> None:
    total = spectra.overlap_sum(
        torch.hann_window(N_FFT, dtype=torch.float64), hop_length=N_FFT // 4
    )
    assert (total - 2.0).abs().max() < 1e-12  # sum w / hop = (N/2) / (N/4)


def test_hann_overlap_is_not_constant_at_hop_n() -> None:
    total = spectra.overlap_sum(torch.hann_window(N_FFT, dtype=torch.float64), hop_length=N_FFT)
    assert total.max() - total.min() > 0.99


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("samples", [1, 100, 1023, 5000, 22050])
def test_round_trip_is_exact(dtype: torch.dtype, tolerance: float, samples: int) -> None:
    audio = noise(2, 2, samples, dtype=dtype).clamp(-1, 1)
    frames = spectra.stft(audio, n_fft=N_FFT, hop_length=HOP)
    back = spectra.istft(frames, hop_length=HOP, length=samples)
    assert back.shape == audio.shape
    assert back.dtype == dtype
    assert (back - audio).abs().max() < tolerance


def test_parseval() -> None:
    audio = torch.nn.functional.pad(noise(1, 1, 4000), (N_FFT, N_FFT))
    energy = spectra.spectral_energy(
        spectra.stft(audio, n_fft=N_FFT, hop_length=HOP), hop_length=HOP
    )
    assert abs(float(energy / audio.square().sum()) - 1) < 1e-12


def test_power_of_a_sine_on_a_bin() -> None:
    amplitude, k = 0.37, 50
    audio = amplitude * torch.sin(
        2 * math.pi * k * torch.arange(8 * N_FFT, dtype=torch.float64) / N_FFT
    )
    peak = spectra.power(spectra.stft(audio, n_fft=N_FFT, hop_length=HOP))[k, 10]
    assert float(peak) == pytest.approx(amplitude**2 * (N_FFT / 2) ** 2 / 4, rel=1e-10)


@pytest.mark.parametrize(
    ("window", "enbw", "scalloping", "side_lobe"),
    [
        (torch.hann_window(4096, dtype=torch.float64), 1.5, 1.42, -31.5),
        (torch.ones(4096, dtype=torch.float64), 1.0, 3.92, -13.3),
        (torch.hamming_window(4096, dtype=torch.float64), 1.36, 1.75, -42.7),
    ],
)
def test_window_facts(
    window: torch.Tensor, enbw: float, scalloping: float, side_lobe: float
) -> None:
    facts = spectra.window_facts(window)
    assert facts.enbw_bins == pytest.approx(enbw, abs=0.005)
    assert facts.scalloping_loss_db == pytest.approx(scalloping, abs=0.01)
    assert facts.highest_side_lobe_db == pytest.approx(side_lobe, abs=0.06)


def test_scalloping_seen_by_the_transform_itself() -> None:
    n = torch.arange(8 * N_FFT, dtype=torch.float64)
    on, between = (
        spectra.power(
            spectra.stft(torch.sin(2 * math.pi * k * n / N_FFT), n_fft=N_FFT, hop_length=HOP)
        )[:, 10].max()
        for k in (50.0, 50.5)
    )
    assert float(10 * torch.log10(on / between)) == pytest.approx(1.42, abs=0.01)


def test_mel_filters_equal_librosas() -> None:
    ours = spectra._mel_filters(44100, 2048, 64, 30.0, 16000.0)
    theirs = librosa.filters.mel(
        sr=44100, n_fft=2048, n_mels=64, fmin=30.0, fmax=16000.0, htk=True, norm=None
    )
    assert np.abs(ours.numpy() - theirs).max() < 2e-4  # torchaudio builds them in float32


def test_log_mel_reads_in_db_of_full_scale() -> None:
    seconds = torch.arange(44100, dtype=torch.float64) / 44100
    loud = spectra.log_mel(torch.sin(2 * math.pi * 1000 * seconds), 44100)
    soft = spectra.log_mel(0.1 * torch.sin(2 * math.pi * 1000 * seconds), 44100)
    assert float(loud[..., 40].max()) == pytest.approx(
        0.0, abs=2.0
    )  # main lobe split over bands, + ENBW of 1.76 dB
    assert float(loud[..., 40].max() - soft[..., 40].max()) == pytest.approx(20.0, abs=1e-6)


def test_log_mel_of_silence_is_the_floor() -> None:
    assert torch.equal(
        spectra.log_mel(torch.zeros(1, 1, 4000), 44100, floor_db=-80.0),
        torch.full((1, 1, 96, 8), -80.0),
    )


def test_log_mel_gradient_is_finite_on_silence() -> None:
    audio = torch.zeros(1, 1, 4000, requires_grad=True)
    spectra.log_mel(audio, 44100).sum().backward()
    assert torch.isfinite(audio.grad).all()


def test_griffin_lim_finds_a_consistent_phase() -> None:
    seconds = torch.arange(22050, dtype=torch.float64) / 22050
    audio = sum(torch.sin(2 * math.pi * f * seconds) for f in (220.0, 330.0, 440.0))[None, None] / 3
    magnitude = spectra.stft(audio, n_fft=N_FFT, hop_length=HOP).abs()

    def convergence_db(n_iter: int, momentum: float) -> float:
        made = spectra.griffin_lim(
            magnitude,
            hop_length=HOP,
            length=22050,
            n_iter=n_iter,
            momentum=momentum,
            generator=torch_generator(1, "phase"),
        )
        error = spectra.stft(made, n_fft=N_FFT, hop_length=HOP).abs() - magnitude
        return float(20 * torch.log10(error.norm() / magnitude.norm()))

    plain = [convergence_db(n, 0.0) for n in (1, 4, 16, 64)]
    assert plain == sorted(plain, reverse=True)  # Griffin & Lim, theorem: the error never rises
    assert convergence_db(64, 0.99) < plain[-1] < plain[0] - 6


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: spectra.stft(torch.zeros(0)),
            ValueError,
            r"audio must hold at least one sample, got shape \(0,\)",
        ),
        (
            lambda: spectra.stft(torch.zeros(9, dtype=torch.int16)),
            TypeError,
            "floating-point tensor.*torch.int16",
        ),
        (
            lambda: spectra.stft(torch.zeros(9), n_fft=7),
            ValueError,
            "n_fft must be an even int >= 2, got 7",
        ),
        (
            lambda: spectra.stft(torch.zeros(9), n_fft=8, hop_length=5),
            ValueError,
            r"1..n_fft/2 = 1..4.*got 5",
        ),
        (
            lambda: spectra.istft(torch.zeros(5, 2), hop_length=2, length=2),
            TypeError,
            "spectrum must be complex",
        ),
        (
            lambda: spectra.istft(torch.zeros(5, 2, dtype=torch.cfloat), hop_length=2, length=8),
            ValueError,
            "needs 5 frames, got 2",
        ),
        (
            lambda: spectra.log_mel(torch.zeros(9), 8000, high_hz=5000),
            ValueError,
            "half of sample_rate.*got 30.0 and 5000",
        ),
        (
            lambda: spectra.log_mel(torch.zeros(9), 44100, n_fft=512, hop_length=128, n_mels=128),
            ValueError,
            "lower n_mels",
        ),
        (
            lambda: spectra.griffin_lim(torch.zeros(5, 2), length=2, momentum=1),
            ValueError,
            "0 <= momentum < 1",
        ),
        (lambda: spectra.window_facts(torch.zeros(9)), ValueError, "positive sum"),
        (
            lambda: spectra.overlap_sum(torch.ones(9), hop_length=2),
            ValueError,
            "hop_length must divide",
        ),
    ],
)
def test_errors_say_what_was_wrong(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
