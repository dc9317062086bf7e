"""What the exercises of notebook 03 ask for: each compares an attempt with a reference or a law."""

import numpy as np
import torch

from labkit.lab.exercises import Attempt, as_array, compare, require
from labkit.measure.losses import mel_distance_db
from labkit.signal.seeds import generator
from labkit.signal.spectra import log_mel


def exercise_03_1(attempt: Attempt) -> str:
    """`bits_per_second(sample_rate, hop_length, n_codebooks, codebook_size)` of plain codes."""
    for sample_rate, hop_length, n_codebooks, codebook_size in (
        (44_100, 512, 9, 1024),
        (44_100, 512, 1, 1024),
        (16_000, 320, 4, 2),
    ):
        bits = codebook_size.bit_length() - 1  # counted, not taken from a logarithm
        expected = sample_rate * n_codebooks * bits / hop_length
        case = f"{sample_rate} Hz, hop {hop_length}, {n_codebooks} codebooks of {codebook_size}"
        answer = attempt(sample_rate, hop_length, n_codebooks, codebook_size)
        compare(answer, expected, f"{case}, where a codeword needs {bits} bits")
    return "frames a second, times codebooks, times the logarithm of the number of codewords"


def exercise_03_2(attempt: Attempt) -> str:
    """`update(book, vectors, codes, rate)`: codewords go towards the mean of their vectors."""
    book, vectors = _normal("03.2", (4, 3), (60, 3))
    codes = torch.arange(60) % 3  # nobody chooses codeword 3
    means = torch.stack([vectors[codes == word].mean(0) for word in range(3)])
    for rate in (1.0, 0.1):
        found = attempt(book, vectors, codes, rate)
        found = as_array(found, (4, 3), "the new book", of=torch.Tensor)
        idle = float(np.abs(found[3] - book[3].numpy()).max())
        require(idle == 0, f"codeword 3, chosen 0 times, moved by {idle:.3g}: it must stay")
        sums = book[:3] + rate * (torch.stack([vectors[codes == k].sum(0) for k in range(3)]))
        whole = (means.numpy(), "that is the mean itself: go only the share `rate` of the way")
        hints = [(sums.numpy(), "divide the sum by how many chose the codeword"), whole]
        expected = (book[:3] + rate * (means - book[:3])).numpy()
        case = f"codewords in use, rate {rate:g}"
        compare(found[:3], expected, case, near=1e-5, hints=hints)
    return "with rate 1 this is a step of k-means; with less, old batches are forgotten slowly"


def exercise_03_3(attempt: Attempt) -> str:
    """`rvq_encode(vectors, books)`: codes (n_books, n), the nearest codewords to what is left."""
    vectors, *books = _normal("03.3", (50, 3), (8, 3), (8, 3), (8, 3))
    expected, alone, left = [], [], vectors.numpy()
    for book in (book.numpy() for book in books):
        distance = ((left[:, None] - book) ** 2).sum(-1)
        expected.append(distance.argmin(1))
        alone.append(((vectors.numpy()[:, None] - book) ** 2).sum(-1).argmin(1))
        left = left - book[expected[-1]]
    hints = [(np.array(alone), "subtract the chosen codeword before you ask the next book")]
    for k in (1, 3):
        found = attempt(vectors, torch.stack(books[:k]))
        found = as_array(found, (k, 50), "the codes", of=torch.Tensor)
        compare(found, np.array(expected[:k]), f"{k} books, code at (book, vector)", hints=hints)
    error = [float(np.square(rest).sum(1).mean()) for rest in (vectors.numpy(), left)]
    return f"three books of 8 took the squared error from {error[0]:.2f} to {error[1]:.2f}"


def exercise_03_4(attempt: Attempt) -> str:
    """`perplexity(codes, size)`: 2 to the power of the entropy in bits."""
    for name, codes, expected in (
        ("all 8 codewords equally often", [0, 1, 2, 3, 4, 5, 6, 7] * 5, 8.0),
        ("one codeword of 8 only", [3] * 20, 1.0),
        ("4 of 8, equally often", [0, 2, 4, 6] * 3, 4.0),
        ("shares 1/2, 1/4, 1/4", [0, 0, 1, 2], 2**1.5),
    ):
        log = np.log2(expected)
        used = (float(len(set(codes))), "you count codewords, whether said often or once")
        hints = [(log, "that is the entropy: take 2 to its power"), used]
        compare(attempt(torch.tensor(codes), 8), expected, name, near=1e-5, hints=hints)
    return "as many codewords, said equally often, would carry the same information"


def exercise_03_5(attempt: Attempt) -> str:
    """Give idle codewords work: `expire(book, codes, vectors, seed)` -> a new book (size, d)."""
    vectors, near, far = _normal("03.5", (200, 3), (5, 3), (11, 3))
    book = torch.cat([near, 50 + far])
    codes = torch.cdist(vectors, book).argmin(1)
    used = np.isin(np.arange(len(book)), codes)

    def expired(seed: int) -> np.ndarray:
        new = attempt(book, codes, vectors, seed)
        return as_array(new, (16, 3), "the new book", of=torch.Tensor)

    new = expired(0)
    moved = int((new[used] != book.numpy()[used]).any(1).sum())
    require(not moved, f"{moved} codewords that are in use have moved: only idle ones may")
    on_vectors = (new[~used][:, None] == vectors.numpy()).all(-1)  # (idle, vectors)
    lost = int((~on_vectors.any(1)).sum())
    require(not lost, f"{lost} idle codewords do not lie on one of the vectors")
    n_places = len(set(on_vectors.argmax(1)))
    require(n_places >= 3, f"idle codewords were put on {n_places} vector: draw one for each")
    same = np.array_equal(expired(0), new)
    words = "seeds 0, 0 and 1 must give one book twice and another once: draw with the seed"
    require(same and not np.array_equal(expired(1), new), words)
    nearest = [torch.cdist(vectors, torch.as_tensor(b).float()).amin(1) for b in (book, new)]
    before, after = (float(distance.square().mean()) for distance in nearest)
    return f"the mean squared error of these vectors fell from {before:.2f} to {after:.2f}"


def exercise_03_6(attempt: Attempt) -> str:
    """`straight_through(frames, quantised)`: the value of one, the gradient of the other."""
    frames, quantised = _normal("03.6", (5, 3), (5, 3))
    weights = torch.arange(15.0).reshape(5, 3) - 7
    frames.requires_grad_()
    quantised.requires_grad_()
    out = attempt(frames, quantised)
    hints = [(frames.detach().numpy(), "these are the frames: nothing was quantised")]
    value = as_array(out, (5, 3), "the answer", of=torch.Tensor)
    wanted = quantised.detach().numpy()
    compare(value, wanted, "the value is quantised", near=1e-6, hints=hints)
    require(out.requires_grad, "the answer has 0 gradient: detach the difference, not all of it")
    slopes = torch.autograd.grad((out * weights).sum(), (frames, quantised), allow_unused=True)
    slopes = [torch.zeros(5, 3) if slope is None else slope for slope in slopes]
    hints = [(np.zeros((5, 3)), "no gradient reaches the encoder, so it would never learn")]
    compare(slopes[0], weights.numpy(), "gradient for the frames: as through a wire", hints=hints)
    leak = float(slopes[1].abs().max())
    require(leak == 0, f"a gradient of {leak:.3g} reaches the codewords: detach the difference")
    return "forwards the value is the codeword's; backwards the quantiser is a wire"


def exercise_03_7(attempt: Attempt) -> str:
    """`spectral_loss(estimate, target, spectrograms)`: mean |difference| over several of them."""
    estimate, target = (0.1 * audio for audio in _normal("03.7", (2, 1, 8192), (2, 1, 8192)))
    target[..., 4000:] *= 0.01
    estimate.requires_grad_()
    spectrograms = [_mel(n_fft, n_mels) for n_fft, n_mels in _SCALES]
    parts = [(mel(estimate) - mel(target)).detach() for mel in spectrograms]
    each = [float(part.abs().mean()) for part in parts]
    expected = np.mean(each)
    loss = attempt(estimate, target, spectrograms)
    hints = [
        (sum(each), "that is the sum: take the mean over the spectrograms"),
        (float(np.mean([part.square().mean() for part in parts])), "squares: take |difference|"),
        (float(np.mean([part.mean() for part in parts])), "differences cancel: take |difference|"),
        (each[0], "that is the first spectrogram alone"),
    ]
    case = "two clips, four frame lengths, in dB"
    compare(loss, expected, case, near=1e-3, hints=hints)
    traced = getattr(loss, "requires_grad", False)
    require(traced, "the loss has 0 gradient: stay in torch, without .item() or float()")
    fewer = attempt(estimate, target, spectrograms[:3])
    compare(fewer, np.mean(each[:3]), "two clips, three frame lengths, in dB", near=1e-3)
    compare(attempt(target, target, spectrograms), 0.0, "a sound against itself")
    ours = float(mel_distance_db(estimate.detach(), target, 44_100).mean())
    return f"{expected:.2f} dB, as `mel_distance_db` of labkit says: {ours:.2f} dB"


def exercise_03_8(attempt: Attempt) -> str:
    """`residual_block(x, alphas, convolutions)`: x + conv(snake(conv(snake(x))))."""
    x, first, second = _normal("03.8", (2, 6, 20), (6, 6, 3), (6, 6, 1))
    alphas = [torch.linspace(0.5, 3, 6)[:, None], torch.full((6, 1), 2.0)]

    def wide(y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv1d(y, first, padding=2, dilation=2)

    def narrow(y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv1d(y, second)

    def block(x: torch.Tensor, last: Attempt) -> object:
        return attempt(x, alphas, [wide, last])

    nothing = as_array(block(x, torch.zeros_like), x.shape, "the block", of=torch.Tensor)
    hints = [(np.zeros(x.shape), "add the input to what the layers make of it")]
    compare(nothing, x.numpy(), "last convolution all zero: the block is a wire", hints=hints)

    def built(wave: Attempt, *, snakes: int = 2) -> np.ndarray:
        y = x
        for k, layer in enumerate((wide, narrow)):
            y = layer(y + wave(y, alphas[k])) if k < snakes else layer(y)
        return (x + y).numpy()

    def wave(y: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        return (1 - torch.cos(2 * a * y)) / (2 * a)  # sin^2 b = (1 - cos 2b) / 2

    right = built(wave)
    hints = [
        (built(wave, snakes=0), "no Snake at all"),
        (built(wave, snakes=1), "the second Snake is missing"),
        (built(lambda y, a: a * wave(y, a)), "the wave is not divided by alpha"),
        (built(lambda y, a: torch.sin(a * y) / a), "the sine is not squared"),
        (right - x.numpy(), "add the input to what the layers make of it"),
    ]
    compare(block(x, narrow), right, "6 channels", near=1e-4, hints=hints)
    trained = block(x.clone().requires_grad_(), narrow)
    require(trained.requires_grad, "the answer has 0 gradient: stay in torch, without .detach()")
    return "a block begins near a wire, and Snake lets it wave: x + sin^2(alpha x) / alpha"


def exercise_03_9(attempt: Attempt) -> str:
    """`embed(codes, tables)`: codes (n, frames), tables (n, size, width) -> (frames, width)."""
    rng = generator(0, "exercise 03.9")
    for n, size, width, frames in ((1, 4, 3, 5), (3, 8, 4, 6), (9, 16, 2, 1)):
        codes, tables = rng.integers(size, size=(n, frames)), rng.normal(size=(n, size, width))
        found = as_array(attempt(codes, tables), (frames, width), "the embedding")
        names = rng.permutation(size)
        renamed = np.empty_like(tables)
        renamed[:, names] = tables
        again = attempt(names[codes], renamed)
        compare(again, found, "codes and vectors renamed alike: it uses the names as numbers")
        vectors = np.array([[tables[k, code] for code in codes[k]] for k in range(n)])
        hints = [(vectors.mean(0), "a frame is the sum"), (tables[0][codes].sum(0), "all from one")]
        case = f"{n} codebooks, each codebook has a table of its own"
        compare(found, vectors.sum(0), case, hints=hints)
    return "a code is a name; a model can add, compare and scale only the vectors it looks up"


_SCALES = ((256, 16), (512, 32), (1024, 64), (2048, 96))  # n_fft, n_mels


def _mel(n_fft: int, n_mels: int) -> Attempt:
    """A function from audio to its log-mel spectrogram in dB."""
    return lambda x: log_mel(x, 44_100, n_fft=n_fft, hop_length=n_fft // 4, n_mels=n_mels)


def _normal(name: str, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    """Standard normal float32 tensors, the same for one exercise each time."""
    rng = generator(0, f"exercise {name}")
    return [torch.from_numpy(rng.normal(size=shape)).float() for shape in shapes]
