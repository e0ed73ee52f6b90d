/* How is a network run in a page? Its layers become steps of engine.c, on twenty images at once. */

export const LANES = 20; // as in engine.c

export class Network {
    /* layers: as data.py describes them; shape: [channels, rows, columns] of an image;
       fuse: pooling and ReLU together with the layer before (faster; the layer's own answers,
       which one may want to look at, are then never written down). */
    constructor(module, layers, shape, fuse = true) {
        this.engine = new WebAssembly.Instance(module).exports;
        this.top = this.engine.__heap_base.value;
        this.steps = [];
        this.layers = [];
        this.size = shape[0] * shape[1] * shape[2];
        let picture = { at: this.room(this.size * LANES), shape };
        this.input = picture.at;
        for (let i = 0; i < layers.length; i++) {
            const layer = layers[i];
            if (layer.weight) {
                const together = [];
                const squares = (next) => next.side === next.stride && !together.some((t) => t.side);
                while (fuse && (layers[i + 1]?.kind === "relu" || layers[i + 1]?.kind === "pool" && squares(layers[i + 1])))
                    together.push(layers[++i]);
                picture = this.weighing(layer, picture, together);
            } else if (layer.kind === "pool") picture = this.pooling(layer, picture);
            else if (layer.kind === "relu") this.rectifying(picture);
        } // Flatten has nothing to do: numbers lie in its order already
        this.output = picture;
        this.floats = new Float32Array(this.engine.memory.buffer);
        this.ints = new Int32Array(this.engine.memory.buffer);
    }

    /* Take so many 4-byte numbers of the engine's memory, all zero. */
    room(count) {
        const at = this.top, missing = at + 4 * count - this.engine.memory.buffer.byteLength;
        if (missing > 0) this.engine.memory.grow(Math.ceil(missing / 65536));
        this.top += 16 * Math.ceil(count / 4);
        return at;
    }

    weighing(layer, from, together) {
        const [filters, channels, high = 1, wide = 1] = layer.weight;
        const flat = layer.kind === "linear", [, rows, columns] = flat ? [0, 1, 1] : from.shape;
        const [top, left] = layer.padding ?? [0, 0], stride = layer.stride ?? 1;
        const height = rows + 2 * top, width = columns + 2 * left;
        const input = top || left ? this.room(channels * height * width * LANES) : from.at;
        if (input !== from.at) this.steps.push(() => { // into the middle of a picture whose margin is zero
            for (let i = 0; i < channels * rows; i++) {
                const to = (Math.floor(i / rows) * height + i % rows + top) * width + left, start = from.at / 4 + i * columns * LANES;
                this.floats.copyWithin(input / 4 + to * LANES, start, start + columns * LANES);
            }
        });
        const pool = together.find((next) => next.side)?.side ?? 1;
        const full = [height - high, width - wide].map((d) => Math.floor(d / stride) + 1);
        const out = full.map((d) => Math.floor(d / pool));
        const least = together.some((next) => next.kind === "relu") ? 0 : -Infinity;
        const shape = [filters, ...out], per = channels * high * wide;
        const step = {
            name: layer.name, filters, per, shape, uses: full[0] * full[1],
            at: this.room(filters * out[0] * out[1] * LANES),
            entries: this.room(2 * filters * per), starts: this.room(filters + 1), bias: this.room(filters),
            places: Int32Array.from({ length: per }, (_, i) => LANES * (flat ? i
                : (Math.floor(i / (high * wide)) * height + Math.floor(i / wide) % high) * width + i % wide)),
        };
        this.layers.push(step);
        this.steps.push(() => this.engine.weigh(input, step.at, step.entries, step.starts, step.bias,
            filters, ...out, width, stride, pool, least));
        return step;
    }

    /* Pooling that does not directly follow a layer, or whose squares overlap. */
    pooling({ side, stride }, from) {
        const [channels, height, width] = from.shape;
        const [rows, columns] = [height, width].map((d) => Math.floor((d - side) / stride) + 1);
        const at = this.room(channels * rows * columns * LANES);
        this.steps.push(() => {
            const { floats } = this;
            for (let i = 0; i < channels * rows * columns; i++) {
                const y = Math.floor(i / columns) % rows, channel = Math.floor(i / columns / rows);
                const corner = (channel * height + y * stride) * width + i % columns * stride;
                for (let lane = 0; lane < LANES; lane++) {
                    let most = -Infinity;
                    for (let d = 0; d < side * side; d++)
                        most = Math.max(most, floats[from.at / 4 + (corner + Math.floor(d / side) * width + d % side) * LANES + lane]);
                    floats[at / 4 + i * LANES + lane] = most;
                }
            }
        });
        return { at, shape: [channels, rows, columns] };
    }

    /* ReLU that does not directly follow a layer. */
    rectifying({ at, shape: [channels, rows, columns] }) {
        this.steps.push(() => {
            for (let i = at / 4, end = i + channels * rows * columns * LANES; i < end; i++)
                if (this.floats[i] < 0) this.floats[i] = 0;
        });
    }

    /* Take over weights and biases, by layer; of the weights only those that are not zero. */
    load(tensors) {
        const { floats, ints } = this;
        this.layers.forEach(({ filters, per, places, ...step }, l) => {
            const { weight, bias } = tensors[l];
            let at = step.entries / 4, count = 0;
            for (let f = 0; f < filters; f++) {
                ints[step.starts / 4 + f] = count;
                for (let i = 0, w = f * per; i < per; i++, w++)
                    if (weight[w] !== 0) {
                        ints[at++] = places[i];
                        floats[at++] = weight[w];
                        count++;
                    }
                floats[step.bias / 4 + f] = bias[f];
            }
            ints[step.starts / 4 + filters] = count;
        });
    }

    /* Read up to twenty images (arrays of numbers); return the logits of each. */
    run(images) {
        const { floats, size } = this, at = this.input / 4;
        images.forEach((image, lane) => {
            for (let i = 0, to = at + lane; i < size; i++, to += LANES) floats[to] = image[i];
        });
        for (const step of this.steps) step();
        return images.map((_, lane) => this.lane(this.output, lane));
    }

    /* The numbers of one image in what a layer put out. */
    lane({ at, shape }, lane) {
        const count = shape.reduce((a, b) => a * b);
        return Float32Array.from({ length: count }, (_, i) => this.floats[at / 4 + i * LANES + lane]);
    }
}
