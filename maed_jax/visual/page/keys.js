// Keyboard shortcuts for the whole page, except keys that the focused element uses itself.
const OWN_KEYS = {
  select: [" ", "ArrowLeft", "ArrowRight", "Home", "End"],
  button: [" "],
  "input[type=checkbox]": [" "],
};

function usesKey(element, key) {
  return Object.entries(OWN_KEYS).some(([kind, keys]) => keys.includes(key) && element.matches(kind));
}

// actions: maps keys to functions of the event; lower-case letters stand for both cases.
function listenToKeys(page, actions) {
  page.addEventListener("keydown", (event) => {
    const action = actions[event.key] ?? actions[event.key.toLowerCase()];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    if (usesKey(event.target, event.key)) return;
    event.preventDefault();
    action(event);
  });
  // A button clicked with the mouse gives up the focus, so that space plays again; one pressed by
  // key (a click without a count) keeps it, for keyboard navigation.
  page.addEventListener("click", (event) => {
    if (event.detail > 0) event.target.closest("button")?.blur();
  });
}
