/* Who computes? A worker, so that the page never waits: an estimate first, then all images. */
import { LANES, Network } from "./network.js";
import { Pruning } from "./pruning.js";

const STAGES = [200, 1000, Infinity]; // images after which an answer is sent
const SLICE = 2; // times LANES images between two looks at whether the question still stands
const REMEMBERED = 60; // settings
const EXAMPLES = 12;
const CURVE = [...Array.from({ length: 20 }, (_, i) => 5 * i), 97, 99];

let lab; // the network and its images, once they are unpacked
let question = null, working = false; // the newest question

async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
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

class Lab {
    static async open(data) {
        const made = new Lab();
        const [weights, pixels, labels] = await Promise.all([data.weights, data.pixels, data.labels].map(unpacked));
        const { count, shape, mean, deviation } = data.images, size = shape[0] * shape[1] * shape[2];
        const single = Math.fround; // each step rounded as PyTorch does
        const value = Float32Array.from({ length: 256 }, (_, p) =>
            single(single(single(p / 255) - single(mean)) / single(deviation)));
        made.normalise = (bytes) => Float32Array.from(bytes, (p) => value[p]);
        made.pixels = (i) => new Uint8Array(pixels, i * size, size);
        made.numbers = made.normalise(new Uint8Array(pixels));
        made.labels = new Uint8Array(labels);
        made.count = count;
        const module = new WebAssembly.Module(Uint8Array.from(atob(data.engine), (c) => c.charCodeAt(0)));
        made.network = (fuse) => new Network(module, data.layers, shape, fuse);
        [made.dense, made.pruned, made.unfused] = [true, true, false].map(made.network);
        const values = new Float32Array(weights);
        let at = 0;
        const take = (n) => values.slice(at, (at += n));
        made.layers = data.layers.filter((layer) => layer.weight).map((layer, l) => ({
            ...layer, uses: made.dense.layers[l].uses,
            tensors: { weight: take(layer.weight.reduce((a, b) => a * b)), bias: take(layer.weight[0]) },
        }));
        made.pruning = new Pruning(made.layers);
        made.dense.load(made.layers.map((layer) => layer.tensors));
        made.baseline = { tested: 0, right: [0] };
        [made.curves, made.known] = [new Map(), new Map()];
        made.choose();
        return made;
    }

    images(from, to) {
        const { dense: { size }, numbers } = this;
        return Array.from({ length: Math.min(to, this.count) - from }, (_, i) => numbers.subarray((from + i) * size, (from + i + 1) * size));
    }

    /* Read the next images; `right` holds how many of the first 0, 1, 2, ... were read correctly. */
    read(network, state) {
        const images = this.images(state.tested, state.tested + LANES);
        network.run(images).forEach((logits) => {
            const right = argmax(logits) === this.labels[state.tested++];
            state.right.push(state.right.at(-1) + right);
        });
    }

    /* What is counted of a setting so far; the settings used last are remembered. */
    counts(setting) {
        const key = JSON.stringify(setting), found = this.known.get(key) ?? { tested: 0, right: [0] };
        this.known.delete(key);
        this.known.set(key, found);
        if (this.known.size > REMEMBERED) this.known.delete(this.known.keys().next().value);
        return found;
    }

    /* Choose digits the network reads correctly, from the shakiest to the surest; one of each too. */
    choose() {
        const found = [];
        for (let from = 0; from < Math.min(1000, this.count); from += LANES)
            this.dense.run(this.images(from, from + LANES)).forEach((logits, i) => {
                const [first, second] = [...logits].sort((a, b) => b - a);
                if (argmax(logits) === this.labels[from + i]) found.push({ i: from + i, margin: first - second });
            });
        found.sort((a, b) => a.margin - b.margin);
        const n = Math.min(EXAMPLES, found.length);
        const chosen = Array.from({ length: n }, (_, k) => found[Math.round((k / Math.max(1, n - 1)) ** 2 * (found.length - 1))].i);
        const picture = (i) => ({ label: this.labels[i], pixels: this.pixels(i).slice() });
        this.examples = chosen.map(picture);
        const sure = [...Array(10).keys()].map((d) => found.findLast(({ i }) => this.labels[i] === d));
        this.samples = sure.filter(Boolean).map(({ i }) => picture(i));
    }

    /* What can be said of a pruned network before any image is counted. */
    describe(setting, digit, pruned) {
        const images = [...this.examples.map((e) => e.pixels), ...(digit ? [digit] : [])].map(this.normalise);
        const logits = this.pruned.run(images);
        return {
            ...this.pruning.cost(setting, pruned), total: this.count,
            read: logits.slice(0, this.examples.length).map(argmax),
            digit: digit && softmax(logits.at(-1)),
        };
    }

    /* Filters and what each answers to a digit (or to none); the weights of one layer as they are. */
    look(digit, { tensors, kept }, shown) {
        this.unfused.load(tensors);
        this.unfused.run([digit ? this.normalise(digit) : new Float32Array(this.dense.size)]);
        const layers = this.layers.map(({ name, kind, weight: shape }, place) => {
            const step = this.unfused.layers[place];
            return { name, kind, place, shape, weight: tensors[place].weight, kept: kept[place], answers: step.shape, values: this.unfused.lane(step, 0) };
        });
        return { filters: layers.filter(({ kind }) => kind === "conv"), weights: layers[shown] };
    }
}

const argmax = (numbers) => numbers.indexOf(Math.max(...numbers));

function softmax(logits) {
    const most = Math.max(...logits), powers = [...logits].map((l) => Math.exp(l - most));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((p) => p / total);
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
    const { id, setting, digit, shown } = asked, network = lab.pruning.prune(setting), state = lab.counts(setting);
    lab.pruned.load(network.tensors);
    const view = { id, setting, rule: JSON.stringify(ruleOf(setting)), ...lab.describe(setting, digit, network) };
    const first = Math.max(STAGES[0], state.tested);
    for (const stage of [first, ...STAGES.slice(1).filter((s) => s > first && first < lab.count)]) {
        const stale = () => stage !== first && asked !== question; // a first answer is always finished
        await count(lab.pruned, state, stage, stale);
        await count(lab.dense, lab.baseline, state.tested, stale);
        if (stale()) return;
        const { tested, right } = state;
        postMessage({ kind: "answer", ...view, tested, right: right[tested], dense: lab.baseline.right[tested] });
        if (stage === first && shown !== null) postMessage({ kind: "look", id, ...lab.look(digit, network, shown) });
        if (asked !== question) return;
    }
    for (const most of [STAGES[0], Infinity]) if (asked === question) await curve(asked, setting, most);
}

/* Read until so many images are counted, or `stale` says that nobody waits any more. */
async function count(network, state, stage, stale) {
    for (let slice = 1; state.tested < Math.min(stage, lab.count); slice++) {
        lab.read(network, state);
        if (slice % SLICE === 0 && stage > STAGES[0]) await pause();
        if (stale()) return;
    }
}

/* What the settings of one curve have in common. */
const ruleOf = ({ remove, scope, off }) => ({ remove, scope: scope === "own" ? "global" : scope, off });

/* Work out the curve of a setting's rule as far as so many images allow; send every point. */
async function curve(asked, setting, most) {
    const rule = ruleOf(setting), key = JSON.stringify(rule);
    if (!lab.curves.has(key)) lab.curves.set(key, CURVE.map((amount) => ({ amount, tested: 0, right: [0] })));
    const points = lab.curves.get(key), wanted = Math.min(most, lab.count);
    const send = () => postMessage({
        kind: "points", rule: key,
        points: points.map(({ amount, tested, right }) => ({ amount, tested, accuracy: right[tested] / tested })),
    });
    for (const point of points) {
        if (point.tested >= wanted) continue;
        lab.pruned.load(lab.pruning.prune({ ...rule, amount: point.amount, shares: [] }).tensors);
        const state = { tested: point.tested, right: [...point.right] };
        await count(lab.pruned, state, wanted, () => asked !== question);
        if (asked !== question) return;
        Object.assign(point, state);
        if (most > STAGES[0]) send();
    }
    send();
}

/* Everything about one setting, for who wants to compare: tensors, and the logits of the first images. */
function inspect({ id, setting, images }) {
    const network = lab.pruning.prune(setting), state = { tested: 0, right: [0] }, logits = [];
    lab.spare ??= lab.network(true);
    lab.spare.load(network.tensors);
    for (let from = 0; from < images; from += LANES)
        logits.push(...lab.spare.run(lab.images(from, Math.min(images, from + LANES))));
    for (const l of logits) state.right.push(state.right.at(-1) + (argmax(l) === lab.labels[state.tested++]));
    postMessage({ kind: "inspected", id, ...network, cost: lab.pruning.cost(setting, network), logits, right: state.right.at(-1) });
}

onmessage = async ({ data }) => {
    try {
        if (data.kind === "open") {
            lab = await Lab.open(data.data);
            const { examples, samples, layers } = lab;
            postMessage({ kind: "ready", examples, samples, layers: layers.map(({ name, weight }) => ({ name, width: weight[0], shape: weight })), total: lab.count });
        } else if (data.kind === "inspect") inspect(data);
        else {
            question = data;
            if (!working) await work();
        }
    } catch (error) {
        working = false;
        postMessage({ kind: "failed", message: String(error.message ?? error) });
    }
};
