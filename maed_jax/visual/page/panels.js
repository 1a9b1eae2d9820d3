// The panels beside the room: the video with bodies, and attention. Results count pixels from the
// centre of the first one; canvases and video crops count from its edge.
function fitCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.style.aspectRatio = `${width} / ${height}`;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return pen;
}

// Draws the video's frame, an overlay and boxes. overlay: a canvas of the same shape, or null.
function drawVideo(canvas, view, overlay) {
  const [videoWidth, videoHeight] = view.size;
  const tallest = (view.focus.attention.blocks ? 0.36 : 0.75) * window.innerHeight;
  const width = Math.min(canvas.parentElement.clientWidth - 20, (tallest / videoHeight) * videoWidth);
  const scale = width / videoWidth;
  canvas.style.width = `${width}px`;
  const pen = fitCanvas(canvas, width, videoHeight * scale);
  if (view.video) pen.drawImage(view.video, 0, 0, width, videoHeight * scale);
  if (overlay) {
    pen.globalAlpha = 0.92;
    pen.drawImage(overlay, 0, 0, width, videoHeight * scale);
    pen.globalAlpha = 1;
  }
  for (const person of view.people) {
    const row = person.row(view.frame);
    if (row < 0 || !person.visible || !view.boxes) continue;
    const [x, y, w, h] = person.boxes.subarray(4 * row, 4 * row + 4);
    pen.strokeStyle = person.css;
    pen.lineWidth = person === view.focus ? 2 : 1.25;
    pen.setLineDash(person.detected[row] ? [] : [4, 4]);
    const [left, top] = [x + 0.5 - w / 2, y + 0.5 - h / 2];
    pen.strokeRect(left * scale, top * scale, w * scale, h * scale);
  }
}

// Draws the crop that the model saw of the focused person, under the heat map of its attention.
function drawCrop(canvas, view) {
  const { focus: person, video } = view;
  const row = person.row(view.frame);
  const width = canvas.clientWidth;
  const pen = fitCanvas(canvas, width, width);
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, width, width);
  if (row < 0) return;
  const [x, y, side] = person.crops.subarray(3 * row, 3 * row + 3);
  if (video) {
    const ratio = video.videoWidth / view.size[0];
    const [left, top] = [x + 0.5 - side / 2, y + 0.5 - side / 2];
    pen.drawImage(
      video, left * ratio, top * ratio, side * ratio, side * ratio, 0, 0, width, width,
    );
  }
  pen.imageSmoothingQuality = "high";
  pen.drawImage(heatMap(person, row, view.block), 0, 0, width, width);
}

// Draws the weight of each frame of the current frame's clip as bars.
function drawTime(canvas, view) {
  const width = canvas.clientWidth, height = 64;
  const pen = fitCanvas(canvas, width, height);
  const weights = timeWeights(view.focus, view.frame, view.block);
  const cell = width / Math.max(weights.length, 1);
  pen.font = "10px system-ui, sans-serif";
  pen.textAlign = "center";
  weights.forEach(({ frame, weight }, i) => {
    const bar = Math.max(2, (height - 18) * weight);
    pen.fillStyle = heatColor(0.25 + 0.75 * weight);
    pen.fillRect(i * cell + 1, height - 15 - bar, cell - 2, bar);
    pen.fillStyle = frame === view.frame ? view.colors.ink : view.colors.quiet;
    const often = Math.ceil(26 / cell);
    if (i % often === 0 || frame === view.frame) pen.fillText(frame, (i + 0.5) * cell, height - 3);
  });
}

// Draws a cell per block and head, coloured from all space to all time.
function drawGates(canvas, view) {
  const { gates } = view.focus.attention;
  const [, blocks, heads] = gates.shape;
  const width = canvas.clientWidth, line = 15, margin = 22;
  const pen = fitCanvas(canvas, width, blocks * line);
  const row = view.focus.row(view.frame);
  if (row < 0) return;
  const cell = (width - margin) / heads;
  pen.font = "10px system-ui, sans-serif";
  for (let b = 0; b < blocks; b++) {
    pen.fillStyle = view.colors.quiet;
    pen.fillText(view.focus.attention.blocks[b], 2, b * line + 11);
    ofFrame(gates, row, b).forEach((weight, h) => {
      pen.globalAlpha = view.block < 0 || view.block === b ? 1 : 0.35;
      pen.fillStyle = gateColor(weight);
      pen.fillRect(margin + h * cell, b * line + 1, cell - 1.5, line - 2);
      pen.globalAlpha = 1;
    });
  }
}

// Draws the joints as a tree seen from the front, in warm colours if others depend on them much.
// Returns their positions.
function drawJoints(canvas, view) {
  const { body, focus: person, listener } = view;
  const count = body.parents.length, width = canvas.clientWidth, height = width;
  const pen = fitCanvas(canvas, width, height);
  const ys = Array.from({ length: count }, (_, j) => body.rest_joints[3 * j + 1]);
  const xs = Array.from({ length: count }, (_, j) => body.rest_joints[3 * j]);
  const low = Math.min(...ys), high = Math.max(...ys);
  const scale = Math.min((height - 28) / (high - low), (width - 24) / (2 * Math.max(...xs)));
  const places = ys.map((y, j) => [width / 2 + scale * xs[j], 14 + scale * (high - y)]);
  pen.lineWidth = 2;
  pen.strokeStyle = view.colors.track;
  places.forEach(([x, y], j) => {
    if (body.parents[j] < 0) return;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(...places[body.parents[j]]);
    pen.stroke();
  });
  const row = person.row(view.frame);
  if (row < 0) return places;
  const fractions = listenedTo(person, row, listener);
  const most = listener === null ? Math.max(...fractions, 1e-9) : Math.max(...fractions, 0.3);
  places.forEach(([x, y], j) => {
    const value = fractions[j] / most;
    pen.fillStyle = heatColor(0.15 + 0.85 * value);
    pen.beginPath();
    pen.arc(x, y, 2 + 5 * Math.sqrt(value), 0, 2 * Math.PI);
    pen.fill();
    if (j !== listener) return;
    pen.strokeStyle = view.colors.ink;
    pen.beginPath();
    pen.arc(x, y, 7, 0, 2 * Math.PI);
    pen.stroke();
  });
  return places;
}

// Describes the drawing of the joints in words.
function describeJoints(view) {
  const { names, focus, listener, frame } = view;
  const row = focus.row(frame);
  if (row < 0) return "";
  if (listener === null) return "how much the joints below depend on each one; point at a joint to see what it depends on";
  const plain = (name) => name.replaceAll("_", " ");
  const percent = (x) => `${Math.round(100 * x)} %`;
  const sources = listenedTo(focus, row, listener)
    .map((fraction, j) => ({ fraction, name: names[j] }))
    .filter(({ fraction }) => fraction > 0)
    .sort((a, b) => b.fraction - a.fraction);
  const rest = 1 - sources.reduce((sum, { fraction }) => sum + fraction, 0);
  const listed = sources.slice(0, 3).map(({ fraction, name }) => `${plain(name)} ${percent(fraction)}`);
  return `${plain(names[listener])}: ${["image " + percent(rest), ...listed].join(", ")}`;
}
