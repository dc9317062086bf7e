"""The lab's verbs from a shell: `labkit --help`. One module per system; this one finds the command and runs it."""

import sys
from dataclasses import dataclass
from typing import Annotated, Protocol

import tyro
from tyro.conf import subcommand

from labkit.cli.blackbox import Enhance, EvaluateBlackbox, TrainBlackbox
from labkit.cli.house import Data, Doctor, Results
from labkit.cli.pedal_order import (
    Chain,
    EvaluatePedalOrder,
    TrainPedalOrder,
)
from labkit.cli.plugins import Plugins
from labkit.cli.saturation import EvaluateSaturation, Saturation, TrainSaturation
from labkit.cli.style import EvaluateStyle, Style, TrainStyle
from labkit.cli.synth import EvaluateSynth, Synth, TrainSynth
from labkit.cli.text import EvaluateText, Text, TrainText

USAGE = """Neural audio effects from the shell.

examples:
  labkit chain recording.wav                       the chain of pedals behind a wet recording
  labkit chain wet.flac --dry dry.flac             ... and the dry one played through it
  labkit chain wet.flac --dry dry.flac --refine    ... its knobs fitted until both agree
  labkit saturation clean.wav wet.wav              the curve between them and its depth; or of wet.wav alone
  labkit text --input-audio riff.wav --prompt "warm and spacious"
  labkit enhance talk.wav --task speech            without breaths and room; or distortion, or mastering
  labkit style voice.wav --reference radio.wav     equalised and compressed like the other one
  labkit synth note.wav --refine 200               a preset of the synthesizer Vital that sounds like it
  labkit train pedal_order --steps 500 --run-dir runs/mine
  labkit evaluate pedal_order --n 200
  labkit data list
  labkit plugins                                   the plug-ins installed; with a name, its knobs
  labkit doctor
"""


class Command(Protocol):
    """What every command can do."""

    def run(self) -> int:
        """Do it; the exit status."""
        ...


@dataclass(frozen=True)
class Train:
    """Train a system, or go on with the run that its folder holds."""

    system: (
        Annotated[TrainPedalOrder, subcommand("pedal_order", prefix_name=False)]
        | Annotated[TrainSaturation, subcommand("saturation", prefix_name=False)]
        | Annotated[TrainBlackbox, subcommand("blackbox", prefix_name=False)]
        | Annotated[TrainText, subcommand("text", prefix_name=False)]
        | Annotated[TrainStyle, subcommand("style", prefix_name=False)]
        | Annotated[TrainSynth, subcommand("synth", prefix_name=False)]
    )

    def run(self) -> int:
        """Train it."""
        return self.system.run()


@dataclass(frozen=True)
class Evaluate:
    """Measure a checkpoint beside chance, prior, floor, control and oracle, or parts alone; writes data/results."""

    system: (
        Annotated[EvaluatePedalOrder, subcommand("pedal_order", prefix_name=False)]
        | Annotated[EvaluateSaturation, subcommand("saturation", prefix_name=False)]
        | Annotated[EvaluateBlackbox, subcommand("blackbox", prefix_name=False)]
        | Annotated[EvaluateText, subcommand("text", prefix_name=False)]
        | Annotated[EvaluateStyle, subcommand("style", prefix_name=False)]
        | Annotated[EvaluateSynth, subcommand("synth", prefix_name=False)]
    )

    def run(self) -> int:
        """Measure it."""
        return self.system.run()


COMMANDS = (
    Chain
    | Saturation
    | Enhance
    | Text
    | Style
    | Synth
    | Train
    | Evaluate
    | Data
    | Plugins
    | Results
    | Doctor
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: as after `labkit`; the process's own when None.

    Returns:
        The exit status: 0, 1 after a one-line message on stderr, 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if arguments[0] in ("train", "evaluate"):
        arguments[1:2] = [
            name if name.startswith("-") else name.replace("-", "_") for name in arguments[1:2]
        ]
    config = (tyro.conf.OmitArgPrefixes,)
    command: Command = tyro.cli(
        COMMANDS, prog="labkit", description=USAGE, args=arguments, config=config
    )
    try:
        return command.run()
    except (
        ValueError,
        KeyError,
        ArithmeticError,
        OSError,
        RuntimeError,
        ModuleNotFoundError,
    ) as error:
        print(f"labkit: {_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("labkit: stopped; the last checkpoint is kept", file=sys.stderr)
        return 130


def _one_line(error: Exception) -> str:
    # A KeyError's own text is the repr of its message.
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(message).split()) or type(error).__name__
