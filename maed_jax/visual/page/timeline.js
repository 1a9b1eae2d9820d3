// Stripes above the timeline: when people are present, and the focused person's attention.
const STRIPE = { person: 7, attention: 9, label: 11, gap: 4, top: 6 };

// Draws an empty stripe of attention below its name; returns the stripe's top.
function attentionStripe(pen, text, y, width, { quiet, track }) {
  pen.font = "9px system-ui, sans-serif";
  pen.fillStyle = quiet;
  pen.fillText(text, 5, y + 8);
  pen.fillStyle = track;
  pen.fillRect(0, y + STRIPE.label, width, STRIPE.attention);
  return y + STRIPE.label;
}

// view: {frames, people, focus, frame, block, colors}; attention is drawn if the focus has any.
function drawTimeline(canvas, view) {
  const { frames, people, focus } = view;
  const shown = people.slice(0, 12); // more would push the rest off the page
  const extra = [focus?.attention.time, focus?.attention.gates].filter(Boolean).length;
  const height = 2 * STRIPE.top + shown.length * (STRIPE.person + STRIPE.gap) +
    extra * (STRIPE.label + STRIPE.attention + STRIPE.gap) - STRIPE.gap;
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.style.height = `${height}px`;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const left = (frame) => (frame / frames) * width;
  const cell = Math.max(width / frames, 1);

  let y = STRIPE.top;
  for (const person of shown) {
    pen.fillStyle = view.colors.track;
    pen.fillRect(0, y, width, STRIPE.person);
    for (const { start, end, detected } of runsOf(person)) {
      pen.globalAlpha = (person.visible ? 1 : 0.25) * (detected ? 1 : 0.45);
      pen.fillStyle = person.css;
      pen.fillRect(left(start), y, left(end + 1) - left(start), STRIPE.person);
    }
    pen.globalAlpha = 1;
    y += STRIPE.person + STRIPE.gap;
  }
  if (focus?.attention.time) {
    y = attentionStripe(pen, "when it looks", y, width, view.colors);
    const wide = Math.max(cell, 4);
    for (const { frame, weight } of timeWeights(focus, view.frame, view.block)) {
      pen.fillStyle = heatColor(weight);
      pen.fillRect(left(frame) + (cell - wide) / 2, y, wide, STRIPE.attention);
    }
    y += STRIPE.attention + STRIPE.gap;
  }
  if (focus?.attention.gates) {
    y = attentionStripe(pen, "space or time", y, width, view.colors);
    const step = Math.max(cell, 2); // long videos have more frames than there are pixels
    for (let x = 0; x < width; x += step) {
      const row = focus.row(Math.floor(((x + 0.5) / width) * frames));
      if (row < 0) continue;
      pen.fillStyle = gateColor(meanGate(focus, row, view.block));
      pen.fillRect(x, y, step + 0.5, STRIPE.attention);
    }
  }
  const x = left(view.frame + 0.5);
  pen.fillStyle = view.colors.ink;
  pen.fillRect(x - 0.75, 0, 1.5, height);
}

// Returns stretches of a person's frames that are all detected, or all not.
function runsOf(person) {
  if (person.runs) return person.runs;
  const runs = [];
  person.frames.forEach((frame, row) => {
    const detected = Boolean(person.detected[row]);
    const last = runs.at(-1);
    if (last && last.end === frame - 1 && last.detected === detected) last.end = frame;
    else runs.push({ start: frame, end: frame, detected });
  });
  return (person.runs = runs);
}
