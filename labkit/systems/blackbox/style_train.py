"""Style transfer, trained: the same network behind the same box, by autodiff, by SPSA, by a proxy, or by its knobs."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from labkit.learn.gradients import SPSA, Surrogate, black_box, each
from labkit.learn.proxy import ProxyTCN, fresh_proxy, train_proxy
from labkit.learn.training import Plan, fit
from labkit.measure.losses import magnitude_distance
from labkit.signal.paths import replacing
from labkit.signal.seeds import generator
from labkit.systems.blackbox.style import Config, StyleModel, build
from labkit.systems.blackbox.style_data import Drawn

# Frame lengths of the loss; those of the score are six. The wave counts a fifth of what it does in the paper: its
# slope does not shrink near the right knobs, and drowned the rest.
_N_FFTS = (256, 2048)
_WAVE_WEIGHT = 20.0


def train(
    config: Config, run_dir: str | Path, *, on_log: Callable[[dict[str, float]], None] | None = None
) -> StyleModel:
    """Train, or go on with the run that `run_dir` holds.

    Runs of one seed begin with the same weights and draw the same examples in the same order, whatever the gradient.

    Args:
        config: everything that decides the result.
        run_dir: checkpoint, log, TensorBoard's files, and the proxy where there is one.
        on_log: called with each logged row.

    Returns:
        The model, in evaluation mode on the CPU.

    Raises:
        ValueError, FloatingPointError: as `labkit.learn.training.fit`.
    """
    drawn, model = Drawn(config), build(config)
    model.encoder.centre(
        torch.cat(
            [drawn.tensors[name][:500].float() for name in ("heard_plain", "heard_reference")]
        )
    )
    proxy = taught_proxy(config, drawn, Path(run_dir)) if config.gradient == "proxy" else None
    settings = {
        name: getattr(config, name) for name in Plan.__dataclass_fields__ if hasattr(config, name)
    }
    fit(
        model,
        drawn,
        Loss(config, proxy),
        Plan(**settings),
        run_dir,
        config=asdict(config),
        on_log=on_log,
    )
    return model.cpu().eval()


class Loss:
    """What `fit` minimises: the distance of the treated A to the one that was asked for, or of the knobs.

    Args:
        config: which gradient.
        proxy: for the gradient of that name.
    """

    def __init__(self, config: Config, proxy: ProxyTCN | None = None) -> None:
        self.config, self.proxy = config, proxy

    def __call__(
        self, model: nn.Module, batch: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """(scalar, figures to log)."""
        knobs = model(batch["heard_plain"], batch["heard_reference"])
        if self.config.gradient == "regression":
            value = (knobs - batch["truth"]).abs().mean()
            return value, {"knob_error": value.item()}
        wet = self.treated(model, batch, knobs)
        magnitude = magnitude_distance(wet, batch["target"], n_ffts=_N_FFTS).mean()
        value = magnitude + _WAVE_WEIGHT * (wet - batch["target"]).abs().mean()
        error = (knobs - batch["truth"]).abs().mean()
        return value, {"magnitudes": magnitude.item(), "knob_error": error.item()}

    def treated(self, model: nn.Module, batch: dict[str, Tensor], knobs: Tensor) -> Tensor:
        """A behind the box, with whatever gradient the config names."""
        box = getattr(model, "module", model).box
        if self.config.gradient == "autodiff":
            return box.twin(batch["plain"], knobs)
        estimator = SPSA() if self.proxy is None else Surrogate(self.proxy)
        rng = generator(self.config.seed, "style tosses", int(batch["index"][0]))
        return black_box(each(box.render), batch["plain"], knobs, estimator, rng)


def taught_proxy(config: Config, drawn: Drawn, run_dir: Path) -> ProxyTCN:
    """A network that imitates the box, from the examples' own renders; kept in `run_dir`."""
    path, proxy = run_dir / "proxy.pt", fresh_proxy(drawn.tensors["truth"].shape[1], config.seed)
    if path.exists():
        proxy.load_state_dict(torch.load(path, weights_only=True)["proxy"])
        return proxy

    def batch(step: int) -> tuple[Tensor, Tensor, Tensor]:
        first = (1 << 30) + step * config.batch_size  # other draws than the networks'
        items = [drawn[first + k] for k in range(config.batch_size)]
        return tuple(
            torch.stack([item[name] for item in items]) for name in ("plain", "truth", "target")
        )

    train_proxy(proxy, batch, partial(magnitude_distance, n_ffts=_N_FFTS), steps=config.proxy_steps)
    with replacing(path) as temporary:
        torch.save({"proxy": proxy.state_dict()}, temporary)
    return proxy
