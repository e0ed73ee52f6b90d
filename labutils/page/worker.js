/* Who computes? A worker, so that the page never waits: an estimate first, then all images. */
import { LANES, Network } from "./network.js";
import { Pruning } from "./pruning.js";

const STAGES = [200, 1000, Infinity]; // images after which an answer is sent
const SLICE = 200; // images between two looks at whether the question still stands
const REMEMBERED = 60; // settings
const EXAMPLES = 12;
const CURVE = [...Array.from({ length: 20 }, (_, i) => 5 * i), 97, 99];

let lab; // the network and its images, once they are unpacked
let question = null, working = false; // the newest question
let help = null; // asks a second worker, where there is a second core

const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

async function unpacked(text) {
    const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
}

/* Let messages in; a timer would wait 4 ms. */
const gate = new MessageChannel();
function pause() {
    return new Promise((go) => {
        gate.port1.onmessage = () => go();
        gate.port2.postMessage(0);
    });
}

const argmax = (numbers) => numbers.indexOf(Math.max(...numbers));
const nothing = () => ({ tested: 0, right: [0] }); // of the first 0, 1, 2, ... images

function softmax(logits) {
    const most = Math.max(...logits), powers = [...logits].map((l) => Math.exp(l - most));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((p) => p / total);
}

class Lab {
    static async open({ steps, weights, methods, images, pixels, labels, engine }) {
        const made = new Lab(), random = methods.weights.random;
        const texts = [weights, pixels, labels, ...(random ? [random] : [])];
        const [values, bytes, right, drawn] = await Promise.all(texts.map(unpacked));
        made.look(images, bytes, right);
        const module = new WebAssembly.Module(bytesOf(engine)), { shape } = images;
        [made.dense, made.pruned] = [1, 2].map(() => new Network(module, steps, shape));
        let at = 0;
        const all = new Float32Array(values), take = (n) => all.slice(at, (at += n));
        made.layers = steps.filter(({ weight }) => weight).map((layer, l) => ({
            ...layer, uses: made.dense.layers[l].uses,
            tensors: { weight: take(layer.weight.reduce((a, b) => a * b)), bias: take(layer.weight[0]) },
        }));
        made.methods = Object.fromEntries(Object.entries(methods).map(([k, v]) => [k, Object.keys(v)]));
        const keys = random ? { random: new Float32Array(drawn) } : {};
        made.pruning = new Pruning(made.layers, keys, methods.filters);
        made.dense.load(made.layers.map((layer) => layer.tensors));
        made.baseline = nothing();
        [made.curves, made.known] = [new Map(), new Map()];
        return made;
    }

    /* Make numbers of the images' bytes, each step rounded as PyTorch does. */
    look({ count, shape, mean, deviation }, bytes, labels) {
        const size = shape.reduce((a, b) => a * b), single = Math.fround;
        const value = Float32Array.from({ length: 256 }, (_, p) =>
            single(single(single(p / 255) - single(mean)) / single(deviation)));
        this.normalise = (pixels) => Float32Array.from(pixels, (p) => value[p]);
        this.blank = this.normalise(new Uint8Array(size));
        this.pixels = (i) => new Uint8Array(bytes, i * size, size);
        const numbers = this.normalise(new Uint8Array(bytes));
        this.image = (i) => numbers.subarray(i * size, (i + 1) * size);
        Object.assign(this, { count, labels: new Uint8Array(labels) });
    }

    /* Prune as a setting says, written as JSON, unless it is what was done last. */
    prune(key) {
        if (this.key !== key) {
            this.now = this.pruning.prune(JSON.parse(key));
            this.pruned.load(this.now.tensors);
            this.key = key;
        }
        return this.now;
    }

    /* What the network pruned so, or the dense one, says of images. */
    logits(key, from, to) {
        if (key) this.prune(key);
        const network = key ? this.pruned : this.dense, found = [];
        for (let at = from; at < to; at += LANES) {
            const images = Array.from({ length: Math.min(LANES, to - at) }, (_, i) => this.image(at + i));
            found.push(...network.run(images));
        }
        return found;
    }

    /* Whether it reads them correctly. */
    read(key, from, to) {
        return this.logits(key, from, to).map((logits, i) => argmax(logits) === this.labels[from + i]);
    }

    /* What is counted of a setting so far; the settings used last are remembered. */
    counts(key) {
        const found = this.known.get(key) ?? nothing();
        this.known.delete(key);
        this.known.set(key, found);
        if (this.known.size > REMEMBERED) this.known.delete(this.known.keys().next().value);
        return found;
    }

    /* Choose digits the network reads correctly, the shakiest first; and the surest of each. */
    choose() {
        const found = this.logits(null, 0, Math.min(1000, this.count)).map((logits, i) => {
            const [first, second] = [...logits].sort((a, b) => b - a);
            return { i, margin: first - second, right: argmax(logits) === this.labels[i] };
        }).filter(({ right }) => right).sort((a, b) => a.margin - b.margin);
        const n = Math.min(EXAMPLES, found.length), last = found.length - 1;
        const place = (k) => Math.round((k / Math.max(1, n - 1)) ** 2 * last);
        const picture = ({ i }) => ({ label: this.labels[i], pixels: this.pixels(i).slice() });
        this.examples = Array.from({ length: n }, (_, k) => picture(found[place(k)]));
        const sure = [...Array(10).keys()].map((d) => found.findLast(({ i }) => this.labels[i] === d));
        this.samples = sure.filter(Boolean).map(picture);
    }

    /* What can be said of a pruned network before any image is counted. */
    describe({ setting, digit, shown }, pruned) {
        const images = [...this.examples.map((e) => this.normalise(e.pixels))];
        const logits = this.pruned.run([...images, digit ? this.normalise(digit) : this.blank]);
        const view = {
            setting, total: this.count, ...this.pruning.cost(setting, pruned),
            rule: JSON.stringify(ruleOf(setting)), read: logits.slice(0, -1).map(argmax),
            digit: digit && softmax(logits.at(-1)),
        };
        if (shown !== null) view.inside = this.inside(pruned, shown, images.length);
        return view;
    }

    /* Filters and what each passes on of a digit; the weights of one layer as they are. */
    inside({ tensors, kept }, shown, lane) {
        const layers = this.layers.map(({ name, weight: shape }, place) => {
            const step = this.pruned.layers[place];
            const passed = { answers: step.to.shape, values: this.pruned.lane(step, lane) };
            return { name, place, shape, weight: tensors[place].weight, kept: kept[place], ...passed };
        });
        return { filters: layers.filter(({ shape }) => shape.length > 2), weights: layers[shown] };
    }
}

/* Answer the newest question, then the curve that belongs to it; drop it when there is a newer. */
async function work() {
    working = true;
    for (let asked = null; asked !== question; ) {
        asked = question;
        await pause(); // events that came meanwhile count first
        if (asked === question) await answer(asked);
    }
    working = false;
}

async function answer(asked) {
    const { id, setting } = asked, key = JSON.stringify(setting), state = lab.counts(key);
    const first = Math.max(STAGES[0], state.tested);
    let view = null;
    for (const stage of [first, ...STAGES.filter((s) => s > first && first < lab.count)]) {
        const stale = () => stage !== first && asked !== question; // a first answer is always finished
        const counting = count(key, state, stage, stale);
        view ??= { id, ...lab.describe(asked, lab.prune(key)) }; // meanwhile
        await counting;
        await count(null, lab.baseline, state.tested, stale);
        if (stale()) return;
        const { tested, right } = state, dense = lab.baseline.right[tested];
        postMessage({ kind: "answer", ...view, tested, right: right[tested], dense });
        delete view.inside; // told once
        if (asked !== question) return;
    }
    for (const most of STAGES.slice(0, -1)) if (asked === question) await curve(asked, most);
}

/* Read until so many images are counted, or `stale` says that nobody waits any more. */
async function count(key, state, stage, stale) {
    const end = Math.min(stage, lab.count);
    while (state.tested < end) {
        const from = state.tested, to = Math.min(end, from + SLICE);
        const share = help ? (from ? 0.5 : 0.4) : 1; // who reads the first part describes it, too
        const middle = Math.min(to, from + LANES * Math.ceil((to - from) / LANES * share));
        const theirs = middle < to ? help(key, middle, to) : pause(); // either lets messages in
        const right = [...lab.read(key, from, middle), ...(await theirs ?? [])];
        for (const one of right) state.right.push(state.right.at(-1) + one);
        state.tested = to;
        if (stale()) return;
    }
}

/* What the settings of one curve have in common. */
const ruleOf = ({ remove, method, scope, off }) =>
    ({ remove, method, scope: scope === "own" ? "global" : scope, off });

/* Work out the curve of a setting's rule from so many images, enough for a picture of it. */
async function curve(asked, most) {
    const rule = ruleOf(asked.setting), name = JSON.stringify(rule);
    if (!lab.curves.has(name)) lab.curves.set(name, CURVE.map((amount) => ({ amount, ...nothing() })));
    const points = lab.curves.get(name), wanted = Math.min(most, lab.count);
    const of = Math.min(STAGES.at(-2), lab.count);
    const told = ({ amount, tested, right }) => ({ amount, tested, accuracy: right[tested] / tested });
    const send = () => postMessage({ kind: "points", rule: name, points: points.map(told), of });
    for (const point of points) {
        if (point.tested >= wanted) continue;
        const state = { tested: point.tested, right: [...point.right] };
        const key = JSON.stringify({ ...rule, amount: point.amount });
        await count(key, state, wanted, () => asked !== question);
        if (asked !== question) return;
        Object.assign(point, state);
        if (most > STAGES[0]) send();
    }
    send();
}

const HANDLERS = {
    async open({ data, port }) {
        lab = await Lab.open(data);
        lab.choose();
        if (port) help = (...part) => new Promise((tell) => {
            port.onmessage = ({ data: right }) => tell(right);
            port.postMessage(part);
        });
        const { examples, samples, methods } = lab;
        const layers = lab.layers.map(({ name, weight }) => ({ name, width: weight[0], pictures: weight.length > 2 }));
        postMessage({ kind: "ready", examples, samples, methods, layers });
    },
    async help({ data, port }) {
        lab = await Lab.open(data);
        port.onmessage = ({ data: part }) => port.postMessage(lab.read(...part));
    },
    async ask(asked) {
        question = asked;
        if (!working) await work();
    },
};

addEventListener("message", async ({ data }) => {
    try {
        await HANDLERS[data.kind]?.(data);
    } catch (error) {
        working = false;
        postMessage({ kind: "failed", message: String(error.message ?? error) });
    }
});
