/* Which weights and filters go, and what does that save? The same ones as in labutils.prune. */

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

function alive(numbers) {
    let count = 0;
    for (let i = 0; i < numbers.length; i++) if (numbers[i] !== 0) count++;
    return count;
}

/* Python's round: of two integers equally near, the even one. */
export function round(x) {
    const low = Math.floor(x), rest = x - low;
    return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

/* Say of each weight how many go before it: those of smaller keys, and of equals those behind it. */
function ranked(keys) {
    const bits = new Uint32Array(Float32Array.from(keys).buffer), n = bits.length;
    // Numbers from 0 sort as their bits do; the place behind them, from the end, breaks ties.
    const order = Float64Array.from(bits, (b, i) => b * 2 ** 22 + n - 1 - i).sort();
    const ranks = new Uint32Array(n);
    order.forEach((key, rank) => (ranks[n - 1 - key % 2 ** 22] = rank));
    return ranks;
}

export class Pruning {
    /* layers: those with weights, each with `tensors` {weight, bias} and `uses` (how often a weight
       is used in one image). keys: by method, a number for each weight; the smallest go first.
       filters: by method and layer, pairs of filter and score, the best first. */
    constructor(layers, keys, filters) {
        Object.assign(this, { layers, keys, filters, ranks: {} });
        const all = layers.flatMap(({ tensors }) => [...tensors.weight]);
        this.count = all.length;
        this.parameters = this.count + sum(layers.map((l) => l.hasBias * l.weight[0]));
        this.widths = layers.slice(0, -1).map(({ weight }) => weight[0]);
        this.keys.magnitude = Float32Array.from(all, Math.abs);
        this.sizes = this.keys.magnitude.slice().sort();
        this.reach = this.sizes[Math.floor(0.999 * (this.count - 1))] || 1e-9;
        const bin = (w) => Math.floor(61 * (w / this.reach + 1) / 2);
        this.bins = Uint8Array.from(all, (w) => Math.max(0, Math.min(60, bin(w))));
    }

    /* Ranks of a method's keys, of all layers together and of each. */
    ranking(method) {
        return (this.ranks[method] ??= (() => {
            let start = 0;
            const keys = this.keys[method], part = (n) => keys.subarray(start, (start += n));
            const layer = this.layers.map(({ tensors }) => ranked(part(tensors.weight.length)));
            return { global: ranked(keys), layer };
        })());
    }

    /* Return the tensors by layer, and `kept`: for each layer which filters are there (true/false).
       setting: {remove, method, scope, amount, shares, off}; amounts in percent. */
    prune(setting) {
        const kept = this.layers.map(({ weight }) => Array(weight[0]).fill(true));
        const filters = setting.remove === "filters";
        if (filters) this.left(setting).forEach((left, l) => {
            for (const [f] of this.filters[setting.method][l].slice(left)) kept[l][f] = false;
        });
        for (const [layer, filter] of setting.off) kept[layer][filter] = false;
        const together = setting.scope === "global", ranking = filters ? null : this.ranking(setting.method);
        let start = 0;
        const tensors = this.layers.map(({ tensors: { weight, bias } }, l) => {
            const ranks = together ? ranking?.global.subarray(start) : ranking?.layer[l];
            const share = this.share(setting, l), count = together ? this.count : weight.length;
            const gone = filters ? 0 : round(share * count), left = weight.slice();
            start += weight.length;
            if (gone) for (let i = 0; i < left.length; i++) if (ranks[i] < gone) left[i] = 0;
            const read = filters && l ? kept[l - 1] : [true];
            const each = weight.length / bias.length / read.length;
            kept[l].forEach((stays, f) => read.forEach((seen, c) => {
                const from = (f * read.length + c) * each;
                if (!stays || !seen) left.fill(0, from, from + each);
            }));
            return { weight: left, bias: bias.map((b, f) => (kept[l][f] ? b : 0)) };
        });
        return { tensors, kept };
    }

    share({ scope, shares, amount }, layer) {
        return (scope === "own" ? shares[layer] : amount) / 100;
    }

    /* How many filters stay in each layer but the last: at least one. */
    left(setting) {
        if (setting.scope !== "global")
            return this.widths.map((n, l) => Math.max(1, n - round(this.share(setting, l) * n)));
        const left = [...this.widths];
        const slots = this.filters[setting.method].flatMap((best, l) =>
            best.slice(1).map(([, score]) => ({ l, score })));
        slots.reverse().sort((a, b) => a.score - b.score); // of equals the later one goes first
        for (const { l } of slots.slice(0, round(setting.amount / 100 * sum(left)))) left[l] -= 1;
        return left;
    }

    /* What is left, counted: everything a page says beside the accuracy. */
    cost(setting, { tensors, kept }) {
        const filters = setting.remove === "filters", stay = kept.map((k) => k.filter(Boolean).length);
        const total = { nonzero: 0, bytes: 0, macs: 0, macsNonzero: 0, macsDense: 0, weights: 0 };
        const layers = this.layers.map(({ name, weight: shape, uses, hasBias }, l) => {
            const { weight, bias } = tensors[l], count = weight.length, width = shape[0];
            const read = l ? stay[l - 1] / kept[l - 1].length : 1; // of what the layer before gave
            const there = filters ? count * stay[l] / width * read : count, nonzero = alive(weight);
            const stored = filters ? 4 * (there + hasBias * stay[l])
                : sparseBytes(weight) + (hasBias && sparseBytes(bias));
            total.nonzero += nonzero + (hasBias && alive(bias));
            total.weights += nonzero;
            total.bytes += stored;
            total.macs += there * uses;
            total.macsNonzero += nonzero * uses;
            total.macsDense += count * uses;
            const gone = filters ? 1 - stay[l] / width : 1 - nonzero / count;
            return { name, width, left: stay[l], gone };
        });
        const some = filters ? layers.slice(0, -1) : layers;
        const removed = filters ? 1 - sum(some.map((l) => l.left)) / (sum(this.widths) || 1)
            : 1 - total.weights / this.count;
        return { ...total, layers: some, removed, parameters: this.parameters,
            bytesDense: 4 * this.parameters, histogram: this.histogram(setting, tensors) };
    }

    /* Count the weights that stay and go by value; `cut` is the smallest magnitude that stays. */
    histogram({ remove, method, scope, amount }, tensors) {
        const kept = Array(61).fill(0), removed = Array(61).fill(0);
        let i = 0;
        this.layers.forEach((layer, l) => {
            const before = layer.tensors.weight, now = tensors[l].weight;
            for (let k = 0; k < now.length; k++, i++)
                (now[k] !== 0 || before[k] === 0 ? kept : removed)[this.bins[i]]++;
        });
        const one = remove === "weights" && method === "magnitude" && scope === "global" && amount > 0;
        const cut = one ? this.sizes[round(amount / 100 * this.count)] : undefined;
        return { kept, removed, reach: this.reach, cut };
    }
}

/* Bytes of a tensor as it is, or by a bit for each weight, or by gaps: as labutils.cost.sizes. */
function sparseBytes(tensor) {
    const words = new Uint32Array(tensor.buffer), n = words.length; // -0.0 is no zero
    let nonzero = 0, steps = 0;
    for (let i = 0, last = -1; i < n; i++) {
        if (words[i] === 0) continue;
        steps += 1 + Math.floor((i - last - 1) / 255);
        nonzero += 1;
        last = i;
    }
    return Math.min(4 * n, Math.ceil(n / 8) + 4 * nonzero, 4 + steps + 4 * nonzero);
}
