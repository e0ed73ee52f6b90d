/* Where is a digit drawn? In a field, from which an image like MNIST's is made. */
import { paint } from "./draw.js";

const FIELD = 112, PEN = 9; // of the field and of the pen, in pixels
const IMAGE = 28, INNER = 20; // MNIST's digits fit a square of 20, centred by mass in one of 28

/* Make a canvas a field to draw in; `changed` gets 28 x 28 bytes after each part of a stroke. */
export function pad(canvas, changed) {
    canvas.width = canvas.height = FIELD;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    let last = null;
    const place = (event) => {
        const box = canvas.getBoundingClientRect();
        return [(event.clientX - box.left) * FIELD / box.width,
            (event.clientY - box.top) * FIELD / box.height];
    };
    const stroke = (to) => {
        Object.assign(pen, { lineWidth: PEN, lineCap: "round", lineJoin: "round", strokeStyle: "white" });
        pen.beginPath();
        pen.moveTo(...last);
        pen.lineTo(...(last = to));
        pen.stroke();
        changed(asDigit(canvas));
    };
    canvas.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        canvas.setPointerCapture(event.pointerId);
        stroke(last = place(event));
    });
    canvas.addEventListener("pointermove", (event) => last && stroke(place(event)));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
    return {
        clear: () => pen.clearRect(0, 0, FIELD, FIELD),
        show(pixels) { // a digit of MNIST's, as large as it would be drawn
            const small = document.createElement("canvas");
            paint(small, pixels, IMAGE, IMAGE, (p) => [p, p, p]);
            pen.clearRect(0, 0, FIELD, FIELD);
            pen.drawImage(small, 0, 0, FIELD, FIELD);
            return pixels;
        },
    };
}

const white = (rgba, i) => rgba[4 * i] * rgba[4 * i + 3] / 255;

/* Shrink what was drawn to 20 pixels and put its centre of mass in the middle (LeCun et al. 1998). */
function asDigit(canvas) {
    const drawn = canvas.getContext("2d").getImageData(0, 0, FIELD, FIELD).data;
    const inked = [...Array(FIELD * FIELD).keys()].filter((i) => white(drawn, i) > 0);
    const along = (values) => { // from where to where, and where its middle is
        const start = Math.min(...values), middle = values.reduce((a, b) => a + b, 0) / values.length;
        return { start, size: Math.max(...values) + 1 - start, middle: middle + 0.5 - start };
    };
    const x = along(inked.map((i) => i % FIELD)), y = along(inked.map((i) => Math.floor(i / FIELD)));
    const scale = INNER / Math.max(x.size, y.size);
    const [left, top] = [x, y].map(({ middle }) => Math.round(IMAGE / 2 - middle * scale));
    const [wide, high] = [x, y].map(({ size }) => Math.max(1, size * scale));
    const small = Object.assign(document.createElement("canvas"), { width: IMAGE, height: IMAGE });
    const pen = small.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(canvas, x.start, y.start, x.size, y.size, left, top, wide, high);
    const image = pen.getImageData(0, 0, IMAGE, IMAGE).data;
    return Uint8Array.from({ length: IMAGE * IMAGE }, (_, i) => white(image, i));
}
