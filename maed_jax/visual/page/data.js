// Reads the page's data, base64 of the output of viewer_data.pack, as a promise of {meta, arrays}.
const ARRAY_TYPES = {
  uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array,
  int32: Int32Array, uint32: Uint32Array, float32: Float32Array,
};

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function readData(base64) {
  const packed = new Blob([bytesOf(base64)]).stream();
  const unpacked = packed.pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(unpacked).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const [name, { type, shape, offset }] of Object.entries(header.arrays)) {
    const count = shape.reduce((a, b) => a * b, 1);
    arrays[name] = new ARRAY_TYPES[type](buffer, 4 + length + offset, count);
    arrays[name].shape = shape;
  }
  return { meta: header.meta, arrays };
}

// Makes a person with their arrays by name; row(frame) is a frame's row in the arrays, or -1.
function makePerson({ id, color }, arrays) {
  const person = { id, color: color.map((c) => c / 255), css: `rgb(${color.join()})`, visible: true };
  const prefix = `${id}/`;
  person.attention = {};
  for (const [name, array] of Object.entries(arrays)) {
    if (!name.startsWith(prefix)) continue;
    const key = name.slice(prefix.length);
    if (key.startsWith("attention/")) person.attention[key.slice(10)] = array;
    else person[key] = array;
  }
  const rows = new Map(Array.from(person.frames, (frame, row) => [frame, row]));
  person.row = (frame) => rows.get(frame) ?? -1;
  return person;
}
