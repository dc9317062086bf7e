"""Residual vector quantisation; codebooks are running means of their frames."""

import torch
from torch import Tensor, nn

_FORGET = 0.01  # of the running counts and sums, per batch
_EXPIRE_BELOW = 0.05  # frames per batch; a codeword that is chosen less often is moved


class ResidualQuantizer(nn.Module):
    """Each codebook codes what the ones before it left over. No gradient trains codewords.

    In training, codewords are running means of the frames that chose them, and those that hardly
    any frame chooses are placed on frames of the batch. Torch's own generator draws: its state is
    part of a training's checkpoint.

    Source: Zeghidour et al. 2021 (SoundStream), sections 3.3 and 3.4.
    """

    def __init__(self, n_codebooks: int, size: int, dim: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        # No gradient moves them, but they are weights: a checkpoint holds them in half precision.
        self.words = nn.Parameter(torch.zeros(n_codebooks, size, dim), requires_grad=False)
        self.register_buffer("counts", torch.ones(n_codebooks, size))

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of codewords, the codes, and the mean squared distance to the sums (a scalar).

        The sums (b, dim, frames) have the gradient of `latents` (straight through). In training
        the share `dropout` of the batch is the sum of a random number of the first codebooks.
        """
        codes = self.codes(latents.detach(), learn=self.training)
        n, batch = len(self.words), len(latents)
        kept = torch.full((batch,), n)
        if self.training:
            fewer = torch.randint(1, n + 1, (batch,))
            kept = torch.where(torch.rand(batch) < self.dropout, fewer, kept)
        heard = (torch.arange(n)[None] < kept[:, None]).to(latents)
        picked = torch.stack([self.words[k][codes[:, k]] for k in range(n)], 1)
        sums = torch.einsum("bk,bkfd->bdf", heard, picked)
        return latents + (sums - latents).detach(), codes, (latents - sums).square().mean()

    @torch.no_grad()
    def codes(self, latents: Tensor, *, learn: bool = False) -> Tensor:
        """The nearest codewords: (b, n_codebooks, frames) int64 of (b, dim, frames)."""
        left = latents.transpose(1, 2).flatten(0, 1).float()
        codes = []
        for k, words in enumerate(self.words):
            # |a - b|^2 without |a|^2, which is the same for all codewords of a row.
            code = (words.square().sum(1) - 2 * left @ words.T).argmin(1)
            residual = left - words[code]
            if learn:
                self._follow(k, code, left)
            left, codes = residual, [*codes, code]
        return torch.stack([code.view(len(latents), -1) for code in codes], 1)

    def sums(self, codes: Tensor) -> Tensor:
        """Sums of codewords (b, dim, frames) of codes (b, n, frames) of the first n codebooks."""
        return sum(self.words[k][codes[:, k]] for k in range(codes.shape[1])).transpose(1, 2)

    def _follow(self, k: int, code: Tensor, frames: Tensor) -> None:
        """Move the codewords of one codebook towards the frames (n, dim) that chose them."""
        words, counts = self.words[k], self.counts[k]
        chosen = torch.zeros_like(counts).index_add_(0, code, torch.ones_like(frames[:, 0]))
        total = torch.zeros_like(words).index_add_(0, code, frames)
        before = counts * (1 - _FORGET)
        counts.copy_(before + _FORGET * chosen)
        moved = words * before[:, None] + _FORGET * total
        words.copy_(moved / counts.clamp(min=1e-6)[:, None])
        idle = counts < _EXPIRE_BELOW
        picked = torch.randint(len(frames), (len(words),)).to(code)
        words.copy_(torch.where(idle[:, None], frames[picked], words))
        counts.masked_fill_(idle, 2 * _EXPIRE_BELOW)

    @torch.no_grad()
    def begin(self, frames: Tensor, *, rounds: int = 6) -> None:
        """Codebooks (n, dim) by k-means of frames, each on what the ones before it left over."""
        left = frames
        for k, words in enumerate(self.words):
            words.copy_(left[torch.randint(len(left), (len(words),))])
            for _ in range(rounds):
                code = (words.square().sum(1) - 2 * left @ words.T).argmin(1)
                chosen = torch.bincount(code, minlength=len(words)).to(left)
                total = torch.zeros_like(words).index_add_(0, code, left)
                used = chosen[:, None] > 0
                other = left[torch.randint(len(left), (len(words),))]
                words.copy_(torch.where(used, total / chosen.clamp(min=1)[:, None], other))
            code = (words.square().sum(1) - 2 * left @ words.T).argmin(1)
            self.counts[k] = 1.0
            left = left - words[code]
