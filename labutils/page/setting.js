/* What can be set, and what of it stands in the page's address? */

/* The setting to begin with; lab: what the worker said of the network's layers and methods. */
export function fresh(lab, remove = "weights") {
    return {
        remove, method: lab.methods[remove][0], scope: remove === "filters" ? "layer" : "global",
        amount: 0, shares: lab.layers.map(() => 0), off: [],
    };
}

/* Write a setting for the address. */
export function written({ amount, scope, remove, method, shares, off }, { layers }) {
    const parts = { amount, scope, remove, method };
    if (scope === "own") parts.shares = shares;
    if (off.length) parts.off = off.map(([l, f]) => `${layers[l].name}:${f}`);
    return Object.entries(parts).map(([name, value]) => `${name}=${value}`).join("&");
}

/* Read a setting from strings or numbers: only what is known and in range; the rest, in sentences. */
export function checked(values, start, lab) {
    const { layers, methods } = lab, setting = { ...start }, problems = [];
    const readers = {
        remove: [choice(Object.keys(methods).filter((kind) => methods[kind].length)),
            "it must be weights or, where there are some to remove, filters"],
        method: [(value) => choice(methods[setting.remove])(value),
            `it must be ${methods.weights.join(", ")} for weights, ${methods.filters.join(", ")} for filters`],
        scope: [choice(["global", "layer", "own"]), "it must be global, layer or own"],
        amount: [share, "it must be a whole number of percent, 0 to 100"],
        shares: [(value) => every(list(value).map(share), list(value).length === layers.length),
            `it must be ${layers.length} numbers of percent, one a layer`],
        off: [(value) => silenced(list(value), layers),
            "it must name filters of any layer but the last, as conv1:3, never all of one"],
    };
    const names = Object.keys(readers), known = Object.entries(values ?? {});
    known.sort(([a], [b]) => names.indexOf(a) - names.indexOf(b)); // what methods there are, first
    for (const [name, value] of known) {
        const [read, allowed] = Object.hasOwn(readers, name) ? readers[name]
            : [() => null, `what can be set is ${names.join(", ")}`];
        const found = read(value);
        if (found === null) problems.push(`${name}=${value}`.slice(0, 60) + ` is ignored: ${allowed}.`);
        else setting[name] = found;
        if (name === "remove" && !methods[setting.remove].includes(setting.method))
            setting.method = methods[setting.remove][0];
    }
    return { setting, problems };
}

const list = (value) => (Array.isArray(value) ? value : String(value).split(","));
const choice = (known) => (value) => (known.includes(value) ? value : null);
const share = (text) => (/^\d{1,3}%?$/.test(text) && parseInt(text) <= 100 ? parseInt(text) : null);
const every = (found, fits) => (found.includes(null) || !fits ? null : found);

function silenced(texts, layers) {
    const found = texts.map((text) => {
        const [, name, number] = /^(.*):(\d+)$/.exec(text) ?? [];
        const l = layers.findIndex((layer) => layer.name === name);
        return l >= 0 && l < layers.length - 1 && number < layers[l].width ? [l, Number(number)] : null;
    });
    const left = layers.map(({ width }, l) =>
        width - new Set(found.filter((pair) => pair?.[0] === l).map(String)).size);
    return every(found, Math.min(...left) > 0);
}
