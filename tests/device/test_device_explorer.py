"""The widget that reads one digit on two machines, and the field to draw in."""

import subprocess
import sys

import pytest
import torch

import labutils as lab
from labutils import device
from labutils.device import explorer as rooms
from labutils.device.explorer import DRAW, Answer, page
from labutils.device.pad import SIDE


@pytest.fixture(scope="module")
def variants(digits):
    model = lab.load_pretrained()
    whole = device.quantize_int8(model, digits.train[:500])
    return {"float": device.Variant(model), "int8": device.Variant(whole, {"fc1": "gaps"})}


@pytest.fixture
def explorer(variants, digits):
    return device.device_explorer(variants, digits)


def drawing(top, bottom, left, right):
    pixels = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    pixels[top:bottom, left:right] = 255
    return pixels.numpy().tobytes()


def test_every_move_is_answered(explorer, variants, digits):
    network = variants["int8"].network
    assert "the same to" in explorer.page.value  # real numbers
    explorer.variant.value = "int8"
    assert "bit for bit the same" in explorer.page.value
    for number in (0, 77, 9_999):
        explorer.number.value = number
        image = network.integers(digits.test.images[number : number + 1])
        assert torch.equal(explorer.answer.device, network.sums(image)[0])
        assert torch.equal(explorer.answer.laptop, explorer.answer.device)
        assert f"(it is a {int(digits.test.labels[number])})" in explorer.page.value
        for digit, value in enumerate(explorer.answer.device.tolist()):
            cell = explorer.page.value.split(f'data-logit="microcontroller-{digit}">')[1]
            assert cell.split("</td>")[0].strip("</b>") == f"{value:,}"


def test_a_drawn_digit(explorer):
    explorer.source.value = DRAW
    explorer.pad.pixels = drawing(15, 95, 50, 60)
    assert 'reads a <b data-figure="read">1</b>' in explorer.page.value
    assert "it is a" not in explorer.page.value
    one = explorer.answer.image
    explorer.clear.click()
    assert explorer.pad.pixels == b""
    assert explorer.answer.image.max() < one.max()


def test_drawings_become_what_mnist_holds():
    image = device.as_digit(drawing(0, 20, 100, 112))  # small and in a corner
    ink = image[0] > image.min()
    rows, columns = ink.any(1).nonzero().flatten(), ink.any(0).nonzero().flatten()
    assert image.shape == (1, 28, 28)
    assert len(rows) == 20
    assert len(columns) == 12
    assert rows[0] == 4  # centred
    assert columns[0] == 8
    empty = device.as_digit(bytes(SIDE * SIDE))
    assert empty.unique().numel() == 1
    with pytest.raises(ValueError, match="The drawing has 3 bytes"):
        device.as_digit(b"abc")


@pytest.mark.parametrize("corner", [(0, 1, 0, 1), (0, 112, 0, 112), (0, 112, 55, 56)])
def test_extreme_drawings_stay_images(corner):
    image = device.as_digit(drawing(*corner))
    assert image.isfinite().all()
    assert image.max() > image.min()


def test_a_difference_would_be_told():
    answer = Answer(
        torch.zeros(1, 28, 28), 3, torch.arange(10), torch.arange(10).flip(0), "so much"
    )
    assert "NOT the same" in page(answer)
    assert "bit for bit" not in page(answer)


def test_an_error_is_shown_and_raised(explorer, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no <device> today")

    monkeypatch.setattr(rooms.DeviceExplorer, "_ask", fail)
    with pytest.raises(RuntimeError, match="today"):
        explorer.number.value = 5
    assert 'role="alert"' in explorer.page.value
    assert "no &lt;device&gt; today" in explorer.page.value


def test_a_picture_stands_where_there_is_no_widget(explorer):
    assert "microcontroller" in explorer._repr_mimebundle_()["text/html"]


def test_wrong_arguments(variants, digits):
    with pytest.raises(ValueError, match="There is no variant"):
        device.device_explorer({}, digits)
    with pytest.raises(ValueError, match="board='Z80': choose"):
        device.device_explorer(variants, digits, "Z80")


def test_without_emulator_and_pad_the_laptop_answers():
    code = (
        "import sys\n"
        "for name in ('unicorn', 'anywidget'): sys.modules[name] = None\n"
        "import labutils as lab\n"
        "from labutils import device\n"
        "digits, model = lab.load_mnist(), lab.load_pretrained()\n"
        "explorer = device.device_explorer({'float': device.Variant(model)}, digits)\n"
        "explorer.source.value = 'draw a digit'\n"
        "print(explorer.page.value, explorer.drawing.value)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    for name in ("unicorn", "anywidget"):
        assert f"{name} is not installed" in process.stdout
    assert "The laptop reads a" in process.stdout
