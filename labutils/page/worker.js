/* Who computes? A worker, so that the page never waits: an estimate first, then all images. */
import { LANES, Network } from "./network.js";
import { Pruning } from "./pruning.js";

const STAGES = [200, 1000, Infinity]; // images after which an answer is sent
const REMEMBERED = 60; // settings
const EXAMPLES = 12;
const CURVE = [...Array.from({ length: 20 }, (_, i) => 5 * i), 97, 99];

let lab; // the network and its images, once they are unpacked
let question = null, working = false; // the newest question

const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

async function unpacked(text) {
    const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
}

/* Let messages in; a timer would wait 4 ms. */
const gate = new MessageChannel();
function pause() {
    return new Promise((go) => {
        gate.port1.onmessage = go;
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
        made.choose();
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

    images(from) {
        const length = Math.min(LANES, this.count - from);
        return Array.from({ length }, (_, i) => this.image(from + i));
    }

    /* Read the next images. */
    read(network, state) {
        for (const logits of network.run(this.images(state.tested))) {
            const right = argmax(logits) === this.labels[state.tested++];
            state.right.push(state.right.at(-1) + right);
        }
    }

    /* What is counted of a setting so far; the settings used last are remembered. */
    counts(setting) {
        const key = JSON.stringify(setting), found = this.known.get(key) ?? nothing();
        this.known.delete(key);
        this.known.set(key, found);
        if (this.known.size > REMEMBERED) this.known.delete(this.known.keys().next().value);
        return found;
    }

    /* Choose digits the network reads correctly, the shakiest first; and the surest of each. */
    choose() {
        const found = [];
        for (let from = 0; from < Math.min(1000, this.count); from += LANES)
            this.dense.run(this.images(from)).forEach((logits, i) => {
                const [first, second] = [...logits].sort((a, b) => b - a);
                if (argmax(logits) === this.labels[from + i]) found.push({ i: from + i, margin: first - second });
            });
        found.sort((a, b) => a.margin - b.margin);
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
    const { id, setting } = asked, network = lab.pruning.prune(setting), state = lab.counts(setting);
    lab.pruned.load(network.tensors);
    const view = { id, ...lab.describe(asked, network) }, first = Math.max(STAGES[0], state.tested);
    for (const stage of [first, ...STAGES.filter((s) => s > first && first < lab.count)]) {
        const stale = () => stage !== first && asked !== question; // a first answer is always finished
        await count(lab.pruned, state, stage, stale);
        await count(lab.dense, lab.baseline, state.tested, stale);
        if (stale()) return;
        const { tested, right } = state, dense = lab.baseline.right[tested];
        postMessage({ kind: "answer", ...view, tested, right: right[tested], dense });
        delete view.inside; // told once
        if (asked !== question) return;
    }
    for (const most of [STAGES[0], Infinity]) if (asked === question) await curve(asked, most);
}

/* Read until so many images are counted, or `stale` says that nobody waits any more. */
async function count(network, state, stage, stale) {
    for (let slice = 1; state.tested < Math.min(stage, lab.count); slice++) {
        lab.read(network, state);
        if (slice % 2 === 0 && stage > STAGES[0]) await pause();
        if (stale()) return;
    }
}

/* What the settings of one curve have in common. */
const ruleOf = ({ remove, method, scope, off }) =>
    ({ remove, method, scope: scope === "own" ? "global" : scope, off });

/* Work out the curve of a setting's rule as far as so many images allow; send every point. */
async function curve(asked, most) {
    const rule = ruleOf(asked.setting), key = JSON.stringify(rule);
    if (!lab.curves.has(key)) lab.curves.set(key, CURVE.map((amount) => ({ amount, ...nothing() })));
    const points = lab.curves.get(key), wanted = Math.min(most, lab.count);
    const told = ({ amount, tested, right }) => ({ amount, tested, accuracy: right[tested] / tested });
    const send = () => postMessage({ kind: "points", rule: key, points: points.map(told) });
    for (const point of points) {
        if (point.tested >= wanted) continue;
        lab.pruned.load(lab.pruning.prune({ ...rule, amount: point.amount }).tensors);
        const state = { tested: point.tested, right: [...point.right] };
        await count(lab.pruned, state, wanted, () => asked !== question);
        if (asked !== question) return;
        Object.assign(point, state);
        if (most > STAGES[0]) send();
    }
    send();
}

const HANDLERS = {
    async open({ data }) {
        lab = await Lab.open(data);
        const { examples, samples, methods } = lab;
        const layers = lab.layers.map(({ name, weight }) => ({ name, width: weight[0] }));
        postMessage({ kind: "ready", examples, samples, methods, layers });
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
