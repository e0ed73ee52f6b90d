/* A field to draw a digit in. What was drawn goes to Python as SIDE x SIDE bytes, 0 to 255. */

const SIDE = 112, SHOWN = 224, PEN = 9;

function render({ model, el }) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SIDE;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Draw a digit here with the mouse, a finger or a pen");
    Object.assign(canvas.style, {
        width: `${SHOWN}px`, height: `${SHOWN}px`, background: "black", touchAction: "none",
        cursor: "crosshair", border: "1px solid gray",
    });
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    Object.assign(pen, { lineWidth: PEN, lineCap: "round", lineJoin: "round", strokeStyle: "white" });

    const place = (event) => {
        const box = canvas.getBoundingClientRect();
        return [(event.clientX - box.left) * SIDE / box.width,
                (event.clientY - box.top) * SIDE / box.height];
    };
    let last = null;
    canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        last = place(event);
        line(last);
        event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => {
        if (last) line(place(event));
    });
    for (const end of ["pointerup", "pointercancel"]) {
        canvas.addEventListener(end, () => {
            if (last) send();
            last = null;
        });
    }
    function line(to) {
        pen.beginPath();
        pen.moveTo(...last);
        pen.lineTo(...to);
        pen.stroke();
        last = to;
    }
    function send() {
        const rgba = pen.getImageData(0, 0, SIDE, SIDE).data;
        const grey = new Uint8Array(SIDE * SIDE);
        for (let i = 0; i < grey.length; i++) grey[i] = rgba[4 * i] * rgba[4 * i + 3] / 255;
        model.set("pixels", new DataView(grey.buffer));
        model.save_changes();
    }
    model.on("change:cleared", () => pen.clearRect(0, 0, SIDE, SIDE));
    el.appendChild(canvas);
}

export default { render };
