// A board of pedals that plays in the page: a riff or the microphone, through an AudioWorklet.
import board from "./board.js";

const here = (name) => new URL(name, import.meta.url);
const catalogue = fetch(here("pedals.json")).then((answer) => answer.json());

async function modules() {
  const entries = Object.entries(await catalogue).map(async ([name, { size, sliders }]) => {
    const bytes = await (await fetch(here(`${name}.wasm`))).arrayBuffer();
    return [name, { module: await WebAssembly.compile(bytes), size, sliders }];
  });
  return Object.fromEntries(await Promise.all(entries));
}

// A node that plays the chain [{effect, params}] in stereo; post another chain to its port.
export async function chainNode(context, steps) {
  await context.audioWorklet.addModule(here("worklet.js"));
  return new AudioWorkletNode(context, "labkit-chain", {
    processorOptions: { pedals: await modules(), steps },
    channelCount: 2, channelCountMode: "explicit", outputChannelCount: [2],
  });
}

// What a chain makes of sound (a list of samples for each channel), faster than real time.
export async function render(sound, rate, steps) {
  const [{ length }] = sound;
  const context = new OfflineAudioContext(2, length, rate);
  const buffer = new AudioBuffer({ length, sampleRate: rate, numberOfChannels: sound.length });
  sound.forEach((samples, k) => buffer.copyToChannel(Float32Array.from(samples), k));
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(await chainNode(context, steps)).connect(context.destination);
  source.start();
  const wet = await context.startRendering();
  return [0, 1].map((k) => wet.getChannelData(k));
}

function modelOf(shelf, steps, onChange) { // what board.js asks of a widget's model
  const state = { shelf, steps, json: "", message: "", live: true };
  const heard = [];
  const tell = (event) => heard.forEach(([names, act]) => names.split(" ").includes(event) && act({ loaded: true }));
  const follow = () => {
    state.json = JSON.stringify(state.steps, null, 1);
    state.message = "";
    onChange(state.steps.filter((step) => step.on));
    tell("change:steps");
  };
  return {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; },
    on: (names, act) => heard.push([names, act]),
    save_changes: follow,
    send({ load }) {
      try {
        const given = JSON.parse(load);
        const next = (given.steps ?? given).map(({ effect, params }) => {
          const { knobs } = shelf.find((one) => one.name === effect);
          return { effect, on: true, params: Object.fromEntries(knobs.map(({ name, low, high }) => {
            if (!(params[name] >= low && params[name] <= high)) throw new Error(`${name} must lie in ${low} to ${high}`);
            return [name, params[name]];
          })) };
        });
        state.steps = next;
        follow();
        tell("msg:custom");
      } catch (error) {
        state.message = `no chain: ${error.message}`;
        tell("change:message");
      }
    },
  };
}

async function show(root) {
  const shelf = Object.entries(await catalogue).map(([name, { knobs }]) => ({ name, knobs }));
  const middle = (effect) => {
    const { knobs } = shelf.find(({ name }) => name === effect);
    return { effect, on: true, params: Object.fromEntries(knobs.map(({ name, start }) => [name, start])) };
  };
  const steps = ["compressor", "distortion", "chorus", "reverb"].map(middle);
  let [context, node, meter, volume, source] = [];
  const model = modelOf(shelf, steps, (on) => node?.port.postMessage(on));
  const made = (parent, tag, fields) => parent.appendChild(Object.assign(document.createElement(tag), fields));
  board.render({ model, el: root });
  const box = root.querySelector(".labkit-board");
  const bar = made(box, "div", { className: "bar" });
  const status = made(box, "p", { role: "status", textContent: "stopped" });
  box.prepend(bar, status);

  async function play(open) {
    stop();
    if (!context) {
      context = new AudioContext({ latencyHint: "interactive" });
      node = await chainNode(context, model.get("steps").filter((step) => step.on));
      meter = new AnalyserNode(context, { fftSize: 8192 });
      volume = new GainNode(context, { gain: Number(loud.value) });
      meter.connect(node).connect(volume).connect(context.destination);
    }
    try {
      source = await open();
    } catch (error) {
      status.textContent = `no sound: ${error.message}`;
      return;
    }
    source.connect(meter);
    source.start?.();
    await context.resume();
    [root.dataset.from, root.dataset.clock] = [performance.now(), context.currentTime];
  }

  function stop() {
    source?.disconnect();
    source?.mediaStream?.getTracks().forEach((track) => track.stop());
    source = null;
  }

  const button = (textContent, act) => made(bar, "button", { type: "button", textContent }).addEventListener("click", act);
  button("play the riff", () => play(async () => {
    const file = await (await fetch(here("riff.flac"))).arrayBuffer();
    return new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(file), loop: true });
  }));
  button("play the microphone (use headphones)", () => play(async () => {
    const wish = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return context.createMediaStreamSource(await navigator.mediaDevices.getUserMedia({ audio: wish }));
  }));
  button("stop", () => { stop(); status.textContent = "stopped"; });
  const loud = made(made(bar, "label", { textContent: " volume " }), "input", { type: "range", min: 0, max: 1, step: 0.01, value: 0.3 });
  loud.addEventListener("input", () => { if (volume) volume.gain.value = Number(loud.value); });

  const block = new Float32Array(8192);
  setInterval(() => {
    if (!source) return;
    meter.getFloatTimeDomainData(block);
    const level = 10 * Math.log10(block.reduce((sum, x) => sum + x * x, 1e-12) / block.length);
    const played = context.currentTime - root.dataset.clock;
    const late = (performance.now() - root.dataset.from) / 1000 - played;
    const dropouts = (context.playbackStats ?? context.playoutStats)?.underrunEvents; // where a browser counts them
    Object.assign(root.dataset, { seconds: played, late, level, dropouts });
    status.textContent = `input ${level.toFixed(0)} dBFS RMS (pedals are set for -20); latency ${(1000 * (context.baseLatency + (context.outputLatency || 0))).toFixed(0)} ms`
      + (dropouts === undefined ? "" : `; dropouts ${dropouts}`);
  }, 200);
}

const root = globalThis.document?.querySelector("#labkit-live");
if (root) show(root);
