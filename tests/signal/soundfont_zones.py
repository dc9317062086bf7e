"""Which recordings each program of a SoundFont plays: the proof that two programs share none.

Source: SoundFont Technical Specification 2.04, section 7 (the pdta chunk) and 8.1.3.
"""

import itertools
import struct

INSTRUMENT, KEY_RANGE, SAMPLE = 41, 43, 53


def sample_zones(path):
    """{(bank, number): {(sample name, lowest key, highest key), ...}}."""
    chunks = _preset_chunks(path.read_bytes())
    names = [row[0].split(b"\0")[0] for row in struct.iter_unpack("<20s26x", chunks[b"shdr"])]
    firsts = [first for (first,) in struct.iter_unpack("<20xH", chunks[b"inst"])]
    instruments = [
        [(names[sample], low, high) for sample, low, high in _zones(chunks, b"i", *pair, SAMPLE)]
        for pair in itertools.pairwise(firsts)
    ]
    programs = {}
    headers = struct.iter_unpack("<20xHHH12x", chunks[b"phdr"])
    for (number, bank, first), (_, _, last) in itertools.pairwise(headers):
        found = set()
        for instrument, low, high in _zones(chunks, b"p", first, last, INSTRUMENT):
            for name, a, b in instruments[instrument]:
                found.add((name, max(low, a), min(high, b)))
        programs[bank, number] = found
    return programs


def _preset_chunks(data):
    """The chunks of the pdta list, which is the last one of the file."""
    start = data.rindex(b"pdta", 0, len(data)) + 4
    chunks = {}
    while start < len(data):
        name, size = struct.unpack_from("<4sI", data, start)
        chunks[name] = data[start + 8 : start + 8 + size]
        start += 8 + size + (size & 1)
    return chunks


def _zones(chunks, level, first, last, link):
    """(linked index, lowest key, highest key) of the zones of a preset or an instrument."""
    bags, generators = chunks[level + b"bag"], chunks[level + b"gen"]
    zones, default = [], (0, 127)
    for zone in range(first, last):
        start, stop = (struct.unpack_from("<H", bags, 4 * i)[0] for i in (zone, zone + 1))
        values = dict(struct.unpack_from("<HH", generators, 4 * i) for i in range(start, stop))
        keys = values.get(KEY_RANGE)
        keys = default if keys is None else (keys & 0xFF, keys >> 8)
        if link in values:
            zones.append((values[link], *keys))
        elif zone == first:
            default = keys  # a first zone without a link holds the defaults of the others
    return zones
