"""The decoder's cache measured: what it saves for each kind of attention, and how it fares beside a known library."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from labkit.learn.attention import Kind, Positions
from labkit.learn.transformer import Decoder
from labkit.measure.results import Row
from labkit.signal.optional import need
from labkit.signal.seeds import torch_generator
from labkit.systems.pedal_order.config import Config
from labkit.systems.pedal_order.tokens import END, PAD, START
from labkit.systems.twins import wall_seconds

LENGTHS = (16, 64, 128, 256)
KINDS: tuple[Kind, ...] = ("multi_head", "grouped_query", "multi_query", "latent")
# What two seconds of sound give the shipped decoder to attend to: 44 moments and three special vectors.
SOURCE_POSITIONS = 47


def evaluate(*, lengths: Sequence[int] = LENGTHS, seed: int = 1) -> list[Row]:
    """Time for each token with and without a cache, and the cache's size, as `labkit evaluate decoding` writes them.

    The decoder has the shipped one's sizes and random weights; one sentence is written at a time, greedily. The rows
    of `transformers` are there where that library is installed.

    Args:
        lengths: tokens of a sentence.
        seed: of weights and memory.

    Returns:
        The rows.

    Notebook: 04.
    """
    return [*speed_rows(lengths, seed), *kind_rows(max(lengths), seed)]


def decoder(longest: int, seed: int, *, kind: Kind = "multi_head", positions: Positions = "learned") -> Decoder:
    """A decoder of the shipped one's sizes that reads `longest` tokens, with random weights."""
    config = Config()
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
    return torch.randn(1, SOURCE_POSITIONS, Config().width, generator=torch_generator(seed, "memory"))


@torch.no_grad()
def write_cached(model: Decoder, source: Tensor, n: int) -> Tensor:
    """Write `n` tokens (1, n) after a start token, always the most probable, each step reading one token."""
    token, cache, written = torch.tensor([[START]]), model.start(source), []
    for _ in range(n):
        logits, cache = model.step(token, cache)
        token = logits[:, -1:].argmax(-1)
        written.append(token)
    return torch.cat(written, dim=1)


@torch.no_grad()
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
    library, ours = need("transformers"), Config()
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
        return model.generate(encoder_outputs=heard, max_new_tokens=n, num_beams=1, do_sample=False)[:, 1:]

    return write


def speed_rows(lengths: Sequence[int], seed: int) -> list[Row]:
    """Milliseconds for each token of sentences of several lengths, and what the cache gains."""
    model, source, rows = decoder(max(lengths), seed), memory(seed), []
    writers = {"ours, without a cache": write_uncached, "ours, with a cache": write_cached}
    runs = {name: lambda n, write=write: write(model, source, n) for name, write in writers.items()}
    if find_spec("transformers") is not None:
        theirs = library_writer(max(lengths), seed)
        runs["transformers (BART), with a cache"] = lambda n: theirs(source, n)
    for n in lengths:
        task = f"write {n} tokens, {torch.get_num_threads()} threads"
        ms = {name: 1000 * wall_seconds(lambda run=run, n=n: run(n)) / n for name, run in runs.items()}
        rows += [_row(task, name, "time per token", "ms", value, n, seed) for name, value in ms.items()]
        for name, value in ms.items():
            if name != "ours, with a cache":
                rows.append(
                    _row(task, f"cache over: {name}", "speed-up", "x", value / ms["ours, with a cache"], n, seed)
                )
    return rows


def kind_rows(n: int, seed: int) -> list[Row]:
    """Each kind of attention with rotary positions: milliseconds, and bytes of the cache, for each of `n` tokens."""
    source, rows = memory(seed), []
    for kind in KINDS:
        model = decoder(n, seed, kind=kind, positions="rotary")
        name = f"{kind.replace('_', ' ')}, rotary"
        ms = 1000 * wall_seconds(lambda model=model: write_cached(model, source, n)) / n
        size = cache_bytes(model, source, n) / n
        rows.append(_row(f"kinds of attention, {n} tokens", name, "time per token", "ms", ms, n, seed))
        rows.append(_row(f"kinds of attention, {n} tokens", name, "cache per token", "bytes", size, n, seed))
    return rows


@torch.no_grad()
def cache_bytes(model: Decoder, source: Tensor, n: int) -> int:
    """Bytes of the tensors that hold `n` tokens."""
    _, cache = model.step(torch.full((len(source), n), START), model.start(source))
    return sum(tensor.untyped_storage().nbytes() for tensor in cache.own)


def _row(task: str, name: str, metric: str, unit: str, ours: float, n: int, seed: int) -> Row:
    return Row(task, name, "generated", metric, unit, ours, None, None, n, seed)
