// A new sound takes over where the old one was. The element stays, and with it volume, loop and focus.
function render({ model, el }) {
  const audio = document.createElement("audio");
  audio.controls = audio.loop = true;
  audio.setAttribute("aria-label", model.get("name"));
  audio.style.maxWidth = "100%";
  const caption = document.createElement("div");
  caption.className = "labkit-caption";
  el.append(audio, caption);
  el.addEventListener("keydown", (event) => { // in JupyterLab a letter cuts a cell, an arrow leaves it
    if (!(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey)) event.stopPropagation();
  });

  let address = null;
  let held = null; // where and whether it played, until the new sound is ready

  function load() {
    held ??= { at: audio.currentTime, playing: !audio.paused };
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(new Blob([model.get("media")], { type: "audio/wav" }));
    audio.src = address;
  }

  function resume() {
    const { at, playing } = held ?? { at: 0, playing: false };
    held = null;
    audio.currentTime = at < audio.duration ? at : 0;
    if (playing) audio.play().catch(() => {}); // a page that may not play keeps its button
  }

  const describe = () => (caption.textContent = model.get("caption"));
  audio.addEventListener("loadedmetadata", resume);
  model.on("change:media", load);
  model.on("change:caption", describe);
  load();
  describe();
  return () => {
    audio.pause();
    model.off("change:media", load);
    model.off("change:caption", describe);
    URL.revokeObjectURL(address);
  };
}

export default { render };
