// A board of pedals: the list `steps` is changed here and rendered in Python.
const STYLE = `
.labkit-board { padding: .5em; border: 1px solid #8886; border-radius: 6px; max-width: 64em; }
.labkit-board .row, .labkit-board .bar { display: flex; flex-wrap: wrap; gap: .6em; align-items: flex-start; }
.labkit-board .bar { align-items: center; margin: .6em 0; }
.labkit-board fieldset { border: 1px solid #8888; border-radius: 6px; width: 14em; max-width: 100%; box-sizing: border-box; margin: 0; padding: .4em .6em; }
.labkit-board fieldset.off { opacity: .5; }
.labkit-board fieldset.over { outline: 3px dashed #e69f00; }
.labkit-board legend { font-weight: bold; cursor: grab; padding: 0 .3em; }
.labkit-board label { display: block; font-size: 85%; margin: .2em 0; }
.labkit-board input[type=range] { width: 100%; }
.labkit-board button, .labkit-board select { font: inherit; padding: .2em .6em; cursor: pointer; }
.labkit-board button:focus-visible, .labkit-board input:focus-visible { outline: 3px solid #e69f00; }
.labkit-board textarea { width: 100%; min-height: 8em; font-family: monospace; font-size: 85%; }
.labkit-board [role=alert] { color: #d55e00; margin: .4em 0 0; min-height: 1.2em; }`;

function made(parent, tag, fields = {}) {
  const element = Object.assign(document.createElement(tag), fields);
  parent.append(element);
  return element;
}

function toUnit(knob, value) {
  return knob.scale === "log"
    ? Math.log(value / knob.low) / Math.log(knob.high / knob.low)
    : (value - knob.low) / (knob.high - knob.low);
}

function fromUnit(knob, unit) {
  const value = knob.scale === "log"
    ? knob.low * (knob.high / knob.low) ** unit
    : knob.low + unit * (knob.high - knob.low);
  return Math.min(knob.high, Math.max(knob.low, value));
}

function render({ model, el }) {
  const root = made(el, "div", { className: "labkit-board" });
  root.addEventListener("keydown", (event) => { // in JupyterLab a letter cuts a cell, an arrow leaves it
    if (!(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey)) event.stopPropagation();
  });
  made(root, "style", { textContent: STYLE });
  const row = made(root, "div", { className: "row" });
  const bar = made(root, "div", { className: "bar" });
  const alert = made(root, "p");
  alert.setAttribute("role", "alert");
  const details = made(root, "details");
  made(details, "summary", { textContent: model.get("code") === undefined ? "preset" : "preset, code and Faust" });
  const json = made(details, "textarea", { spellcheck: false });
  json.setAttribute("aria-label", "the chain as JSON");
  const load = made(details, "button", { type: "button", textContent: "load this JSON" });
  load.addEventListener("click", () => model.send({ load: json.value }));
  const texts = { code: "the chain as pedalboard code", faust: "the chain as a program in Faust" };
  for (const [name, label] of Object.entries(texts)) { // a page without Python has neither
    if (model.get(name) === undefined) { delete texts[name]; continue; }
    texts[name] = made(details, "textarea", { readOnly: true, title: label });
    texts[name].setAttribute("aria-label", label);
  }
  for (const kind of model.get("kinds") ?? []) { // what Python writes
    const write = made(details, "button", { type: "button", textContent: `write ${kind}` });
    write.addEventListener("click", () => model.send({ export: kind }));
  }
  let dragged = null;

  const steps = () => structuredClone(model.get("steps"));
  const knobs = (name) => model.get("shelf").find((one) => one.name === name).knobs;

  function put(next) {
    model.set("steps", next);
    model.save_changes();
  }

  function move(from, to) {
    const next = steps();
    if (to < 0 || to >= next.length || from === to) return;
    next.splice(to, 0, ...next.splice(from, 1));
    put(next);
    row.children[to]?.querySelector("button")?.focus();
  }

  function card(step, place) {
    const box = made(row, "fieldset", { className: step.on ? "" : "off" });
    box.dataset.effect = step.effect;
    const legend = made(box, "legend", { textContent: `${place + 1}. ${step.effect}`, draggable: true });
    legend.addEventListener("dragstart", (event) => {
      dragged = place;
      event.dataTransfer.setData("text/plain", step.effect);
    });
    box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("over"); });
    box.addEventListener("dragleave", () => box.classList.remove("over"));
    box.addEventListener("drop", (event) => {
      event.preventDefault();
      box.classList.remove("over");
      if (dragged !== null) move(dragged, place);
      dragged = null;
    });
    const tools = made(box, "div");
    const tool = (text, label, act) => {
      const one = made(tools, "button", { type: "button", textContent: text, title: label });
      one.setAttribute("aria-label", `${label}: ${step.effect}`);
      one.addEventListener("click", act);
    };
    tool("◀", "earlier", () => move(place, place - 1));
    tool("▶", "later", () => move(place, place + 1));
    tool(step.on ? "on" : "off", "bypass", () => {
      const next = steps();
      next[place].on = !next[place].on;
      put(next);
    });
    tool("✕", "remove", () => put(steps().filter((_, k) => k !== place)));
    for (const knob of knobs(step.effect)) {
      const label = made(box, "label");
      const text = made(label, "span");
      const range = made(label, "input", { type: "range", min: 0, max: 1, step: 0.005 });
      range.value = toUnit(knob, step.params[knob.name]);
      const name = knob.name.replace(/_(db|hz|ms|s)$/, "").replaceAll("_", " ");
      const show = (value) => { text.textContent = `${name} ${Number(value.toPrecision(3))} ${knob.unit}`; };
      show(step.params[knob.name]);
      range.setAttribute("aria-label", `${step.effect} ${name}`);
      range.addEventListener("input", () => show(fromUnit(knob, Number(range.value))));
      range.addEventListener(model.get("live") ? "input" : "change", () => {
        const next = steps();
        next[place].params[knob.name] = fromUnit(knob, Number(range.value));
        put(next);
      });
    }
  }

  // A changed knob leaves the cards as they are, so that the slider keeps its focus.
  const shape = () => JSON.stringify(model.get("steps").map((step) => [step.effect, step.on]));
  let drawn = null;
  function draw() {
    if (shape() !== drawn) {
      drawn = shape();
      row.replaceChildren();
      model.get("steps").forEach(card);
      if (!model.get("steps").length) made(row, "em", { textContent: "no pedals: the clean sound" });
    }
    json.value = model.get("json");
    for (const [name, area] of Object.entries(texts)) area.value = model.get(name);
    alert.textContent = model.get("message");
  }

  const choice = made(bar, "select");
  choice.setAttribute("aria-label", "a pedal to add");
  for (const one of model.get("shelf")) made(choice, "option", { textContent: one.name });
  const add = made(bar, "button", { type: "button", textContent: "add" });
  add.addEventListener("click", () => {
    const params = Object.fromEntries(knobs(choice.value).map((knob) => [knob.name, knob.start]));
    put([...steps(), { effect: choice.value, params, on: true }]);
  });
  const clear = made(bar, "button", { type: "button", textContent: "clear" });
  clear.addEventListener("click", () => put([]));
  const redraw = () => { drawn = null; draw(); };
  model.on("change:steps", draw);
  model.on("change:json change:code change:faust change:message", draw);
  model.on("msg:custom", (message) => { if (message.loaded) redraw(); });
  draw();
}

export default { render };
