// Tables of numbers: each cell with its value as text and a shade; walked with the arrow keys.
import { el, short } from "./dom.js";

const STEPS = 10; // shades on each side of zero

/**
 * @param {string} caption
 * @param {number[][]} rows
 * @param {{edit?: (row: number, column: number, value: number) => void, point?: (row: number, column: number) => void, most?: number}} options
 *   `edit` makes the cells inputs; `point` is called for a cell that is pointed at, tapped or walked to
 * @returns {{element: HTMLElement, mark: (chosen: (row: number, column: number) => string) => void, hide: (hidden: (row: number, column: number) => boolean) => void}}
 */
export function grid(caption, rows, { edit, point, most } = {}) {
  const largest = most ?? Math.max(1e-9, ...rows.flat().map(Math.abs));
  const cells = rows.map((row, y) => row.map((value, x) => {
    const shade = `s${Math.round((STEPS * Math.max(-1, Math.min(1, value / largest))))}`.replace("-", "m");
    const input = edit && el("input", { type: "number", step: "any", value: round(value), "aria-label": `${caption}: row ${y + 1}, column ${x + 1}`,
      onchange: () => Number.isFinite(input.valueAsNumber) && edit(y, x, input.valueAsNumber) });
    const act = point && (() => point(y, x));
    return el("td", { class: shade, "data-shade": shade, tabindex: point ? (y || x ? -1 : 0) : null, onclick: act, onpointerenter: point && ((event) => event.pointerType === "mouse" && act?.()), onfocus: act },
      input || short(value));
  }));
  const keys = ({ ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] });
  const walk = (event) => {
    const y = cells.findIndex((row) => row.includes(event.target));
    if (y < 0 || !(event.key in keys)) return;
    const x = cells[y].indexOf(event.target);
    const next = cells[y + keys[event.key][0]]?.[x + keys[event.key][1]];
    event.preventDefault();
    event.stopPropagation();
    if (!next) return;
    cells[y][x].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };
  const element = el("table", { class: "grid", role: point ? "grid" : null, onkeydown: point ? walk : null },
    el("caption", { text: caption }), el("tbody", {}, ...cells.map((row) => el("tr", {}, ...row))));
  return {
    element,
    mark: (chosen) => cells.forEach((row, y) => row.forEach((cell, x) => (cell.className = `${cell.dataset.shade} ${chosen(y, x)}`))),
    hide: (hidden) => cells.forEach((row, y) => row.forEach((cell, x) => (cell.textContent = hidden(y, x) ? "" : short(rows[y][x])))),
  };
}

/** @param {number} value */
const round = (value) => Number(value.toFixed(4));

/**
 * A small picture of numbers, pixel by pixel.
 * @param {number} width @param {number} height @param {(index: number) => [number, number, number]} colour 0 to 255
 * @param {string} label
 */
export function pixels(width, height, colour, label) {
  const canvas = el("canvas", { class: "pixels", width, height, role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  const data = context.createImageData(width, height);
  for (let index = 0; index < width * height; index++) data.data.set([...colour(index), 255], 4 * index);
  context.putImageData(data, 0, 0);
  return canvas;
}
