// Records a microphone or an interface as it is (no echo cancellation, no automatic gain), and sends
// the samples to Python in pieces that any websocket takes.
const PIECE = 65536; // samples, 256 kB
const STYLE = `
.labkit-recorder { display: flex; flex-wrap: wrap; gap: .6em; align-items: center; padding: .5em; border: 1px solid #8886; border-radius: 6px; max-width: 52em; }
.labkit-recorder button, .labkit-recorder select, .labkit-recorder input { font: inherit; padding: .2em .6em; }
.labkit-recorder button:focus-visible { outline: 3px solid #e69f00; }
.labkit-recorder meter { width: 10em; }
.labkit-recorder p { flex-basis: 100%; margin: 0; }`;
const WORKLET = `registerProcessor("labkit-tap", class extends AudioWorkletProcessor {
  process(inputs) { if (inputs[0][0]) this.port.postMessage(inputs[0][0].slice()); return true; }
});`;

function made(parent, tag, fields = {}) {
  const element = Object.assign(document.createElement(tag), fields);
  parent.append(element);
  return element;
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

function render({ model, el }) {
  const root = made(el, "div", { className: "labkit-recorder" });
  root.addEventListener("keydown", (event) => { // in JupyterLab a letter cuts a cell, an arrow leaves it
    if (!(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey)) event.stopPropagation();
  });
  made(root, "style", { textContent: STYLE });
  const record = made(root, "button", { type: "button", textContent: "● record" });
  const device = made(root, "select");
  device.setAttribute("aria-label", "input");
  made(device, "option", { value: "", textContent: "default input" });
  const label = made(root, "label", { textContent: "length (s) " });
  const seconds = made(label, "input", { type: "number", min: 1, max: 60, value: model.get("seconds") });
  const gauge = made(root, "label", { textContent: "level " });
  const level = made(gauge, "meter", { min: -60, max: 0, low: -30, high: -6, optimum: -15, value: -60 });
  level.setAttribute("aria-label", "input level in dBFS");
  const reading = made(gauge, "span", { textContent: " - dBFS" });
  const words = made(root, "p", { textContent: model.get("message") });
  words.setAttribute("role", "status");
  const say = (text) => { words.textContent = text; };
  let stopNow = null;

  function refuse(error) {
    const reason = {
      NotAllowedError: "the browser was not allowed to use the microphone: allow it beside the address",
      NotFoundError: "no microphone or interface was found",
      NotReadableError: "the input is in use by another program",
    }[error?.name] ?? String(error?.message ?? error);
    say(`Not recorded: ${reason}. An uploaded file does the same.`);
  }

  async function take() {
    let stopped = false;
    stopNow = () => { stopped = true; };
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("this page has no access to a microphone (it needs https, or localhost)");
    }
    const exact = device.value ? { deviceId: { exact: device.value } } : {};
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { ...exact, ...plain } });
    const context = new AudioContext();
    try {
      for (const one of await navigator.mediaDevices.enumerateDevices()) {
        const known = [...device.options].some((option) => option.value === one.deviceId);
        if (one.kind === "audioinput" && !known) made(device, "option", { value: one.deviceId, textContent: one.label });
      }
      await context.audioWorklet.addModule(URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" })));
      const tap = new AudioWorkletNode(context, "labkit-tap");
      const pieces = [];
      let keep = false;
      tap.port.onmessage = ({ data }) => {
        let peak = 0;
        for (const sample of data) peak = Math.max(peak, Math.abs(sample));
        level.value = Math.max(20 * Math.log10(peak + 1e-6), level.value - 0.5);
        reading.textContent = ` ${level.value.toFixed(0)} dBFS`;
        if (keep) pieces.push(data);
      };
      context.createMediaStreamSource(stream).connect(tap);
      for (let beat = model.get("count_in"); beat > 0 && !stopped; beat -= 1) {
        say(`${beat} ...`);
        await wait(model.get("beat_ms"));
      }
      keep = true;
      say("recording");
      const wanted = Math.min(60, Math.max(0.5, Number(seconds.value) || 8)) * context.sampleRate;
      while (!stopped && pieces.length * 128 < wanted) await wait(50);
      keep = false;
      const audio = new Float32Array(Math.min(wanted, pieces.reduce((sum, one) => sum + one.length, 0)));
      let at = 0;
      for (const piece of pieces) {
        audio.set(piece.subarray(0, audio.length - at), at);
        at = Math.min(audio.length, at + piece.length);
      }
      return { audio, rate: context.sampleRate };
    } finally {
      stream.getTracks().forEach((track) => track.stop());
      await context.close();
      level.value = -60;
      reading.textContent = " - dBFS";
    }
  }

  record.addEventListener("click", async () => {
    if (stopNow) return stopNow();
    record.textContent = "■ stop";
    try {
      const { audio, rate } = await take();
      if (!audio.length) return say("Stopped before the take began.");
      const n = Math.max(1, Math.ceil(audio.length / PIECE));
      for (let k = 0; k < n; k += 1) {
        const piece = audio.slice(k * PIECE, (k + 1) * PIECE);
        model.send({ piece: k, of: n, rate }, undefined, [piece.buffer]);
      }
    } catch (error) {
      refuse(error);
    } finally {
      stopNow = null;
      record.textContent = "● record";
    }
  });
  model.on("change:message", () => say(model.get("message")));
}

export default { render };
