/* How is it drawn? Pure functions from what the worker found to SVG, and small pictures of numbers. */

const WIDTH = 340, HEIGHT = 190, LEFT = 52, RIGHT = 10, TOP = 8, BOTTOM = 34;
const BREADTH = WIDTH - LEFT - RIGHT, TALL = HEIGHT - TOP - BOTTOM, BASE = TOP + TALL;

export const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
export const whole = (count) => Math.round(count).toLocaleString("en-US");
export const bytes = (count) => (count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(2)} MB`);

/* Wilson's 95 % interval, as labutils.evaluate gives it. */
export function interval(right, total) {
    const z2 = 1.959963984540054 ** 2, share = right / total;
    const middle = (share + z2 / (2 * total)) / (1 + z2 / total);
    const half = Math.sqrt(z2 * (share * (1 - share) / total + z2 / (4 * total * total))) / (1 + z2 / total);
    return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

const picture = (alt, marks) =>
    `<svg role="img" viewBox="0 0 ${WIDTH} ${HEIGHT}" aria-label="${escape(alt)}">${marks.join("")}</svg>`;
const bar = (x, y, width, height, kind) =>
    `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${Math.max(0, width).toFixed(1)}" height="${Math.max(0, height).toFixed(1)}" class="${kind}"/>`;
const line = (x1, y1, x2, y2, kind) => `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" class="${kind}"/>`;
const words = (x, y, text, anchor = "middle") =>
    `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escape(text)}</text>`;
const across = (share) => LEFT + BREADTH * share, up = (share) => BASE - TALL * share;
const axis = (low, middle, high, title) => [
    words(LEFT, BASE + 14, low, "start"), words(across(0.5), BASE + 14, middle), words(WIDTH - RIGHT, BASE + 14, high, "end"),
    words(across(0.5), HEIGHT - 3, title),
];

export function histogram({ kept, removed, reach, cut }) {
    const top = Math.max(1, ...kept.map((k, i) => k + removed[i])), step = BREADTH / kept.length;
    const marks = kept.flatMap((count, i) => {
        const x = LEFT + i * step, high = TALL * count / top, more = TALL * removed[i] / top;
        return [bar(x, BASE - high, step - 0.6, high, "kept"), bar(x, BASE - high - more, step - 0.6, more, "gone")];
    });
    if (cut < reach) for (const side of [-cut, cut]) {
        const x = across((side / reach + 1) / 2);
        marks.push(line(x, TOP, x, BASE, "cut"));
    }
    const [stay, go] = [kept, removed].map((counts) => whole(counts.reduce((a, b) => a + b)));
    return picture(`Weights by value: ${stay} stay, ${go} near zero are gone.`, [...marks,
        words(LEFT - 5, TOP + 9, whole(top), "end"), words(LEFT - 5, BASE, "0", "end"),
        ...axis((-reach).toFixed(2), "0", reach.toFixed(2), "value of the weight")]);
}

export function layers(view) {
    const step = TALL / view.layers.length, filters = view.setting.remove === "filters";
    const marks = view.layers.flatMap(({ name, gone, left, width }, i) => {
        const y = TOP + i * step, high = Math.min(18, step - 19);
        const text = filters ? `${left} of ${width} left` : `${percent(gone)} zeros`;
        return [words(LEFT, y + 9, name, "start"), words(WIDTH - RIGHT, y + 9, text, "end"),
            bar(LEFT, y + 14, BREADTH, high, "track"), bar(LEFT, y + 14, BREADTH * gone, high, "gone")];
    });
    const alt = view.layers.map(({ name, gone }) => `${name} ${percent(gone, 0)}`).join(", ");
    return picture(`Gone of each layer: ${alt}.`, [...marks, ...axis("0%", "50%", "100%", filters ? "filters gone" : "share of zeros")]);
}

/* Accuracy by amount; `guess` (where the reader put the cliff) and where it is, once guessed. */
export function curve(points, view, guess) {
    const known = points.filter((p) => p.tested);
    const here = across(view.removed), share = view.right / view.tested, [low, high] = interval(view.right, view.tested);
    const marks = [0, 0.5, 1].flatMap((v) => [line(LEFT, up(v), WIDTH - RIGHT, up(v), "grid"), words(LEFT - 5, up(v) + 4, percent(v, 0), "end")]);
    marks.push(`<polyline class="curve" points="${known.map((p) => `${across(p.amount / 100).toFixed(1)},${up(p.accuracy).toFixed(1)}`).join(" ")}"/>`);
    if (guess !== null) marks.push(line(across(guess / 100), TOP, across(guess / 100), BASE, "guess"),
        words(across(guess / 100) + (guess > 50 ? -5 : 5), BASE - 6, "your guess", guess > 50 ? "end" : "start"));
    marks.push(line(here, up(low), here, up(high), "here"), `<circle class="here" cx="${here.toFixed(1)}" cy="${up(share).toFixed(1)}" r="5"/>`);
    return picture(`Accuracy against the share removed; here ${percent(share)} at ${percent(view.removed, 0)}.`,
        [...marks, ...axis("0%", "50%", "100%", "removed")]);
}

/* Where a curve falls below a share, between its points; null if it does not. */
export function cliff(points, share) {
    const after = points.findIndex((p) => p.accuracy < share);
    if (after < 1) return null;
    const [a, b] = [points[after - 1], points[after]];
    return a.amount + (b.amount - a.amount) * (a.accuracy - share) / (a.accuracy - b.accuracy);
}

/* Ten bars: how sure the network is of each digit. */
export function bars(shares) {
    const best = shares.indexOf(Math.max(...shares));
    return shares.map((share, digit) =>
        `<li class="${digit === best ? "best" : ""}"><b>${digit}</b><i style="--share: ${share}"></i><span>${percent(share, 0)}</span></li>`).join("");
}

/* A picture of numbers on a canvas: `colour` turns each one into [red, green, blue]. */
export function paint(canvas, values, rows, columns, colour) {
    Object.assign(canvas, { width: columns, height: rows });
    const pen = canvas.getContext("2d"), image = pen.createImageData(columns, rows);
    values.forEach((value, i) => image.data.set([...colour(value), Number.isNaN(value) ? 0 : 255], 4 * i));
    pen.putImageData(image, 0, 0);
}

export const largest = (numbers) => numbers.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

/* Colours of numbers: ink on paper from 0 to `most`; blue above zero, orange below, gray if dead. */
export const ink = (most) => (value) => Array(3).fill(255 - 255 * Math.min(1, value / (most || 1)));
export const signed = (most) => (value) => {
    if (!value) return [120, 120, 120];
    const pale = 1 - Math.min(1, 0.15 + Math.abs(value) / (most || 1));
    return (value > 0 ? [0, 114, 178] : [213, 94, 0]).map((c) => c + (255 - c) * pale);
};

/* A filter as one picture: its channels side by side in rows, a gap (NaN) between them. */
export function mosaic(values, channels, high, wide) {
    const across = Math.ceil(Math.sqrt(channels)), columns = across * (wide + 1) - 1;
    const rows = Math.ceil(channels / across) * (high + 1) - 1, picture = Array(rows * columns).fill(NaN);
    values.forEach((value, i) => {
        const channel = Math.floor(i / (high * wide)), y = Math.floor(i / wide) % high, x = i % wide;
        picture[(Math.floor(channel / across) * (high + 1) + y) * columns + (channel % across) * (wide + 1) + x] = value;
    });
    return [picture, rows, columns];
}
