"""The lab's verbs from a shell: `labkit --help`."""

import shutil
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
from tyro.conf import Positional

if TYPE_CHECKING:
    import numpy as np

    from labkit.measure.results import Row
    from labkit.systems.pedal_order.decode import Prediction

USAGE = """Neural audio effects from the shell.

examples:
  labkit chain recording.wav                       the chain of pedals behind a wet recording
  labkit chain wet.flac --dry dry.flac             ... and the dry one played through it
  labkit chain wet.flac --dry dry.flac --refine    ... its knobs fitted until both agree
  labkit saturation clean.wav wet.wav              the curve between them and its depth; or of wet.wav alone
  labkit train pedal_order --steps 500 --run-dir runs/mine
  labkit evaluate pedal_order --n 200
  labkit data list
  labkit doctor
"""

Shelf = Literal["three", "six"]
System = Literal["pedal_order", "saturation", "codec"]


# What each system takes of `Evaluate` beside out and seed.
_TAKEN = {
    "pedal_order": ("n", "n_floor", "n_refined", "sources", "checkpoint"),
    "saturation": ("n", "n_floor", "sources", "checkpoint"),
    "codec": ("n", "sources", "checkpoint"),
    "twins": ("n_fits", "memory_bytes"),
    "decoding": (),
}


# Of both recordings, from their beginning: enough for every echo and oscillator to show itself.
_REFINE_SECONDS = 2.0


@dataclass(frozen=True)
class Chain:
    """Print the chain of pedals behind a wet recording, with settings, confidence and pedalboard code.

    Attributes:
        file: the wet recording: wav, flac, mp3, ogg, m4a; any rate, any channels.
        dry: the dry recording; the chain found is applied to it.
        refine: fit the knobs of the likeliest orders to the first seconds of both recordings, and keep the best. Needs
            dry as it entered the chain, aligned with the wet one.
        shelf: pedals that may occur: three (chorus, distortion, reverb) or six (also compressor, phaser, delay).
        out: folder for FILE.chain.json and, with --dry, FILE.recreated.wav; made if need be. The current one by
            default.
        checkpoint: another checkpoint than the shipped one.
    """

    file: Positional[Path]
    dry: Path | None = None
    refine: bool = False
    shelf: Shelf = "three"
    out: Path = Path()
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Saturation:
    """Name the curve that bent a recording, and its depth.

    Attributes:
        files: the clean recording and the wet one, or the wet one alone.
        curve: its name, where it is known: tanh, arctan, hard_clip, cubic or hysteresis.
        checkpoint: another checkpoint than the shipped light model.
    """

    files: Positional[tuple[Path, ...]]
    curve: str | None = None
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Train:
    """Train a system, or go on with the run that its folder holds.

    Attributes:
        system: what to train.
        run_dir: checkpoints, log and TensorBoard's files; the same folder again resumes; runs/SYSTEM by default.
        steps: optimiser steps; the system's own number by default.
        batch_size: examples a step; the system's own number by default.
        n_examples: different examples; a longer run shows each again (pedal order; the codec makes all afresh).
        n_dry: dry clips of each kind in a pool; 0 makes one for every example (pedal order).
        kinds: of dry sources; sampled needs a soundfont.
        start: a checkpoint to begin from instead of random weights (pedal order).
        adversarial: weight of a discriminator trained along (codec); .2 is a start, on a GPU.
        model: light or big (saturation).
        loss: parameter, audio (through the curve), or both (saturation).
        data: a folder of recordings to train on instead of kinds (saturation).
        fresh: start over where the folder already holds a run.
        precision: 32-true, or bf16-mixed where the processor has it.
        workers: processes that render examples.
        seed: of everything.
    """

    system: Positional[System]
    run_dir: Path | None = None
    steps: int | None = None
    batch_size: int | None = None
    n_examples: int = 256000
    n_dry: int = 0
    kinds: tuple[Literal["generated", "sampled"], ...] = ("generated", "sampled")
    start: Path | None = None
    adversarial: float = 0.0
    model: Literal["light", "big"] = "light"
    loss: Literal["parameter", "audio", "both"] = "parameter"
    data: Path | None = None
    fresh: bool = False
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    workers: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Evaluate:
    """Measure a checkpoint beside chance, prior, floor, control and oracle, or parts alone; writes data/results.

    Attributes:
        system: what to evaluate; twins are the torch pedals, decoding is the decoder's cache.
        n: clips of each protocol and source.
        n_floor: clips that the statistics floor learns from.
        n_refined: clips of each protocol and source that are refined with the dry sound known; about a minute each.
        n_fits: of the twins: five-pedal chains whose knobs are searched.
        memory_bytes: of the twins: bound of the batches on which the growth of the cost is measured.
        sources: kinds of dry sources; real needs recordings (LABKIT_REAL_DATA).
        checkpoint: another checkpoint than the shipped one; for the codec `official` is descript's own.
        out: another file than data/results/SYSTEM.json.
        seed: of the evaluation.
    """

    system: Positional[System | Literal["twins", "decoding"]]
    n: int = 300
    n_floor: int = 2000
    n_refined: int = 0
    n_fits: int = 10
    memory_bytes: int = 4 * 2**30
    sources: tuple[Literal["generated", "sampled", "real"], ...] = ("generated", "sampled", "real")
    checkpoint: Path | None = None
    out: Path | None = None
    seed: int = 1


@dataclass(frozen=True)
class Data:
    """What data there is: list the public sets, get one, or make what ships in data/.

    Attributes:
        action: list, get or make.
        name: the set to get.
        accept_licence: say that you keep to its licence.
    """

    action: Positional[Literal["list", "get", "make"]]
    name: Positional[str | None] = None
    accept_licence: bool = False


@dataclass(frozen=True)
class Results:
    """Write README's tables from data/results."""


@dataclass(frozen=True)
class Doctor:
    """Say what is installed, what is missing, and how to mend it."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: as after `labkit`; the process's own when None.

    Returns:
        The exit status: 0, 1 after a one-line message on stderr, 130 when interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = Chain | Saturation | Train | Evaluate | Data | Results | Doctor
    command = tyro.cli(commands, prog="labkit", description=USAGE, args=arguments or ["--help"])
    act = {
        Chain: _chain,
        Saturation: _saturation,
        Train: _train,
        Evaluate: _evaluate,
        Data: _data,
        Results: _results,
        Doctor: _doctor,
    }
    try:
        return act[type(command)](command)
    except (ValueError, KeyError, ArithmeticError, OSError, RuntimeError, ModuleNotFoundError) as error:
        print(f"labkit: {_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("labkit: stopped; the last checkpoint is kept", file=sys.stderr)
        return 130


def _one_line(error: Exception) -> str:
    # A KeyError's own text is the repr of its message.
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(message).split()) or type(error).__name__


def _chain(command: Chain) -> int:
    from labkit.signal.files import read_audio, write_audio

    if command.refine and command.dry is None:
        raise ValueError("--refine compares with the dry recording: give --dry too")
    wet, sample_rate = read_audio(command.file)
    dry, dry_rate = read_audio(command.dry) if command.dry is not None else (None, 0)

    from labkit.systems import pedal_order  # takes seconds: a file that cannot be read is said at once

    shelf = pedal_order.PROTOCOLS[command.shelf].pedals
    found = pedal_order.predict(pedal_order.load(command.checkpoint), wet, sample_rate, shelf=shelf)
    print(f"chain: {' -> '.join(found.chain.names) or '(clean)'}   probability {found.probability:.2f}")
    for step in found.chain.steps:
        print(f"  {step}   present {found.presence(step.effect):.2f}")
    for names, share in found.alternatives[1:4]:
        print(f"  or: {' -> '.join(names) or '(clean)'}   {share:.2f}")
    if command.refine:
        found = _refine(found, dry, dry_rate, wet, sample_rate)
    print(f"\n{found.chain.to_code()}\n")
    command.out.mkdir(parents=True, exist_ok=True)
    target = command.out / f"{command.file.stem}.chain.json"
    found.chain.save(target)
    print(f"wrote {target}")
    if dry is not None:
        target = command.out / f"{command.file.stem}.recreated.wav"
        write_audio(target, pedal_order.recreate(found, dry, dry_rate), dry_rate)
        print(f"wrote {target}")
    return 0


def _saturation(command: Saturation) -> int:
    from labkit.signal.files import read_audio

    if not 1 <= len(command.files) <= 2:
        raise ValueError(
            f"files must be the clean and the wet recording, or the wet one alone, got {len(command.files)}"
        )
    wet, sample_rate = read_audio(command.files[-1])
    clean, clean_rate = read_audio(command.files[0]) if len(command.files) == 2 else (None, None)

    from labkit.systems import saturation

    model = saturation.load(command.checkpoint)
    found = saturation.predict(model, wet, sample_rate, clean=clean, clean_rate=clean_rate, curve=command.curve)
    print(f"curve: {found.curve}   depth {found.depth:.2f}   4 times of 5 in {found.low:.2f} to {found.high:.2f}")
    for name, share in sorted(found.shares.items(), key=lambda pair: -pair[1]):
        print(f"  {name:12s} {share:.2f}")
    return 0


def _refine(found: "Prediction", dry: "np.ndarray", dry_rate: int, wet: "np.ndarray", sample_rate: int) -> "Prediction":
    """The prediction with the refined chain, where the search explains the wet recording; as it was otherwise."""
    from labkit.learn.fit import ENOUGH_DB
    from labkit.signal.files import resample, to_mono
    from labkit.systems.pedal_order.refine import refine

    dry, wet = resample(to_mono(dry), dry_rate, sample_rate), to_mono(wet)
    samples = min(dry.shape[1], wet.shape[1], round(_REFINE_SECONDS * sample_rate))
    refined = refine(found, dry[:, :samples], wet[:, :samples], sample_rate)
    for names, sdr in refined.tried:
        print(f"  tried: {' -> '.join(names) or '(clean)'}   SI-SDR {sdr:.1f} dB")
    if refined.si_sdr_db < ENOUGH_DB:
        print("refined: none of them explains the wet recording (other pedals, another level, or not aligned)")
        return found
    print(f"refined: {refined.chain or '(clean)'}   SI-SDR {refined.si_sdr_db:.1f} dB")
    return replace(found, chain=refined.chain)


def _train(command: Train) -> int:
    run_dir = command.run_dir or Path("runs") / command.system
    chosen = {name: getattr(command, name) for name in ("steps", "batch_size") if getattr(command, name) is not None}
    chosen |= {"precision": command.precision, "n_workers": command.workers, "seed": command.seed}
    train = {"pedal_order": _train_pedal_order, "saturation": _train_saturation, "codec": _train_codec}[command.system]
    for name in ("checkpoint.pt", "best.pt", "config.json", "log.jsonl") if command.fresh else ():
        (run_dir / name).unlink(missing_ok=True)
    if command.fresh:
        shutil.rmtree(run_dir / "cache", ignore_errors=True)  # pictures of another run's examples
    target = run_dir / f"{command.system}.safetensors"
    print(f"wrote {target}, sha256 {train(command, run_dir, chosen, target)}")
    return 0


def _say(row: dict[str, float]) -> None:
    print("  ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)


def _train_pedal_order(command: Train, run_dir: Path, chosen: dict[str, Any], target: Path) -> str:
    from labkit.systems import pedal_order

    config = pedal_order.Config(n_examples=command.n_examples, **chosen)
    given = {"n_dry": command.n_dry, "kinds": command.kinds, "start": command.start}
    return pedal_order.save(pedal_order.train(config, run_dir, **given, on_log=_say), target)


def _train_saturation(command: Train, run_dir: Path, chosen: dict[str, Any], target: Path) -> str:
    from labkit.systems import saturation

    config = replace(saturation.MODELS[command.model], loss=command.loss, **chosen)
    print(saturation.summary(saturation.build(config)))
    given = {"n_dry": command.n_dry, "kinds": command.kinds, "folder": command.data}
    return saturation.save(saturation.train(config, run_dir, **given, on_log=_say), target)


def _train_codec(command: Train, run_dir: Path, chosen: dict[str, Any], target: Path) -> str:
    from labkit.learn.codec import CodecConfig, save
    from labkit.learn.codec_training import Recipe, train

    recipe = Recipe(kinds=command.kinds, adversarial_weight=command.adversarial, **chosen)
    return save(train(CodecConfig(), run_dir, recipe=recipe, on_log=_say), target)


def _evaluate(command: Evaluate) -> int:
    from labkit.lab.results import table
    from labkit.measure.results import write
    from labkit.systems import decoding, pedal_order, twins

    _refuse_what_is_ignored(command)
    if command.system == "twins":
        rows = twins.evaluate(n_fits=command.n_fits, memory_bytes=command.memory_bytes, seed=command.seed)
    elif command.system == "decoding":
        rows = decoding.evaluate(seed=command.seed)
    elif command.system == "codec":
        rows = _codec_rows(command)
    elif command.system == "saturation":
        rows = _saturation_rows(command)
    else:
        path = command.checkpoint or pedal_order.shipped_path()
        rows = pedal_order.evaluate(
            pedal_order.load(path),
            n=command.n,
            n_floor=command.n_floor,
            n_refined=command.n_refined,
            sources=command.sources,
            seed=command.seed,
            checkpoint=path.name,
        )
    print(table(rows))
    print(f"wrote {write(command.system, rows, path=command.out)}")
    return 0


def _refuse_what_is_ignored(command: Evaluate) -> None:
    every = {field.name: field.default for field in fields(Evaluate) if field.name not in ("system", "out", "seed")}
    taken = _TAKEN.get(command.system, tuple(every))
    for name, default in every.items():
        if name not in taken and getattr(command, name) != default:
            options = ", ".join(f"--{other.replace('_', '-')}" for other in (*taken, "out", "seed"))
            raise ValueError(f"--{name.replace('_', '-')} changes nothing for {command.system}, which takes {options}")


def _saturation_rows(command: Evaluate) -> "list[Row]":
    from labkit.systems import saturation

    shipped = [saturation.shipped_path(name) for name in saturation.MODELS]
    paths = [command.checkpoint] if command.checkpoint else [path for path in shipped if path.exists()] or shipped[:1]
    given = {"n": command.n, "n_floor": command.n_floor, "sources": command.sources, "seed": command.seed}
    return [
        row
        for k, path in enumerate(paths)
        for row in saturation.evaluate(saturation.load(path), checkpoint=path.name, oracles=k == 0, **given)
    ]


def _codec_rows(command: Evaluate) -> "list[Row]":
    from labkit.learn import codec, codec_scores

    path = command.checkpoint or codec.shipped_path()
    theirs = str(path) == "official"
    found = codec.official() if theirs else codec.load(path)
    marks = {"name": "descript's codec" if theirs else "our codec", "checkpoint": path.name}
    return codec_scores.evaluate(found, n=command.n, sources=command.sources, seed=command.seed, **marks)


def _data(command: Data) -> int:
    from labkit.signal import datasets, shipped
    from labkit.signal.paths import data_dir

    if command.action == "make":
        for name, digest in shipped.make_phrases(data_dir() / "phrases").items():
            print(f"{name}  {digest}")
    elif command.action == "list":
        for record in datasets.records().values():
            print(f"{record.name:24s} {record.licence:18s} {record.title}  {record.page}")
    elif command.name is None:
        raise ValueError(f"name a data set to get: {', '.join(datasets.records())}")
    else:
        try:
            print(datasets.get(command.name, accept_licence=command.accept_licence))
        except datasets.LicenceError as error:
            raise ValueError(str(error).replace("pass accept_licence=True", "add --accept-licence")) from None
    return 0


def _results(_command: Results) -> int:
    from labkit.lab.results import update_readme

    print(f"wrote {update_readme()}")
    return 0


def _doctor(_command: Doctor) -> int:
    from labkit.doctor import doctor

    return 0 if doctor() else 1
