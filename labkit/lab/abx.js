// Two looping sources start at one instant of one AudioContext and never stop while the test plays;
// a choice only moves their two gains, so a switch has no gap and no jump in time.
const FADE_SECONDS = 0.008;

const STYLE = `
.labkit-abx { display: inline-flex; flex-direction: column; gap: .4em; padding: .6em; border: 1px solid #888; border-radius: 6px; }
.labkit-abx div { display: flex; flex-wrap: wrap; gap: .4em; align-items: center; }
.labkit-abx button { min-width: 3em; padding: .35em .8em; font: inherit; cursor: pointer; }
.labkit-abx button[aria-pressed="true"] { background: #0072b2; color: white; }
.labkit-abx button:focus-visible { outline: 3px solid #e69f00; }
.labkit-abx p { margin: 0; font-size: 90%; }`;

function button(parent, text, label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  parent.append(made);
  return made;
}

function paragraph(parent) {
  const made = document.createElement("p");
  parent.append(made);
  return made;
}

// The bytes arrive as a DataView; decodeAudioData empties the buffer it is given, so it gets a copy.
function decode(context, view) {
  return context.decodeAudioData(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function makeSound(model) {
  let context = null;
  let gains = null;
  let sources = [];

  const audible = (choice) => (choice === "X" ? (model.get("x_is_b") ? 1 : 0) : choice === "B" ? 1 : 0);

  async function start(choice) {
    const own = context = new AudioContext();
    const buffers = await Promise.all([decode(own, model.get("a")), decode(own, model.get("b"))]);
    if (context !== own) return; // stopped meanwhile, and perhaps started again
    const at = context.currentTime + 0.05;
    gains = buffers.map((_, k) => new GainNode(context, { gain: k === audible(choice) ? 1 : 0 }));
    sources = buffers.map((buffer, k) => {
      const source = new AudioBufferSourceNode(context, { buffer, loop: true });
      source.connect(gains[k]).connect(context.destination);
      source.start(at);
      return source;
    });
    await context.resume();
  }

  function choose(choice) {
    if (!gains) return;
    const now = context.currentTime;
    gains.forEach((gain, k) => {
      gain.gain.cancelScheduledValues(now);
      gain.gain.setValueAtTime(gain.gain.value, now);
      gain.gain.linearRampToValueAtTime(k === audible(choice) ? 1 : 0, now + FADE_SECONDS);
    });
  }

  function stop() {
    sources.forEach((source) => source.stop());
    if (context) context.close();
    context = gains = null;
    sources = [];
  }

  return { start, choose, stop, playing: () => context !== null };
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "labkit-abx";
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Blind A/B/X listening test");
  root.addEventListener("keydown", (event) => { // in JupyterLab a letter cuts a cell, an arrow leaves it
    if (!(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey)) event.stopPropagation();
  });
  const style = document.createElement("style");
  style.textContent = STYLE;
  el.append(style, root);

  const sound = makeSound(model);
  let choice = "A";
  const listen = document.createElement("div");
  const guess = document.createElement("div");
  const caption = paragraph(root);
  root.append(listen, guess);
  const score = paragraph(root);
  score.setAttribute("aria-live", "polite");
  const help = paragraph(root);
  help.textContent = "Keys: a, b, x listen; 1, 2 answer; space stops.";

  function show() {
    caption.textContent = model.get("caption");
    score.textContent = model.get("verdict");
    for (const [name, made] of Object.entries(choices)) {
      made.setAttribute("aria-pressed", String(sound.playing() && name === choice));
    }
  }

  async function play(name) {
    choice = name;
    if (sound.playing()) sound.choose(name);
    else {
      const begun = sound.start(name);
      show();
      await begun;
      sound.choose(choice); // another key may have been pressed while the clips were decoded
    }
    show();
  }

  function stop() {
    sound.stop();
    show();
  }

  const choices = Object.fromEntries(
    ["A", "B", "X"].map((name) => [name, button(listen, name, `Listen to ${name}`, () => play(name))]),
  );
  button(listen, "Stop", "Stop", stop);
  const answer = (name) => model.send({ answer: name });
  button(guess, "X is A", "Answer: X is A", () => answer("A"));
  button(guess, "X is B", "Answer: X is B", () => answer("B"));

  const keys = { a: () => play("A"), b: () => play("B"), x: () => play("X"), 1: () => answer("A"), 2: () => answer("B") };
  root.addEventListener("keydown", (event) => {
    const onButton = event.target instanceof HTMLButtonElement;
    const space = () => (sound.playing() ? stop() : play(choice));
    const act = event.key === " " && !onButton ? space : keys[event.key.toLowerCase()];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });

  // A new X must not be heard as the same sound going on: the next trial starts from A.
  const next = () => {
    if (sound.playing()) play("A");
    show();
  };
  model.on("change:n_trials", next);
  model.on("change:verdict", show);
  model.on("change:caption", show);
  show();
  return () => {
    sound.stop();
    model.off("change:n_trials", next);
    model.off("change:verdict", show);
    model.off("change:caption", show);
  };
}

export default { render };
