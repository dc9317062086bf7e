// Sends a file in pieces, the next one when the last has arrived: a Jupyter server drops messages above 10 MiB
// and its connection with them. Python answers {id, received}.
const PIECE_BYTES = 1 << 20;
const MEGABYTE = 1e6;

const STYLE = `
.labkit-upload { display: flex; flex-wrap: wrap; gap: .4em 1.5em; align-items: center; padding: .3em 0; }
.labkit-upload label { display: flex; flex-wrap: wrap; gap: .5em; align-items: center; max-width: 100%; }
.labkit-upload input { font: inherit; color: inherit; max-width: 100%; }
.labkit-upload input[type="text"] { width: 22em; padding: .2em .4em; background: transparent; border: 1px solid #888; }
.labkit-upload p { flex-basis: 100%; margin: 0; }
.labkit-upload p[role="alert"] { font-weight: bold; }`;

function field(parent, words, attributes) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), attributes);
  label.append(words, input);
  parent.append(label);
  return input;
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "labkit-upload";
  root.addEventListener("keydown", (event) => { // in JupyterLab a letter cuts a cell, an arrow leaves it
    if (!(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey)) event.stopPropagation();
  });
  const style = document.createElement("style");
  style.textContent = STYLE;
  el.append(style, root);
  const chooser = field(root, "Your file", { type: "file", accept: model.get("formats") });
  const path = field(root, "or its path", { type: "text", placeholder: "~/music/riff.wav" });
  const status = document.createElement("p");
  root.append(status);

  let file = null;
  let id = null;

  function say(words, refused = false) {
    status.textContent = words;
    status.setAttribute("role", refused ? "alert" : "status");
  }
  const show = () => say(model.get("status"), model.get("refused"));

  async function sendFrom(received) {
    const [sending, piece] = [id, await file.slice(received, received + PIECE_BYTES).arrayBuffer()];
    if (sending === id) model.send({ id, at: received }, undefined, [piece]);
  }

  function begin() {
    file = chooser.files[0];
    if (!file) return;
    id = `${Date.now()} ${Math.random()}`;
    say(`${file.name}: waiting for the kernel, which may be running a cell`);
    model.send({ id, name: file.name, size: file.size });
  }

  function answer(message) {
    if (message.id !== id) return;
    if (message.received === undefined) show();
    else {
      const [done, all] = [message.received, file.size].map((bytes) => (bytes / MEGABYTE).toFixed(1));
      say(`${file.name}: ${done} of ${all} MB`);
      sendFrom(message.received).catch((error) => say(`${file.name} cannot be read: ${error.message}`, true));
    }
  }

  chooser.addEventListener("click", () => (chooser.value = "")); // so that the same file counts again
  chooser.addEventListener("change", begin);
  path.addEventListener("change", () => model.send({ path: path.value }));
  model.on("msg:custom", answer);
  model.on("change:status", show);
  show();
  return () => {
    id = null;
    model.off("msg:custom", answer);
    model.off("change:status", show);
  };
}

export default { render };
