/* The explorer: what the reader sets, what the worker answers. mount(element, data, options).

   Each change of the setting is an event "lab-setting" of the element, each answer "lab-view". */
import {
    bars, bytes, cliff, curve, escape, histogram, ink, interval, largest, layers, mosaic, paint, percent, signed, whole,
} from "./draw.js";
import { pad } from "./pad.js";

const START = { amount: 0, scope: "global", remove: "weights" };
const CHOICES = {
    remove: { weights: "single weights", filters: "whole filters" },
    scope: { global: "from all layers together", layer: "the same share of each layer", own: "a share of its own for each layer" },
};
const CLIFF = 0.9; // accuracy below which a network has fallen off it
const LATE = 120; // ms after which the page says that it still computes

const radios = (name) => Object.entries(CHOICES[name]).map(([value, text]) =>
    `<label><input type="radio" name="${name}" value="${value}"> ${text}</label>`).join("");
const slider = (name, label) =>
    `<label class="slider"><span>${label} <b data-of="${name}"></b></span><input type="range" name="${name}" min="0" max="100"></label>`;
const card = (name, title, content, more = "") => `<section class="card ${name}"><h2>${title}</h2>${content}${more}</section>`;
const folded = (name, title, content) => `<details class="card ${name}"><summary><h2>${title}</h2></summary>${content}</details>`;

const PAGE = (names) => `
<form class="controls card" aria-label="What is removed">
    ${slider("amount", "Remove")}
    <div class="shares">${names.map((name, l) => slider(`share${l}`, escape(name))).join("")}</div>
    <div class="choices"><fieldset><legend>What goes</legend>${radios("remove")}</fieldset>
    <fieldset><legend>The smallest go</legend>${radios("scope")}</fieldset>
    <p><button type="button" name="undo">Undo</button> <button type="button" name="reset">Reset</button></p></div>
    <p class="notice" role="alert" hidden></p>
</form>
<p class="spoken" role="status"></p>
<div class="cards">
${card("digit", "Your digit", `<div class="side"><div><canvas role="img" aria-label="A field to draw a digit in with mouse, finger or pen"></canvas>
    <p><button type="button" name="clear">Clear</button></p></div><ol class="bars" aria-label="How sure the network is of each digit"></ol></div>
    <p>Draw in the field, or take one: <span class="samples"></span></p>`)}
${card("figures", "What is left", `<p class="big"><b data-figure="accuracy">…</b> <span>read correctly</span></p><p class="basis"></p><dl></dl>`)}
${card("curve", "Where is the cliff?", `<form class="predict"><p>How much can go before the network reads fewer than ${percent(CLIFF, 0)} of the digits?
    Place your guess; the curve appears behind it.</p>${slider("guess", "My guess")}<p><button name="place">Place it</button> <button type="button" name="skip">Skip</button></p></form>
    <div class="picture"></div><p class="said"></p>`)}
${card("weights", "The weights by value", '<p class="key"><i class="kept"></i> stay <i class="gone"></i> gone <i class="cut"></i> cut</p><div class="picture"></div>')}
${card("layers", "Gone from each layer", '<div class="picture"></div>')}
${card("examples", "The shakiest digits", '<p class="said"></p><ul></ul>')}
</div>
${folded("filters", "Inside: filters, and what each answers to your digit", "<p>Click a filter to silence it, and again to have it back. Left its weights (blue above zero, orange below, gray zero), right its answer.</p><div></div>")}
${folded("matrix", "Inside: a layer's weights as a picture", '<p class="names"></p><p class="said"></p><canvas role="img"></canvas>')}`;

class Explorer {
    constructor(element, data, options) {
        Object.assign(this, { element, options, id: 0, view: null, past: [], guess: null, digit: null, shown: 0, waiting: new Map() });
        this.guessing = options.predict !== false;
        this.dark = matchMedia("(prefers-color-scheme: dark)");
        const theme = () => (element.dataset.theme = options.theme ?? (this.dark.matches ? "dark" : "light"));
        this.dark.addEventListener("change", theme);
        theme();
        element.classList.add("lab");
        element.innerHTML = '<p role="status">The network is being unpacked…</p>';
        try { // a worker made of text: one from a file would not start from file://
            this.worker = new Worker(URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" })));
            this.worker.onmessage = ({ data }) => this[data.kind](data);
            this.worker.onerror = () => this.failed({ message: "the worker stopped" });
            this.worker.postMessage({ kind: "open", data });
        } catch (error) {
            this.failed(error);
        }
    }

    $(selector) {
        return this.element.querySelector(selector);
    }

    /* The worker has unpacked the network: build the page once. */
    ready({ layers, examples, samples }) {
        Object.assign(this, { layers, examples });
        this.element.innerHTML = PAGE(layers.map(({ name }) => name));
        this.pad = pad(this.$(".digit canvas"), (pixels) => this.take(pixels));
        const image = (tag, { pixels }) => {
            const made = document.createElement(tag), canvas = made.appendChild(document.createElement("canvas"));
            paint(canvas, pixels, 28, 28, ink(255));
            canvas.setAttribute("aria-hidden", true);
            return made;
        };
        for (const sample of samples) {
            const button = image("button", sample);
            button.setAttribute("aria-label", `take this ${sample.label}`);
            button.onclick = () => (this.pad.show(sample.pixels), this.take(sample.pixels));
            this.$(".samples").append(button);
        }
        this.$(".examples ul").append(...examples.map((example) => image("li", example)));
        this.$(".matrix .names").innerHTML = layers.map(({ name }, l) => `<button type="button" data-layer="${l}">${escape(name)}</button>`).join(" ");
        this.listen();
        this.digit = samples.at(7 % samples.length)?.pixels ?? null;
        if (this.digit) this.pad.show(this.digit);
        this.set({ ...this.options.start, ...(this.options.address && fromAddress()) });
    }

    listen() {
        const form = this.$(".controls"), guess = this.$("[name=guess]");
        const on = (name, act) => (this.$(`[name=${name}]`).onclick = act);
        form.onsubmit = (event) => event.preventDefault();
        form.oninput = () => this.move({ ...this.setting, ...this.read(form) });
        form.onchange = () => this.commit();
        on("undo", () => (this.move((this.committed = this.past.pop())), this.commit()));
        on("reset", () => (this.move(this.fresh()), this.commit()));
        on("clear", () => (this.pad.clear(), this.take(null)));
        on("skip", () => this.place(null));
        this.$(".predict").onsubmit = (event) => (event.preventDefault(), this.place(Number(guess.value)));
        (guess.oninput = () => (this.$("[data-of=guess]").textContent = `${guess.value}%`))();
        for (const details of this.element.querySelectorAll("details")) details.ontoggle = () => this.ask();
        this.$(".matrix .names").onclick = ({ target }) =>
            target.dataset.layer && (this.shown = Number(target.dataset.layer), this.ask());
        this.changed = () => location.hash.slice(1) !== this.written() && this.set(fromAddress());
        if (this.options.address) addEventListener("hashchange", this.changed);
    }

    fresh() {
        return { ...START, shares: this.layers.map(() => 0), off: [] };
    }

    read(form) {
        const { amount, scope, remove } = Object.fromEntries(new FormData(form));
        const before = (l) => Math.round(100 * (this.view?.layers[l]?.gone ?? 0)); // the rule before gave it
        const begins = scope === "own" && this.setting.scope !== "own";
        const shares = this.layers.map((_, l) => (begins ? before(l) : Number(form.elements[`share${l}`].value)));
        return { amount: Number(amount), scope, remove, shares };
    }

    /* Take a setting from outside, as strings or numbers; what makes no sense is ignored, in words. */
    set(values) {
        const { setting, problems } = checked(values, this.fresh(), this.layers);
        this.say(problems.join(" "));
        this.move(setting);
        this.commit();
    }

    say(text) {
        Object.assign(this.$(".notice"), { textContent: text, hidden: !text });
    }

    /* Change the setting; `commit` makes it a step that can be undone. */
    move(setting) {
        this.setting = setting;
        const form = this.$(".controls");
        const fill = (name, value) => {
            form.elements[name].value = value;
            this.$(`[data-of=${name}]`).textContent = `${value}%`;
        };
        fill("amount", setting.amount);
        setting.shares.forEach((share, l) => fill(`share${l}`, share));
        for (const name of ["scope", "remove"]) form.elements[name].value = setting[name];
        form.dataset.scope = setting.scope;
        form.elements[`share${this.layers.length - 1}`].disabled = setting.remove === "filters"; // the last keeps its ten
        this.element.dispatchEvent(new CustomEvent("lab-setting", { detail: setting }));
        this.ask();
    }

    commit() {
        if (this.committed && JSON.stringify(this.committed) !== JSON.stringify(this.setting)) this.past.push(this.committed);
        this.committed = this.setting;
        this.$("[name=undo]").disabled = !this.past.length;
        if (this.options.address) history.replaceState(null, "", `#${this.written()}`);
    }

    written() {
        const { amount, scope, remove, shares, off } = this.setting;
        const parts = [`amount=${amount}`, `scope=${scope}`, `remove=${remove}`];
        if (scope === "own") parts.push(`shares=${shares}`);
        if (off.length) parts.push(`off=${off.map(([l, f]) => `${this.layers[l].name}:${f}`)}`);
        return parts.join("&");
    }

    take(pixels) {
        this.digit = pixels;
        this.ask();
    }

    ask() {
        const { setting, digit, shown } = this, open = this.$("details[open]") !== null;
        this.worker.postMessage({ kind: "ask", id: ++this.id, setting, digit, shown: open ? shown : null });
        this.element.setAttribute("aria-busy", true);
        clearTimeout(this.late);
        this.late = setTimeout(() => this.element.classList.add("waiting"), LATE);
    }

    /* An answer for the newest setting, or for one on the way there: it says itself for which. */
    answer(view) {
        if (view.id === this.id) {
            clearTimeout(this.late);
            this.element.classList.remove("waiting");
            this.element.setAttribute("aria-busy", view.tested < view.total);
        }
        this.view = view;
        this.figures(view);
        this.$(".weights .picture").innerHTML = histogram(view.histogram);
        this.$(".layers .picture").innerHTML = layers(view);
        this.drawCurve();
        this.$(".bars").innerHTML = bars(view.digit ?? Array(10).fill(0));
        [...this.$(".examples ul").children].forEach((item, i) => {
            const { label } = this.examples[i], flipped = view.read[i] !== label;
            item.classList.toggle("flipped", flipped);
            item.replaceChildren(item.firstChild, flipped ? `${label} → ${view.read[i]}` : `${label}`);
        });
        const flipped = this.element.querySelectorAll(".flipped").length;
        this.$(".examples .said").textContent =
            `Read correctly by the whole network, the shakiest first: ${flipped} of ${view.read.length} misread now.`;
        this.element.dispatchEvent(new CustomEvent("lab-view", { detail: view }));
    }

    figures(view) {
        const { right, tested, total, dense, setting } = view, share = right / tested, filters = setting.remove === "filters";
        const [low, high] = interval(right, tested).map((end) => percent(end, 2)), change = 100 * (right - dense) / tested;
        const gone = setting.scope === "own" ? "shares of your own removed" : `${setting.amount}% of the ${setting.remove} removed`;
        const basis = tested === total ? `all ${whole(total)} images` : `estimate from ${whole(tested)} of ${whole(total)} images, counting on…`;
        const sign = change > 0 ? "+" : change < 0 ? "−" : "±", bold = (name, text) => `<b data-figure="${name}">${text}</b>`;
        this.$("[data-figure=accuracy]").textContent = percent(share, 2);
        this.$(".basis").textContent = `${gone}, ${basis}`;
        const rows = {
            "95% interval": `${low} to ${high}`,
            change: `${bold("change", sign + Math.abs(change).toFixed(2))} points against the whole network on the same images`,
            sparsity: `${bold("sparsity", percent(view.removed))} of the ${filters ? "filters are gone" : "weights are 0"}`,
            parameters: `${bold("nonzero", whole(view.nonzero))} of ${whole(view.parameters)} are ${filters ? "left" : "not 0"}`,
            bytes: `${bold("bytes", bytes(view.bytes))} ${filters ? "now" : "without the zeros"}, ${bytes(view.bytesDense)} ${filters ? "before" : "with them"}`,
            MACs: `${bold("macs", whole(filters ? view.macs : view.macsNonzero))} ${filters ? "" : "with a weight that is not 0 "}of ${whole(view.macsDense)} an image`,
        };
        this.$(".figures dl").innerHTML = Object.entries(rows).map(([name, text]) => `<dt>${name}</dt><dd>${text}</dd>`).join("");
        const spoken = `${gone}: ${percent(share, 2)} of ${whole(tested)} images read correctly, ${change.toFixed(2)} points.`;
        this.$("[name=amount]").setAttribute("aria-valuetext", spoken);
        if (tested === total) this.$(".spoken").textContent = spoken;
    }

    points(found) {
        this.found = found;
        this.drawCurve();
    }

    drawCurve() {
        const { view, guess, found } = this;
        if (this.guessing || !view) return;
        const known = found?.rule === view.rule ? found.points : []; // never another rule's
        const at = known.every((p) => p.tested) ? cliff(known, CLIFF) : null;
        const done = known.length && known.every((p) => p.tested === view.total);
        this.$(".curve .picture").innerHTML = curve(known, view, guess);
        this.$(".curve .said").textContent = [
            at === null ? "" : `It falls below ${percent(CLIFF, 0)} at ${Math.round(at)}% removed.`,
            at === null || guess === null ? "" : `Your guess, ${guess}%, is ${Math.abs(Math.round(at) - guess)} points away.`,
            done ? `All ${whole(view.total)} images.` : "Still being computed…",
        ].join(" ");
    }

    /* The reader has placed the cliff (or does not want to): now the curve may be seen. */
    place(guess) {
        Object.assign(this, { guess, guessing: false });
        this.$(".predict").hidden = true;
        this.drawCurve();
        this.$(".curve h2").tabIndex = -1;
        this.$(".curve h2").focus();
    }

    look({ id, filters, weights }) {
        if (id !== this.id) return;
        if (!this.tiles) this.build(filters);
        filters.forEach((layer, i) => this.fill(layer, this.tiles[i]));
        const { name, shape, weight } = weights, per = weight.length / shape[0], canvas = this.$(".matrix canvas");
        const dead = percent(weight.filter((w) => w === 0).length / weight.length);
        const said = `${name}: ${shape[0]} rows, one a ${shape.length > 2 ? "filter" : "neuron"}, of ${whole(per)} weights;
            ${dead} are zero (gray), the others blue above zero and orange below.`;
        paint(canvas, weight, shape[0], per, signed(largest(weight) / 2));
        canvas.style.maxWidth = `${40 * per}px`;
        canvas.setAttribute("aria-label", said);
        this.$(".matrix .said").textContent = said;
        [...this.$(".matrix .names").children].forEach((button, l) => button.setAttribute("aria-pressed", l === this.shown));
    }

    /* Make the filters' buttons once. */
    build(filters) {
        const tile = (name, f) => `<button type="button" aria-label="silence filter ${f} of ${escape(name)}"><canvas></canvas><canvas></canvas><span></span></button>`;
        this.$(".filters div").innerHTML = filters.map(({ name, kept }) =>
            `<h3>${escape(name)}</h3><p class="tiles">${kept.map((_, f) => tile(name, f)).join("")}</p>`).join("");
        this.tiles = [...this.element.querySelectorAll(".tiles")].map((row) => [...row.children]);
    }

    /* Paint a layer's filters and their answers, and say which are silent or gone. */
    fill({ place, kept, shape: [, channels, high, wide], weight, answers: [, rows, columns], values }, tiles) {
        const per = channels * high * wide, size = rows * columns, colours = [signed(largest(weight)), ink(largest(values))];
        tiles.forEach((tile, f) => {
            const [left, right] = tile.querySelectorAll("canvas"), off = this.setting.off.some(([l, g]) => l === place && f === g);
            paint(left, ...mosaic(weight.subarray(f * per, (f + 1) * per), channels, high, wide), colours[0]);
            paint(right, values.subarray(f * size, (f + 1) * size), rows, columns, colours[1]);
            tile.setAttribute("aria-pressed", off);
            tile.querySelector("span").textContent = off ? `${f} silent` : kept[f] ? f : `${f} gone`;
            tile.onclick = () => this.toggle(place, f, kept);
        });
    }

    toggle(layer, filter, kept) {
        const others = this.setting.off.filter(([l, f]) => l !== layer || f !== filter);
        const silence = others.length === this.setting.off.length;
        const last = silence && kept.filter(Boolean).length < 2;
        this.say(last ? `One filter of ${this.layers[layer].name} has to stay: have another one back first.` : "");
        if (last) return;
        this.move({ ...this.setting, off: silence ? [...others, [layer, filter]] : others });
        this.commit();
    }

    failed({ message }) {
        this.element.innerHTML = `<p role="alert">The network cannot run here (${escape(message)}): open the page in a browser of 2023 or later.</p>`;
    }

    /* Ask for everything about a setting: tensors, masks, and the logits of so many images. */
    inspect(values, images) {
        const { setting } = checked(values, this.fresh(), this.layers), id = `inspect${this.waiting.size}`;
        this.worker.postMessage({ kind: "inspect", id, setting, images });
        return new Promise((found) => this.waiting.set(id, found));
    }

    inspected(found) {
        this.waiting.get(found.id)(found);
    }

    destroy() {
        this.worker.terminate();
        removeEventListener("hashchange", this.changed);
        this.element.replaceChildren();
    }
}

const fromAddress = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/* Read a setting from strings or numbers: only what is known and in range; the rest, in sentences. */
export function checked(values, start, layers) {
    const list = (value) => (Array.isArray(value) ? value : String(value).split(","));
    const share = (text) => (/^\d{1,3}$/.test(text) && text <= 100 ? Number(text) : null);
    const filter = (text) => {
        const [, name, number] = /^(.*):(\d+)$/.exec(text) ?? [], l = layers.findIndex((layer) => layer.name === name);
        return l >= 0 && l < layers.length - 1 && number < layers[l].width ? [l, Number(number)] : null;
    };
    const choice = (name) => (value) => (Object.hasOwn(CHOICES[name], value) ? value : null);
    const every = (found, fits) => (found.includes(null) || !fits ? null : found);
    const empty = (off) => layers.some(({ width }, l) => new Set(off.filter((o) => o?.[0] === l).map(String)).size === width);
    const readers = {
        amount: [share, "it is a whole number of percent, 0 to 100"],
        scope: [choice("scope"), "it can be global, layer or own"],
        remove: [choice("remove"), "it can be weights or filters"],
        shares: [(value) => every(list(value).map(share), list(value).length === layers.length), `it is ${layers.length} numbers of percent, one a layer`],
        off: [(value) => every(list(value).map(filter), !empty(list(value).map(filter))), "it is filters of any layer but the last, as conv1:3, never all of one"],
    };
    const setting = { ...start }, problems = [];
    for (const [name, value] of Object.entries(values)) {
        const [read, allowed] = Object.hasOwn(readers, name) ? readers[name] : [() => null, `known are ${Object.keys(readers).join(", ")}`];
        const found = read(value);
        if (found === null) problems.push(`${name}=${value}`.slice(0, 60) + ` is ignored: ${allowed}.`);
        else setting[name] = found;
    }
    return { setting, problems };
}

/* Put an explorer into an element; data is what data.py packed. options: address (keep the setting in
   the page's address), predict (ask for a guess first), start (a setting), theme ("dark", "light"). */
export function mount(element, data, options = {}) {
    return new Explorer(element, data, options);
}
