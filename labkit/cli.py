"""`labkit` in a shell: finds the command, runs it, and reports an error in one line."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import tyro

from labkit import commands
from labkit.signal.paths import check_writable
from labkit.systems.system import System, settings_of, system

if TYPE_CHECKING:
    from labkit.measure.score import Row

T = TypeVar("T")
USAGE = """Neural audio effects on the command line.

examples:
  labkit chain recording.wav                     name the pedals behind a guitar
  labkit chain wet.flac --dry dry.flac           ... play dry.flac through them
  labkit chain wet.flac --dry dry.flac --refine  ... fit their knobs
  labkit saturation wet.wav --clean clean.wav    find saturation curve and depth
  labkit text riff.wav --prompt "warm and spacious"
  labkit enhance talk.wav --preset speech        or distortion, or mastering
  labkit style voice.wav --reference radio.wav   match tone and dynamics
  labkit synth note.wav                          make a preset for Vital
  labkit match dry.wav wet.wav                   imitate your own pedal
  labkit train pedal_order --steps 500 --run-dir runs/mine
  labkit evaluate pedal_order --n 200 --out mine.json
  labkit results pedal_order                     print the shipped results
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what follows `labkit` in the shell (the process's own arguments when None).

    Returns the exit status: 0; 1 after an error of one line on stderr; 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may be in another encoding
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # as in `labkit data list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, KeyError, ArithmeticError, OSError, RuntimeError, ImportError) as error:
        print(f"labkit: {_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = "; the last checkpoint is kept" if arguments[0] == "train" else ""
        print(f"labkit: stopped{kept}", file=sys.stderr)
        return 130


def _run(arguments: list[str]) -> int:
    named = bool(arguments[1:]) and not arguments[1].startswith("-")
    if arguments[0] in ("train", "evaluate") and named:
        run = train if arguments[0] == "train" else evaluate
        run(system(arguments[1].replace("-", "_")), arguments[2:])
        return 0
    if arguments[0] == "data":  # `data get` is one command of two words
        arguments = [" ".join(arguments[:2]), *arguments[2:]]
        if arguments[0] not in commands.COMMANDS:
            raise ValueError("data must be followed by list, get or render-synth")
    verbs = {**commands.COMMANDS, "train": _train_help, "evaluate": _evaluate_help}
    settings = {"description": USAGE, "args": arguments, "config": (tyro.conf.OmitArgPrefixes,)}
    return tyro.extras.subcommand_cli_from_dict(verbs, prog="labkit", **settings) or 0


def _train_help(name: Annotated[str, tyro.conf.Positional, commands.ONE_OF_THEM]) -> int:
    """Train a system; `labkit train SYSTEM --help` lists its settings."""
    return _run(["train", name])


def _evaluate_help(name: Annotated[str, tyro.conf.Positional, commands.ONE_OF_THEM]) -> int:
    """Score a system beside its baselines; `labkit evaluate SYSTEM --help` lists the options."""
    return _run(["evaluate", name])


@dataclass(frozen=True)
class _Run:
    preset: str  # set of defaults
    run_dir: Path | None = None  # folder for checkpoints and log; by default in runs/
    start: Path | None = None  # a checkpoint to begin with, instead of random weights
    fresh: bool = False  # delete the run in the folder, and start again


@dataclass(frozen=True)
class _Network:
    preset: str | None = None  # a checkpoint that ships
    checkpoint: Path | None = None  # weights to score instead of the shipped ones
    # results file; by default data/results/SYSTEM.json, or of your own weights a file beside them
    out: Path | None = None


def train(chosen: System, arguments: Sequence[str]) -> None:
    """`labkit train SYSTEM`: every setting of the preset is a flag."""
    from labkit.learn.training import clear, is_first_process

    preset = _preset(arguments, list(chosen.presets))
    config = chosen.presets[preset]
    records = [("run", _Run(preset)), ("data", chosen.part("train:Data")())]
    records += [(name, getattr(config, name)) for name in ("sound", "net", "plan")]
    given = _parse(
        f"labkit train {chosen.name}",
        f"Train a network, or continue the run in --run-dir. Presets: {', '.join(chosen.presets)}.",
        make_dataclass("Given", [(name, type(one), field(default=one)) for name, one in records]),
        arguments,
    )
    several = len(chosen.presets) > 1
    folder = given.run.run_dir or Path("runs") / (
        f"{chosen.name}_{preset}" if several else chosen.name
    )
    config = replace(config, sound=given.sound, net=given.net, plan=given.plan)
    settings_of(config, given.data)  # what is refused deletes nothing
    if given.run.fresh:
        clear(folder)
    begun = time.perf_counter()

    def on_log(row: dict[str, float]) -> None:
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)

    model = chosen.train(config, folder, data=given.data, start=given.run.start, on_log=on_log)
    if not is_first_process():
        return
    target = folder / f"{chosen.name}.safetensors"
    digest = chosen.save(model, target)
    commands.write_json(
        target.with_suffix(".json"),
        {
            "sha256": digest,
            "command": " ".join(["labkit", "train", chosen.name, *arguments]),
            "hardware": platform.processor() or platform.machine(),
            "hours_of_this_part": round((time.perf_counter() - begun) / 3600, 2),
            "config": config.flat(),
        },
    )
    print(f"wrote {target}, sha256 {digest}")


def _place(row: "Row") -> tuple[str | None, ...]:
    return row.checkpoint, row.protocol, row.name, row.sources, row.metric


def evaluate(chosen: System, arguments: Sequence[str]) -> None:
    """`labkit evaluate SYSTEM`: the keyword arguments of the system's ``score`` are flags."""
    from labkit.lab.results import table
    from labkit.measure.score import read, results_path, write

    def given(**options: Any) -> dict[str, Any]:
        return options

    score = chosen.part("score:score")
    hints = {**get_type_hints(score), "network": _Network}
    flags = [Parameter("network", Parameter.KEYWORD_ONLY, default=_Network())]
    flags += [p for p in signature(score).parameters.values() if p.default is not Parameter.empty]
    given.__signature__, given.__doc__ = Signature(flags), score.__doc__
    given.__annotations__ = {flag.name: hints[flag.name] for flag in flags}  # all but the model
    summary = (score.__doc__ or "").partition("\n")[0]
    summary += f" Presets: {', '.join(chosen.checkpoints)}; all if none is given."
    options = _parse(f"labkit evaluate {chosen.name}", summary, given, arguments)
    network = options.pop("network")
    for name, value in options.items():
        least = {"n": 2, "renders": 1}.get(name, 0)  # the control is another clip's answer
        if isinstance(value, int) and value < least:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} must be at least {least}, got {value}")
    shipped, own = results_path(chosen.name), network.checkpoint
    if own and network.preset:
        raise ValueError("give --preset (weights that ship) or --checkpoint (your own), got both")
    if own and own.resolve() not in map(chosen.shipped_path, chosen.checkpoints):
        shipped = own.with_suffix(".results.json")  # rows of the shipped weights have their name
    target = network.out or shipped
    check_writable(target)
    if target.exists():
        read(chosen.name, path=target)  # a file of something else is refused at once
    presets = [network.preset] if network.preset else list(chosen.checkpoints)
    paths = [own] if own else [chosen.shipped_path(preset) for preset in presets]
    rows: list[Row] = []
    for path in paths:
        begun = time.perf_counter()
        found = chosen.score(chosen.load(path), **options)
        seconds = round(time.perf_counter() - begun, 1)
        rows += [replace(row, checkpoint=path.name, seconds=seconds) for row in found]
    old = read(chosen.name, path=target) if target.is_file() else []
    made = {_place(row) for row in rows}  # a part of the exam replaces that part
    rows = [row for row in old if _place(row) not in made] + rows
    print(table(rows))
    print(f"wrote {write(chosen.name, rows, path=target)}")


def _preset(arguments: Sequence[str], presets: Sequence[str]) -> str:
    """The preset that the flags name, which decides the defaults of all other flags."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--preset", default=presets[0])
    preset = parser.parse_known_args(list(arguments))[0].preset
    if preset not in presets:
        raise ValueError(f"--preset must be one of {', '.join(presets)}, got {preset!r}")
    return preset


def _parse(program: str, description: str, made: Callable[..., T], arguments: Sequence[str]) -> T:
    """What `made` makes of the flags."""
    return tyro.cli(
        made,
        prog=program,
        description=description,
        args=list(arguments),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands),
    )


def _one_line(error: Exception) -> str:
    # The text of a KeyError is the repr of its message.
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(message).split()) or type(error).__name__
