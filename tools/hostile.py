"""Runs every command that takes a file on files that are broken, lying, odd or no audio at all.

    hostile.py                        all commands on all files
    hostile.py --command chain        one command
    hostile.py --n-files 40           40 of the files, one of each kind at least

Each run must end in an answer or in one line of error. Counted, for each kind of file, is what does
not: a traceback, more than one line or a decoder's noise, a hang, a kill, more than 2 GB of memory,
an input that changed, something left over after an error, an answer that is not finite. Exit status
1 if there is one. The outputs go to the folder of the input.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch

import labkit.cli
from labkit.lab import plots  # noqa: F401 - as the systems: imported once, for all forks
from labkit.learn.text import has_minilm, minilm
from labkit.signal.seeds import generator
from labkit.systems import blackbox, pedal_order, saturation, style, synth, text  # noqa: F401

RATE = 16_000
SECONDS_ALLOWED, MB_ALLOWED, BYTES_OF_DATA = 90.0, 2048, 5 << 30
FAULTS = (
    "traceback",
    "noise",
    "hang",
    "killed",
    "> 2 GB",
    "input changed",
    "left over",
    "not finite",
)
COMMANDS = {
    "chain": "FILE",
    "chain --dry": "GOOD --dry FILE",
    "match": "GOOD FILE --renders 20 --no-grey-box",
    "match, dry": "FILE GOOD --renders 20 --no-grey-box",
    "saturation": "FILE --clean GOOD",
    "saturation --clean": "GOOD --clean FILE",
    "style": "FILE --reference GOOD",
    "style --reference": "GOOD --reference FILE",
    "enhance": "FILE --preset mastering",
    "text": "FILE --seconds 1 --prompt warm,higher",
    "text, all of it": "FILE --prompt warm --lexicon",
    "synth": "FILE --n 1 --refine 0 --pitch 57",
}
PRESET_COMMANDS = {
    "text --start-from": "GOOD --prompt brighter --lexicon --start-from FILE",
    "export": "FILE faust card",
}
CHECKPOINT_COMMANDS = {
    "chain --checkpoint": "GOOD --checkpoint FILE",
    "saturation --checkpoint": "GOOD --checkpoint FILE",
    "style --checkpoint": "GOOD --reference GOOD --checkpoint FILE",
    "enhance --checkpoint": "GOOD --preset mastering --checkpoint FILE",
    "text --checkpoint": "GOOD --prompt warm --checkpoint FILE",
    "synth --checkpoint": "GOOD --n 1 --refine 0 --checkpoint FILE",
}
# These take seconds: they get every second one of the damaged files, and all others.
SLOW = ("enhance", "synth")
# These take minutes on a long file, rightly.
STREAMING = ("enhance", "text, all of it")


def tone(seconds: float = 1.0, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """A decaying note and a little noise, (samples, channels)."""
    time_s = np.arange(round(seconds * rate)) / rate
    note = 0.4 * np.sign(np.sin(2 * np.pi * 220 * time_s)) * np.exp(-2 * time_s)
    noise = generator(0, "hostile tone").normal(0, 0.01, (len(note), channels))
    return note[:, None] + noise


def encoded(folder: Path) -> dict[str, bytes]:
    """The same note in every format that can be written here."""
    made = {}
    formats = {
        "wav16.wav": ("WAV", "PCM_16"),
        "wav24.wav": ("WAVEX", "PCM_24"),
        "float.wav": ("WAV", "FLOAT"),
        "adpcm.wav": ("WAV", "IMA_ADPCM"),
        "a.rf64.wav": ("RF64", "PCM_16"),
        "a.w64": ("W64", "PCM_16"),
        "a.aiff": ("AIFF", "PCM_16"),
        "a.au": ("AU", "PCM_16"),
        "a.caf": ("CAF", "PCM_16"),
        "a.flac": ("FLAC", "PCM_16"),
        "a.ogg": ("OGG", "VORBIS"),
        "a.opus": ("OGG", "OPUS"),
        "a.mp3": ("MP3", "MPEG_LAYER_III"),
    }
    for name, (kind, subtype) in formats.items():
        soundfile.write(folder / name, tone(), RATE, subtype, format=kind)
        made[name] = (folder / name).read_bytes()
    made["no_xing.mp3"] = made["a.mp3"][made["a.mp3"].index(made["a.mp3"][:2], 4) :]
    for name in ("a.m4a", "a.aac", "a.webm") if shutil.which("ffmpeg") else ():
        command = ["ffmpeg", "-v", "error", "-i", str(folder / "wav16.wav"), str(folder / name)]
        subprocess.run(command, check=True)
        made[name] = (folder / name).read_bytes()
    return made


def damaged(data: bytes, name: str) -> dict[str, bytes]:
    """What can happen to any file."""
    rng = generator(0, "hostile", name)
    noise = rng.bytes(64)
    head, body = bytearray(data), bytearray(data)
    for place in rng.integers(0, 100, 5):
        head[place % len(data)] = int(rng.integers(256))
    for place in rng.integers(100, len(data), 40):
        body[place] ^= int(rng.integers(1, 256))
    middle = len(data) // 2
    return {
        "whole": data,
        "cut at 2 %": data[: max(20, len(data) // 50)],
        "cut at half": data[:middle],
        "last bytes missing": data[:-3],
        "wrong bytes in its header": bytes(head),
        "wrong bytes": bytes(body),
        "zeros inside": data[:middle] + bytes(len(data) // 4) + data[middle + len(data) // 4 :],
        "noise before": noise + data,
        "noise behind": data + noise,
        "twice": data + data,
        "ID3 before": b"ID3\4\0\0\0\0\0\x64" + bytes(100) + data,
    }


def patched(data: bytes, at: int, form: str, *values: float) -> bytes:
    """Bytes with numbers written over them."""
    new = struct.pack(form, *values)
    return data[:at] + new + data[at + len(new) :]


def lying(seeds: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Headers that say something absurd: rates, channels, widths, lengths."""
    wav, rf64, aiff = seeds["wav16.wav"], seeds["a.rf64.wav"], seeds["a.aiff"]
    flac, au, caf, w64 = (seeds[f"a.{kind}"] for kind in ("flac", "au", "caf", "w64"))
    for rate in (0, 1, 2, 10, 1999, 2000, 3999, 768_000, 1_000_000, 2**31 - 1, 2**32 - 1):
        yield f"rate {rate}.wav", patched(wav, 24, "<I", rate)
    for channels in (0, 2, 64, 65, 1024, 65_535):
        yield f"channels {channels}.wav", patched(wav, 22, "<H", channels)
    for bits in (0, 1, 7, 32, 64, 65_535):
        yield f"bits {bits}.wav", patched(wav, 34, "<H", bits)
    for align in (0, 1, 65_535):
        yield f"align {align}.wav", patched(wav, 32, "<H", align)
    for code in (0, 2, 0x55, 0xFFFE, 0xFFFF):
        yield f"codec {code}.wav", patched(wav, 20, "<H", code)
    for size in (0, 15, 0x7FFFFFFF, 0xFFFFFFFF):
        yield f"fmt of {size}.wav", patched(wav, 16, "<I", size)
    for size in (0, 1, 2**31 - 1, 0x7FFFF000, 2**32 - 1):
        yield f"data of {size}.wav", patched(wav, 40, "<I", size)
    ds64 = rf64.index(b"ds64") + 8
    for size in (0, 2**31, 2**40, 2**63 - 1, 2**64 - 1):
        yield f"RF64 data of {size}.wav", patched(rf64, ds64 + 8, "<QQ", size, size // 2)
    for total in (0, 1, 2**31, 2**36 - 1):
        low = patched(flac, 21, ">BI", (flac[21] & 0xF0) | (total >> 32), total & 0xFFFFFFFF)
        yield f"FLAC of {total}.flac", low
    yield "FLAC of 1 Hz.flac", patched(flac, 18, ">BBB", 0, 0, 0x10)
    yield "FLAC of 1048575 Hz.flac", patched(flac, 18, ">BBB", 255, 255, 0xF0)
    comm = aiff.index(b"COMM") + 8
    for frames in (0, 2**31, 2**32 - 1):
        yield f"AIFF of {frames}.aiff", patched(aiff, comm + 2, ">I", frames)
    for exponent in (0, 0x3FFF, 0x401E, 0x7FFF, 0xFFFF):
        yield f"AIFF with rate 2^{exponent}.aiff", patched(aiff, comm + 8, ">H", exponent)
    yield "AIFF cut in its header.aiff", aiff[: comm + 4]
    yield "AIFF SSND huge.aiff", patched(aiff, aiff.index(b"SSND") + 4, ">I", 2**32 - 1)
    for size in (0, 2**31, 2**32 - 1):
        yield f"AU of {size}.au", patched(au, 8, ">I", size)
    for rate in (0, 1, 2**32 - 1):
        yield f"AU of {rate} Hz.au", patched(au, 16, ">I", rate)
    data = caf.index(b"data") + 4
    for size in (0, 2**62, 2**64 - 1):
        yield f"CAF of {size}.caf", patched(caf, data, ">Q", size)
    for rate in (1.0, 1e-300, 1e300, float("nan"), -8000.0):
        yield f"CAF of {rate} Hz.caf", patched(caf, caf.index(b"desc") + 12, ">d", rate)
    yield "W64 huge.w64", patched(w64, 16, "<Q", 2**63)
    yield "two fmt.wav", wav[:36] + wav[12:36] + wav[36:]
    yield "no fmt.wav", wav[:12] + wav[36:]
    yield "data first.wav", wav[:12] + wav[36:] + wav[12:36]
    yield "LIST huge.wav", wav[:36] + b"LIST\xff\xff\xff\x7f" + wav[36:]
    yield (
        "megabyte of JUNK.wav",
        wav[:36] + b"JUNK" + struct.pack("<I", 1 << 20) + bytes(1 << 20) + wav[36:],
    )
    yield "ID3 huge.mp3", b"ID3\4\0\0\x7f\x7f\x7f\x7f" + seeds["a.mp3"]


def sounds() -> Iterator[tuple[str, np.ndarray, int, str]]:
    """Sounds that are legal, and unusual: name, (samples, channels), rate, subtype."""
    note = tone()
    yield "silence", 0 * note, RATE, "PCM_16"
    yield "direct current", 0 * note + 0.5, RATE, "PCM_16"
    yield "nearly silent", 1e-4 * note, RATE, "FLOAT"
    yield "below denormal", 1e-42 * note, RATE, "FLOAT"
    yield "loud", 1e3 * note, RATE, "FLOAT"
    yield "unscaled integers", 2.0**31 * note, RATE, "FLOAT"
    yield "huge", 1e30 * note, RATE, "FLOAT"
    yield "nearly infinite", 3e38 * np.sign(note), RATE, "FLOAT"
    yield "beyond float32", 1e300 * note, RATE, "DOUBLE"
    yield "full scale square", np.sign(note), RATE, "PCM_16"
    yield "one NaN", np.where(np.arange(len(note))[:, None] == 9000, np.nan, note), RATE, "FLOAT"
    yield "one infinity", np.where(np.arange(len(note))[:, None] == 9, np.inf, note), RATE, "FLOAT"
    yield "all NaN", np.nan * note, RATE, "FLOAT"
    yield "opposite polarity", note * [1, -1], RATE, "PCM_16"
    yield "right only", note * [0, 1], RATE, "PCM_16"
    yield "5.1", tone(0.5, 6), RATE, "PCM_16"
    yield "LFE only", tone(0.5, 6) * [0, 0, 0, 1, 0, 0], RATE, "PCM_16"
    yield "7.1", tone(0.5, 8), RATE, "PCM_16"
    yield "3 channels", tone(0.5, 3), RATE, "PCM_16"
    yield "64 channels", tone(0.2, 64), RATE, "PCM_16"
    for samples in (1, 2, 3, 10, 100, 1000):
        for channels in (1, 2):
            yield f"{samples} x {channels}", tone(1.0, channels)[:samples], RATE, "PCM_16"
    yield "none", note[:0], RATE, "PCM_16"
    for rate in (2000, 4000, 8000, 11_025, 96_000, 192_000, 352_800):
        yield f"at {rate}", tone(0.5, 1, rate), rate, "PCM_16"


def not_sounds(good: Path) -> Iterator[tuple[str, bytes]]:
    """Files that are something else."""
    yield "empty.wav", b""
    yield "one byte.wav", b"R"
    for magic in (
        b"RIFF",
        b"fLaC",
        b"OggS",
        b"FORM",
        b"ID3",
        b"\xff\xfb",
        b"\x1aE\xdf\xa3",
        b".snd",
    ):
        name = magic.decode("latin-1").strip("\x1a").encode("unicode_escape").decode()
        yield f"only {name.replace(chr(92), '')}.bin", magic
    yield "ftyp.m4a", b"\0\0\0\x20ftypM4A " + bytes(100)
    yield "diary.wav", b"dear diary\n" * 99
    yield "page.mp3", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
    yield "picture.flac", b"\x89PNG\r\n\x1a\n" + bytes(500)
    yield "archive.ogg", b"PK\3\4" + bytes(500)
    yield "zeros.wav", bytes(10_000)
    yield "ones.mp3", b"\xff" * 10_000
    yield "syncs.mp3", b"\xff\xfb\x90\x00" * 5000
    yield "random.wav", generator(0, "hostile random").bytes(20_000)
    yield "playlist.wav", f"#EXTM3U\n#EXTINF:1,\nfile://{good}\n#EXT-X-ENDLIST\n".encode()
    yield "script.wav", f"ffconcat version 1.0\nfile '{good}'\n".encode()
    yield "remote.wav", b"#EXTM3U\nhttp://127.0.0.1:9/a.wav\n"


def presets() -> Iterator[tuple[str, bytes]]:
    """Presets for `text --start-from`, chains for `export`."""
    good = text.Preset().to_json()
    plain = json.loads(good)
    step = {"effect": "gain", "params": {"gain_db": 3.0}}
    for name, made in {
        "chain": [step],
        "steps": {"steps": [step]},
        "empty chain": [],
        "fifty steps": [step] * 50,
        "steps null": {"steps": None},
        "step a word": ["gain"],
        "no params": [{"effect": "gain"}],
        "params a list": [step | {"params": [3.0]}],
        "knob a word": [step | {"params": {"gain_db": "loud"}}],
        "knob NaN": [step | {"params": {"gain_db": float("nan")}}],
        "knob huge": [step | {"params": {"gain_db": 1e300}}],
        "knob of 400 digits": [step | {"params": {"gain_db": 10**400}}],
        "unknown knob": [step | {"params": {"tone": 1.0}}],
        "unknown pedal": [step | {"effect": "fuzz"}],
        "pedal a list": [step | {"effect": ["gain"]}],
    }.items():
        yield f"{name}.chain.json", json.dumps(made).encode()
    yield "good.json", good.encode()
    yield "with a BOM.json", b"\xef\xbb\xbf" + good.encode()
    yield "UTF-16.json", good.encode("utf-16")
    yield "cut.json", good.encode()[: len(good) // 2]
    yield "latin.json", good.encode() + b"\xe9"
    for name, made in {
        "list": [],
        "null": None,
        "number": 7,
        "empty object": {},
        "version 2": plain | {"version": 2},
        "eq null": plain | {"eq": None},
        "eq a number": plain | {"eq": 5},
        "eq huge": plain | {"eq": plain["eq"] * 20_000},
        "eq of lists": plain | {"eq": [[1, 2]] * 5},
        "pitch a word": plain | {"pitch": {"semitones": "up"}},
        "pitch NaN": plain | {"pitch": {"semitones": float("nan")}},
        "pitch 1e999": plain | {"pitch": {"semitones": float("inf")}},
        "pitch a list": plain | {"pitch": [1]},
        "unknown effect": plain | {"wah": {}},
        "band of words": plain | {"eq": [dict.fromkeys(plain["eq"][0], "x")] * 5},
        "band true": plain | {"eq": [plain["eq"][0] | {"gain_db": True}] * 5},
        "unhashable type": plain | {"eq": [plain["eq"][0] | {"type": [1]}] * 5},
    }.items():
        yield f"{name}.json", json.dumps(made).encode()
    yield "deep.json", b"[" * 200_000
    yield "deep object.json", b'{"a":' * 100_000
    yield "many digits.json", b'{"version": ' + b"9" * 10_000 + b"}"
    yield "twice a key.json", b'{"version": 1, "version": 1}'
    yield "binary.json", bytes(range(256)) * 40
    yield "empty.json", b""


def checkpoints() -> Iterator[tuple[str, bytes]]:
    """Checkpoints for `--checkpoint`."""
    yield "empty.safetensors", b""
    yield "words.safetensors", b"dear diary\n" * 99
    yield "huge header.safetensors", struct.pack("<Q", 2**62) + b"{}"
    yield "deep.safetensors", struct.pack("<Q", 100_000) + b"[" * 100_000
    yield "no tensors.safetensors", struct.pack("<Q", 2) + b"{}"
    lies = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    header = json.dumps(lies).encode()
    yield "lies.safetensors", struct.pack("<Q", len(header)) + header
    wrong = {
        "__metadata__": {"config": "no"},
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    }
    header = json.dumps(wrong).encode()
    yield "other.safetensors", struct.pack("<Q", len(header)) + header + bytes(4)
    yield "pickle.pt", b"\x80\x04cposix\nsystem\n(S'true'\ntR."


Entry = tuple[str, Path, dict]  # kind, file, commands


def corpus(root: Path) -> list[Entry]:
    """Every file, in a folder of its own, with the commands that it is given to."""
    seeds = encoded(root)
    good = root / "wav16.wav"
    entries: list[Entry] = []
    faster = {name: words for name, words in COMMANDS.items() if name not in SLOW}

    def place(kind: str, name: str, commands: dict = COMMANDS) -> Path:
        folder = root / f"{len(entries):04d}"
        folder.mkdir()
        entries.append((kind, folder / name, commands))
        return folder / name

    for seed, data in seeds.items():
        for fault, broken in damaged(data, seed).items():
            commands = faster if len(entries) % 2 else COMMANDS
            name = f"{fault.replace(' %', '')} {seed}"
            place(f"format, {fault}", name, commands).write_bytes(broken)
    for name, data in lying(seeds):
        place("lying header", name).write_bytes(data)
    for name, audio, rate, subtype in sounds():
        soundfile.write(place("unusual sound", f"{name}.wav"), audio, rate, subtype)
    for name, data in not_sounds(good):
        place("not audio", name).write_bytes(data)
    for name, data in presets():
        place("preset", name, PRESET_COMMANDS).write_bytes(data)
    for name, data in checkpoints():
        place("checkpoint", name, CHECKPOINT_COMMANDS).write_bytes(data)
    _not_files(place, good)
    for name in (
        *(
            "a b.wav",
            "-x.wav",
            "--help.wav",
            "ümläut ñ 録音 🎸.wav",
            "new\nline.wav",
            "'q\"u`o$(x).wav",
        ),
        *("trailing..wav", ".hidden.wav", "%s%n.wav", "noname", "A" * 250 + ".wav", "tab\t.wav"),
        *(
            "\u202egnp.wav",
            "e\u0301.WAV",
            "[a-z]*?.wav",
            "con.wav",
            os.fsdecode(b"bytes\xff\xfe.wav"),
        ),
    ):
        shutil.copyfile(good, place("odd name", name))
    quiet = {name: words for name, words in COMMANDS.items() if name not in STREAMING}
    for name, rate, channels, seconds in (("hour", 44_100, 2, 3600), ("day", 8000, 1, 86_400)):
        path = place("long", f"{name}.wav", quiet)  # a file of holes
        soundfile.write(path, np.zeros((1, channels)), rate, "PCM_16")
        size = 2 * channels * rate * seconds
        path.write_bytes(patched(path.read_bytes()[:44], 40, "<I", size))
        os.truncate(path, 44 + size)
    with soundfile.SoundFile(place("long", "bomb.flac", quiet), "w", 48_000, 8, "PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros((10 * 48_000, 8), np.float32))
    return entries


def _not_files(place: Callable, good: Path) -> None:
    """Things of the file system that are no files, and files that are hard to reach."""
    for kind, commands in (
        ("no file", COMMANDS),
        ("no file as preset", PRESET_COMMANDS),
        (
            "no file as checkpoint",
            {"chain --checkpoint": CHECKPOINT_COMMANDS["chain --checkpoint"]},
        ),
    ):
        os.mkfifo(place(kind, "pipe.wav", commands))
        place(kind, "folder.wav", commands).mkdir()
        place(kind, "absent.wav", commands)
        loop = place(kind, "loop.wav", commands)
        loop.symlink_to(loop)
        place(kind, "zero.wav", commands).symlink_to("/dev/zero")
        place(kind, "null.wav", commands).symlink_to(os.devnull)
        place(kind, "memory.wav", commands).symlink_to("/proc/self/mem")
    here = os.getcwd()
    path = place("no file", "socket.wav")
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)
    place("no file", "link.wav").symlink_to(good)
    path = place("no file", "read only.wav")
    shutil.copyfile(good, path)
    path.chmod(0o400)
    path = place("no file", "no permission.wav")
    shutil.copyfile(good, path)
    path.chmod(0)


def state(path: Path) -> object:
    """What must stay the same of an input."""
    facts = os.lstat(path) if os.path.lexists(path) else None
    if facts is None or path.is_dir() or path.is_symlink() or not path.is_file():
        return facts and facts.st_mode
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read(1 << 22)).digest()
    return facts.st_size, facts.st_mtime_ns, digest


def run(arguments: list[str], said: Path) -> tuple[int, str, float, int]:
    """Exit status (-9: killed, 99: an exception), stderr, seconds, MB of a command in a fork."""
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.alarm(round(SECONDS_ALLOWED) + 10)  # should this process be killed
        resource.setrlimit(resource.RLIMIT_DATA, (BYTES_OF_DATA, BYTES_OF_DATA))
        sink = os.open(os.devnull, os.O_RDWR)
        errors = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for target, source in ((0, sink), (1, sink), (2, errors)):
            os.dup2(source, target)
        status = 99
        try:
            status = labkit.cli.main(arguments)
            sys.stdout.flush()
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 2
        except BaseException:  # noqa: BLE001 - whatever escapes is what is sought
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - begun > SECONDS_ALLOWED:
            os.killpg(child, signal.SIGKILL)
            _, status, used = os.wait4(child, 0)
            break
        time.sleep(0.005)
    words = said.read_text(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    return code, words, time.monotonic() - begun, used.ru_maxrss // 1024


def judged(entry: Entry, command: str, good: Path, said: Path) -> tuple[set[str], str]:
    """The faults of one run, and a line about it."""
    _, path, commands = entry
    before = state(path), state(good)
    folder = path.parent
    names = {"FILE": str(path), "GOOD": str(good)}
    words = [names.get(word, word) for word in commands[command].split()]
    arguments = [command.split(" ")[0].strip(","), *words, "--out", str(folder)]
    code, said_words, seconds, megabytes = run(arguments, said)
    new = [one for one in folder.iterdir() if one.name != path.name]
    lines = said_words.strip().splitlines()
    hang = seconds > SECONDS_ALLOWED
    found = {
        "traceback": code == 99 or "Traceback" in said_words,
        "noise": len(lines) != (code == 1) and code != 99,
        "hang": hang,
        "killed": code < 0 and not hang,
        "> 2 GB": megabytes > MB_ALLOWED,
        "input changed": before != (state(path), state(good)),
        "left over": bool(code and new),
        "not finite": any(map(_not_finite, new)),
    }
    for one in new:
        shutil.rmtree(one) if one.is_dir() else one.unlink()
    last = lines[-1][-300:] if lines else ""
    line = f"{command:20s} {path.name!r}: {code}, {seconds:.1f} s, {megabytes} MB, {last}"
    return {name for name, true in found.items() if true}, line


def _not_finite(path: Path) -> bool:
    if path.suffix != ".wav" or not path.is_file():
        return False
    audio, _ = soundfile.read(path, dtype="float32")
    return not (len(audio) and np.isfinite(audio).all())


def chosen(entries: list[Entry], n: int | None) -> list[Entry]:
    """The first of every kind, then others evenly spread, n in all (or the number of kinds)."""
    if n is None or n >= len(entries):
        return entries
    firsts = {kind: k for k, (kind, _, _) in reversed(list(enumerate(entries)))}
    others = [k for k in range(len(entries)) if k not in firsts.values()]
    more = max(0, n - len(firsts))
    spread = [others[k * len(others) // more] for k in range(more)]
    return [entries[k] for k in sorted([*firsts.values(), *spread])]


def main() -> int:
    """Make the files, run the commands, print the table."""
    every = [*COMMANDS, *PRESET_COMMANDS, *CHECKPOINT_COMMANDS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-files", type=int, help="of the corpus; all by default")
    parser.add_argument("--command", choices=every, action="append", help="all by default")
    parser.add_argument("--verbose", action="store_true", help="print every run")
    given = parser.parse_args()
    torch.set_num_threads(1)  # threads do not survive a fork
    if has_minilm():
        minilm()  # read once, for all forks
    begun, counts, wrong = time.monotonic(), defaultdict(Counter), []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        entries = chosen(corpus(root), given.n_files)
        for entry in entries:
            for command in entry[2]:
                if given.command and command not in given.command:
                    continue
                faults, line = judged(entry, command, root / "wav16.wav", root / "said")
                counts[entry[0]].update({"runs", *faults})
                if faults:
                    wrong.append(f"{', '.join(sorted(faults))}: {line}")
                if given.verbose or faults:
                    print(wrong[-1] if faults else f"ok: {line}", flush=True)
    total = sum(counts.values(), Counter())
    print(f"{'kind':34s}{'runs':>6s}" + "".join(f"{name:>15s}" for name in FAULTS))
    for kind, row in [*counts.items(), (f"all, {len(entries)} files", total)]:
        print(f"{kind:34s}{row['runs']:6d}" + "".join(f"{row[name]:15d}" for name in FAULTS))
    print(f"{time.monotonic() - begun:.0f} s; {len(wrong)} of {total['runs']} runs are not right")
    return 1 if wrong or not total["runs"] else 0


if __name__ == "__main__":
    sys.exit(main())
