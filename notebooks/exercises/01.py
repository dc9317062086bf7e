"""What the exercises of notebook 01 ask for: each compares an attempt with a reference or a law."""

import itertools

import numpy as np
import torch
from torchaudio.functional import melscale_fbanks

from labkit.lab.exercises import Attempt, as_array, as_count, compare, require
from labkit.signal.seeds import generator

_HANN = np.hanning(129)[:-1]


def _noise(*shape: int) -> np.ndarray:
    return generator(0, "exercises of 01").standard_normal(shape)


def _to_cells(
    audio: np.ndarray, window: np.ndarray, hop: int, *, center: bool = True
) -> np.ndarray:
    options = {"center": center, "pad_mode": "constant", "return_complex": True}
    taper = torch.from_numpy(np.asarray(window, float))
    return torch.stft(
        torch.from_numpy(np.asarray(audio, float)), len(window), hop, window=taper, **options
    ).numpy()


def _to_sound(cells: np.ndarray, window: np.ndarray, hop: int, length: int) -> np.ndarray:
    taper, cells = torch.from_numpy(window), torch.from_numpy(cells)
    return torch.istft(cells, len(window), hop, window=taper, length=length).numpy()


def exercise_01_1(attempt: Attempt) -> str:
    """`dft_bin(signal, k)`: its correlation with a cosine and a sine of k cycles, as complex."""
    angle = 2 * np.pi * np.arange(64) / 64
    for case, signal, k in (
        ("a cosine of 5 cycles, k = 5", np.cos(5 * angle), 5),
        ("a sine of 5 cycles, k = 5", np.sin(5 * angle), 5),
        ("a sine of 5 cycles, k = 6", np.sin(5 * angle), 6),
        ("100 samples of noise, k = 3", _noise(100), 3),
    ):
        wanted = np.fft.fft(signal)[k]
        hints = [
            (wanted.conjugate(), "the sine came in with the other sign: e^-ia = cos a - i sin a"),
            (abs(wanted), "that is the magnitude, without the phase"),
            (wanted / len(signal), "you divided by the number of samples"),
        ]
        compare(attempt(signal, k), wanted, case, near=1e-6, hints=hints)
    return "a bin of the DFT says how like a cosine (real part) and a sine (imaginary part) it is"


def exercise_01_2(attempt: Attempt) -> str:
    """The number of frames of an STFT: `frames(samples, n_fft, hop_length, center)`."""
    sizes = ((44100, 2048, 512), (44100, 1024, 256), (2048, 2048, 512), (10000, 1000, 300))
    for (samples, n_fft, hop), center in itertools.product(sizes, (True, False)):
        counted = _to_cells(np.zeros(samples), np.ones(n_fft), hop, center=center).shape[-1]
        case = f"{samples} samples, n_fft = {n_fft}, hop_length = {hop}, center = {center}"
        compare(attempt(samples, n_fft, hop, center), counted, f"{case}, frames of torch.stft")
    return "with center the ends are padded by n_fft / 2, so every hop starts a frame"


def exercise_01_3(attempt: Attempt) -> str:
    """`stft(audio, window, hop_length)`: complex (n_fft / 2 + 1, frames), centred, zeros outside."""
    for samples, window, hop in ((1000, _HANN, 32), (777, np.ones(64), 24)):
        audio, half = _noise(samples), len(window) // 2
        wanted = _to_cells(audio, window, hop)
        mirrored = _to_cells(np.pad(audio, half, mode="reflect"), window, hop, center=False)
        hints = [
            (mirrored, "the ends are padded by zeros, not by their mirror image"),
            (_to_cells(audio, np.ones(len(window)), hop), "the frames are not windowed"),
            (wanted.conj(), "the phases run the other way"),
            (np.abs(wanted), "that is the magnitude, without the phase"),
        ]
        case = f"{samples} samples, n_fft = {len(window)}, hop_length = {hop}: stft(...)"
        answer = attempt(audio, window, hop)
        found = as_array(answer, wanted.shape, case, kinds="c", of=np.ndarray)
        compare(found, wanted, case, near=1e-6, hints=hints)
    return "cut, window, transform: a spectrogram is many short spectra side by side"


def exercise_01_4(attempt: Attempt) -> str:
    """A frame length, a power of two, that separates two equal sines `spacing_hz` apart."""
    for sample_rate, spacing_hz in ((44100, 20.0), (44100, 50.0), (48000, 100.0), (8000, 2.0)):
        n_fft = as_count(attempt(sample_rate, spacing_hz), "n_fft")
        power = n_fft >= 2 and not n_fft & (n_fft - 1)
        require(power, f"n_fft must be a power of two, got {n_fft}")
        bins = spacing_hz * n_fft / sample_rate
        case = f"two sines {spacing_hz:g} Hz apart at {sample_rate} Hz, n_fft = {n_fft}"
        # From 2.5 bins on there is a valley of 3 dB between them, whatever their phases.
        require(
            bins >= 2.5,
            f"{case}: they are {bins:.2f} bins apart under a main lobe of 4, and for some phases "
            "there is no valley between them, so they look like one",
        )
        require(
            bins < 5,
            f"{case}: separated, but half of that already is; your frame lasts "
            f"{1000 * n_fft / sample_rate:.0f} ms, and everything within it is smeared",
        )
    return "frequency resolution is sample_rate / n_fft times the width of the main lobe"


def exercise_01_5(attempt: Attempt) -> str:
    """The gain by which overlapping windows add up: `gain(window, hop_length)`."""
    for name, window, hop_length in (
        ("Hann, hop n_fft/4", _HANN, 32),
        ("Hann, hop n_fft/2", _HANN, 64),
        ("Hann squared, hop n_fft/4", _HANN**2, 32),
        ("square, hop n_fft/8", np.ones(128), 16),
    ):
        added = sum(np.pad(window, (at, 1024 - at)) for at in range(0, 1025, hop_length))
        case = f"{name}, the factor by which the frames add up"
        compare(attempt(window, hop_length), float(added[512]), case)
    return "copies of a window every hop_length samples add to its sum / hop_length"


def _overlap_add(frames: np.ndarray, hop: int) -> np.ndarray:
    count = len(frames)
    places = [(m * hop, (count - 1 - m) * hop) for m in range(count)]
    return sum(np.pad(frame, at) for frame, at in zip(frames, places, strict=True))


def exercise_01_6(attempt: Attempt) -> str:
    """`overlap_add(frames, hop_length)`: (frames, n_fft) -> the samples that they cover."""
    for frames, hop in (
        (np.arange(12.0).reshape(3, 4), 2),
        (_noise(9, 64), 16),
        (_noise(5, 30), 30),
    ):
        count, n_fft = frames.shape
        wanted, covered = (_overlap_add(some, hop) for some in (frames, np.ones(frames.shape)))
        last = np.zeros(len(wanted))
        for m, frame in enumerate(frames):
            last[m * hop : m * hop + n_fft] = frame
        hints = [
            (last, "each frame overwrites the one before: add"),
            (wanted * hop / n_fft, "you took a mean: frames add up, whatever they add to"),
            (wanted / covered, "you took a mean: frames add up, whatever they add to"),
        ]
        case = f"{count} frames of {n_fft} samples, hop_length = {hop}: overlap_add(...)"
        compare(attempt(frames, hop), wanted, case, hints=hints)
    return "each frame goes back to its place, and where frames overlap they add up"


def exercise_01_7(attempt: Attempt) -> str:
    """`istft(cells, window, hop_length, length)`: the sound (length,) of centred cells."""
    for samples, window, hop in ((1000, _HANN, 32), (777, _HANN[::2], 16)):
        audio = _noise(samples)
        kept = _to_cells(audio, window, hop)
        for case, cells in (("untouched", kept), ("every second bin set to zero", kept.copy())):
            cells[1::2] *= case == "untouched"
            wanted, half = _to_sound(cells, window, hop, samples), len(window) // 2
            frames = np.fft.irfft(cells.T, len(window))
            ones, inside = np.ones(frames.shape), slice(half, half + samples)
            added = (frames, window * frames, window * ones)
            once, twice, weight = (_overlap_add(some, hop)[inside] for some in added)
            undivided = "you did not divide by the overlapping windows"
            hints = [
                (np.pad(wanted, (half, 0))[:samples], "all is late: n_fft / 2 zeros are in front"),
                (once, undivided),
                (twice, undivided),
                (once / weight, "each frame meets the window once more, after its inverse DFT"),
                (twice / weight, "divide by the overlap-add of the square of the window"),
            ]
            case = f"{samples} samples, cells {case}: istft(...)"
            answer = attempt(cells, window, hop, samples)
            found = as_array(answer, wanted.shape, case, of=np.ndarray)
            compare(found, wanted, case, near=1e-6, hints=hints)
    return "no sample is lost; and where cells were changed, the second window hides the joins"


def exercise_01_8(attempt: Attempt) -> str:
    """`mel_filters(n_mels, n_fft, sample_rate, low_hz)`: triangles (n_mels, n_fft / 2 + 1)."""
    for n_mels, n_fft, rate, low_hz in ((8, 256, 8000, 0.0), (40, 2048, 44100, 30.0)):
        wanted = melscale_fbanks(n_fft // 2 + 1, low_hz, rate / 2, n_mels, rate).T.numpy()
        hz = np.linspace(low_hz, rate / 2, n_mels + 2)[:, None]
        bins = np.fft.rfftfreq(n_fft, 1 / rate)
        up, down = ((bins - hz[:-2]) / (hz[1] - hz[0]), (hz[2:] - bins) / (hz[1] - hz[0]))
        equal = np.clip(np.minimum(up, down), 0, None)
        hints = [(equal, "the bands are equally wide in Hz, not in mel")]
        case = f"{n_mels} bands up to {rate / 2:g} Hz, n_fft = {n_fft}: mel_filters(...)"
        answer = attempt(n_mels, n_fft, rate, low_hz)
        found = as_array(answer, wanted.shape, case, of=np.ndarray)
        unit_area = np.allclose(found.sum(1), 1, atol=0.01)
        require(not unit_area, f"{case}: each triangle sums to 1; here its height is 1")
        compare(found, wanted, case, near=2e-3, hints=hints)
    return "narrow bands below, wide ones above: equal steps for an ear, and few numbers"


def exercise_01_9(attempt: Attempt) -> str:
    """`griffin_lim(magnitude, phase, rounds, to_sound, to_cells)`: sound that fits a magnitude."""
    audio = _noise(1000)
    magnitude = np.abs(_to_cells(audio, _HANN, 32))
    phase = 2 * np.pi * generator(1, "exercises of 01").random(magnitude.shape)

    def to_sound(cells: np.ndarray) -> np.ndarray:
        return _to_sound(np.asarray(cells, complex), _HANN, 32, 1000)

    def to_cells(sound: np.ndarray) -> np.ndarray:
        return _to_cells(sound, _HANN, 32)

    after = [to_sound(magnitude * np.exp(1j * phase))]  # the sound after 0, 1, 2 ... rounds
    for _ in range(6):
        after.append(to_sound(magnitude * np.exp(1j * np.angle(to_cells(after[-1])))))
    for rounds in (0, 1, 5):
        hints = [
            (after[rounds + 1], "that is one round too many"),
            (after[rounds - 1], "that is one round too few"),
            (after[0], "nothing has changed: put the wanted magnitude back in each round"),
        ]
        case = f"{rounds} rounds: griffin_lim(...)"
        answer = attempt(magnitude, phase, rounds, to_sound, to_cells)
        answer = as_array(answer, audio.shape, case, of=np.ndarray)
        compare(answer, after[rounds], case, near=1e-6, hints=hints)
    return "keep the phases that a real sound has, put back the magnitudes that you want, again"
