"""The controller: a recording's log-mel spectrogram becomes the plug-ins' parameters."""

import torch
from torch import Tensor, nn

from labkit.learn.encoders import MobileNetV2
from labkit.signal.seeds import seeded
from labkit.signal.spectra import log_mel
from labkit.systems.blackbox.config import Config

_FLOOR_DB, _HIGHEST_HZ = -90.0, 16_000.0
# Levels of each band over time: in quiet, usual and loud moments.
_QUANTILES = (0.1, 0.5, 0.9)


class Controller(nn.Module):
    """Audio -> parameters in 0..1.

    The last layers also get three quantiles of every band's level: normalised averages lose levels,
    and thresholds are levels. The last bias starts at the plug-ins' defaults.

    Source: Ramírez et al., ICASSP 2021, section 3.1 (log-mel, MobileNetV2, sigmoid).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        net, n_mels = config.net, config.sound.n_mels
        self.encoder = MobileNetV2(net.embedding, width=net.width)
        start = torch.from_numpy(config.task.start).float()
        self.head = nn.Sequential(
            nn.Linear(net.embedding + len(_QUANTILES) * n_mels, net.hidden),
            nn.GELU(),
            nn.Linear(net.hidden, net.hidden),
            nn.GELU(),
            nn.Linear(net.hidden, len(start)),
        )
        # Lowest and highest output in evaluation mode.
        ends = torch.stack([torch.zeros_like(start), torch.ones_like(start)])
        self.register_buffer("output_range", ends)
        nn.init.zeros_(self.head[-1].weight)
        with torch.no_grad():
            self.head[-1].bias.copy_(torch.logit(start))

    def features(self, audio: Tensor) -> Tensor:
        """(b, channels, samples) -> log-mel (b, n_mels, frames) around 0; channels are averaged."""
        sound = self.config.sound
        sizes = {key: getattr(sound, key) for key in ("n_fft", "hop_length", "n_mels")}
        high_hz = min(_HIGHEST_HZ, sound.sample_rate / 2)
        mono, rate = audio.mean(1), sound.sample_rate
        return log_mel(mono, rate, high_hz=high_hz, floor_db=_FLOOR_DB, **sizes) / 30 + 1.5

    def forward(self, audio: Tensor) -> Tensor:
        """(b, channels, samples) -> (b, knobs) in 0..1; in evaluation mode, in the output range."""
        with torch.no_grad():
            spectrogram = self.features(audio)
            quantiles = torch.tensor(_QUANTILES, dtype=spectrogram.dtype)
            levels = torch.quantile(spectrogram, quantiles, dim=2).permute(1, 0, 2).flatten(1)
        vector = self.encoder(spectrogram[:, None])
        knobs = torch.sigmoid(self.head(torch.cat([vector, levels], dim=1)))
        return knobs if self.training else knobs.clamp(*self.output_range)

    @torch.no_grad()
    def set_output_range(self, audio: Tensor) -> None:
        """Limit outputs for unfamiliar sounds to the range over these, (n, channels, samples).

        The range leaves out the lowest and the highest 2 %.
        """
        self.eval()
        self.output_range.copy_(torch.tensor([[0.0], [1.0]]))
        knobs = torch.cat([self(part) for part in audio.split(16)])
        self.output_range.copy_(torch.quantile(knobs, torch.tensor([0.02, 0.98]), dim=0))


def build(config: Config) -> Controller:
    """An untrained controller; its weights are drawn from the plan's seed."""
    return seeded(lambda: Controller(config), config.plan.seed, "blackbox controller")
