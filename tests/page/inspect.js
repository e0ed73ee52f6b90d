/* For tests: everything about one setting, tensors and the logits of the first images. */
addEventListener("message", ({ data: { kind, setting, images } }) => {
    if (kind !== "inspect") return;
    const key = JSON.stringify(setting), network = lab.prune(key);
    const logits = lab.logits(key, 0, images);
    const right = lab.read(key, 0, images).filter(Boolean).length;
    postMessage({ kind: "inspected", ...network, cost: lab.pruning.cost(setting, network), logits, right });
});
