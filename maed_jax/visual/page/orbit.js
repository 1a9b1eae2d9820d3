// A camera that orbits a point: drag to rotate, right button or Shift to pan, wheel to zoom.
function makeOrbit(element, changed) {
  const orbit = { target: [0, 0, -3], distance: 4, turn: 0, tilt: 0.2, fixed: null };
  const fingers = new Map();
  let spread = 0;

  // The video's own camera (`fixed`) is used until the user drags or zooms.
  orbit.camera = () => orbit.fixed ?? {
    target: orbit.target,
    up: [0, 1, 0],
    fieldOfView: 0.65,
    eye: [
      orbit.target[0] + orbit.distance * Math.cos(orbit.tilt) * Math.sin(orbit.turn),
      orbit.target[1] + orbit.distance * Math.sin(orbit.tilt),
      orbit.target[2] + orbit.distance * Math.cos(orbit.tilt) * Math.cos(orbit.turn),
    ],
  };

  function turn(dx, dy) {
    orbit.turn -= 0.006 * dx;
    orbit.tilt = Math.min(1.5, Math.max(-0.4, orbit.tilt + 0.006 * dy));
  }

  function move(dx, dy) {
    const { eye, target } = orbit.camera();
    const back = unit(subtract(eye, target));
    const right = unit(cross([0, 1, 0], back));
    const up = cross(back, right);
    const metres = (0.68 * orbit.distance) / element.clientHeight;
    orbit.target = orbit.target.map((x, i) => x + metres * (dy * up[i] - dx * right[i]));
  }

  function zoom(factor) {
    orbit.distance = Math.min(60, Math.max(0.4, orbit.distance * factor));
  }

  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    spread = 0;
  });
  element.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    orbit.fixed = null;
    if (fingers.size === 2) {
      const [a, b] = [...fingers.values()];
      const now = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (spread) zoom(spread / now);
      spread = now;
      move(dx / 2, dy / 2);
    } else if (event.shiftKey || event.buttons & 6) move(dx, dy);
    else turn(dx, dy);
    changed();
  });
  for (const name of ["pointerup", "pointercancel"])
    element.addEventListener(name, (event) => fingers.delete(event.pointerId));
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    orbit.fixed = null;
    zoom(Math.exp(0.0012 * Math.max(-120, Math.min(120, event.deltaY))));
    changed();
  }, { passive: false });
  return orbit;
}
