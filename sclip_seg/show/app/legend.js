// A click on a class of the legend takes its colour off the picture, or puts it back; the focus stays where it was.
let chosen = null;
element.addEventListener("click", event => {
  const entry = event.target.closest("button[data-class]");
  if (!entry) return;
  chosen = entry.dataset.class;
  trigger("click", { index: Number(chosen) });
});
watch("value", () => {
  if (chosen !== null) element.querySelector(`button[data-class="${chosen}"]`)?.focus({ preventScroll: true });
});
