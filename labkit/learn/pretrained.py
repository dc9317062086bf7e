"""Encoders that others trained, by `transformers`: MPNet for sentences, CLAP for sounds and sentences in one space.

Neither is in the lock, and neither's weights ship: `pip install -e '.[encoders]'`, then `hf download` with the name.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import resample

from labkit.learn.checkpoints import CheckpointError
from labkit.learn.text import MAX_TOKENS, Encoded
from labkit.signal.optional import need

MPNET, CLAP = "sentence-transformers/all-mpnet-base-v2", "laion/clap-htsat-unfused"
_FLOOR = 1e-10  # of a mel band's power, the feature extractor's own


class Mpnet(nn.Module):
    """A sentence encoder of the hub with the face of `labkit.learn.text.SentenceEncoder`, frozen.

    Args:
        source: a name on the hub, or a folder with model and tokenizer.
        download: fetch what is missing (about 440 MB); otherwise only what lies in the hub's cache is read.

    Raises:
        CheckpointError: if the weights are not to be had, with the command that fetches them.
        ModuleNotFoundError: without `transformers`.

    Source: Song et al. 2020 (MPNet); Reimers and Gurevych 2019 (mean pooling).
    """

    def __init__(self, source: str | Path = MPNET, *, download: bool = False) -> None:
        super().__init__()
        self.model, self.tokenizer = _parts(
            ("AutoModel", "AutoTokenizer"), source, download=download
        )
        self.model.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Encoded:
        """Sentences -> vectors, of at most 128 pieces."""
        if not texts:
            raise ValueError("texts must hold at least one sentence, got none")
        given = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        mask = given["attention_mask"].bool()
        tokens = self.model(**given).last_hidden_state.masked_fill(~mask[..., None], 0.0)
        return Encoded(
            tokens, mask, functional.normalize(tokens.sum(1) / mask.sum(1, keepdim=True), dim=-1)
        )


@cache
def mpnet() -> Mpnet:
    """all-mpnet-base-v2 from the hub's cache, read once; raises as `Mpnet`."""
    return Mpnet()


class Clap(nn.Module):
    """CLAP as an ear for searches (`text_to_effects.search`): it hears the wet sound alone. Frozen, differentiable.

    The package's feature extractor works in NumPy, through which no gradient comes; the same picture is made here in
    torch, of clips up to its ten seconds.

    Args:
        source: a name on the hub, or a folder with model, tokenizer and feature extractor.
        sample_rate: Hz of what it is given, resampled to its own.
        download: fetch what is missing (about 620 MB); otherwise only what lies in the hub's cache is read.

    Raises:
        CheckpointError: if the weights are not to be had, with the command that fetches them.
        ModuleNotFoundError: without `transformers`.
        ValueError: for a model that fuses several views of long clips, which this one does not make.

    Source: Wu et al. 2023 (CLAP with HTSAT).
    """

    def __init__(
        self, source: str | Path = CLAP, *, sample_rate: int = 44100, download: bool = False
    ) -> None:
        super().__init__()
        kinds = ("ClapModel", "AutoTokenizer", "ClapFeatureExtractor")
        self.model, self.tokenizer, self.extractor = _parts(kinds, source, download=download)
        if self.model.config.audio_config.enable_fusion:
            raise ValueError(
                f"{source} fuses views of long clips; take one that does not, as {CLAP}"
            )
        self.model.requires_grad_(False).eval()
        self.sample_rate = sample_rate
        filters = torch.as_tensor(self.extractor.mel_filters_slaney, dtype=torch.float32)
        self.register_buffer("filters", filters, persistent=False)

    def moments(self, audio: Tensor) -> Tensor:
        """(b, samples) -> (b, 1, frames, bands) dB: repeated up to ten seconds, as the feature extractor does it."""
        facts = self.extractor
        mono = resample(audio, self.sample_rate, facts.sampling_rate)
        longest = facts.nb_max_samples
        if mono.shape[-1] > longest:
            raise ValueError(f"audio must not be longer than {longest / facts.sampling_rate:g} s")
        mono = mono.repeat(1, longest // mono.shape[-1])
        mono = functional.pad(mono, (0, longest - mono.shape[-1]))
        size, hop = facts.fft_window_size, facts.hop_length
        window = torch.hann_window(size, dtype=mono.dtype, device=mono.device)
        spectrum = torch.stft(
            mono, size, hop, window=window, pad_mode="reflect", return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return (
            10
            * torch.log10((power.transpose(-1, -2) @ self.filters.to(power)).clamp(min=_FLOOR))[
                :, None
            ]
        )

    def hear_powers(self, before: Tensor, after: Tensor) -> Tensor:  # noqa: ARG002 - other ears hear the dry sound too
        """What `moments` gives -> (b, embedding) of length 1; `before` is not heard."""
        return self.model.get_audio_features(after, is_longer=None).pooler_output

    @torch.no_grad()
    def read(self, prompts: Sequence[str]) -> Tensor:
        """Sentences -> (n, embedding) of length 1."""
        given = self.tokenizer(
            [f"this sound is {prompt}" for prompt in prompts], padding=True, return_tensors="pt"
        )
        return self.model.get_text_features(**given).pooler_output

    def nothing(self) -> Tensor:
        """(1, embedding): a sentence that asks for nothing, for losses that need a direction."""
        return self.read(["a sound"])


def at_hand() -> dict[str, Any]:
    """The loaders whose weights lie in the hub's cache: `MPNet`, `CLAP` or none; nothing is downloaded."""
    found: dict[str, Any] = {}
    if find_spec("transformers") is None:
        return found
    for name, load in (("MPNet", mpnet), ("CLAP", Clap)):
        try:
            found[name] = load()
        except CheckpointError:
            continue
    return found


def _parts(kinds: Sequence[str], source: str | Path, *, download: bool) -> list[Any]:
    library = need("transformers")
    local = {"local_files_only": not download and not Path(source).is_dir()}
    try:
        return [getattr(library, kind).from_pretrained(str(source), **local) for kind in kinds]
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        advice = f"where there is a connection: hf download {source}"
        raise CheckpointError(
            f"the weights of {source} could not be had ({first:.200}); {advice}"
        ) from error
