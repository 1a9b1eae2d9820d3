// Keys that do something wherever the focus is, unless what has it uses them itself.
const OWN_KEYS = {
  select: [" ", "ArrowLeft", "ArrowRight", "Home", "End"],
  button: [" "],
  "input[type=checkbox]": [" "],
};

function usesKey(element, key) {
  return Object.entries(OWN_KEYS).some(([kind, keys]) => keys.includes(key) && element.matches(kind));
}

// actions: key -> what it does, given the event; letters are lower case and stand for both cases.
function listenToKeys(page, actions) {
  page.addEventListener("keydown", (event) => {
    const action = actions[event.key] ?? actions[event.key.toLowerCase()];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    if (usesKey(event.target, event.key)) return;
    event.preventDefault();
    action(event);
  });
  // A button that the mouse has pressed gives the space bar back; one that a key has pressed (a
  // click without a count) keeps the focus, from where the next key goes on.
  page.addEventListener("click", (event) => {
    if (event.detail > 0) event.target.closest("button")?.blur();
  });
}
