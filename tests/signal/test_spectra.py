"""Textbook facts: every expected number is a closed form or a line of Harris (1978), table 1."""

import math

import pytest
import torch

from labkit.signal import spectra
from labkit.signal.seeds import torch_generator

N_FFT, HOP = 1024, 256


def noise(*shape, dtype=torch.float64):
    generator = torch_generator(0, "spectra")
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def sine(bin_number, samples=8 * N_FFT):
    return torch.sin(2 * math.pi * bin_number * torch.arange(samples, dtype=torch.float64) / N_FFT)


def stft(audio):
    return spectra.stft(audio, n_fft=N_FFT, hop_length=HOP)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("samples", [1, 1023, 22050])
def test_round_trip_is_exact(dtype, tolerance, samples):
    audio = noise(2, 2, samples, dtype=dtype).clamp(-1, 1)
    back = spectra.istft(stft(audio), hop_length=HOP, length=samples)
    assert (back.shape, back.dtype) == (audio.shape, dtype)
    assert (back - audio).abs().max() < tolerance


def test_log_mel_is_in_db_of_full_scale():
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(44100, dtype=torch.float64) / 44100)
    loud, soft = (spectra.log_mel(gain * tone, 44100)[..., 40].max() for gain in (1, 0.1))
    # The main lobe is split over bands, and a sine's noise bandwidth adds 1.76 dB.
    assert float(loud) == pytest.approx(0.0, abs=2.0)
    assert float(loud - soft) == pytest.approx(20.0, abs=1e-6)


def test_griffin_lim_finds_a_consistent_phase():
    audio = sum(sine(k, 22050) for k in (5.1, 7.7, 10.2))[None, None] / 3
    magnitude = stft(audio).abs()

    def convergence_db(n_iter, momentum):
        made = spectra.griffin_lim(
            magnitude, hop_length=HOP, length=22050, n_iter=n_iter, momentum=momentum,
            generator=torch_generator(1, "phase"),
        )  # fmt: skip
        return float(20 * torch.log10((stft(made).abs() - magnitude).norm() / magnitude.norm()))

    plain = [convergence_db(n, 0.0) for n in (1, 4, 16, 64)]
    assert plain == sorted(plain, reverse=True)  # Griffin & Lim, theorem: the error never rises
    assert convergence_db(64, 0.99) < plain[-1] < plain[0] - 6


@pytest.mark.parametrize("delay_s", [0.021, 0.1, 0.37])
def test_a_ripple_of_so_many_db_reads_as_much_at_its_delay(delay_s):
    frequency_hz = torch.arange(22051, dtype=torch.float64)
    level_db = 30 - frequency_hz / 500 + 3.0 * torch.cos(2 * math.pi * frequency_hz * delay_s)
    edges = tuple(0.01 * 1.02**k for k in range(190))
    band = {"low_hz": 200.0, "high_hz": 8000.0, "smooth_hz": 200.0}
    found = spectra.ripples(10 ** (level_db.to(torch.complex128) / 20), 1.0, edges, **band)
    cell = int(found.argmax())
    assert edges[cell] <= delay_s * 1.01
    assert delay_s * 0.99 <= edges[cell + 1]
    # The loss between two bins, and what the running mean takes away of it.
    assert float(found[cell]) == pytest.approx(3.0, rel=0.25)
    far = abs(torch.tensor(edges[:-1]) / delay_s - 1) > 0.2
    assert float(found[far].max()) < 0.3
