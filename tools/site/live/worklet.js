// Plays a chain of pedals, each a WebAssembly module that Faust made, on one channel of audio.
class Pedal {
  constructor({ module, size, sliders }) {
    const functions = WebAssembly.Module.imports(module).map(({ name }) => [name, Math[name.slice(1, -1)]]); // _powf
    this.wasm = new WebAssembly.Instance(module, { env: Object.fromEntries(functions) }).exports;
    this.sliders = sliders; // knob -> its place
    this.wasm.init(0, sampleRate);
    // Behind the state (`size` bytes): where the input is, where the output is, input, output.
    const [places, most] = [Math.ceil(size / 4), 2048];
    const { buffer } = this.wasm.memory;
    new Int32Array(buffer).set([4 * (places + 2), 4 * (places + 2 + most)], places);
    [this.from, this.to] = [4 * places, 4 * (places + 1)];
    this.input = new Float32Array(buffer, 4 * (places + 2), most);
    this.output = new Float32Array(buffer, 4 * (places + 2 + most), most);
  }

  turn(params) {
    for (const [knob, value] of Object.entries(params)) this.wasm.setParamValue(0, this.sliders[knob], value);
  }

  play(block) {
    this.input.set(block);
    this.wasm.compute(0, block.length, this.from, this.to);
    return this.output.subarray(0, block.length);
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

  process([[input]], [[output]]) {
    let block = input ?? new Float32Array(output.length);
    for (const { pedal } of this.chain) block = pedal.play(block);
    output.set(block);
    return true;
  }
});
