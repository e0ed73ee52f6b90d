import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import labutils as lab
from labutils import device
from labutils.base.home import cache_folder
from labutils.device import BOARDS, quantize_int8, smallest_formats
from labutils.device.emulator import PROCESSORS, STACK_TOP, Emulator
from labutils.device.firmware import Firmware
from labutils.device.packing import BEHIND, BITS, CODED, FORMATS, N_OF_M, encode, pack
from labutils.device.quantization import RANGES

SPARSE = ("conv2", "fc1", "fc2")


@pytest.fixture(scope="module")
def pruned():
    return lab.prune_magnitude(lab.load_pretrained(), 0.9, {"conv1": 0.0, "conv2": 0.9})


@pytest.fixture(scope="module")
def slim(calibration):
    """Slim and sparse, for many images."""
    half = lab.prune_filters(lab.load_pretrained(), 0.5)
    return quantize_int8(lab.prune_magnitude(half, 0.8), calibration)


@pytest.fixture(scope="module")
def packed(slim):
    """The same network in every format."""
    kinds = (*FORMATS, *CODED)
    return {kind: Firmware(slim, dict.fromkeys(SPARSE, kind)) for kind in kinds}


def unpacked(packed):
    """The rows again, place by place."""
    values = torch.tensor(packed.values)
    if packed.format == "dense":
        return values.view(packed.rows, packed.length)
    if packed.format in N_OF_M:
        return spread(packed, values)
    rows, words = torch.zeros(packed.rows, packed.length, dtype=values.dtype), packed.length // BITS
    words += packed.length % BITS > 0
    for row in range(packed.rows):
        start, end = packed.starts[row : row + 2]
        places = packed.places[start:end]
        if packed.format == "gaps":
            places = itertools.accumulate(places)
        elif packed.format == "bitmask":
            masks = packed.places[row * words : (row + 1) * words]
            places = [i for i in range(packed.length) if masks[i // BITS] >> i % BITS & 1]
        for place, value in zip(places, values[start:end], strict=True):
            rows[row, place] += value  # a bridge adds its zero to whatever is there
    return rows


def spread(packed, values):
    """The rows of n of m again, each place read from its row's bytes as one large integer."""
    n, m = N_OF_M[packed.format]
    each = packed.length // m * n  # weights in a row
    bits, size = (m - 1).bit_length(), (len(packed.places) - BEHIND) // packed.rows
    assert size == -(-each * bits // 8)
    rows = torch.zeros(packed.rows, packed.length, dtype=values.dtype)
    for i, value in enumerate(values):
        row, k = divmod(i, each)
        stream = int.from_bytes(bytes(packed.places[row * size : (row + 1) * size]), "little")
        rows[row, k // n * m + (stream >> k * bits) % 2**bits] += value
    return rows


def prune(network, formats):
    """The network with no more than n of m neighbours that are not zero, for every such format."""
    for kind in set(formats) & set(N_OF_M):
        network = lab.prune_n_of_m(network, *N_OF_M[kind])
    return network


@given(
    st.integers(1, 5),
    st.integers(1, 700),
    st.floats(0, 1),
    st.sampled_from(FORMATS) | st.sampled_from(sorted(N_OF_M)),
    st.integers(0, 99),
)
def test_packing_loses_nothing(rows, length, amount, format, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-127, 128, (rows, length), generator=generator)
    weight[torch.rand(weight.shape, generator=generator) < amount] = 0
    n, m = N_OF_M.get(format, (4, 4))
    for neighbours in weight.split(m, 1):
        neighbours[:, n:] = 0
        neighbours.copy_(neighbours[:, torch.randperm(neighbours.shape[1], generator=generator)])
    packed = pack(weight.to(torch.int8), format)
    assert packed.length % m == 0
    back = unpacked(packed)
    assert torch.equal(back[:, :length], weight)
    assert not back[:, length:].any()
    if format == "gaps":
        assert max(packed.places, default=0) <= 255


def test_sizes_of_the_formats():
    weight = torch.zeros(2, 64, dtype=torch.int8)
    weight[0, [1, 40]], weight[1, 63] = 5, -5
    sizes = {format: pack(weight, format).size(1) for format in (*FORMATS, "2:4", "1:4")}
    # Values, three starts of two bytes, and places.
    assert sizes == {
        **{"dense": 128, "csr": 3 + 6 + 6, "gaps": 3 + 6 + 3, "bitmask": 3 + 6 + 16},
        **{"2:4": 64 + 16 + BEHIND, "1:4": 32 + 8 + BEHIND},  # 2 * 10 and 10 bits for 4 weights
    }
    # 13 values are 5 groups of 3 or 2 of 8: 5 and 6 in a row, with a byte more than 8 bits.
    assert pack(weight[:, :13], "1:3").size(1) == 2 * (5 + 2) + BEHIND
    assert pack(weight[:, :13], "3:8").size(1) == 2 * (6 + 3) + BEHIND


def test_more_than_n_of_m_is_refused(quantized):
    with pytest.raises(
        ValueError, match=r"Up to 4 of 4 neighbours in fc1 .*prune_n_of_m\(model, 2"
    ):
        Firmware(quantized, {"fc1": "2:4"})


@pytest.mark.slow
def test_integers_are_exact_on_a_thousand_images(slim, packed, digits):
    images = slim.integers(digits.test.images[:1000])
    for firmware, some in zip(packed.values(), images.chunk(len(packed)), strict=True):
        assert torch.equal(firmware.logits(some), slim.sums(some))


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(
    ("widths", "formats"),
    [
        ((16, 32, 64), {"conv2": "gaps"}),
        ((5, 7, 11), {"fc1": "gaps"}),
        ((1, 1, 1), {"conv2": "gaps", "fc1": "gaps"}),
        ((16, 32, 64), dict.fromkeys(SPARSE, "2:4")),
        ((5, 7, 11), {"conv2": "1:4", "fc1": "csr", "fc2": "5:8"}),  # 45 and 11 inputs
        ((3, 5, 9), {"fc1": "3:7"}),
    ],
)
def test_any_widths_on_any_processor(digits, calibration, processor, widths, formats):
    torch.manual_seed(0)
    network = prune(lab.prune_magnitude(lab.SimpleCNN(widths), 0.5), formats.values())
    network = quantize_int8(network, calibration)
    images = network.integers(digits.test.images[:3])
    found = Firmware(network, formats, processor).logits(images)
    assert torch.equal(found, network.sums(images))


def chains():
    """Every kind of layer, kernel, stride and group, and pictures that are no squares."""
    conv, flat, relu = torch.nn.Conv2d, torch.nn.Flatten(), torch.nn.ReLU()
    norm, most, mean = torch.nn.BatchNorm2d, torch.nn.MaxPool2d, torch.nn.AvgPool2d
    groups = (
        *(mean(2), conv(3, 6, 5, 2, 2), relu, conv(6, 4, 3, groups=2), most(3, 2), relu),
        *(conv(4, 8, 1), norm(8), most(2), conv(8, 8, 2, groups=4, padding=1), flat),
        torch.nn.Linear(32, 7),
    )
    depthwise = (
        *(conv(2, 2, (3, 5), (1, 2), (1, 2), groups=2), conv(2, 4, 3, groups=2), norm(4), relu),
        *(most(2), conv(4, 4, 3, 1, 1, groups=4), most(2), mean((2, 1)), conv(4, 6, (1, 1)), relu),
        *(torch.nn.AdaptiveAvgPool2d(1), flat),
    )
    layers = {
        "LeNet300": (lab.LeNet300((20, 9)), (1, 28, 28)),
        "LeNet5": (lab.LeNet5((3, 5, 9)), (1, 28, 28)),
        "separable": (lab.SeparableCNN((3, 5, 6, 4)), (1, 28, 28)),
        "groups": (groups, (3, 29, 31)),
        "depthwise": (depthwise, (2, 14, 18)),
    }
    return {name: (torch.nn.Sequential(*parts), shape) for name, (parts, shape) in layers.items()}


@pytest.mark.parametrize("name", chains())
def test_any_chain_is_exact(name):
    """In every number of bits and format, on two processors; real numbers are close."""
    torch.manual_seed(0)
    network, shape = chains()[name]
    images = torch.randn(40, *shape)
    network(images)  # so that batch norms know them
    network = lab.prune_magnitude(network.eval(), 0.4)
    few = lab.Split(images, torch.zeros(40, dtype=torch.int64))
    ways = [*zip((*FORMATS, *CODED), (8, 4, 2, 8, 4, 8), strict=True)]
    ways += [("dense", "ternary"), ("dense", 2), ("gaps", 4)]
    for place, (kind, bits) in enumerate(ways):
        int8 = quantize_int8(network, few, bits=bits)
        named = [layer.name for layer in int8.layers if layer.weight is not None]
        processor = "Cortex-M0+" if place % 3 == 1 else "Cortex-M4F"
        firmware = Firmware(int8, dict.fromkeys(named, kind), processor)
        integers = int8.integers(images[:2])
        assert torch.equal(firmware.logits(integers), int8.sums(integers)), (kind, bits)
        assert set(firmware.measure(integers[0]).by_layer) >= set(named)
    exact = quantize_int8(network, few)
    with torch.inference_mode():
        wanted = network(images)
    assert (exact(images) - wanted).abs().max() < 0.1 * wanted.abs().max()
    if shape == (1, 28, 28):
        found = Firmware(network).logits(images[:2])
        torch.testing.assert_close(found, wanted[:2], rtol=1e-4, atol=1e-5)


@given(
    st.lists(st.integers(-127, 127), min_size=1, max_size=300), st.sampled_from([4, 2, "ternary"])
)
def test_codes_lose_nothing(values, code):
    low, high = RANGES[code]
    fitting = [min(max(value, low), high) for value in values]
    content = int.from_bytes(bytes(encode(fitting, code).content), "little")
    digits, (base, each) = [], {4: (16, 2), 2: (4, 4), "ternary": (3, 5)}[code]
    for byte in content.to_bytes(-(-len(values) // each), "little"):
        digits += [byte // base**place % base for place in range(each)]
    back = [d - 1 if code == "ternary" else (d - base if d >= base // 2 else d) for d in digits]
    assert back[: len(values)] == fitting
    huffman = encode(values, "huffman")
    _, counts = np.unique(values, return_counts=True)
    entropy = -(counts * np.log2(counts / len(values))).sum()
    assert entropy <= 8 * len(huffman.content)  # and no code is more than a bit a symbol longer
    assert 8 * len(huffman.content) < entropy + len(values) + 8
    assert sum(huffman.lengths) == len(huffman.symbols) == len(counts)
    taken = sum(count * 2.0**-bits for bits, count in enumerate(huffman.lengths, 1))
    assert taken == 1 or len(counts) == 1  # a full tree (Kraft)


@pytest.mark.parametrize(
    ("format", "processor"), [*((f, None) for f in (*FORMATS, "2:4")), ("csr", "Cortex-M0+")]
)
def test_real_numbers_are_close(pruned, digits, format, processor):
    """Also without a unit for them, as on the M0+."""
    network, count = (pruned, 20) if processor is None else (lab.prune_filters(pruned, 0.8), 1)
    network = prune(network, [format])
    found = Firmware(network, dict.fromkeys(SPARSE, format), processor)
    expected = lab.predict(network, digits.test[:count])
    torch.testing.assert_close(
        found.logits(digits.test.images[:count]), expected, rtol=1e-5, atol=1e-5
    )


def test_extreme_sums_are_exact(quantized):
    """Inputs and weights at their limits: nothing overflows that should not."""
    firmware = Firmware(quantized)
    images = torch.stack([torch.full((1, 28, 28), v, dtype=torch.int8) for v in (-127, 0, 127)])
    assert torch.equal(firmware.logits(images), quantized.sums(images))


def test_what_it_costs(model, pruned, calibration):
    """No more than plain kernels took; slim saves instructions and flash, sparse fc1 flash."""
    whole = {"dense": model, "slim": lab.prune_filters(model, 0.5), "both": pruned}
    whole["pruned"] = lab.prune_magnitude(model, 0.9)
    whole = {name: quantize_int8(network, calibration) for name, network in whole.items()}
    image = torch.zeros(1, 28, 28, dtype=torch.int8)
    dense = Firmware(whole["dense"]).measure(image)
    # Byte by byte: a byte a weight (rows filled up to fours), 2 a bias, 4 a scale, 1 for a layer's.
    assert dense.weights == (16 * 12 + 32 * 144 + 64 * 1568 + 10 * 64) + 2 * 122 + 4 * 112 + 3
    assert dense.instructions <= 3_000_000
    assert sum(dense.by_layer.values()) == pytest.approx(dense.instructions, abs=50)
    assert dense.flash <= 112_004
    assert dense.ram <= 7_452
    assert 0 < dense.stack <= 300
    slim = Firmware(whole["slim"]).measure(image)
    assert slim.instructions <= 1_158_763
    assert slim.flash <= 29_952
    assert slim.ram <= 4_588
    for format, flash in (("csr", 38_504), ("gaps", 29_696)):  # as plain kernels for this network
        found = Firmware(whole["pruned"], {"fc1": format}).measure(image)
        assert found.instructions <= 3_460_060
        assert found.flash <= flash
    both = Firmware(whole["both"], {"conv2": "csr", "fc1": "csr"}).measure(image)
    assert both.instructions <= 1_230_426


def test_compiled_once(quantized_small, tmp_path, monkeypatch):
    compiler = cache_folder() / "firmware" / "zig"  # its own cache, which takes long to fill
    Firmware(quantized_small)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "eai-pruning-lab" / "firmware"
    folder.mkdir(parents=True)
    (folder / "zig").symlink_to(compiler)
    Firmware(quantized_small)
    (elf,) = folder.glob("*.elf")
    before = elf.stat().st_mtime_ns
    Firmware(quantized_small)
    assert elf.stat().st_mtime_ns == before
    assert {path.name for path in folder.iterdir()} == {elf.name, "zig"}
    Firmware(quantized_small, {"fc1": "csr"})
    assert len(list(folder.glob("*.elf"))) == 2


def test_folder_that_cannot_be_written(quantized_small, tmp_path, monkeypatch):
    (tmp_path / "eai-pruning-lab").touch()  # a file where the folder should be
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PermissionError, match="XDG_CACHE_HOME to a folder of your own"):
        Firmware(quantized_small)


def test_processor_and_board(quantized_small):
    firmware = Firmware(quantized_small, {}, "Cortex-M4F", "micro:bit")
    assert firmware.processor is PROCESSORS["Cortex-M4F"]
    with pytest.raises(ValueError, match=r"'Cortex-M7': the BBC micro:bit .* has a Cortex-M4F"):
        Firmware(quantized_small, {}, "Cortex-M7", "micro:bit")
    assert {board.processor for board in BOARDS.values()} == set(PROCESSORS)
    for board in BOARDS.values():
        assert board.flash % 1024 == board.ram % 1024 == 0
        assert 16 <= board.clock <= 600


@pytest.mark.slow
def test_too_large_for_a_board_says_by_how_much(quantized_small, digits):
    torch.manual_seed(0)
    large = lab.SimpleCNN((1, 32, 64))  # in fc1, where it costs bytes and little time
    with pytest.raises(ValueError, match="does not fit the Arduino Zero") as refused:
        Firmware(large, board="Zero")
    cost = Firmware(large, processor="Cortex-M0+").measure(torch.zeros(1, 28, 28))
    said = str(refused.value)
    assert f"needs {cost.flash:,} bytes of flash where there are 262,144" in said
    assert f"{cost.flash - 262_144:,} too many (most for the weights of fc1, 401,664)" in said
    assert "RAM" not in said
    with pytest.raises(ValueError, match=r"bytes of RAM where there are 2,048, .* too many"):
        Firmware(quantized_small, board="L011")
    Firmware(quantized_small, board="L031")
    both = {"large": device.Variant(large), "small": device.Variant(quantized_small)}
    table = device.firmware_table(both, digits.test[:100], "Zero")  # measured all the same
    assert list(table["fits"]) == [False, True]


def test_larger_than_any_board_is_measured_or_refused(calibration):
    torch.manual_seed(0)
    large = quantize_int8(lab.SimpleCNN((16, 200, 128)), calibration)
    image = torch.zeros(1, 28, 28, dtype=torch.int8)
    assert Firmware(large).measure(image).flash > 1_250_000
    with pytest.raises(ValueError, match=r"The weights need 7\d,\d{3},\d{3} bytes of flash"):
        Firmware(lab.SimpleCNN((1, 500, 800)))


def test_smallest_formats_are_smallest(slim, packed):
    sizes = {kind: firmware.constants() for kind, firmware in packed.items()}
    best = {layer: min(sizes, key=lambda kind: sizes[kind][layer]) for layer in SPARSE}
    assert smallest_formats(slim).items() >= best.items()
    assert "gaps huffman" in best.values()


def test_nothing_is_left_behind(quantized_small):
    """An interrupted call: the next one is right again."""
    firmware = Firmware(quantized_small)
    image = torch.randint(-127, 128, (1, 1, 28, 28), dtype=torch.int8)
    first = firmware.logits(image)
    broken = copy.copy(firmware.emulator)
    broken.symbols = {**broken.symbols, "infer": (STACK_TOP, 4)}
    with pytest.raises(Exception, match=r"Invalid|return"):
        Emulator.call(broken, "infer")
    assert torch.equal(firmware.logits(image), first)
