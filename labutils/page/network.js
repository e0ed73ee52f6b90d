/* How is a network run in a page? Its layers become steps of engine.c, on twenty images at once. */

export const LANES = 20; // as in engine.c

export class Network {
    /* steps: as data.py describes them; shape: [channels, rows, columns] of an image. */
    constructor(module, steps, shape) {
        this.engine = new WebAssembly.Instance(module).exports;
        this.top = this.engine.__heap_base.value;
        this.input = this.picture(shape, steps[0]);
        let from = this.input;
        this.steps = steps.map((step, i) => {
            const made = this.step(step, from, steps[i + 1]);
            from = made.to;
            return made;
        });
        this.layers = this.steps.filter(({ fixed }) => !fixed);
        this.floats = new Float32Array(this.engine.memory.buffer);
        this.ints = new Int32Array(this.engine.memory.buffer);
        for (const { layout, order } of this.steps) this.ints.set(order, layout / 4);
    }

    /* Take so many 4-byte numbers of the engine's memory, all zero. */
    room(count) {
        const at = this.top, missing = at + 4 * count - this.engine.memory.buffer.byteLength;
        if (missing > 0) this.engine.memory.grow(Math.ceil(missing / 65536));
        this.top += 16 * Math.ceil(count / 4);
        return at;
    }

    /* Room for a picture, with the margin of zeros that the step after it wants. */
    picture(shape, { padding: [top, left] = [0, 0] } = {}) {
        const [channels, rows, columns] = shape, line = columns + 2 * left;
        const high = rows + 2 * top, plane = high * line, at = this.room(channels * plane * LANES);
        const places = Int32Array.from({ length: channels * rows * columns }, (_, i) => {
            const [x, y] = [i % columns, Math.floor(i / columns) % rows];
            const channel = Math.floor(i / columns / rows);
            return at / 4 + (channel * plane + (y + top) * line + x + left) * LANES;
        });
        return { shape, at, line, high, plane, places };
    }

    /* One call of the engine; a step without weights looks at each channel as it is. */
    step({ weight, stride = 1, relu = false, pool: [side, hop] = [1, 1] }, from, next) {
        const [filters, inputs, high = 1, wide = 1] = weight ?? [from.shape[0], 1];
        const flat = weight?.length === 2, per = inputs * high * wide, plane = flat ? 1 : from.plane;
        const full = flat ? [1, 1]
            : [from.high - high, from.line - wide].map((d) => Math.floor(d / stride) + 1);
        const size = full.map((d) => Math.floor((d - side) / hop) + 1);
        const to = this.picture([filters, ...size], next);
        const [entries, starts, bias] = [2 * filters * per, filters + 1, filters].map((n) => this.room(n));
        const order = [from.at, 4 * to.places[0], entries, starts, bias, filters, ...size, from.line,
            stride, side, hop, to.line, to.plane, relu];
        const places = Int32Array.from({ length: per }, (_, i) => LANES * (wide * high === 1 ? i * plane
            : Math.floor(i / (high * wide)) * plane + Math.floor(i / wide) % high * from.line + i % wide));
        const fixed = weight ? null
            : { weight: new Float32Array(filters).fill(1), bias: new Float32Array(filters) };
        const own = fixed ? LANES * plane : 0; // its filters read a channel each, not all
        return { to, order, layout: this.room(order.length), places, own, fixed, per, filters,
            entries, starts, bias, uses: full[0] * full[1] };
    }

    /* Take over weights and biases, by layer; of the weights only those that are not zero. */
    load(tensors) {
        const { floats, ints } = this;
        let layer = 0;
        for (const { entries, starts, bias: biases, filters, per, places, own, fixed } of this.steps) {
            const { weight, bias } = fixed ?? tensors[layer++];
            let at = entries / 4;
            for (let f = 0; f < filters; f++) {
                ints[starts / 4 + f] = (at - entries / 4) / 2;
                floats[biases / 4 + f] = bias[f];
                for (let i = 0, w = f * per; i < per; i++, w++) {
                    if (weight[w] === 0) continue;
                    ints[at++] = places[i] + f * own;
                    floats[at++] = weight[w];
                }
            }
            ints[starts / 4 + filters] = (at - entries / 4) / 2;
        }
    }

    /* Read up to twenty images (arrays of numbers); return the logits of each. */
    run(images) {
        const { floats, input: { places } } = this;
        images.forEach((image, lane) => {
            for (let i = 0; i < places.length; i++) floats[places[i] + lane] = image[i];
        });
        for (const { layout } of this.steps) this.engine.weigh(layout);
        return images.map((_, lane) => this.lane(this.steps.at(-1), lane));
    }

    /* The numbers of one image in what a step put out. */
    lane({ to: { places } }, lane) {
        return Float32Array.from(places, (at) => this.floats[at + lane]);
    }
}
