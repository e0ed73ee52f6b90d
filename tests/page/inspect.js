/* For tests: everything about one setting, tensors and the logits of the first images. */
addEventListener("message", ({ data: { kind, setting, images } }) => {
    if (kind !== "inspect") return;
    const network = lab.pruning.prune(setting), logits = [];
    lab.pruned.load(network.tensors);
    for (let from = 0; from < images; from += LANES) logits.push(...lab.pruned.run(lab.images(from)));
    const right = logits.filter((l, i) => argmax(l) === lab.labels[i]).length;
    postMessage({ kind: "inspected", ...network, cost: lab.pruning.cost(setting, network), logits, right });
});
