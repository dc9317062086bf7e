"""The decoder's cache measured: what it saves for each kind of attention, and how it fares beside a known library."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec

import torch
from torch import Tensor

from labkit.learn.attention import Kind, Positions
from labkit.learn.transformer import Decoder
from labkit.measure.score import Row
from labkit.signal.optional import need
from labkit.signal.seeds import torch_generator
from labkit.systems.pedal_order.config import Config
from labkit.systems.pedal_order.tokens import END, PAD, START
from labkit.systems.twins import wall_seconds

LENGTHS = (16, 64, 128, 256)
_CONFIG = replace(Config(), decoder_layers=2)
# Rotary positions change the size of the latent cache alone.
KINDS: tuple[tuple[Kind, Positions], ...] = (
    ("multi_head", "learned"),
    ("grouped_query", "learned"),
    ("multi_query", "learned"),
    ("latent", "learned"),
    ("latent", "rotary"),
)
# What two seconds of sound give the shipped decoder to attend to: 44 moments and three special vectors.
SOURCE_POSITIONS = 47
LAST_TOKENS = 16


def evaluate(*, lengths: Sequence[int] = LENGTHS, seed: int = 1) -> list[Row]:
    """Time for each token with and without a cache, and the cache's size, as `labkit evaluate decoding` writes them.

    The decoder has the shipped one's sizes and random weights; one sentence is written at a time, greedily, on one
    thread. The rows of `transformers` are there where that library is installed.

    Args:
        lengths: tokens of a sentence.
        seed: of weights and memory.

    Returns:
        The rows.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one token is too little work to share
    try:
        return [*speed_rows(lengths, seed), *kind_rows(max(lengths), seed)]
    finally:
        torch.set_num_threads(threads)


def decoder(
    longest: int, seed: int, *, kind: Kind = "multi_head", positions: Positions = "learned"
) -> Decoder:
    """A decoder of the shipped one's width, of two layers, that reads `longest` tokens, with random weights."""
    config = _CONFIG
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Decoder(
            config.tokens.n_tokens,
            config.width,
            config.n_heads,
            config.decoder_layers,
            max_length=longest,
            kind=kind,
            positions=positions,
        )
    return made.eval()


def memory(seed: int) -> Tensor:
    """Something to attend to, (1, s, width)."""
    return torch.randn(
        1, SOURCE_POSITIONS, _CONFIG.width, generator=torch_generator(seed, "memory")
    )


@torch.inference_mode()
def write_cached(model: Decoder, source: Tensor, n: int) -> Tensor:
    """Write `n` tokens (1, n) after a start token, always the most probable, each step reading one token."""
    token, cache, written = torch.tensor([[START]]), model.start(source), []
    for _ in range(n):
        logits, cache = model.step(token, cache)
        token = logits[:, -1:].argmax(-1)
        written.append(token)
    return torch.cat(written, dim=1)


@torch.inference_mode()
def write_uncached(model: Decoder, source: Tensor, n: int) -> Tensor:
    """The same, each step reading the whole sentence again."""
    words = torch.tensor([[START]])
    for _ in range(n):
        words = torch.cat([words, model(words, source)[:, -1:].argmax(-1)], dim=1)
    return words[:, 1:]


def library_writer(longest: int, seed: int) -> Callable[[Tensor, int], Tensor]:
    """BART of the same sizes, written to by the cached `generate` of `transformers`.

    Args:
        longest: tokens that it must be able to write.
        seed: of its weights.

    Returns:
        A function (memory (1, s, width), n) -> tokens (1, n).

    Raises:
        ModuleNotFoundError: if `transformers` is not installed.
    """
    library, ours = need("transformers"), _CONFIG
    config = library.BartConfig(
        vocab_size=ours.tokens.n_tokens,
        d_model=ours.width,
        encoder_layers=1,
        decoder_layers=ours.decoder_layers,
        encoder_attention_heads=ours.n_heads,
        decoder_attention_heads=ours.n_heads,
        encoder_ffn_dim=4 * ours.width,
        decoder_ffn_dim=4 * ours.width,
        max_position_embeddings=longest + 1,
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
        decoder_start_token_id=START,
        forced_eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = library.BartForConditionalGeneration(config).eval()
    model.generation_config.eos_token_id = None  # it writes to the length asked for, as ours does
    output = need("transformers.modeling_outputs").BaseModelOutput

    def write(source: Tensor, n: int) -> Tensor:
        heard = output(last_hidden_state=source)
        return model.generate(
            encoder_outputs=heard, max_new_tokens=n, num_beams=1, do_sample=False
        )[:, 1:]

    return write


def speed_rows(lengths: Sequence[int], seed: int) -> list[Row]:
    """Milliseconds for each token of sentences of several lengths, and what the cache gains, there and at the end."""
    model, source, rows = decoder(max(lengths), seed), memory(seed), []
    theirs = library_writer(max(lengths), seed) if find_spec("transformers") is not None else None
    for n in lengths:
        cached, uncached = (
            _ms(lambda f=f, n=n: f(model, source, n), n) for f in (write_cached, write_uncached)
        )
        last = [_ms(run, LAST_TOKENS) for run in last_token_runs(model, source, n)]
        found = [
            ("time per token", "ms", cached),
            ("time per token: without a cache", "ms", uncached),
            ("speed over no cache", "x", uncached / cached),
            ("speed over no cache, last token", "x", last[1] / last[0]),
        ]
        if theirs is not None:
            library = _ms(lambda n=n: theirs(source, n), n)
            found += [("time per token: transformers (BART)", "ms", library)]
            found += [("speed over transformers (BART)", "x", library / cached)]
        rows += [
            _row(f"write {n} tokens, 1 thread", "with a cache", *figure, n, seed)
            for figure in found
        ]
    return rows


def last_token_runs(
    model: Decoder, source: Tensor, n: int
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Reading token `n` of a sentence `LAST_TOKENS` times, with the cache of those before, and without."""
    words = write_cached(model, source, n)

    @torch.inference_mode()
    def step() -> None:
        for _ in range(LAST_TOKENS):
            model.step(words[:, -1:], cache)

    @torch.inference_mode()
    def whole() -> None:
        for _ in range(LAST_TOKENS):
            model(words, source)

    with torch.inference_mode():
        _, cache = model.step(words[:, :-1], model.start(source))
    return step, whole


def kind_rows(n: int, seed: int) -> list[Row]:
    """Each kind of attention: milliseconds, and bytes of the cache, for each of `n` tokens."""
    task, source, rows = f"write {n} tokens, 1 thread", memory(seed), []
    for kind, positions in KINDS:
        model = decoder(n, seed, kind=kind, positions=positions)
        ms = _ms(lambda model=model: write_cached(model, source, n), n)
        size = cache_bytes(model, source, n) / n
        name = f"{kind.replace('_', '-')} attention, {positions} positions"
        rows.append(_row(task, name, "time per token", "ms", ms, n, seed))
        rows.append(_row(task, name, "cache per token", "bytes", size, n, seed))
    return rows


@torch.inference_mode()
def cache_bytes(model: Decoder, source: Tensor, n: int) -> int:
    """Bytes of the tensors that hold `n` tokens."""
    _, cache = model.step(torch.full((len(source), n), START), model.start(source))
    return sum(tensor.untyped_storage().nbytes() for tensor in cache.own)


def _ms(run: Callable[[], object], n: int) -> float:
    return 1000 * wall_seconds(run) / n


def _row(task: str, name: str, metric: str, unit: str, ours: float, n: int, seed: int) -> Row:
    return Row(task, name, "generated", metric, unit, ours, None, None, n, seed)
