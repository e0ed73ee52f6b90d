/* What is inside the network? Its filters, which can be silenced, and its layers as pictures. */
import { escape, ink, largest, mosaic, paint, percent, signed, whole } from "./draw.js";

/* element: of the explorer; toggle(layer, filter, kept) is called for a click on a filter. */
export function insides(element, toggle) {
    const find = (selector) => element.querySelector(selector);
    let tiles = null;

    /* Make the filters' buttons once. */
    function build(filters) {
        const tile = (name, f) => `<button type="button" aria-label="silence filter ${f} of ${name}">
            <canvas></canvas><canvas></canvas><span></span></button>`;
        find(".filters div").innerHTML = filters.map(({ name, kept }) => `<h3>${escape(name)}</h3>
            <p class="tiles">${kept.map((_, f) => tile(escape(name), f)).join("")}</p>`).join("");
        return [...element.querySelectorAll(".tiles")].map((row) => [...row.children]);
    }

    /* Paint a layer's filters and what they pass on, and say which are silent or gone. */
    function fill({ place, kept, shape, weight, answers: [, rows, columns], values }, row, off) {
        const [, channels, high, wide] = shape, per = channels * high * wide, size = rows * columns;
        const colours = [signed(largest(weight)), ink(largest(values))];
        row.forEach((tile, f) => {
            const [left, right, text] = tile.children;
            const silent = off.some(([l, g]) => l === place && f === g);
            const part = (numbers, n) => numbers.subarray(f * n, (f + 1) * n);
            paint(left, ...mosaic(part(weight, per), channels, high, wide), colours[0]);
            paint(right, part(values, size), rows, columns, colours[1]);
            tile.setAttribute("aria-pressed", silent);
            text.textContent = silent ? `${f} silent` : kept[f] ? f : `${f} gone`;
            tile.disabled = !silent && !kept[f]; // what is gone has nothing to say
            tile.onclick = () => toggle(place, f, kept);
        });
    }

    return ({ filters, weights: { name, place, shape, weight } }, { off }) => {
        tiles ??= build(filters);
        filters.forEach((layer, i) => fill(layer, tiles[i], off));
        const per = weight.length / shape[0], canvas = find(".matrix canvas");
        const dead = percent(weight.filter((w) => w === 0).length / weight.length);
        const rows = `${shape[0]} rows, one a ${shape.length > 2 ? "filter" : "neuron"}`;
        const said = `${name}: ${rows}, of ${whole(per)} weights; ${dead} are zero (gray), the others
            blue above zero and orange below.`;
        paint(canvas, weight, shape[0], per, signed(largest(weight) / 2));
        canvas.style.maxWidth = `${40 * per}px`;
        canvas.setAttribute("aria-label", said);
        find(".matrix .said").textContent = said;
        [...find(".matrix .names").children].forEach((button, l) =>
            button.setAttribute("aria-pressed", l === place));
    };
}
