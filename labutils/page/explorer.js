/* The explorer: what the reader sets, what the worker answers. mount(element, data, options).

   Each change of the setting is an event "lab-setting" of the element, each answer "lab-view". */
import { bars, bytes, cliff, curve, escape, histogram, ink, interval, layers, paint, percent, whole }
    from "./draw.js";
import { insides } from "./inside.js";
import { pad } from "./pad.js";
import { checked, fresh, written } from "./setting.js";

const CLIFF = 0.9; // accuracy below which a network has fallen off it
const LATE = 120; // ms after which the page says that it still computes

const radios = "[name=scope], [name=remove]";
const rangeOf = (name, label) => `<label class="slider"><span>${escape(label)} <b data-of="${name}">
    </b></span><input type="range" name="${name}" min="0" max="100"></label>`;

class Explorer {
    constructor(element, data, options) {
        Object.assign(this, { element, options, id: 0, view: null, past: [], guess: null, digit: null });
        Object.assign(this, { shown: 0, guessing: options.predict ?? true, best: null });
        this.follow();
        element.classList.add("lab");
        element.innerHTML = '<p role="status">The network is being unpacked…</p>';
        try { // a worker made of text: one from a file would not start from file://
            const url = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
            const { port1, port2 } = new MessageChannel(), two = navigator.hardwareConcurrency > 1;
            const jobs = [["open", two ? [port1] : []], ...(two ? [["help", [port2]]] : [])];
            this.workers = jobs.map(([kind, ports]) => {
                const worker = new Worker(url);
                worker.onmessage = ({ data: said }) => this[said.kind](said);
                worker.onerror = () => this.failed({ message: "the worker stopped" });
                worker.postMessage({ kind, data, port: ports[0] }, ports);
                return worker;
            });
            this.worker = this.workers[0];
        } catch (error) {
            this.failed(error);
        }
    }

    $(selector) {
        return this.element.querySelector(selector);
    }

    /* Be dark where the text around is light, whatever made it so. */
    follow() {
        const theme = () => {
            const colour = getComputedStyle(this.element.parentElement ?? document.body).color;
            const light = colour.match(/[\d.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) > 384;
            this.element.dataset.theme = light ? "dark" : "light";
        };
        theme();
        this.watch = new MutationObserver(theme);
        for (const root of [document.documentElement, document.body]) {
            this.watch.observe(root, { attributes: true });
        }
        this.scheme = matchMedia("(prefers-color-scheme: dark)");
        this.scheme.onchange = theme;
    }

    /* The worker has unpacked the network: build the page once. */
    ready({ layers, methods, examples, samples }) {
        Object.assign(this, { lab: { layers, methods }, examples });
        this.element.innerHTML = TEMPLATE;
        this.$(".shares").innerHTML = layers.map(({ name }, l) => rangeOf(`share${l}`, name)).join("");
        this.$(".matrix .names").innerHTML = layers.map(({ name }, l) =>
            `<button type="button" data-layer="${l}">${escape(name)}</button>`).join(" ");
        this.$(".how").open = this.element.clientWidth > 600; // the digit is to be seen below
        this.$(".remove").hidden = Boolean(this.options.remove) || !methods.filters.length;
        this.$(".filters").hidden = !layers.some(({ pictures }) => pictures);
        this.$(".predict").hidden = !this.guessing;
        this.pad = pad(this.$(".digit canvas"), (pixels) => this.take(pixels));
        this.inside = insides(this.element, (...filter) => this.toggle(...filter));
        const image = (tag, { pixels }) => {
            const made = document.createElement(tag);
            const canvas = made.appendChild(document.createElement("canvas"));
            paint(canvas, pixels, 28, 28, ink(255));
            canvas.setAttribute("aria-hidden", true);
            return made;
        };
        for (const sample of samples) {
            const button = image("button", sample);
            button.setAttribute("aria-label", `take this ${sample.label}`);
            button.onclick = () => this.take(this.pad.show(sample.pixels));
            this.$(".samples").append(button);
        }
        this.$(".examples ul").append(...examples.map((example) => image("li", example)));
        this.listen();
        if (samples.length) this.digit = this.pad.show(samples.at(7 % samples.length).pixels);
        this.set({ ...this.options.start, ...(this.options.address && fromAddress()) });
    }

    listen() {
        const form = this.$(".controls"), guess = this.$("[name=guess]");
        const on = (name, act) => (this.$(`[name=${name}]`).onclick = act);
        form.onsubmit = (event) => event.preventDefault();
        form.oninput = () => (this.say(""), this.move(this.read(form)));
        form.onchange = () => this.commit();
        on("undo", () => {
            this.say("");
            this.move((this.committed = this.past.pop()));
            this.commit();
            if (!this.past.length) this.$("[name=amount]").focus(); // the button can't keep it
        });
        on("reset", () => this.set(this.options.start ?? {}));
        on("clear", () => (this.pad.clear(), this.take(null)));
        on("skip", () => this.place(null));
        this.$(".predict").onsubmit = (event) => (event.preventDefault(), this.place(Number(guess.value)));
        (guess.oninput = () => (this.$("[data-of=guess]").textContent = `${guess.value}%`))();
        for (const details of this.element.querySelectorAll("details.card")) details.ontoggle = () => this.ask();
        this.$(".matrix .names").onclick = ({ target }) =>
            target.dataset.layer && (this.shown = Number(target.dataset.layer), this.ask());
        this.moved = () => location.hash.slice(1) !== this.address() && this.set(fromAddress());
        if (this.options.address) addEventListener("hashchange", this.moved);
    }

    read(form) {
        const { amount, scope, remove, method } = Object.fromEntries(new FormData(form));
        const { setting, view, lab } = this, begins = scope === "own" && setting.scope !== "own";
        const before = (l) => Math.round(100 * (view?.layers[l]?.gone ?? 0)); // the rule before gave it
        const shares = lab.layers.map((_, l) => (begins ? before(l) : Number(form[`share${l}`].value)));
        const known = lab.methods[remove], rule = known.includes(method) ? method : known[0];
        return { ...setting, amount: Number(amount), scope, remove, method: rule, shares };
    }

    /* Take a setting from outside, as strings or numbers; what makes no sense is ignored, in words. */
    set(values) {
        const { setting, problems } = checked(values, fresh(this.lab, this.options.remove), this.lab);
        this.say(problems.join(" "));
        this.move(setting);
        this.commit();
    }

    say(text, kind = "problem") {
        Object.assign(this.$(`.${kind}`), { textContent: text, hidden: !text });
    }

    /* Change the setting; `commit` makes it a step that can be undone. */
    move(setting) {
        this.setting = setting;
        const form = this.$(".controls"), known = this.lab.methods[setting.remove];
        const fill = (name, value) => {
            form[name].value = value;
            this.$(`[data-of=${name}]`).textContent = `${value}%`;
            form[name].setAttribute("aria-valuetext", `${value}% removed`);
        };
        fill("amount", setting.amount);
        setting.shares.forEach((share, l) => fill(`share${l}`, share));
        const select = this.$("[name=method]");
        if (select.options[0]?.value !== known[0])
            select.innerHTML = known.map((m) => `<option>${m}</option>`).join("");
        select.value = setting.method;
        for (const radio of form.querySelectorAll(radios)) radio.checked = radio.value === setting[radio.name];
        form.dataset.scope = setting.scope;
        const last = form[`share${this.lab.layers.length - 1}`];
        last.disabled = setting.remove === "filters"; // the last layer keeps its ten
        this.element.dispatchEvent(new CustomEvent("lab-setting", { detail: setting }));
        this.ask();
    }

    commit() {
        const before = this.committed;
        if (before && JSON.stringify(before) !== JSON.stringify(this.setting)) this.past.push(before);
        this.committed = this.setting;
        this.$("[name=undo]").disabled = !this.past.length;
        if (this.options.address) history.replaceState(null, "", `#${this.address()}`);
        this.options.committed?.(this.setting);
    }

    address() {
        return written(this.setting, this.lab);
    }

    take(pixels) {
        this.digit = pixels;
        this.ask();
    }

    ask() {
        const { setting, digit } = this, shown = this.$(".card[open]") ? this.shown : null;
        this.worker.postMessage({ kind: "ask", id: ++this.id, setting, digit, shown });
        this.element.setAttribute("aria-busy", true);
        clearTimeout(this.late);
        this.late = setTimeout(() => {
            this.element.classList.add("waiting");
            this.$(".basis").textContent = `${this.asked(setting)}: being computed…`;
        }, LATE);
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
        this.$(".key span").hidden = view.histogram.cut === undefined;
        this.$(".layers .picture").innerHTML = layers(view);
        this.drawCurve();
        this.$(".bars").innerHTML = bars(view.digit);
        const wrong = view.read.map((read, i) => read !== this.examples[i].label);
        [...this.$(".examples ul").children].forEach((item, i) => {
            const { label } = this.examples[i];
            item.classList.toggle("flipped", wrong[i]);
            item.replaceChildren(item.firstChild, wrong[i] ? `${label} → ${view.read[i]}` : `${label}`);
        });
        this.$(".examples .said").textContent = "Read correctly by the whole network, the shakiest " +
            `first: ${wrong.filter(Boolean).length} of ${wrong.length} misread now.`;
        if (view.inside) this.inside(view.inside, view.setting);
        this.element.dispatchEvent(new CustomEvent("lab-view", { detail: view }));
    }

    asked({ scope, amount, remove, shares, off }) {
        const own = this.lab.layers.map(({ name }, l) => `${name} ${shares[l]}%`).join(", ");
        const silent = off.length ? `, ${off.length} filter${off.length > 1 ? "s" : ""} silenced` : "";
        return (scope === "own" ? `${own} removed` : `${amount}% of the ${remove} removed`) + silent;
    }

    figures(view) {
        const { right, tested, total, dense, setting } = view, share = right / tested;
        const change = 100 * (right - dense) / tested, sign = change > 0 ? "+" : change < 0 ? "−" : "±";
        const [low, high] = interval(right, tested).map((end) => percent(end, 2));
        const basis = tested === total ? `all ${whole(total)} images`
            : `estimate from ${whole(tested)} of ${whole(total)} images, counting on…`;
        this.$("[data-figure=accuracy]").textContent = percent(share, 2);
        this.$(".basis").textContent = `${this.asked(setting)}, ${basis}`;
        const b = (name, text) => `<b data-figure="${name}">${text}</b>`;
        const filters = setting.remove === "filters", [zero, left] = filters
            ? ["filters are gone", "left"] : ["weights are 0", "not 0"];
        const rows = {
            "95% interval": `${low} to ${high}`,
            change: `${b("change", sign + Math.abs(change).toFixed(2))} points against the whole
                network on the same images`,
            sparsity: `${b("sparsity", percent(view.removed))} of the ${zero}`,
            parameters: `${b("nonzero", whole(view.nonzero))} of ${whole(view.parameters)} are ${left}`,
            bytes: `${b("bytes", bytes(view.bytes))} ${filters ? "now" : "without the zeros"},
                ${bytes(view.bytesDense)} ${filters ? "before" : "with them"}`,
            MACs: `${b("macs", whole(filters ? view.macs : view.macsNonzero))}
                ${filters ? "" : "with a weight that is not 0 "}of ${whole(view.macsDense)} an image`,
        };
        if (this.options.goal) rows.goal = `<span data-figure="goal">${this.progress(view)}</span>`;
        this.$(".figures dl").innerHTML = Object.entries(rows).map(([name, text]) =>
            `<dt>${name}</dt><dd>${text}</dd>`).join("");
        if (tested < total) return; // said aloud once, when nothing changes any more
        const digit = view.digit ? ` Your digit is read as ${view.digit.indexOf(Math.max(...view.digit))}.` : "";
        this.$(".spoken").textContent = `${this.asked(setting)}: ${percent(share, 2)} read correctly, ` +
            `${change.toFixed(2)} points against the whole network.${digit}`;
    }

    /* Say whether the goal is met, what the rule reaches, and what one's own best is. */
    progress(view) {
        const { aim, rival, most, least } = this.options.goal, { setting, right, tested, total } = view;
        const met = most === undefined ? view.removed >= least : view.macs <= most;
        const mine = met && tested === total && setting.scope === "own" && !setting.off.length;
        if (mine && right > (this.best?.right ?? -1)) {
            this.best = { right, total, setting };
            this.options.bested?.(setting);
        }
        const parts = this.best?.setting.shares.map((share, l) => `${this.lab.layers[l].name} ${share}%`);
        const best = this.best ? `${percent(this.best.right / total, 2)} ` +
            `(${this.best.setting.method}; ${parts.slice(0, view.layers.length).join(", ")})`
            : "none yet (shares of your own count)";
        return escape(aim) + `: <b>${met ? "met" : "not met"}</b>; ${escape(rival)}; your best: ${escape(best)}`;
    }

    points(found) {
        this.found = found;
        this.drawCurve();
    }

    drawCurve() {
        const { view, guess, found } = this;
        if (this.guessing || !view) return;
        const known = found?.rule === view.rule ? found.points : []; // never another rule's
        const done = known.length && known.every((p) => p.tested === found.of);
        const at = done ? cliff(known, CLIFF) : null;
        this.$(".curve .picture").innerHTML = curve(known, view, guess, this.options.beside ?? {});
        this.$(".curve .said").textContent = [
            at === null ? "" : `It falls below ${percent(CLIFF, 0)} at ${Math.round(at)}% removed.`,
            at === null || guess === null ? ""
                : `Your guess, ${guess}%, is ${Math.abs(Math.round(at) - guess)} points away.`,
            view.setting.scope === "own" ? "The curve takes from all layers together." : "",
            done ? `From ${whole(found.of)} images.` : "Still being computed…",
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

    toggle(layer, filter, kept) {
        const others = this.setting.off.filter(([l, f]) => l !== layer || f !== filter);
        const silence = others.length === this.setting.off.length, { name } = this.lab.layers[layer];
        const last = silence && kept.filter(Boolean).length < 2;
        this.say(last ? `One filter of ${name} has to stay: have another one back first.` : "");
        if (last) return;
        this.move({ ...this.setting, off: silence ? [...others, [layer, filter]] : others });
        this.commit();
    }

    failed({ message }) {
        this.element.innerHTML = `<p role="alert">The network cannot run here (${escape(message)}):
            open the page in a browser of 2023 or later.</p>`;
    }

    destroy() {
        this.workers?.forEach((worker) => worker.terminate());
        this.watch.disconnect();
        this.scheme.onchange = null;
        removeEventListener("hashchange", this.moved);
        this.element.replaceChildren();
    }
}

const fromAddress = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/* Put an explorer into an element; data is what data.py packed. options: address (keep the setting in
   the page's address), predict (ask for a guess first; true if not given), start (a setting), remove
   ("weights" or "filters": what goes, if that is not to be chosen), goal ({aim, rival} in words, and
   `least` share removed or `most` MACs), beside (further curves), committed and bested (called with
   a setting that was chosen, and with the best that meets the goal). */
export function mount(element, data, options = {}) {
    return new Explorer(element, data, options);
}
