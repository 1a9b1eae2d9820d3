// Assembles the page: state, controls and redrawing.
const find = (id) => document.getElementById(id);

function themeColors() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  const [r, g, b] = read("floor").split(" ").map((c) => c / 255);
  const colors = Object.fromEntries(["ink", "quiet", "track"].map((name) => [name, read(name)]));
  return { ...colors, floor: [r, g, b, 0.5] };
}

// Opens the video element, ready to be drawn; null if there is none or it cannot be played.
function openVideo(source) {
  if (!source) return Promise.resolve(null);
  const video = document.createElement("video");
  Object.assign(video, { muted: true, playsInline: true, loop: true, preload: "auto" });
  video.src = source.startsWith("/")
    ? source
    : URL.createObjectURL(new Blob([bytesOf(source)], { type: "video/mp4" }));
  return new Promise((resolve) => {
    video.addEventListener("loadeddata", () => resolve(video), { once: true });
    video.addEventListener("error", () => resolve(null), { once: true });
  });
}

async function start() {
  const { meta, arrays } = await readData(find("data").textContent);
  const people = meta.people.map((person) => makePerson(person, arrays));
  const body = Object.fromEntries(
    Object.entries(arrays).filter(([name]) => name.startsWith("body/"))
      .map(([name, array]) => [name.slice(5), array]),
  );
  body.sparse = sparseDirections(body.directions, meta.step);
  const video = await openVideo(find("video").textContent.trim());
  const frames = arrays.times.length;
  const view = {
    people, body, video, frames, frame: 0, block: -1, boxes: false, listener: null,
    focus: people[0], size: meta.video.size, names: meta.joints, colors: themeColors(),
  };
  const state = { bodies: !meta.overlay, follow: false };
  find("title").textContent = meta.title;
  find("facts").textContent =
    `${people.length === 1 ? "one person" : `${people.length} people`} · ${frames} frames` +
    (meta.body === "mannequin" ? " · built-in mannequin body" : "");

  let asked = false;
  const redraw = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
  const room = makeScene(find("bodies"), body, meta);
  const overVideo = document.createElement("canvas");
  const film = meta.overlay ? null : makeScene(overVideo, body, meta);
  const orbit = makeOrbit(find("bodies"), redraw);
  const clock = makeClock(arrays.times, video, redraw);

  function actorsNow() {
    return people.flatMap((person) => {
      const row = person.row(clock.frame);
      if (row < 0 || !person.visible) return [];
      if (person.posed !== row) [person.posed, person.pose_now] = [row, poseOf(body, person, row)];
      return [{
        person,
        pose: person.pose_now,
        translation: person.translation.subarray(3 * row, 3 * row + 3),
        crop: cropToClip(person, row, meta.video.size),
      }];
    });
  }

  function draw() {
    view.frame = clock.frame;
    const actors = actorsNow();
    const videoCanvas = find("video_canvas");
    const canvas = find("bodies"), ratio = Math.min(window.devicePixelRatio || 1, 2);
    if (state.bodies && videoCanvas.clientWidth) { // hidden if there is no video
      const width = Math.round(videoCanvas.clientWidth * ratio);
      const height = Math.round((width * meta.video.size[1]) / meta.video.size[0]);
      film.drawOverVideo(width, height, actors);
    }
    if (state.follow && view.focus.row(clock.frame) >= 0 && !orbit.fixed)
      orbit.target = placeOf(view.focus, view.focus.row(clock.frame));
    room.drawRoom(
      Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio),
      actors, orbit.camera(), view.colors.floor,
    );
    if (!find("film").hidden) drawVideo(videoCanvas, view, state.bodies ? overVideo : null);
    drawAttention();
    drawTimeline(find("stripes"), view);
    find("time").value = clock.frame;
    find("now").textContent = `frame ${clock.frame} of ${frames - 1} · ` +
      `${arrays.times[clock.frame].toFixed(2)} s`;
    find("play").textContent = clock.playing ? "❚❚" : "▶";
    find("play").setAttribute("aria-label", clock.playing ? "Pause" : "Play");
    for (const person of people)
      person.chip.classList.toggle("away", person.row(clock.frame) < 0);
  }

  let jointPlaces = [];
  function drawAttention() {
    const { attention } = view.focus;
    find("attention").hidden = !Object.keys(attention).length;
    for (const [id, name, paint] of [
      ["where", "space", drawCrop], ["when", "time", drawTime], ["gates", "gates", drawGates],
      ["joints", "joints", (canvas) => (jointPlaces = drawJoints(canvas, view))],
    ]) {
      find(id).hidden = !attention[name];
      if (attention[name]) paint(find(id).querySelector("canvas"), view);
    }
    if (attention.joints) find("joints").querySelector("figcaption").textContent = describeJoints(view);
  }

  function placeOf(person, row) { // in world axes
    const [x, y, z] = person.translation.subarray(3 * row, 3 * row + 3);
    return [x, -y, -z];
  }

  // Shows everybody at (nearly) all times, from slightly above and to the side.
  function wholeScene() {
    const places = people.flatMap((person) =>
      Array.from(person.frames, (_, row) => placeOf(person, row)));
    const nearly = (values, fraction) =>
      values.sort((a, b) => a - b)[Math.round(fraction * (values.length - 1))];
    const target = [0, 1, 2].map((i) => {
      const along = places.map((place) => place[i]);
      return (nearly(along, 0.02) + nearly(along, 0.98)) / 2;
    });
    Object.assign(orbit, { fixed: null, turn: 0.42, tilt: 0.2, target, distance: 1 });
    const { eye, fieldOfView } = orbit.camera();
    const back = unit(subtract(eye, target));
    const right = unit(cross([0, 1, 0], back));
    const up = cross(back, right);
    const canvas = find("bodies");
    const high = Math.tan(fieldOfView / 2);
    const wide = (high * canvas.clientWidth) / Math.max(canvas.clientHeight, 1);
    const distances = places.map((place) => { // at which each is fully visible
      const offset = subtract(place, target);
      const needed = [(Math.abs(dot(offset, right)) + 0.7) / wide, (Math.abs(dot(offset, up)) + 1.2) / high];
      return dot(offset, back) + Math.max(...needed);
    });
    orbit.distance = nearly(distances, 0.98) + 0.3;
    redraw();
  }

  function fromCamera() {
    const [, fy, , cy] = meta.intrinsics;
    orbit.fixed = {
      eye: [0, 0, 0], target: [0, 0, -1], up: [0, 1, 0], fieldOfView: 2 * Math.atan(cy / fy),
    };
    redraw();
  }

  function setFocus(person) {
    view.focus = person;
    for (const other of people) other.chip.classList.toggle("focus", other === person);
    const blocks = person.attention.blocks ?? [];
    const options = [["mean of blocks", -1], ...Array.from(blocks, (b, i) => [`block ${b}`, i])];
    find("block").replaceChildren(...options.map(([text, value]) => new Option(text, value)));
    view.block = blocks.length - 1;
    find("block").value = view.block;
    redraw();
  }

  for (const person of people) {
    person.chip = document.createElement("span");
    person.chip.className = "chip";
    person.chip.style.setProperty("--color", person.css);
    const box = Object.assign(document.createElement("input"), {
      type: "checkbox", checked: true, title: "Show or hide", ariaLabel: `Show person ${person.id}`,
    });
    box.addEventListener("change", () => {
      person.visible = box.checked;
      redraw();
    });
    const name = Object.assign(document.createElement("button"), {
      textContent: `person ${person.id}`, title: "Focus on this person",
    });
    name.addEventListener("click", () => setFocus(person));
    person.chip.append(box, name);
    find("people").append(person.chip);
  }

  const actions = {
    " ": () => clock.play(!clock.playing),
    ArrowLeft: (event) => step(event.shiftKey ? -10 : -1),
    ArrowRight: (event) => step(event.shiftKey ? 10 : 1),
    Home: () => step(-frames),
    End: () => step(frames),
    r: wholeScene,
    c: fromCamera,
    f: () => find("follow").click(),
  };
  function step(frameCount) {
    if (clock.playing) clock.play(false);
    clock.seek(clock.frame + frameCount);
  }
  listenToKeys(document, actions);
  find("play").addEventListener("click", actions[" "]);
  find("reset").addEventListener("click", wholeScene);
  find("camera").addEventListener("click", fromCamera);
  find("speed").addEventListener("change", (event) => clock.setSpeed(Number(event.target.value)));
  find("time").max = frames - 1;
  find("time").addEventListener("input", (event) => clock.seek(Number(event.target.value)));
  find("block").addEventListener("change", (event) => {
    view.block = Number(event.target.value);
    redraw();
  });
  find("follow").addEventListener("change", (event) => {
    state.follow = event.target.checked;
    redraw();
  });
  find("show_bodies").addEventListener("change", (event) => {
    state.bodies = event.target.checked;
    redraw();
  });
  find("show_boxes").addEventListener("change", (event) => {
    view.boxes = event.target.checked;
    redraw();
  });
  find("joints").addEventListener("pointermove", (event) => {
    const box = find("joints").querySelector("canvas").getBoundingClientRect();
    const at = [event.clientX - box.left, event.clientY - box.top];
    const far = jointPlaces.map(([x, y]) => Math.hypot(x - at[0], y - at[1]));
    const nearest = far.indexOf(Math.min(...far));
    const listener = far[nearest] < 16 ? nearest : null;
    if (listener !== view.listener) {
      view.listener = listener;
      redraw();
    }
  });
  find("joints").addEventListener("pointerleave", () => {
    view.listener = null;
    redraw();
  });

  if (!video) find("film").hidden = find("video").textContent.trim() === "";
  if (meta.overlay) find("show_bodies").parentElement.hidden = true;
  video?.addEventListener("seeked", redraw);
  new ResizeObserver(redraw).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    view.colors = themeColors();
    redraw();
  });
  setFocus(people[0]);
  wholeScene();
  clock.seek(0);
  document.body.dataset.ready = "yes";
}

start().catch((error) => {
  find("problem").textContent = error.message;
  find("problem").hidden = false;
  throw error;
});
