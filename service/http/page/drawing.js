// @ts-check
// A canvas to write on: dark ink on white paper, handed over as a PNG when the pen rests.
const PEN_PX = 24;
const REST_MS = 350;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLButtonElement} clear
 * @param {(image: Blob) => void} classify
 */
export function drawing(canvas, clear, classify) {
  const paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  let rest = 0;

  const blank = () => {
    paper.fillStyle = "#fff";
    paper.fillRect(0, 0, canvas.width, canvas.height);
  };
  /** @param {PointerEvent} event */
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };

  canvas.addEventListener("pointerdown", (event) => {
    clearTimeout(rest);
    canvas.setPointerCapture(event.pointerId);
    Object.assign(paper, { lineWidth: PEN_PX, lineCap: "round", lineJoin: "round", strokeStyle: "#141414" });
    const [x, y] = point(event);
    paper.beginPath();
    paper.moveTo(x, y);
    paper.lineTo(x, y);
    paper.stroke();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    const [x, y] = point(event);
    paper.lineTo(x, y);
    paper.stroke();
  });
  canvas.addEventListener("pointerup", () => {
    clearTimeout(rest);
    rest = setTimeout(() => canvas.toBlob((image) => image && classify(image)), REST_MS);
  });
  clear.addEventListener("click", blank);
  blank();
}
