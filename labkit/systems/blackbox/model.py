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

    Beside the encoder's vector stand statistics: level, crest, and the mean power and three
    quantiles of every band. Normalised averages lose levels, and thresholds are levels. A linear
    map of the statistics is added to what the layers say: an equaliser's gains are nearly one. The
    last bias starts at the plug-ins' defaults.

    Source: Ramírez et al., ICASSP 2021, section 3.1 (log-mel, MobileNetV2, sigmoid).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        net, n_statistics = config.net, 2 + (1 + len(_QUANTILES)) * config.sound.n_mels
        self.encoder = MobileNetV2(net.embedding, width=net.width)
        start = torch.from_numpy(config.task.start).float()
        self.head = nn.Sequential(
            nn.Linear(net.embedding + n_statistics, net.hidden),
            nn.GELU(),
            nn.Linear(net.hidden, net.hidden),
            nn.GELU(),
            nn.Linear(net.hidden, len(start)),
        )
        self.linear = nn.Linear(n_statistics, len(start), bias=False)
        # Lowest and highest output in evaluation mode; the mean one, and how far answers leave it.
        ends = torch.stack([torch.zeros_like(start), torch.ones_like(start)])
        self.register_buffer("output_range", ends)
        self.register_buffer("mean_setting", start.clone())
        self.register_buffer("trust", torch.ones(()))
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.linear.weight)
        with torch.no_grad():
            self.head[-1].bias.copy_(torch.logit(start))

    def features(self, audio: Tensor) -> Tensor:
        """(b, channels, samples) -> log-mel (b, n_mels, frames) around 0; channels are averaged."""
        sound = self.config.sound
        sizes = {key: getattr(sound, key) for key in ("n_fft", "hop_length", "n_mels")}
        high_hz = min(_HIGHEST_HZ, sound.sample_rate / 2)
        mono, rate = audio.mean(1), sound.sample_rate
        return log_mel(mono, rate, high_hz=high_hz, floor_db=_FLOOR_DB, **sizes) / 30 + 1.5

    def statistics(self, audio: Tensor, spectrogram: Tensor) -> Tensor:
        """(b, 2 + 4 n_mels): level, crest, mean and quantiles of every band, in units of 30 dB."""
        power = audio.square().mean((1, 2)).clamp(min=1e-9)
        peak = audio.abs().amax((1, 2)).square().clamp(min=1e-9)
        decibels = torch.stack([10 * power.log10() + 20, 10 * (peak / power).log10() - 12], dim=1)
        quantiles = torch.tensor(_QUANTILES, dtype=spectrogram.dtype)
        levels = torch.quantile(spectrogram, quantiles, dim=2).permute(1, 0, 2).flatten(1)
        mean = (10 ** (3 * spectrogram)).mean(2).log10() / 3
        return torch.cat([decibels / 30, mean, levels], dim=1)

    def forward(self, audio: Tensor) -> Tensor:
        """(b, channels, samples) -> (b, knobs) in 0..1; in evaluation mode, in the output range."""
        with torch.no_grad():
            spectrogram = self.features(audio)
            statistics = self.statistics(audio, spectrogram)
        vector = self.encoder(spectrogram[:, None])
        heard = self.head(torch.cat([vector, statistics], dim=1)) + self.linear(statistics)
        knobs = torch.sigmoid(heard)
        if self.training:
            return knobs
        return self.mean_setting.lerp(knobs.clamp(*self.output_range), self.trust)

    @torch.no_grad()
    def set_output_range(self, audio: Tensor) -> None:
        """Limit outputs for unfamiliar sounds to the range over these, (n, channels, samples).

        The range leaves out the lowest and the highest 2 %. Their mean becomes the mean setting.
        """
        self.eval()
        self.output_range.copy_(torch.tensor([[0.0], [1.0]]))
        self.trust.fill_(1.0)
        knobs = torch.cat([self(part) for part in audio.split(16)])
        self.output_range.copy_(torch.quantile(knobs, torch.tensor([0.02, 0.98]), dim=0))
        self.mean_setting.copy_(knobs.mean(0))


def build(config: Config) -> Controller:
    """An untrained controller; its weights are drawn from the plan's seed."""
    return seeded(lambda: Controller(config), config.plan.seed, "blackbox controller")
