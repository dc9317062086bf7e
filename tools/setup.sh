#!/usr/bin/env bash
# Makes the virtual environment: setup.sh FOLDER UV_VERSION. Installs with uv where it can be had, else with pip.
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

if [ -x "$venv/bin/jupyter" ]; then
    echo "pyproject.toml or requirements.lock changed: bringing $venv up to date ..."
else
    echo "Installing into $venv (5.5 GB; only the first time) ..."
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version" || true
if [ -x "$venv/bin/uv" ]; then
    # Certificates of the system: behind a proxy the built-in ones are not enough.
    install=("$venv/bin/uv" pip install --system-certs --quiet --python "$venv/bin/python")
else
    echo "uv is not to be had; pip does the same, slower."
    install=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
fi
"${install[@]}" -r requirements.lock
"${install[@]}" --no-deps --no-build-isolation -e .

# A checkout keeps audio out of committed notebooks by itself; a downloaded archive has no hooks to set.
if git rev-parse --git-dir >/dev/null 2>&1; then
    git config core.hooksPath .githooks
fi
