// A person's attention in a frame, as numbers and colours.
// `block` is an index into the file's blocks, or -1 for their mean.
const HEAT = [[20, 14, 54], [92, 22, 110], [182, 54, 84], [240, 120, 32], [252, 222, 108]];
const GATE = [[47, 143, 157], [150, 150, 150], [222, 135, 52]]; // space, even, time

function mix(stops, value) {
  const at = Math.min(Math.max(value, 0), 1) * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  return stops[i].map((c, k) => Math.round(c + (at - i) * (stops[i + 1][k] - c)));
}
const heatColor = (value) => `rgb(${mix(HEAT, value).join()})`;
const gateColor = (value) => `rgb(${mix(GATE, value).join()})`;

// Returns one frame of an array [n blocks ...], of one block or their mean, as fractions in [0, 1].
function ofFrame(array, row, block) {
  const [, blocks, ...rest] = array.shape;
  const size = rest.reduce((a, b) => a * b, 1);
  const out = new Float32Array(size);
  for (let b = 0; b < blocks; b++) {
    if (block >= 0 && b !== block) continue;
    const start = (row * blocks + b) * size;
    for (let i = 0; i < size; i++) out[i] += array[start + i] / 255 / (block < 0 ? blocks : 1);
  }
  return out;
}

// Returns [{frame, weight}] for this frame's clip, in order, relative to the largest; [] if none.
function timeWeights(person, frame, block) {
  const row = person.row(frame);
  if (row < 0 || !person.attention.time) return [];
  const weights = ofFrame(person.attention.time, row, block);
  const most = Math.max(...weights, 1e-9);
  const frames = person.attention.clip_frames.subarray(row * weights.length, (row + 1) * weights.length);
  return Array.from(frames, (at, i) => ({
    frame: at, weight: weights[i] / most,
  })).sort((a, b) => a.frame - b.frame);
}

function meanGate(person, row, block) {
  const gates = ofFrame(person.attention.gates, row, block);
  return gates.reduce((a, b) => a + b, 0) / gates.length;
}

// Returns a frame's spatial heat map as a small canvas, transparent where weights are low.
function heatMap(person, row, block) {
  const { space } = person.attention;
  const [, , height, width] = space.shape;
  const values = ofFrame(space, row, block);
  const most = Math.max(...values, 1e-9);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  values.forEach((value, i) => {
    const relative = value / most;
    image.data.set([...mix(HEAT, relative), 40 + 190 * Math.sqrt(relative)], 4 * i);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// Returns how much of `listener` comes from each joint; null: the sum over all joints.
function listenedTo(person, row, listener) {
  const { joints } = person.attention;
  const count = joints.shape[1];
  const fraction = (to, from) => joints[(row * count + to) * count + from] / 255;
  return Array.from({ length: count }, (_, from) => {
    if (listener !== null) return fraction(listener, from);
    let sum = 0;
    for (let to = 0; to < count; to++) sum += fraction(to, from);
    return sum;
  });
}
