# The course in JupyterLab: `JUPYTER_TOKEN=choose-one docker compose up`, then http://localhost:8888.
FROM python:3.11-slim-bookworm

# make, what `labkit doctor` calls optional and what `chain --export lv2` compiles with; .ci/run installs
# the same and what only tests use.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        make ffmpeg libfluidsynth3 fluid-soundfont-gm zam-plugins guitarix-lv2 calf-plugins \
        faust g++ lv2-dev libboost-dev dpf-source \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --shell /bin/bash learner \
    && mkdir /labkit /data /opt/venv \
    && chown learner /labkit /data /opt/venv
USER learner
WORKDIR /labkit
ENV LABKIT_VENV=/opt/venv PATH=/opt/venv/bin:$PATH OMP_WAIT_POLICY=PASSIVE SHELL=/bin/bash \
    LABKIT_CACHE=/data/cache LABKIT_REAL_DATA=/data/recordings

# The environment first: it is built anew only after a change in these files. TORCH=cuda is for NVIDIA GPUs.
ARG TORCH=cpu
COPY --chown=learner Makefile pyproject.toml requirements.lock README.md LICENSE ./
COPY --chown=learner tools tools
COPY --chown=learner labkit/__init__.py labkit/__init__.py
RUN make setup TORCH=$TORCH

COPY --chown=learner . .
EXPOSE 8888
CMD ["make", "lab", "BROWSER=no", "IP=0.0.0.0", "PORT=8888"]
