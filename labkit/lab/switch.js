// Turns every group of <audio> elements that `listen.players` wrote into one synchronised player.
// All clips start at one instant of one AudioContext; a choice only moves gains, so that a switch
// has no gap and no jump in time. Without scripts the plain <audio> elements stay.
(() => {
  const FADE_SECONDS = 0.008;
  const STYLE = `
.labkit-players { padding: .4em; border: 1px solid #8886; border-radius: 6px; max-width: 52em; }
.labkit-bar { display: flex; flex-wrap: wrap; gap: .4em; align-items: center; flex-basis: 100%; }
.labkit-players canvas { width: 100%; height: 48px; cursor: pointer; }
.labkit-players button { font: inherit; padding: .3em .8em; cursor: pointer; }
.labkit-players button[aria-pressed=true] { background: #0072b2; color: #fff; }
.labkit-players .labkit-loop { margin-left: auto; border: 1px solid #8886; border-radius: 6px; background: none; color: inherit; opacity: .6; }
.labkit-players .labkit-loop[aria-pressed=true] { background: none; color: inherit; opacity: 1; box-shadow: inset 0 -3px #0072b2; }
.labkit-players .labkit-clock { font-variant-numeric: tabular-nums; white-space: nowrap; }
.labkit-players button:focus-visible, .labkit-players:focus-visible { outline: 3px solid #e69f00; }
.labkit-players figcaption { font-size: 85%; opacity: .75; }
.labkit-players .labkit-chosen figcaption { opacity: 1; font-weight: bold; }`;

  function button(parent, text, label, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.title = label;
    made.addEventListener("click", act);
    parent.append(made);
    return made;
  }

  // Clips of one length (the longest), each channel filled with silence.
  async function decode(urls) {
    const context = new OfflineAudioContext(1, 1, 48000);
    const read = async (url) => context.decodeAudioData(await (await fetch(url)).arrayBuffer());
    const clips = await Promise.all(urls.map(read));
    const length = Math.max(...clips.map((clip) => clip.length));
    return clips.map((clip) => {
      const { numberOfChannels, sampleRate } = clip;
      const whole = new AudioBuffer({ length, numberOfChannels, sampleRate });
      for (let c = 0; c < numberOfChannels; c += 1) whole.copyToChannel(clip.getChannelData(c), c);
      return whole;
    });
  }

  function upgrade(group) {
    const figures = [...group.querySelectorAll("figure")];
    const urls = figures.map((figure) => figure.querySelector("audio")?.getAttribute("src"));
    if (!urls.length || !urls.every((url) => url)) return;
    group.dataset.ready = "yes";
    const names = figures.map((figure) => figure.dataset.name);
    const state = { clips: null, context: null, gains: [], sources: [], choice: 0, loop: true };
    state.loudest = 1e-6; // over all clips, so that one scale shows all waves
    state.at = 0; // seconds into the clip while stopped
    state.began = 0; // context time at which second 0 of the clip lay, while playing

    const bar = document.createElement("div");
    bar.className = "labkit-bar";
    const play = button(bar, "▶", "play or stop (space)", () => (state.context ? stop() : start()));
    const choices = names.map((name, k) =>
      button(bar, name, `${name} (key ${k + 1})`, () => choose(k)));
    const clock = Object.assign(document.createElement("span"), { className: "labkit-clock" });
    bar.append(clock);
    const loop = button(bar, "⟲", "repeat (key L)", () => setLoop(!state.loop));
    loop.className = "labkit-loop"; // a switch of its own, not one more sound
    const wave = document.createElement("canvas");
    wave.setAttribute("role", "img");
    figures.forEach((figure) => { figure.querySelector("audio").hidden = true; });
    group.prepend(Object.assign(document.createElement("style"), { textContent: STYLE }), bar, wave);
    group.tabIndex = 0;
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", `${names.length} sounds; keys: space plays, digits choose, arrows move by a second, L repeats`);

    const duration = () => (state.clips ? state.clips[0].duration : 0);
    const place = () => {
      if (!state.context) return state.at;
      const passed = Math.max(0, state.context.currentTime - state.began);
      return state.loop ? passed % duration() : Math.min(passed, duration());
    };

    // A page from a disk may not read its own files: then the plain players come back.
    function giveUp() {
      bar.remove();
      wave.remove();
      figures.forEach((figure) => { figure.querySelector("audio").hidden = false; });
    }

    async function load() {
      if (!state.loading) state.loading = decode(urls).then((clips) => {
        state.clips = clips;
        for (const clip of clips) for (const sample of clip.getChannelData(0)) state.loudest = Math.max(state.loudest, Math.abs(sample));
        draw();
      }).catch(giveUp);
      return state.loading;
    }

    async function start() {
      await load();
      if (!state.clips || state.context) return; // or pressed twice while the clips were decoded
      const context = new AudioContext();
      state.context = context;
      state.began = context.currentTime + 0.05 - state.at;
      state.gains = state.clips.map((_, k) => new GainNode(context, { gain: k === state.choice ? 1 : 0 }));
      state.sources = state.clips.map((buffer, k) => {
        const source = new AudioBufferSourceNode(context, { buffer, loop: state.loop });
        source.connect(state.gains[k]).connect(context.destination);
        source.start(context.currentTime + 0.05, state.at);
        return source;
      });
      state.sources[0].onended = () => { if (state.context === context) { stop(); state.at = 0; draw(); } };
      await context.resume();
      show();
      requestAnimationFrame(tick);
    }

    function stop() {
      state.at = place();
      const context = state.context;
      state.context = null;
      context.close();
      show();
    }

    function seek(seconds) {
      const playing = Boolean(state.context);
      if (playing) stop();
      state.at = Math.max(0, Math.min(seconds, duration() - 0.01));
      if (playing) start();
      draw();
    }

    function choose(k) {
      state.choice = k;
      const now = state.context?.currentTime;
      if (state.context) state.gains.forEach((gain, g) => {
        gain.gain.cancelScheduledValues(now);
        gain.gain.setTargetAtTime(g === k ? 1 : 0, now, FADE_SECONDS);
      });
      show();
      draw();
    }

    function setLoop(value) {
      const at = place();
      state.loop = value;
      show();
      if (state.context) seek(at);
    }

    function tick() {
      if (!group.isConnected && state.context) stop();
      if (!state.context) return;
      draw();
      requestAnimationFrame(tick);
    }

    function show() {
      play.textContent = state.context ? "■" : "▶";
      choices.forEach((one, k) => one.setAttribute("aria-pressed", String(k === state.choice)));
      loop.setAttribute("aria-pressed", String(state.loop));
      figures.forEach((figure, k) => figure.classList.toggle("labkit-chosen", k === state.choice));
      group.dataset.playing = state.context ? "yes" : "no";
      group.dataset.choice = names[state.choice];
      wave.setAttribute("aria-label", `waveform of ${names[state.choice]}`);
    }

    function draw() {
      const seconds = place();
      group.dataset.seconds = seconds.toFixed(3);
      if (!state.clips) return;
      clock.textContent = `${seconds.toFixed(1)} / ${duration().toFixed(1)} s`;
      const width = (wave.width = Math.max(100, wave.clientWidth));
      const height = (wave.height = 48);
      const pen = wave.getContext("2d");
      const samples = state.clips[state.choice].getChannelData(0);
      const step = samples.length / width;
      for (let x = 0; x < width; x += 1) {
        let most = 0;
        for (let i = Math.floor(x * step); i < (x + 1) * step; i += 8) most = Math.max(most, Math.abs(samples[i] ?? 0));
        // Played and to come: both are legible on light and on dark pages, between which a reader may change.
        pen.fillStyle = x / width < seconds / duration() ? "#0072b2" : "#8a8a8a";
        const tall = Math.max(1, (most / state.loudest) * height);
        pen.fillRect(x, (height - tall) / 2, 1, tall);
      }
    }

    wave.addEventListener("click", (event) => load().then(() => state.clips && seek((event.offsetX / wave.clientWidth) * duration())));
    group.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (!event.shiftKey) event.stopPropagation(); // in JupyterLab a letter cuts a cell, an arrow leaves it
      const digit = Number(event.key) - 1;
      if (names[digit] !== undefined) choose(digit);
      else if (event.key.toLowerCase() === "l") setLoop(!state.loop);
      else if (event.key === " " && event.target === group) (state.context ? stop() : start());
      else if (event.key === "ArrowLeft") seek(place() - 1);
      else if (event.key === "ArrowRight") seek(place() + 1);
      else return;
      event.preventDefault();
    });
    show();
    // The waveform is drawn when the page has come to it.
    new IntersectionObserver((seen, observer) => {
      if (seen.some((one) => one.isIntersecting)) { observer.disconnect(); load(); }
    }).observe(group);
    new ResizeObserver(() => state.context || draw()).observe(wave);
  }

  document.querySelectorAll(".labkit-players:not([data-ready])").forEach(upgrade);
})();
