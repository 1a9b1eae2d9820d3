// Some linear algebra. Matrices for WebGL are column-major, 16 numbers.
const subtract = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0],
];
const unit = (a) => a.map((x) => x / Math.hypot(...a));

function lookAt(eye, target, up) {
  const z = unit(subtract(eye, target));
  const x = unit(cross(up, z));
  const y = cross(z, x);
  return [
    x[0], y[0], z[0], 0, x[1], y[1], z[1], 0, x[2], y[2], z[2], 0,
    -dot(x, eye), -dot(y, eye), -dot(z, eye), 1,
  ];
}

function perspective(fieldOfView, aspect, near, far) {
  const f = 1 / Math.tan(fieldOfView / 2);
  const depth = near - far;
  return [f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / depth, -1,
    0, 0, (2 * far * near) / depth, 0];
}

function multiply(a, b) {
  const out = new Array(16).fill(0);
  for (let column = 0; column < 4; column++)
    for (let row = 0; row < 4; row++)
      for (let k = 0; k < 4; k++) out[4 * column + row] += a[4 * k + row] * b[4 * column + k];
  return out;
}

// Returns the rotation matrix, row-major, of an axis times angle (Rodrigues).
function rotationOf(x, y, z) {
  const angle = Math.hypot(x, y, z);
  if (angle < 1e-9) return [1, -z, y, z, 1, -x, -y, x, 1];
  [x, y, z] = [x / angle, y / angle, z / angle];
  const c = Math.cos(angle), s = Math.sin(angle), d = 1 - c;
  return [
    c + x * x * d, x * y * d - z * s, x * z * d + y * s,
    y * x * d + z * s, c + y * y * d, y * z * d - x * s,
    z * x * d - y * s, z * y * d + x * s, c + z * z * d,
  ];
}

// Returns the non-zero entries of each blend shape: indices into the flat list of coordinates, and
// the offsets in metres per unit coefficient. Most blend shapes affect few vertices.
function sparseDirections(directions, step) {
  const [count, verts] = directions.shape;
  return Array.from({ length: count }, (_, d) => {
    const row = directions.subarray(3 * verts * d, 3 * verts * (d + 1));
    let size = 0;
    for (let i = 0; i < row.length; i++) if (row[i] !== 0) size++;
    const places = new Uint32Array(size), amounts = new Float32Array(size);
    for (let i = 0, k = 0; i < row.length; i++) {
      if (row[i] === 0) continue;
      places[k] = i;
      amounts[k++] = row[i] * step;
    }
    return { places, amounts };
  });
}

function addDirection(vertices, { places, amounts }, coefficient) {
  if (coefficient === 0) return;
  for (let k = 0; k < places.length; k++) vertices[places[k]] += coefficient * amounts[k];
}

// Returns what the GPU needs to pose a person's body in a row of their arrays, as pose_body does:
// the vertices at rest for this shape and pose, and for each joint three rows [R | t] that map a
// point at rest to its posed position, in camera axes.
function poseOf(body, person, row) {
  const joints = body.parents.length;
  const betas = person.shape.subarray(10 * row, 10 * row + 10);
  const pose = person.pose.subarray(3 * joints * row, 3 * joints * (row + 1));
  const rest = Float32Array.from(body.template);
  betas.forEach((beta, k) => addDirection(rest, body.sparse[k], beta));
  const bones = new Float32Array(12 * joints);
  const world = [];
  for (let j = 0; j < joints; j++) {
    const local = rotationOf(...pose.subarray(3 * j, 3 * j + 3));
    if (j > 0) for (let i = 0; i < 9; i++)
      addDirection(rest, body.sparse[10 + 9 * (j - 1) + i], local[i] - (i % 4 === 0 ? 1 : 0));
    const home = [0, 1, 2].map((i) => {
      let value = body.rest_joints[3 * j + i];
      for (let k = 0; k < 10; k++) value += body.rest_joint_dirs[30 * j + 10 * i + k] * betas[k];
      return value;
    });
    const above = world[body.parents[j]];
    const [R, t] = above ? chain(above, local, home) : [local, home];
    world.push({ R, t, home });
    for (let i = 0; i < 3; i++) {
      const line = R.slice(3 * i, 3 * i + 3);
      bones.set([...line, t[i] - dot(line, home)], 12 * j + 4 * i);
    }
  }
  return { rest, bones };
}

// Returns a joint's rotation and position from its parent's; `home` is its position at rest.
function chain(above, local, home) {
  const bone = subtract(home, above.home);
  const R = [], t = [];
  for (let i = 0; i < 3; i++) {
    const line = above.R.slice(3 * i, 3 * i + 3);
    for (let k = 0; k < 3; k++) R.push(dot(line, [local[k], local[3 + k], local[6 + k]]));
    t.push(dot(line, bone) + above.t[i]);
  }
  return [R, t];
}
