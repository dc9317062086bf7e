"""The controller: hears a recording as a log-mel picture, and sets every knob of its task's chain."""

import torch
from torch import Tensor, nn

from labkit.learn.mobilenet import MobileNetV2
from labkit.signal.seeds import torch_generator
from labkit.signal.spectra import log_mel
from labkit.systems.blackbox.config import Config

_FLOOR_DB, _HIGHEST_HZ = -90.0, 16_000.0
# Of each band over time: the quiet moments, the usual ones, the loud ones.
_QUANTILES = (0.1, 0.5, 0.9)


class Controller(nn.Module):
    """A picture becomes knobs.

    Beside the encoder's vector the last layers get three figures of every band, how loud it is in quiet, usual and
    loud moments: averages of a normalised network lose levels, and thresholds are levels.

    Args:
        config: sizes and task.

    Source: Ramírez et al., ICASSP 2021, section 3.1 (log-mel, MobileNetV2, sigmoid). Theirs is taught the
        plug-ins' defaults in a training of its own; ours stands there from the beginning, by its last bias.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = MobileNetV2(config.embedding, width=config.width)
        n_heard = config.embedding + len(_QUANTILES) * config.n_mels
        self.head = nn.Sequential(
            nn.Linear(n_heard, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, len(config.chain.knobs)),
        )
        start = torch.tensor([knob.start for knob in config.chain.knobs])
        self.register_buffer(
            "rails", torch.stack([torch.zeros_like(start), torch.ones_like(start)])
        )
        nn.init.zeros_(self.head[-1].weight)
        with torch.no_grad():
            self.head[-1].bias.copy_(torch.logit(start))

    def hear(self, audio: Tensor) -> Tensor:
        """(b, channels, samples) at the config's rate -> (b, n_mels, frames) around 0; channels are averaged."""
        c = self.config
        sizes = {
            "n_fft": c.n_fft,
            "hop_length": c.hop_length,
            "n_mels": c.n_mels,
            "floor_db": _FLOOR_DB,
        }
        return (
            log_mel(
                audio.mean(1), c.sample_rate, high_hz=min(_HIGHEST_HZ, c.sample_rate / 2), **sizes
            )
            / 30
            + 1.5
        )

    def forward(self, audio: Tensor) -> Tensor:
        """(b, channels, samples) at the config's rate -> (b, knobs) in 0..1; in evaluation mode, between the rails."""
        with torch.no_grad():
            picture = self.hear(audio)
            levels = torch.quantile(picture, torch.tensor(_QUANTILES, dtype=picture.dtype), dim=2)
        heard = [self.encoder(picture[:, None]), levels.permute(1, 0, 2).flatten(1)]
        knobs = torch.sigmoid(self.head(torch.cat(heard, dim=1)))
        return knobs if self.training else knobs.clamp(*self.rails)

    @torch.no_grad()
    def set_rails(self, audio: Tensor, *, share: float = 0.02) -> None:
        """Keep the knobs of sounds unlike any that was trained on to where they stood for those that were.

        Args:
            audio: (n, channels, samples), from the training.
            share: of them that may lie beyond either rail.
        """
        self.eval()
        self.rails.copy_(torch.tensor([[0.0], [1.0]]))
        knobs = torch.cat([self(part) for part in audio.split(16)])
        self.rails.copy_(torch.quantile(knobs, torch.tensor([share, 1 - share]), dim=0))


def build(config: Config) -> Controller:
    """An untrained controller; its weights are drawn from the config's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(config.seed, "blackbox controller").initial_seed())
        return Controller(config)
