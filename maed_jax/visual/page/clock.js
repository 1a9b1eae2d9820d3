// The current frame: by the video's clock if there is a video, otherwise by our own.
// times: seconds of each frame, ascending. changed(frame) is called whenever the frame changes.
function makeClock(times, video, changed) {
  const last = times.length - 1;
  const gap = last > 0 ? times[last] / last : 0.04;
  const clock = { frame: 0, playing: false, speed: 1 };
  let begun = 0; // when our own clock was at 0, in milliseconds of performance.now()

  function frameAt(time) {
    let low = 0, high = last;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (times[middle] <= time + 1e-3) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  function show(frame) {
    if (frame === clock.frame) return;
    clock.frame = frame;
    changed(frame);
  }

  function tick(now) {
    if (!clock.playing) return;
    if (video) show(frameAt(video.currentTime));
    else {
      const time = ((now - begun) / 1000) * clock.speed;
      if (time > times[last] + gap) begun = now;
      show(frameAt(time % (times[last] + gap)));
    }
    requestAnimationFrame(tick);
  }

  clock.seek = (frame) => {
    frame = Math.min(last, Math.max(0, frame));
    begun = performance.now() - (times[frame] / clock.speed) * 1000;
    // the middle of a frame's time, so that rounding cannot show a neighbour
    if (video) video.currentTime = (times[frame] + (times[frame + 1] ?? times[frame] + gap)) / 2;
    show(frame);
  };
  clock.setSpeed = (speed) => {
    clock.speed = speed;
    if (video) video.playbackRate = speed;
    begun = performance.now() - (times[clock.frame] / speed) * 1000;
  };
  clock.play = (playing) => {
    clock.playing = playing;
    if (playing) begun = performance.now() - (times[clock.frame] / clock.speed) * 1000;
    if (video && playing) video.play().catch(() => clock.play(false));
    if (video && !playing) {
      video.pause();
      show(frameAt(video.currentTime));
    }
    if (playing) requestAnimationFrame(tick);
    changed(clock.frame);
  };
  return clock;
}
