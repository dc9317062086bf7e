// Plays a chain of pedals, each a WebAssembly module that Faust made, on two channels of audio.
const MOST = 2048; // samples of a block, at most

class Pedal {
  constructor({ module, size, sliders }) {
    const functions = WebAssembly.Module.imports(module).map(({ name }) => [name, Math[name.slice(1, -1)]]); // _powf
    this.wasm = new WebAssembly.Instance(module, { env: Object.fromEntries(functions) }).exports;
    this.sliders = sliders; // knob -> its place
    this.wasm.init(0, sampleRate);
    // Behind the state (`size` bytes): where two inputs and two outputs are, and then these four.
    this.places = 4 * Math.ceil(size / 4);
    const starts = [0, 1, 2, 3].map((k) => this.places + 16 + 4 * k * MOST);
    const { buffer } = this.wasm.memory;
    new Int32Array(buffer, this.places).set(starts);
    [this.inputs, this.outputs] = [starts.slice(0, 2), starts.slice(2)].map(
      (pair) => pair.map((start) => new Float32Array(buffer, start, MOST)));
  }

  turn(params) {
    for (const [knob, value] of Object.entries(params)) this.wasm.setParamValue(0, this.sliders[knob], value);
  }

  play(channels) {
    channels.forEach((channel, k) => this.inputs[k].set(channel));
    const samples = channels[0].length;
    this.wasm.compute(0, samples, this.places, this.places + 8);
    return this.outputs.map((channel) => channel.subarray(0, samples));
  }
}

registerProcessor("labkit-chain", class extends AudioWorkletProcessor {
  constructor({ processorOptions: { pedals, steps } }) {
    super();
    this.kinds = pedals;
    this.chain = [];
    this.follow(steps);
    this.port.onmessage = ({ data }) => this.follow(data);
  }

  // A pedal that was there before keeps its echoes.
  follow(steps) {
    const left = [...this.chain];
    this.chain = steps.map(({ effect, params }) => {
      const known = left.findIndex((one) => one.effect === effect);
      const pedal = known < 0 ? new Pedal(this.kinds[effect]) : left.splice(known, 1)[0].pedal;
      pedal.turn(params);
      return { effect, pedal };
    });
  }

  process([input], [output]) {
    let channels = input.length ? input : output; // which is silent so far
    for (const { pedal } of this.chain) channels = pedal.play(channels);
    output.forEach((channel, k) => channel.set(channels[k]));
    return true;
  }
});
