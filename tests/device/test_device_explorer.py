"""The widget that reads one digit on two machines, and the field to draw in."""

import itertools
import math

import pytest
import torch

import labutils as lab
from labutils import device
from labutils.device import explorer as rooms
from labutils.device.explorer import DRAW, Answer, page
from labutils.device.pad import SIDE


@pytest.fixture(scope="module")
def variants(quantized):
    model = lab.load_pretrained()
    return {"float": device.Variant(model), "int8": device.Variant(quantized, {"fc1": "gaps"})}


@pytest.fixture
def explorer(variants, digits):
    return device.device_explorer(variants, digits)


def drawing(top, bottom, left, right):
    pixels = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    pixels[top:bottom, left:right] = 255
    return pixels.numpy().tobytes()


def test_every_move_is_answered(explorer, quantized, digits):
    assert "the same to" in explorer.page.value  # real numbers
    explorer.variant.value = "int8"
    assert "bit for bit the same" in explorer.page.value
    for number in (0, 77, 9_999):
        explorer.number.value = number
        image = quantized.integers(digits.test.images[number : number + 1])
        assert torch.equal(explorer.answer.device, quantized.sums(image)[0])
        assert torch.equal(explorer.answer.laptop, explorer.answer.device)
        assert f"(it is a {int(digits.test.labels[number])})" in explorer.page.value
        for digit, value in enumerate(explorer.answer.device.tolist()):
            cell = explorer.page.value.split(f'data-logit="microcontroller-{digit}">')[1]
            assert cell.split("</td>")[0].strip("</b>") == f"{value:,}"
    assert "microcontroller" in explorer._repr_mimebundle_()["text/html"]  # a picture for print


def test_a_drawn_digit(explorer):
    explorer.source.value = DRAW
    explorer.pad.pixels = drawing(15, 95, 50, 60)
    assert 'reads a <b data-figure="read">1</b>' in explorer.page.value
    assert "it is a" not in explorer.page.value
    one = explorer.answer.image
    explorer.clear.click()
    assert explorer.pad.pixels == b""
    assert explorer.answer.image.max() < one.max()


def test_what_the_page_sends_is_read(explorer):
    explorer.source.value = DRAW
    data = {"method": "update", "state": {}, "buffer_paths": [["pixels"]]}
    for kind in (memoryview, bytearray, bytes):  # which of them comes depends on the versions
        explorer.pad.pixels = b""
        sent = kind(drawing(15, 95, 50, 60))
        explorer.pad._handle_msg({"content": {"data": data}, "buffers": [sent]})
        assert explorer.pad.pixels == sent
        assert torch.equal(explorer.answer.image, device.as_digit(bytes(sent)))


def test_drawings_become_what_mnist_holds():
    image = device.as_digit(drawing(0, 20, 100, 112))  # small and in a corner
    ink = image[0] > image.min()
    rows, columns = ink.any(1).nonzero().flatten(), ink.any(0).nonzero().flatten()
    assert image.shape == (1, 28, 28)
    assert (len(rows), len(columns)) == (20, 12)
    assert (rows[0], columns[0]) == (4, 8)  # centred
    empty = device.as_digit(bytes(SIDE * SIDE))
    assert empty.unique().numel() == 1


FOUR = [(66, 98), (66, 16), (30, 66), (86, 66)]
FIVE = [(80, 18), (40, 18), (38, 50), (62, 50), (76, 64), (74, 86), (56, 96), (36, 88)]


def stroke(corners, turned=0.0, size=1.0):
    """What a pen of the field's width draws along corners, turned clockwise and shrunk."""
    turn, middle = math.radians(turned), torch.tensor([SIDE / 2, SIDE / 2])
    matrix = torch.tensor([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    corners = size * (torch.tensor(corners) - middle) @ matrix + middle
    place = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE)).flip(1) + 0.5
    ink = torch.zeros(SIDE * SIDE, dtype=torch.bool)
    for start, end in itertools.pairwise(corners):
        way = end - start
        along = ((place - start) @ way / way.dot(way)).clamp(0, 1)
        ink |= (place - start - along[:, None] * way).norm(dim=1) < 4.5
    return (255 * ink).byte().numpy().tobytes()


def test_the_drawings_that_the_lesson_asks_for_are_misread(quantized):
    small = [device.load_smallest(p) for p in (99.3, 99.0)]
    small.append(device.load_smallest(99.0, made="pruned"))
    for network in (lab.load_pretrained(), quantized, *small):

        def read(*drawing, network=network):
            return int(network(device.as_digit(stroke(*drawing))[None]).argmax())

        assert [read(FOUR), read(FOUR, 40), read(FOUR, 50)] == [4, 8, 8]
        assert read(FIVE) == 5
        assert 5 not in [read(FIVE, 0, size) for size in (0.12, 0.16, 0.2)]


@pytest.mark.parametrize("corner", [(0, 1, 0, 1), (0, 112, 0, 112), (0, 112, 55, 56)])
def test_extreme_drawings_stay_images(corner):
    image = device.as_digit(drawing(*corner))
    assert image.isfinite().all()
    assert image.max() > image.min()


def test_a_difference_would_be_told():
    logits = torch.arange(10)
    answer = Answer(torch.zeros(1, 28, 28), 3, logits, logits.flip(0), "so much")
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


def test_without_emulator_the_laptop_answers(variants, digits, without):
    without("unicorn", "emulator", "firmware")
    explorer = device.device_explorer(variants, digits)
    explorer.source.value = DRAW
    assert "unicorn is not installed" in explorer.page.value
    assert "The laptop reads a" in explorer.page.value
