"""Training pedal order: dry pools, loss, and the run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.learn import codec
from labkit.learn.attention import Attention
from labkit.learn.checkpoints import file_hash
from labkit.learn.training import Plan, fit
from labkit.signal.pool import DryPool, FreshClips, dry_pool
from labkit.signal.sources import AudioFolder
from labkit.systems.pedal_order.checkpoint import load
from labkit.systems.pedal_order.config import Config
from labkit.systems.pedal_order.data import DryExamples, Examples, rendered
from labkit.systems.pedal_order.model import PedalOrderModel, build
from labkit.systems.pedal_order.tokens import PAD, SEPARATOR
from labkit.systems.pedal_order.unlabelled import Beside, Heard

# (model, batch) -> what to minimise, and figures to log.
Loss = Callable[[PedalOrderModel, Mapping[str, Tensor]], tuple[Tensor, dict[str, float]]]


def pool(config: Config, kind: str, split: str, n: int) -> DryPool | FreshClips:
    """`n` dry clips of the config's rate, length and seed; see `dry_pool`."""
    seconds = config.seconds + config.preroll_seconds
    return dry_pool(
        kind, split, n, seconds=seconds, sample_rate=config.sample_rate, seed=config.seed
    )


def examples(
    config: Config,
    split: str,
    seed: int,
    *,
    n_dry: int = 0,
    kinds: Sequence[str] = ("generated", "sampled"),
    folder: str | Path | None = None,
) -> Examples:
    """A data set of fresh examples on the dry sources of one split.

    Args:
        config: what to draw.
        split: ``"train"`` (augmented), ``"validation"`` or ``"test"`` (plain).
        seed: of the examples.
        n_dry: dry clips of each kind; 0 makes one for every example.
        kinds: of dry sources, drawn from evenly.
        folder: of dry recordings, one more source beside `kinds`, split by file.

    Returns:
        A map-style data set of ``picture``, ``tokens``, ``shelf`` and ``place``.
    """
    if not kinds and folder is None:
        raise ValueError("kinds and folder must give at least one source of dry sound, got neither")
    pools = [pool(config, kind, split, n_dry) for kind in kinds]
    if folder is not None:
        seconds = config.seconds + config.preroll_seconds
        pools.append(
            FreshClips(
                AudioFolder(folder, seconds=seconds, sample_rate=config.sample_rate), split, seed
            )
        )
    return Examples(config, pools, seed, training=split == "train")


def sequence_loss(config: Config) -> Loss:
    """The loss of a batch: nats per chain for the order, plus `knob_weight` times those of the knobs.

    The logged `order_nats` of a decoder that ignores the audio is the entropy of the chain prior: a run whose
    figure stops there has learnt nothing.
    """

    def loss(
        model: PedalOrderModel, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        longest = int((batch["tokens"] != PAD).sum(1).max())
        words, following = batch["tokens"][:, : longest - 1], batch["tokens"][:, 1:longest]
        logits, hints = model(batch["picture"], batch["shelf"], words)
        nats = F.cross_entropy(
            logits.float().transpose(1, 2), following, reduction="none", ignore_index=PAD
        )
        in_order = ((words == SEPARATOR).cumsum(1) == 0).float()
        order = (nats * in_order).sum() / len(words)
        knobs = (nats * (1 - in_order)).sum() / len(words)
        hint = hint_loss(hints.float(), batch["place"], batch["shelf"])
        value = order + config.knob_weight * knobs + config.hint_weight * hint
        return value, {
            "order_nats": order.item(),
            "knob_nats": knobs.item(),
            "hint_nats": hint.item(),
        }

    return loss


def rendering(config: Config, loss: Loss) -> Loss:
    """The loss of batches that are still to be rendered, on the device where they lie (see `DryExamples`)."""

    def rendered_loss(
        model: PedalOrderModel, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        return loss(model, rendered(config, batch, config.seed))

    return rendered_loss


def hint_loss(hints: Tensor, place: Tensor, shelf: Tensor) -> Tensor:
    """Nats per chain of the hints.

    Args:
        hints: (b, n, 1 + n) logits, as `PedalOrderModel.hear` gives them.
        place: (b, n), the place of each pedal in the chain from 0, -1 where it is not there.
        shelf: (b, n) 0/1. The ear is not told the shelf, so only pedals on it are asked for.

    Returns:
        Scalar: presence of every pedal on the shelf, and the order of every pair whose both pedals are there.
    """
    there = (place >= 0).float()
    both = (
        there.unsqueeze(2)
        * there.unsqueeze(1)
        * (1 - torch.eye(place.shape[1], device=place.device))
    )
    before = (place.unsqueeze(2) < place.unsqueeze(1)).float()
    presence = F.binary_cross_entropy_with_logits(
        hints[..., 0], there, weight=shelf, reduction="sum"
    )
    order = F.binary_cross_entropy_with_logits(hints[..., 1:], before, weight=both, reduction="sum")
    return (presence + 0.5 * order) / len(place)


def train(
    config: Config,
    run_dir: str | Path,
    *,
    n_dry: int = 0,
    kinds: tuple[str, ...] = ("generated", "sampled"),
    folder: str | Path | None = None,
    start: str | Path | None = None,
    recordings: Sequence[Heard] = (),
    on_log: Callable[[dict[str, float]], None] | None = None,
    validate: Callable[[PedalOrderModel], dict[str, float]] | None = None,
) -> PedalOrderModel:
    """Train, or go on with the run that `run_dir` holds.

    On a CUDA device the chains are rendered there by the torch pedals, a batch at a time and anew in every round;
    elsewhere by pedalboard, once. The examples are the same within what parity allows.

    Args:
        config: everything that decides the result, with `n_dry`, `kinds` and `folder`.
        run_dir: checkpoints, log, TensorBoard.
        n_dry: dry clips of each kind; 0 makes one for every example.
        kinds: of dry sources: ``"generated"``, ``"sampled"``.
        folder: of anybody's dry recordings, one more source beside `kinds`.
        start: a checkpoint to begin from, written by `save`, as `begin_from` takes it; random weights when None.
        recordings: as `heard` guesses them: half of every batch is windows of these, the other half rendered chains.
        on_log: called with each logged row.
        validate: figures of the model, logged every thousand steps.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        ValueError, FloatingPointError: as `fit`.
        CheckpointError: as `load`, for `start`.
        AudioError, AudioFileError: as `AudioFolder`, for `folder`; as `Beside`, for `recordings`.
        RuntimeError: as `begin_from`.
    """
    model = build(config)
    if start is not None:
        begin_from(model, load(start))
    plan = Plan(
        **{
            name: getattr(config, name)
            for name in Plan.__dataclass_fields__
            if hasattr(config, name)
        }
    )
    described = asdict(config) | {
        "n_dry": n_dry,
        "kinds": list(kinds),
        "start": file_hash(start) if start else None,
    }
    if folder is not None:
        described["folder"] = str(folder)
    if config.front_end != "mel":
        described["codec"] = file_hash(codec.shipped_path())
    drawn = examples(config, "train", config.seed, n_dry=n_dry, kinds=kinds, folder=folder)
    on_gpu = torch.cuda.is_available() and not recordings
    dataset = DryExamples(drawn) if on_gpu else drawn.cached(Path(run_dir) / "cache")
    if recordings:
        dataset = Beside(dataset, recordings, config.seed)
        described["recordings"] = dataset.digest
    fit(
        model,
        dataset,
        rendering(config, sequence_loss(config)) if on_gpu else sequence_loss(config),
        plan,
        run_dir,
        config=described,
        on_log=on_log,
        validate=validate,
    )
    return model.cpu().eval()


@torch.no_grad()
def begin_from(model: PedalOrderModel, old: PedalOrderModel) -> None:
    """Give a model the weights of an older one, which may have fewer layers; in place.

    Layers that the older one lacks come after its own and begin as the identity, since nothing leaves them: the two
    models say the same.

    Args:
        model: as from `build`.
        old: of the same sizes, with as many layers or fewer.

    Raises:
        RuntimeError: if the weights are of other sizes, or the older model has more layers.

    Source: Goyal et al. 2017 (arXiv 1706.02677), section 5.1: residual blocks that begin at zero.
    """
    new = model.load_state_dict(old.state_dict(), strict=False)
    if new.unexpected_keys:
        raise RuntimeError(
            f"start has weights that this model lacks: {', '.join(new.unexpected_keys[:3])}"
        )
    for stack, before in ((model.encoder, old.encoder), (model.decoder, old.decoder)):
        for layer in stack.layers[len(before.layers) :]:
            for module in layer.modules():
                if isinstance(module, Attention):
                    _silence(module.output)
            _silence(layer.feed_forward[-1])


def _silence(last: nn.Linear) -> None:
    last.weight.zero_()
    last.bias.zero_()
