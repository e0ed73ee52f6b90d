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

/* Say of each weight how many go before it: the smaller ones, and of equals those behind it. */
function ranked(weights) {
    const bits = new Uint32Array(Float32Array.from(weights, Math.abs).buffer), n = bits.length;
    // Magnitudes sort as their bits do; the place behind them, counted from the end, breaks ties.
    const order = Float64Array.from(bits, (b, i) => b * 2 ** 22 + n - 1 - i).sort();
    const ranks = new Uint32Array(n);
    order.forEach((key, rank) => (ranks[n - 1 - key % 2 ** 22] = rank));
    return ranks;
}

export class Pruning {
    /* layers: those with weights, each with `tensors` {weight, bias}, `uses` (how often a weight is
       used in one image) and, but for the last, `scores` and `relative` (scores over their mean). */
    constructor(layers) {
        this.layers = layers;
        const every = layers.map(({ tensors }) => tensors.weight);
        this.count = sum(every.map((w) => w.length));
        this.parameters = this.count + sum(layers.map((l) => l.hasBias * l.weight[0]));
        const all = new Float32Array(this.count);
        let start = 0;
        for (const weight of every) {
            all.set(weight, start);
            start += weight.length;
        }
        this.ranks = { global: ranked(all), layer: every.map(ranked) };
        this.sizes = Float32Array.from(all, Math.abs).sort();
        this.reach = this.sizes[Math.floor(0.999 * (this.count - 1))] || 1e-9;
        this.bins = Uint8Array.from(all, (w) => Math.max(0, Math.min(60, Math.floor(61 * (w / this.reach + 1) / 2))));
        this.best = layers.slice(0, -1).map(({ scores }) =>
            scores.map((_, f) => f).sort((a, b) => scores[b] - scores[a] || a - b));
    }

    /* Return the tensors by layer, and `kept`: for each layer which filters are there (true/false).
       setting: {remove, scope, amount, shares, off}; amounts in percent. */
    prune(setting) {
        const kept = this.layers.map(({ weight }) => Array(weight[0]).fill(true));
        const filters = setting.remove === "filters";
        if (filters)
            this.left(setting).forEach((left, l) => this.best[l].slice(left).forEach((f) => (kept[l][f] = false)));
        for (const [layer, filter] of setting.off) kept[layer][filter] = false;
        let start = 0;
        const tensors = this.layers.map(({ tensors: { weight, bias } }, l) => {
            const together = setting.scope === "global", share = this.share(setting, l);
            const ranks = together ? this.ranks.global.subarray(start) : this.ranks.layer[l];
            const gone = filters ? 0 : round(share * (together ? this.count : weight.length));
            start += weight.length;
            const read = filters && l ? kept[l - 1] : [true];
            const each = weight.length / bias.length / read.length, left = new Float32Array(weight.length);
            let i = 0;
            for (const stays of kept[l])
                for (const seen of read)
                    for (const end = i + each; i < end; i++) if (stays && seen && ranks[i] >= gone) left[i] = weight[i];
            return { weight: left, bias: bias.map((b, f) => (kept[l][f] ? b : 0)) };
        });
        return { tensors, kept };
    }

    share({ scope, shares, amount }, layer) {
        return (scope === "own" ? shares[layer] : amount) / 100;
    }

    /* How many filters stay in each layer but the last: at least one. */
    left(setting) {
        const widths = this.best.map((order) => order.length);
        if (setting.scope !== "global")
            return widths.map((n, l) => Math.max(1, n - round(this.share(setting, l) * n)));
        const slots = this.best.flatMap((order, l) =>
            order.slice(1).map((f) => ({ l, value: this.layers[l].relative[f] })));
        slots.forEach((slot, i) => (slot.i = i));
        slots.sort((a, b) => a.value - b.value || b.i - a.i);
        for (const { l } of slots.slice(0, round(setting.amount / 100 * sum(widths)))) widths[l] -= 1;
        return widths;
    }

    /* What is left, counted: everything a page says beside the accuracy. */
    cost(setting, { tensors, kept }) {
        const filters = setting.remove === "filters", stay = kept.map((k) => k.filter(Boolean).length);
        const total = { nonzero: 0, bytes: 0, macs: 0, macsNonzero: 0, macsDense: 0, weights: 0, filters: 0 };
        const layers = this.layers.map(({ name, weight: shape, uses, hasBias }, l) => {
            const { weight, bias } = tensors[l], count = weight.length, width = shape[0];
            const there = filters ? count * stay[l] / width * (l ? stay[l - 1] / kept[l - 1].length : 1) : count;
            const nonzero = alive(weight), biases = hasBias ? [bias] : [];
            total.nonzero += nonzero + sum(biases.map(alive));
            total.weights += nonzero;
            total.bytes += filters ? 4 * (there + hasBias * stay[l]) : sum([weight, ...biases].map(sparseBytes));
            total.macs += there * uses;
            total.macsNonzero += nonzero * uses;
            total.macsDense += count * uses;
            const last = l === this.layers.length - 1;
            if (!last) total.filters += stay[l];
            return { name, width, left: stay[l], gone: filters ? 1 - stay[l] / width : 1 - nonzero / count };
        });
        const wide = sum(this.best.map((order) => order.length));
        return {
            ...total, layers: filters ? layers.slice(0, -1) : layers, parameters: this.parameters,
            bytesDense: 4 * this.parameters,
            removed: filters ? 1 - total.filters / wide : 1 - total.weights / this.count,
            histogram: this.histogram(setting, tensors),
        };
    }

    /* Count the weights that stay and go by value; `cut` is the smallest magnitude that stays. */
    histogram({ remove, scope, amount }, tensors) {
        const kept = Array(61).fill(0), removed = Array(61).fill(0);
        let i = 0;
        this.layers.forEach((layer, l) => {
            const before = layer.tensors.weight, now = tensors[l].weight;
            for (let k = 0; k < now.length; k++, i++)
                (now[k] !== 0 || before[k] === 0 ? kept : removed)[this.bins[i]]++;
        });
        const one = remove === "weights" && scope === "global" && amount > 0;
        return { kept, removed, reach: this.reach, cut: one ? this.sizes[round(amount / 100 * this.count)] : undefined };
    }
}

/* Bytes of a tensor as it is, or by a bit for each weight, or by gaps: as labutils.cost.sizes. */
function sparseBytes(tensor) {
    const words = new Uint32Array(tensor.buffer, tensor.byteOffset, tensor.length); // -0.0 is no zero
    let nonzero = 0, gap = 0, steps = 0;
    for (const word of words) {
        if (word === 0) gap++;
        else {
            steps += 1 + Math.floor(gap / 255);
            nonzero++;
            gap = 0;
        }
    }
    return Math.min(4 * words.length, Math.ceil(words.length / 8) + 4 * nonzero, 4 + steps + 4 * nonzero);
}
