// Says beside the pointer which word the pixel under it has, and with what score.
const told = document.createElement("div");
told.className = "pointed";
told.hidden = true;
document.body.append(told);
let sides = {};

const read = () => {
  sides = {};
  for (const given of element.querySelectorAll("[data-map]")) {
    const image = new Image();
    const { side, names, map } = given.dataset;
    image.onload = () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      sides[side] = { names: JSON.parse(names), context, width: image.width, height: image.height };
    };
    image.src = map;
  }
};

const tell = event => {
  const shown = event.target.closest?.("#overlay-0 img, #overlay-1 img");
  const side = shown && sides[shown.closest("[id^=overlay-]").id.slice(-1)];
  told.hidden = true;
  if (!side || !shown.naturalWidth) return;
  // In full screen the box is larger than the picture in it.
  const box = shown.getBoundingClientRect();
  const scale = Math.min(box.width / shown.naturalWidth, box.height / shown.naturalHeight);
  const [width, height] = [shown.naturalWidth * scale, shown.naturalHeight * scale];
  const x = Math.floor(((event.clientX - box.left - (box.width - width) / 2) / width) * side.width);
  const y = Math.floor(((event.clientY - box.top - (box.height - height) / 2) / height) * side.height);
  if (x < 0 || y < 0 || x >= side.width || y >= side.height) return;
  const [low, high, score] = side.context.getImageData(x, y, 1, 1).data;
  told.textContent = `${side.names[low + 256 * high]}, score ${(score / 255).toFixed(2)}`;
  told.hidden = false;
  told.style.left = `${Math.min(event.clientX + 14, innerWidth - told.offsetWidth - 4)}px`;
  told.style.top = `${Math.min(event.clientY + 18, innerHeight - told.offsetHeight - 4)}px`;
};

read();
watch("value", read);
for (const kind of ["pointermove", "pointerdown"]) document.addEventListener(kind, tell, { passive: true });
document.addEventListener("scroll", () => { told.hidden = true; }, { passive: true, capture: true });
