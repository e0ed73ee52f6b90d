/* How is it drawn? Pure functions from what the worker found to SVG, and pictures of numbers. */

const WIDTH = 340, HEIGHT = 190, LEFT = 52, RIGHT = 10, TOP = 8, BOTTOM = 34;
const BREADTH = WIDTH - LEFT - RIGHT, TALL = HEIGHT - TOP - BOTTOM, BASE = TOP + TALL;

export const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
export const whole = (count) => Math.round(count).toLocaleString("en-US");
export const bytes = (count) =>
    (count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(2)} MB`);

/* Wilson's 95% interval, as labutils.evaluate gives it. */
export function interval(right, total) {
    const z2 = 1.959963984540054 ** 2, share = right / total, whole = 1 + z2 / total;
    const middle = (share + z2 / (2 * total)) / whole;
    const half = Math.sqrt(z2 * (share * (1 - share) / total + z2 / (4 * total * total))) / whole;
    return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

const fixed = (...numbers) => numbers.map((n) => n.toFixed(1));
const across = (share) => LEFT + BREADTH * share, up = (share) => BASE - TALL * share;

const picture = (alt, marks, more = 0) => `<svg role="img" viewBox="0 0 ${WIDTH} ${HEIGHT + more}"
    aria-label="${escape(alt)}">${marks.join("")}</svg>`;

function bar(left, top, breadth, tall, kind) {
    const [x, y, width, height] = fixed(left, top, Math.max(0, breadth), Math.max(0, tall));
    return `<rect x="${x}" y="${y}" width="${width}" height="${height}" class="${kind}"/>`;
}

function line(fromX, fromY, toX, toY, kind) {
    const [x1, y1, x2, y2] = fixed(fromX, fromY, toX, toY);
    return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" class="${kind}"/>`;
}

function words(atX, atY, text, anchor = "middle") {
    const [x, y] = fixed(atX, atY);
    return `<text x="${x}" y="${y}" text-anchor="${anchor}">${escape(text)}</text>`;
}

/* A curve through points of amount in percent and accuracy. */
function path(points, kind) {
    const places = points.map(({ amount, accuracy }) => fixed(across(amount / 100), up(accuracy)).join());
    return `<polyline class="${kind}" points="${places.join(" ")}"/>`;
}

const axis = (low, middle, high, title, more = 0) => [
    words(LEFT, BASE + more + 14, low, "start"), words(across(0.5), BASE + more + 14, middle),
    words(WIDTH - RIGHT, BASE + more + 14, high, "end"), words(across(0.5), HEIGHT + more - 3, title),
];

export function histogram({ kept, removed, reach, cut }) {
    const top = Math.max(1, ...kept.map((k, i) => k + removed[i])), step = BREADTH / kept.length;
    const marks = kept.flatMap((count, i) => {
        const x = LEFT + i * step, stay = TALL * count / top, go = TALL * removed[i] / top;
        const [low, high] = [bar(x, BASE - stay, step - 0.6, stay, "kept"),
            bar(x, BASE - stay - go, step - 0.6, go, "gone")];
        return [...(count ? [low] : []), ...(removed[i] ? [high] : [])];
    });
    if (cut < reach) for (const side of [-cut, cut]) {
        const x = across((side / reach + 1) / 2);
        marks.push(line(x, TOP, x, BASE, "cut"));
    }
    const [stay, go] = [kept, removed].map((counts) => whole(counts.reduce((a, b) => a + b)));
    return picture(`Weights by value: ${stay} stay, ${go} are gone.`, [...marks,
        words(LEFT - 5, TOP + 9, whole(top), "end"), words(LEFT - 5, BASE, "0", "end"),
        ...axis((-reach).toFixed(2), "0", reach.toFixed(2), "value of the weight")]);
}

export function layers(view) {
    const many = view.layers.length, more = Math.max(0, 34 * many - TALL); // room for each
    const step = (TALL + more) / many, filters = view.setting.remove === "filters";
    const marks = view.layers.flatMap(({ name, gone, left, width }, i) => {
        const y = TOP + i * step, high = Math.min(18, step - 19);
        const text = filters ? `${left} of ${width} left` : `${percent(gone)} zeros`;
        return [words(LEFT, y + 9, name, "start"), words(WIDTH - RIGHT, y + 9, text, "end"),
            bar(LEFT, y + 14, BREADTH, high, "track"), bar(LEFT, y + 14, BREADTH * gone, high, "gone")];
    });
    const alt = view.layers.map(({ name, gone }) => `${name} ${percent(gone, 0)}`).join(", ");
    const title = filters ? "filters gone" : "share of zeros";
    return picture(`Gone of each layer: ${alt}.`, [...marks, ...axis("0%", "50%", "100%", title, more)], more);
}

/* Accuracy by amount; `guess`: where the reader put the cliff; `beside`: further curves by name. */
export function curve(points, view, guess, beside) {
    const share = view.right / view.tested, [low, high] = interval(view.right, view.tested).map(up);
    const marks = [0, 0.5, 1].flatMap((v) => [line(LEFT, up(v), WIDTH - RIGHT, up(v), "grid"),
        words(LEFT - 5, up(v) + 4, percent(v, 0), "end")]);
    let alt = `Accuracy against the share removed; here ${percent(share)} at ${percent(view.removed, 0)}.`;
    marks.push(path(points.filter((p) => p.tested), ""));
    Object.entries(beside).forEach(([name, others], i) => {
        marks.push(path(others, `beside beside${i % 2}`));
        const found = others.map((p) => `${percent(p.accuracy)} at ${Math.round(p.amount)}%`);
        alt += ` ${name}: ${found.join(", ")}.`;
    });
    const names = Object.keys(beside).join(", ");
    if (names) marks.push(words(LEFT + 4, BASE - 6, `dashed: ${names}`, "start"));
    if (guess !== null) {
        const x = across(guess / 100), [shift, anchor] = guess > 50 ? [-5, "end"] : [5, "start"];
        marks.push(line(x, TOP, x, BASE, "guess"), words(x + shift, BASE - 20, "your guess", anchor));
    }
    const here = across(view.removed), [x, y] = fixed(here, up(share));
    marks.push(line(here, low, here, high, "here"), `<circle cx="${x}" cy="${y}" r="5"/>`);
    return picture(alt, [...marks, ...axis("0%", "50%", "100%", "removed")]);
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
    const best = shares ? shares.indexOf(Math.max(...shares)) : -1;
    return (shares ?? Array(10).fill(0)).map((share, digit) => `<li class="${digit === best ? "best" : ""}"><b>${digit}</b>
        <i style="--share: ${share}"></i><span>${percent(share, 0)}</span></li>`).join("");
}

/* A picture of numbers on a canvas: `colour` turns each one into [red, green, blue]. */
export function paint(canvas, values, rows, columns, colour) {
    Object.assign(canvas, { width: columns, height: rows });
    const pen = canvas.getContext("2d"), image = pen.createImageData(columns, rows);
    values.forEach((value, i) =>
        image.data.set([...colour(value), Number.isNaN(value) ? 0 : 255], 4 * i));
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
    const rows = Math.ceil(channels / across) * (high + 1) - 1;
    const picture = Array(rows * columns).fill(NaN);
    values.forEach((value, i) => {
        const channel = Math.floor(i / (high * wide)), y = Math.floor(i / wide) % high;
        const row = Math.floor(channel / across) * (high + 1) + y;
        picture[row * columns + channel % across * (wide + 1) + i % wide] = value;
    });
    return [picture, rows, columns];
}
