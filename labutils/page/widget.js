/* How does the explorer live in a notebook? Python hears what was chosen, and can choose itself. */

const PATIENCE = 2000; // ms until the page says that Python does not answer

function render({ model, el }) {
    let said = 0, late = null;
    // The arrow keys are the slider's, not JupyterLab's.
    el.addEventListener("focusin", ({ target }) => (target.dataset.lmSuppressShortcuts = ""));
    const lab = mount(el, model.get("data"), {
        ...model.get("options"), start: model.get("state"),
        bested: (setting) => tell("best", plain(setting)),
        committed: (setting) => tell("state", plain(setting)),
    });
    const plain = ({ off, ...setting }) => ({
        ...setting, off: off.map(([l, f]) => `${lab.lab.layers[l].name}:${f}`),
    });
    const quiet = (text) => lab.lab && lab.say(text, "quiet");

    /* Tell Python, and the reader if Python does not say that it heard: nothing here waits for it. */
    function tell(name, value) {
        if (JSON.stringify(model.get(name)) === JSON.stringify(value)) return;
        clearTimeout(late);
        late = setTimeout(() => quiet("Python is not listening: it is busy, or was restarted. The " +
            "sliders go on without it; what you choose reaches it when it answers, or not at all."),
        PATIENCE);
        try {
            model.set(name, value);
            model.save_changes();
            model.send({ said: ++said });
        } catch { /* a kernel that is gone: the reader is told, a little later */ }
    }
    const heard = (message) => {
        if (message?.heard !== said) return;
        clearTimeout(late);
        quiet("");
    };
    const moved = () => { // by Python, not by what was just told to it
        const state = model.get("state");
        if (lab.lab && JSON.stringify(state) !== JSON.stringify(plain(lab.setting))) lab.set(state);
    };
    model.on("msg:custom", heard);
    model.on("change:state", moved);
    return () => {
        model.off("msg:custom", heard);
        model.off("change:state", moved);
        clearTimeout(late);
        lab.destroy();
    };
}

export default { render };
