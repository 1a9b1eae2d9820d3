// Draws the bodies: in a room with a floor, or over the video as their crops' cameras see them.
const LIGHT = [0.45, 1.0, 0.55];
const NEAR = 0.05, FAR = 200;

function compile(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
    throw new Error(`the GPU's shader compiler reports: ${gl.getProgramInfoLog(program)}`);
  const places = {};
  return { program, at: (name) => (places[name] ??= gl.getUniformLocation(program, name)) };
}

// Uploads what stays the same while bodies move; returns a factory of bodies {array, update(pose)}.
function uploadBody(gl, body) {
  const upload = (target, data) => {
    const buffer = gl.createBuffer();
    gl.bindBuffer(target, buffer);
    gl.bufferData(target, data, gl.STATIC_DRAW);
    return buffer;
  };
  gl.bindVertexArray(null);
  const normals = upload(gl.ARRAY_BUFFER, body.normals);
  const skinJoints = upload(gl.ARRAY_BUFFER, body.skin_joints);
  const skinWeights = upload(gl.ARRAY_BUFFER, body.skin_weights);
  const faces = upload(gl.ELEMENT_ARRAY_BUFFER, body.faces);

  return function makeBody() {
    const array = gl.createVertexArray();
    const vertices = gl.createBuffer();
    let shown = null;
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, faces);
    [[0, vertices, 3], [1, normals, 3], [3, skinWeights, 4]].forEach(([place, buffer, size]) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
    });
    gl.bindBuffer(gl.ARRAY_BUFFER, skinJoints);
    gl.enableVertexAttribArray(2);
    gl.vertexAttribIPointer(2, 4, gl.UNSIGNED_BYTE, 0, 0);
    function update(pose) {
      if (pose === shown) return;
      gl.bindBuffer(gl.ARRAY_BUFFER, vertices);
      gl.bufferData(gl.ARRAY_BUFFER, pose.rest, gl.DYNAMIC_DRAW);
      shown = pose;
    }
    return { array, update };
  };
}

function uploadFloor(gl) {
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
  gl.bindVertexArray(null);
  return array;
}

// Throws if the browser has no WebGL 2.
function makeScene(canvas, body, meta) {
  const gl = canvas.getContext("webgl2", { antialias: true, stencil: true, preserveDrawingBuffer: true });
  if (!gl) throw new Error("this browser does not support WebGL 2, which is needed to draw the bodies");
  const bodies = compile(gl, bodyVertexShader(body.parents.length), BODY_FRAGMENT_SHADER);
  const ground = compile(gl, FLOOR_VERTEX_SHADER, FLOOR_FRAGMENT_SHADER);
  const makeBody = uploadBody(gl, body);
  const bodyOf = new Map(); // by person
  const floorArray = uploadFloor(gl);
  const indexType = body.faces instanceof Uint16Array ? gl.UNSIGNED_SHORT : gl.UNSIGNED_INT;
  const floor = -meta.floor;
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  function begin(width, height) {
    if (canvas.width !== width || canvas.height !== height)
      [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT | gl.STENCIL_BUFFER_BIT);
  }

  function useBodies(kind, eye, toClip) {
    gl.useProgram(bodies.program);
    gl.uniform1i(bodies.at("kind"), kind);
    gl.uniform1f(bodies.at("floor_y"), floor);
    gl.uniform3fv(bodies.at("light"), LIGHT);
    gl.uniform3fv(bodies.at("eye"), eye);
    gl.uniformMatrix4fv(bodies.at("to_clip"), false, toClip);
  }

  function drawBody({ person, pose, translation, crop }) {
    if (!bodyOf.has(person)) bodyOf.set(person, makeBody());
    const { array, update } = bodyOf.get(person);
    gl.bindVertexArray(array);
    update(pose);
    gl.uniform4fv(bodies.at("bones"), pose.bones);
    gl.uniform3fv(bodies.at("translation"), translation);
    gl.uniform4fv(bodies.at("crop"), crop);
    gl.uniform3fv(bodies.at("color"), person.color);
    gl.drawElements(gl.TRIANGLES, body.faces.length, indexType, 0);
  }

  // actors: [{person, pose, translation, crop}]; camera: {eye, target, up, fieldOfView}.
  function drawRoom(width, height, actors, camera, ink) {
    begin(width, height);
    const toClip = multiply(
      perspective(camera.fieldOfView, width / height, NEAR, FAR),
      lookAt(camera.eye, camera.target, camera.up),
    );
    gl.enable(gl.BLEND);
    gl.disable(gl.DEPTH_TEST);
    gl.useProgram(ground.program);
    gl.bindVertexArray(floorArray);
    gl.uniformMatrix4fv(ground.at("to_clip"), false, toClip);
    gl.uniform3f(ground.at("centre"), camera.target[0], floor, camera.target[2]);
    gl.uniform1f(ground.at("reach"), Math.max(6, 2.5 * Math.hypot(...subtract(camera.eye, camera.target))));
    gl.uniform4fv(ground.at("ink"), ink);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);

    if (camera.eye[1] > floor) { // a pixel is darkened once, however many shadows fall on it
      gl.enable(gl.STENCIL_TEST);
      gl.stencilFunc(gl.EQUAL, 0, 1);
      gl.stencilOp(gl.KEEP, gl.KEEP, gl.INCR);
      useBodies(1, camera.eye, toClip);
      actors.forEach(drawBody);
      gl.disable(gl.STENCIL_TEST);
    }
    gl.disable(gl.BLEND);
    gl.enable(gl.DEPTH_TEST);
    useBodies(0, camera.eye, toClip);
    actors.forEach(drawBody);
  }

  // Draws each body exactly where its crop's camera sees it, over the whole video frame.
  function drawOverVideo(width, height, actors) {
    begin(width, height);
    gl.disable(gl.BLEND);
    gl.enable(gl.DEPTH_TEST);
    useBodies(2, [0, 0, 0], perspective(1, 1, NEAR, FAR));
    actors.forEach(drawBody);
  }

  return { drawRoom, drawOverVideo };
}

// Returns the affine map from a body's x and y (metres, camera axes) to clip coordinates.
function cropToClip(person, row, [width, height]) {
  const [scale, x, y] = person.camera.subarray(3 * row, 3 * row + 3);
  const [cx, cy, side] = person.crops.subarray(3 * row, 3 * row + 3);
  const pixels = (scale * side) / 2; // per metre; the clip ends at pixel edges, not centres
  return [
    (2 * pixels) / width, (-2 * pixels) / height,
    (2 * (cx + 0.5 + pixels * x)) / width - 1, 1 - (2 * (cy + 0.5 + pixels * y)) / height,
  ];
}
