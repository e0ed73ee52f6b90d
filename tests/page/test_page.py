"""The page beside Python: the same network, the same digits, the same numbers."""

import base64
import math
import re
from collections import OrderedDict
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from conftest import PROJECT
from torch import nn

import labutils as lab
from labutils.base.layers import prunable_layers
from labutils.cost.sizes import dense_bytes, sparse_bytes
from labutils.page import data, page
from labutils.page.__main__ import main

pytestmark = pytest.mark.browser

IMAGES = 1_000
AMOUNTS = range(0, 101, 5)
SCOPES = ("global", "layer", "own")
METHODS = (("weights", "magnitude"), ("filters", "l1"))
# Everything about one setting, its numbers as the bytes they are.
INSPECT = """async ([setting, images]) => {
    const found = await new Promise((tell) => {
        explorer.inspected = tell;
        explorer.worker.postMessage({kind: "inspect", setting: {off: [], ...setting}, images});
    });
    const text = (parts) => btoa(parts.map((part) => Array.from(new Uint8Array(part.buffer,
        part.byteOffset, part.byteLength), (byte) => String.fromCharCode(byte)).join('')).join(''));
    const {kept, right, cost} = found;
    return {kept, right, cost, logits: text(found.logits),
        tensors: text(found.tensors.flatMap(({weight, bias}) => [weight, bias]))};
}"""


@pytest.fixture(scope="module", autouse=True)
def inspected():
    """Let the worker answer what only tests ask."""
    names = page.IN_THE_WORKER
    page.IN_THE_WORKER = (*names, str(Path(__file__).with_name("inspect.js")))
    yield
    page.IN_THE_WORKER = names


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    """Open a page for a network from its file, without a network to load anything from."""
    contexts = []

    def show(model, split, most=IMAGES, address="", content=None, cores=2, **options):
        context = browser.new_context(offline=True, **options)
        told = f"Object.defineProperty(navigator, 'hardwareConcurrency', {{value: {cores}}})"
        context.add_init_script(told)
        contexts.append(context)
        file = tmp_path_factory.mktemp("page") / "lab.html"
        file.write_text(content or page.page(model, split, most), encoding="utf-8")
        tab = context.new_page()
        tab.failures = []
        tab.on("pageerror", lambda error: tab.failures.append(str(error)))
        tab.on("request", lambda request: tab.failures.append(request.url)
               if request.url.startswith("http") else None)  # fmt: skip
        tab.goto(f"{file.as_uri()}{address}")
        return tab

    yield show
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def content(digits):
    return page.page(lab.load_pretrained(0), digits.test, IMAGES)


@pytest.fixture
def tab(opened, content):
    tab = opened(None, None, content=content, viewport={"width": 1280, "height": 900})
    counted(tab)
    yield tab
    assert tab.failures == []


def counted(tab, words="0% of the weights removed, all 1,000 images"):
    tab.locator(".lab[aria-busy=false] .basis", has_text=words).wait_for()


def figure(tab, name):
    return tab.locator(f"[data-figure={name}]").inner_text()


def numbers(text):
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), np.float32).copy())


def tensors(model):
    """Weights and biases, one behind the other, zero where there is no bias."""
    layers = prunable_layers(model).values()
    return torch.cat([t.detach().flatten() for la in layers for t in (la.weight, data.bias(la))])


def check(tab, model, split, setting):
    """Compare all the page knows of a setting with the network pruned in Python."""
    names = list(prunable_layers(model))
    amount, scope = setting["amount"] / 100, setting["scope"]
    if scope == "own":
        shares = [percent / 100 for percent in setting["shares"]]
        amount, scope = dict(zip(names, shares, strict=True)), "layer"
    found = tab.evaluate(INSPECT, [setting, len(split)])
    if setting["remove"] == "filters":
        if isinstance(amount, dict):
            amount.popitem()
        pruned = lab.prune_filters(model, amount, setting["method"], scope=scope)
        kept = {n: np.flatnonzero(k).tolist() for n, k in zip(names, found["kept"], strict=True)}
        kept.popitem()
        assert torch.equal(tensors(lab.keep_filters(model, kept)), tensors(pruned))
        size = dense_bytes(pruned)
    else:
        prune = lab.prune_random if setting["method"] == "random" else lab.prune_magnitude
        pruned = prune(model, amount, scope)
        assert torch.equal(numbers(found["tensors"]), tensors(pruned))
        size = sparse_bytes(pruned)
    cost, shape = found["cost"], tuple(split.images.shape[1:])
    assert cost["bytes"] == size
    assert cost["macs"] == lab.count_macs(pruned, shape)
    assert cost["macsNonzero"] == lab.count_macs(pruned, shape, nonzero=True)
    assert cost["nonzero"] == sum(int(p.count_nonzero()) for p in pruned.parameters())
    logits, theirs = lab.predict(pruned, split), numbers(found["logits"]).view(len(split), -1)
    assert (logits - theirs).abs().max() < 1e-4
    first, second = logits.topk(2).values.T
    sure = first - second > 1e-4  # where two are equal but for rounding, either may be read
    assert torch.equal(logits.argmax(1)[sure], theirs.argmax(1)[sure])
    right = int((theirs.argmax(1) == split.labels).sum())
    assert found["right"] == right
    assert abs(right - int((logits.argmax(1) == split.labels).sum())) <= int((~sure).sum())


def settings(layers, amounts=AMOUNTS, methods=METHODS):
    for remove, method in methods:
        for scope in SCOPES:
            for amount in amounts:
                shares = [(amount + 15 * layer) % 101 for layer in range(layers)]
                yield {
                    "amount": amount,
                    "scope": scope,
                    "remove": remove,
                    "method": method,
                    "shares": shares,
                }


@pytest.mark.slow
def test_the_numbers_are_those_of_python(tab, digits, model):
    split = digits.test[data.spread(len(digits.test), IMAGES)]
    for setting in settings(4):
        check(tab, model, split[:300], setting)


def ties(model):
    """Round weights so coarsely that many are equal, and many zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter * 12).round() / 12)
    return model


def odd_network():
    return nn.Sequential(
        OrderedDict(
            first=nn.Conv2d(1, 5, (3, 5), stride=2, padding=(1, 0), bias=False),
            pool=nn.MaxPool2d(3, 2),
            again=nn.MaxPool2d(2, 1),
            relu=nn.ReLU(),
            second=nn.Conv2d(5, 7, 2),
            drop=nn.Dropout2d(),
            third=nn.Conv2d(7, 6, 2, padding=1),
            relu3=nn.ReLU(),
            pool3=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            last=nn.Linear(6 * 2 * 2, 10, bias=False),
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: ties(odd_network()),
        lambda: ties(lab.SimpleCNN((3, 5, 9))),
        lab.LeNet300,
        lab.LeNet5,
    ],
    ids=["odd", "ties", "LeNet300", "LeNet5"],
)
def test_other_networks(opened, digits, make):
    torch.manual_seed(0)
    model, split = make(), digits.test[:60]
    tab = opened(model, split, 60)
    counted(tab, "all 60 images")
    split = split[data.spread(60, 60)]
    layers = len(prunable_layers(model))
    for setting in settings(layers, (0, 35, 50, 100)):
        check(tab, model, split, setting)
    assert tab.failures == []


@pytest.mark.parametrize(("cores", "count"), [(1, 205), (2, 205), (2, 1)])
def test_any_number_of_cores_and_images(opened, digits, model, cores, count):
    split = digits.test[:count]
    tab = opened(model, split, count, "#amount=92", cores=cores)
    words = f"92% of the weights removed, all {count} images"
    tab.locator(".lab[aria-busy=false] .basis", has_text=words).wait_for(timeout=10_000)
    found = lab.evaluate(lab.prune_magnitude(model, 0.92), split)
    assert figure(tab, "accuracy") == f"{found.accuracy:.2%}"
    assert tab.failures == []


def test_slider_undo_reset_and_address(tab, digits, model):
    split = digits.test[data.spread(len(digits.test), IMAGES)]
    slider = tab.get_by_role("slider", name="Remove")
    slider.press("End")
    for _ in range(10):
        slider.press("ArrowLeft")
    counted(tab, "90% of the weights removed, all 1,000 images")
    dense, pruned = (lab.evaluate(m, split) for m in (model, lab.prune_magnitude(model, 0.9)))
    assert figure(tab, "accuracy") == f"{pruned.accuracy:.2%}"
    change = f"{100 * (pruned.accuracy - dense.accuracy):+.2f}"
    assert figure(tab, "change").replace("−", "-") == change
    assert tab.url.endswith("#amount=90&scope=global&remove=weights&method=magnitude")
    tab.get_by_label("whole filters").check()
    counted(tab, "90% of the filters removed, all 1,000 images")
    slim = lab.prune_filters(model, 0.9, scope="global")
    assert figure(tab, "accuracy") == f"{lab.evaluate(slim, split).accuracy:.2%}"
    tab.get_by_role("button", name="Undo").click()
    counted(tab, "90% of the weights removed, all 1,000 images")
    assert figure(tab, "accuracy") == f"{pruned.accuracy:.2%}"
    tab.get_by_label("a share of its own").check()
    assert tab.get_by_role("slider", name="fc1").input_value() == "91"
    tab.get_by_role("button", name="Reset").click()
    counted(tab)
    assert figure(tab, "change") == "±0.00"


@pytest.mark.parametrize(
    ("address", "said", "basis"),
    [
        ("#amount=70&scope=layer", "", "70% of the weights"),
        ("#amount=700&scope=layer", "amount=700 is ignored", "0% of the weights"),
        ("#amount=1e1", "amount=1e1 is ignored", "0% of the weights"),
        ("#amount=20&scope=__proto__", "scope=__proto__ is ignored", "20% of the weights"),
        ("#amount=30&x=<img src=x onerror=a()>", "ignored: what can be set", "30% of the weights"),
        ("#amount=40&shares=1,2", "shares=1,2 is ignored", "40% of the weights"),
        ("#amount=40&off=conv1:99", "off=conv1:99 is ignored", "40% of the weights"),
        ("#scope=own&shares=0,50,90,10&off=conv1:3", "", "fc2 10% removed, 1 filter silenced"),
    ],
)  # fmt: skip
def test_address(opened, content, address, said, basis):
    tab = opened(None, None, content=content, address=address)
    counted(tab, basis)
    assert said in tab.locator(".problem").inner_text()
    assert tab.locator(".problem").is_visible() == bool(said)
    assert tab.failures == []


def test_predict_first(tab):
    curve = tab.locator(".curve .picture svg")
    assert curve.count() == 0
    tab.get_by_role("slider", name="My guess").fill("40")
    tab.get_by_role("button", name="Place it").press("Enter")
    said = tab.locator(".curve .said", has_text="From 1,000 images.")
    said.wait_for()
    at = int(said.inner_text().split("at ")[1].split("%")[0])
    assert f"Your guess, 40%, is {at - 40} points away." in said.inner_text()
    assert curve.get_by_text("your guess").count() == 1


def test_silence_a_filter(tab, digits, model):
    split = digits.test[data.spread(len(digits.test), IMAGES)]
    tab.locator(".filters summary").press("Enter")
    for filter in (3, 11):
        tab.get_by_role("button", name=f"silence filter {filter} of conv1").press("Enter")
    tab.locator(".tiles [aria-pressed=true]").nth(1).wait_for()
    counted(tab, "2 filters silenced, all 1,000 images")
    with torch.no_grad():
        for filter in (3, 11):
            model.conv1.weight[filter], model.conv1.bias[filter] = 0, 0
    tab.wait_for_function(
        "text => document.querySelector('[data-figure=accuracy]').textContent === text",
        arg=f"{lab.evaluate(model, split).accuracy:.2%}",
    )
    assert "off=conv1:3,conv1:11" in tab.url
    tab.locator(".matrix summary").press("Enter")
    tab.get_by_role("button", name="fc1", exact=True).click()
    tab.get_by_role("img", name="fc1: 64 rows, one a neuron, of 1,568 weights").wait_for()


def test_draw_a_digit(tab):
    best = tab.locator(".bars .best b")
    tab.get_by_role("button", name="take this 4").press("Enter")
    tab.wait_for_function("document.querySelector('.bars .best b')?.textContent === '4'")
    tab.get_by_role("button", name="Clear").click()
    tab.locator(".bars li", has_text="4").get_by_text("0%", exact=True).wait_for()
    box = tab.locator(".digit canvas").first.bounding_box()
    place = lambda x, y: (box["x"] + x * box["width"], box["y"] + y * box["height"])  # noqa: E731
    turns = [math.radians(10 * step - 90) for step in range(37)]
    shapes = {
        "7": [(0.27, 0.2), (0.73, 0.2), (0.43, 0.85)],
        "0": [(0.5 + 0.21 * math.cos(t), 0.5 + 0.34 * math.sin(t)) for t in turns],
    }
    for digit, points in shapes.items():
        tab.get_by_role("button", name="Clear").click()
        tab.mouse.move(*place(*points[0]))
        tab.mouse.down()
        for point in points[1:]:
            tab.mouse.move(*place(*point), steps=4)
        tab.mouse.up()
        tab.wait_for_function(f"document.querySelector('.bars .best b')?.textContent === '{digit}'")
    assert best.count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 640, 360])  # 640: what 200 % leaves of 1280
def test_readable_by_all(opened, content, scheme, width):
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    address = "#amount=95&scope=own&x=1"  # with a message about x
    tab = opened(None, None, address=address, content=content, reduced_motion="reduce", **options)
    counted(tab, "all 1,000 images")
    for step in ("predict", "all"):
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(tab).response["violations"]
        assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found] == []
        if step == "predict":
            tab.get_by_role("button", name="Skip").click()
            for summary in tab.locator(".card > summary").all():
                summary.click()
            tab.locator(".tiles span", has_text="15").first.wait_for()
    assert tab.failures == []


def test_without_javascript(opened, content):
    tab = opened(None, None, content=content, java_script_enabled=False)
    assert "needs JavaScript, which is off" in tab.locator("main").inner_text()
    assert tab.locator("noscript img").bounding_box()["height"] > 100


def test_engine_is_what_its_source_compiles_to(opened, digits, model, tmp_path, monkeypatch):
    pytest.importorskip("ziglang")
    made = page.compiled()
    if made == data.ENGINE.read_bytes():
        return
    assert metadata.version("ziglang") != page.ZIG, "make page ARGS=--engine compiles it again"
    setting, found = next(settings(4, (50,))), []
    for _ in range(2):  # another compiler's must compute the same
        tab = opened(model, digits.test, 200)
        counted(tab, "all 200 images")
        found.append(tab.evaluate(INSPECT, [setting, 200])["logits"])
        (tmp_path / "engine.wasm").write_bytes(made)
        monkeypatch.setattr(data, "ENGINE", tmp_path / "engine.wasm")
    assert found[0] == found[1]


def test_the_page_in_the_repository_is_this_one(digits, model, monkeypatch):
    """But for its data, whose last bits depend on the machine."""
    monkeypatch.setattr(page, "IN_THE_WORKER", page.IN_THE_WORKER[:-1])
    kept = (PROJECT / "docs" / "pruning-lab.html").read_text(encoding="utf-8")
    assert len(kept.encode()) <= 2_000_000
    data = re.compile(r"<noscript>.*?</noscript>|<script type=.application/json.*?</script>", re.S)
    old, new = (data.sub("", text) for text in (kept, page.page(model, digits.test, 20)))
    assert old == new, "make page ARGS='--to docs/pruning-lab.html' writes it again"


def test_the_page_fits_on_a_stick_and_counts_all_its_digits(opened, digits, model, tmp_path):
    target = tmp_path / "dist" / "lab.html"
    main(["--to", str(target)])
    assert target.stat().st_size <= 2_000_000
    content = target.read_text(encoding="utf-8")
    tab = opened(None, None, content=content, address="#amount=92")
    counted(tab, "92% of the weights removed, all 5,000 images")
    split = digits.test[data.spread(len(digits.test), 5_000)]
    found = lab.evaluate(lab.prune_magnitude(model, 0.92), split)
    assert figure(tab, "accuracy") == f"{found.accuracy:.2%}"
    low, high = found.interval
    assert tab.get_by_text(f"{low:.2%} to {high:.2%}").count() == 1


def test_what_is_still_counted_says_so(tab):
    """Many moves without a pause: each figure shown belongs to the setting it names."""
    shown = tab.evaluate(
        """async () => {
            const element = document.querySelector('.lab'), shown = [];
            const slider = element.querySelector('[name=amount]');
            const text = (part) => element.querySelector(part).textContent;
            element.addEventListener('lab-view', ({detail}) => shown.push([detail.setting.amount,
                detail.right / detail.tested, detail.tested, text('.basis'),
                text('[data-figure=accuracy]')]));
            for (let amount = 0; amount < 100; amount += 3) {
                slider.value = amount;
                slider.dispatchEvent(new Event('input', {bubbles: true}));
                if (element.getAttribute('aria-busy') !== 'true') throw Error('stale');
                await new Promise((done) => setTimeout(done, 10));
            }
            while (element.getAttribute('aria-busy') === 'true')
                await new Promise((done) => setTimeout(done, 10));
            return shown;
        }"""
    )
    for amount, accuracy, tested, basis, figure in shown:
        images = "all 1,000 images" if tested == 1_000 else f"estimate from {tested} of 1,000"
        assert basis.startswith(f"{amount}% of the weights removed, {images}")
        assert figure == f"{accuracy:.2%}"
    assert shown[-1][0] == 99
    assert shown[-1][2] == 1_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: nn.Sequential(m, nn.Softmax(1)), "1 is Softmax"),
        (lambda m: nn.Sequential(nn.AvgPool2d(1), m), "0 is AvgPool2d"),
        (lambda m: nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2, padding=2), m), "dilation"),
        (lambda m: nn.Sequential(nn.MaxPool2d((1, 2)), m), "0 is MaxPool2d"),
        (lambda m: nn.Sequential(nn.MaxPool2d(2), m), "do not fit"),
        (lambda m: nn.ModuleList([m]), "the network is ModuleList"),
    ],
)
def test_what_the_page_cannot_run_is_refused(digits, model, change, said):
    with pytest.raises(ValueError, match=said) as refused:
        data.packed(change(model), digits.test[:20])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("shape", "said"), [((1, 28, 28), "not bytes normalised"), ((3, 32, 32), "1 x 28 x 28")]
)
def test_images_that_it_cannot_show_are_refused(digits, model, shape, said):
    with pytest.raises(ValueError, match=said):
        data.packed(model, lab.Split(torch.randn(20, *shape), digits.test.labels[:20]))
