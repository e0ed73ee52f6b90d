"""Whatever a function of the device room is given, it says in one sentence what is wrong."""

import traceback
from pathlib import Path

import pandas as pd
import pytest
import test_bad_input as kinds
import torch
from test_bad_input import NAN, NETWORKS, RAW, SPLIT, SPLITS, TABLES, WORDS

import labutils as lab
from labutils import device

BROKEN = lab.SimpleCNN((1, 1, 1))
torch.nn.init.constant_(BROKEN.fc1.bias, NAN)
OTHERS = (*NETWORKS, lab.ResidualCNN((1, 1, 1, 1)), torch.nn.Sequential(torch.nn.Tanh()), BROKEN)
WIDE = lab.Split(torch.zeros(4, 1, 40, 40), torch.arange(4))
SHARES = (None, 0.5, "0.5", (), (90,), (NAN,), ("a",))


def calls() -> dict[str, tuple[object, dict, dict]]:
    net, here = lab.SimpleCNN((1, 1, 1)), Path(__file__)
    int8 = device.quantize_int8(net, SPLIT)
    digits = lab.Digits(SPLIT, SPLIT, SPLIT)
    variants = (None, {}, net, {"a": net}, {"a": device.Variant(lab.ResidualCNN((1, 1, 1, 1)))})
    formats = [("fc1", 0.5, kind, 1, 1) for kind in ("dense", "csr", "gaps", "bitmask")]
    columns = ["layer", "density", "format", "bytes", "instructions"]
    formats = pd.DataFrame(formats, columns=columns)
    tables = (*TABLES, formats[:3], formats.drop(columns="density"), formats[:0])
    said = dict.fromkeys(("made", "widths", "kept", "bits", "epochs"), "a")
    trials = pd.DataFrame([said | {"bytes": 3e3, "instructions": 9, "validation": 0.9}])
    worse = (*TABLES, trials.drop(columns="bytes"), trials.assign(bytes=NAN))
    return {
        "as_digit": (device.as_digit, {}, {"pixels": (None, "x", b"abc", RAW)}),
        "break_even": (device.break_even, {}, {"table": tables}),
        "break_even_curves": (device.break_even_curves, {}, {"table": tables}),
        "choose": (device.choose, {"trials": trials, "accuracy": 80},
                   {"trials": worse, "accuracy": (None, "x", 0.99, 101, NAN),
                    "margin": ("x", 2, NAN)}),
        "device_explorer": (device.device_explorer,
                            {"variants": {"a": device.Variant(net)}, "digits": digits},
                            {"variants": variants, "digits": kinds.DIGITS[:-1], "board": WORDS}),
        "export_onnx": (device.export_onnx, {"model": net, "path": "x.onnx"},
                        {"model": (*NETWORKS, BROKEN, int8, torch.nn.Linear(3, 3)),
                         "path": kinds.PATHS}),
        "file_bytes": (device.file_bytes, {}, {"path": kinds.FILES}),
        "Firmware": (device.Firmware, {"network": net},
                     {"network": OTHERS, "processor": WORDS, "board": WORDS,
                      "formats": (None, "csr", {"conv9": "csr"}, {"fc1": "huffman"}, {"fc1": "coo"},
                                  {"fc1": 3}, {"fc1": "2:4"}, {"fc1": "4:2"}, {"fc1": ["2:4"]})}),
        "firmware_table": (device.firmware_table,
                           {"variants": {"a": device.Variant(net)}, "split": SPLIT},
                           {"variants": variants, "split": (*SPLITS, WIDE), "board": WORDS}),
        "format_table": (device.format_table, {"model": net, "calibration": SPLIT},
                         {"model": OTHERS, "calibration": (*SPLITS, WIDE), "densities": SHARES}),
        "instruction_bars": (device.instruction_bars, {}, {"table": tables}),
        "integers": (int8.integers, {}, {"images": (None, RAW.byte(), RAW * NAN, WIDE.images)}),
        "load_int8": (device.load_int8, {}, {"path": (*kinds.FILES, here)}),
        "load_smallest": (device.load_smallest, {"accuracy": 99.0},
                          {"accuracy": (None, "x", 98, NAN), "seed": (*WORDS, 3), "made": WORDS}),
        "logits": (lambda images: device.Firmware(int8).logits(images), {},
                   {"images": (None, [0], RAW, RAW[:0], RAW.byte(), WIDE.images.char())}),
        "onnx_answers": (device.onnx_answers, {"path": here},
                         {"path": (*kinds.FILES, here), "threads": (*kinds.COUNTS, 0)}),
        "onnx_latency": (device.onnx_latency, {"models": {"a": net}, "files": {"a": here}},
                         {"models": (None, {}, net, [net]),
                          "files": (None, {}, [here], {"a": "missing.onnx"}, {"a": 3})}),
        "quantize_int8": (device.quantize_int8, {"model": net, "calibration": SPLIT},
                          {"model": OTHERS, "calibration": (*SPLITS, WIDE),
                           "bits": (None, 3, True, "8", [8], {"fc9": 8}, {"fc1": 5})}),
        "quantize_onnx": (device.quantize_onnx,
                          {"path": here, "target": "x.onnx", "calibration": SPLIT},
                          {"path": (*kinds.FILES, here), "target": kinds.PATHS,
                           "calibration": SPLITS}),
        "remembered": (device.remembered, {"name": "costs", "measure": trials.copy},
                       {"name": (None, 3, "", "../costs"), "measure": (None, trials)}),
        "save_int8": (device.save_int8, {"network": int8, "path": "x.json"},
                      {"network": (*OTHERS, {}), "path": kinds.PATHS}),
        "train_int8": (device.train_int8, {"model": net, "digits": digits, "epochs": 0},
                       {"model": OTHERS, "digits": kinds.DIGITS, "epochs": (None, -1, 1.5),
                        "bits": (None, 3, {"fc9": 8}), "seed": (None, -1),
                        "learning_rate": (None, 0, NAN), "batch_size": (0, None)}),
        "search_points": (device.search_points, {"trials": trials, "chosen": {}},
                          {"trials": worse, "chosen": (None, ["best"], {})}),
        "smallest_formats": (device.smallest_formats, {}, {"network": OTHERS}),
    }  # fmt: skip


CALLS = calls()
CASES = [
    (name, argument, place)
    for name, (_, _, bad) in CALLS.items()
    for argument, values in bad.items()
    for place in range(len(values))
]


@pytest.mark.parametrize(("name", "argument", "place"), CASES)
def test_bad_input_gets_one_clear_sentence(name, argument, place, tmp_path, monkeypatch):
    function, good, bad = CALLS[name]
    value = bad[argument][place]
    monkeypatch.chdir(tmp_path)
    if isinstance(value, kinds.Bad):
        (tmp_path / "file").touch()
        value = {
            kinds.FOLDER: tmp_path,
            kinds.BELOW: tmp_path / "file" / "x",
            kinds.MISSING: tmp_path / "none",
        }[value]
    with pytest.raises(kinds.CLEAR) as caught:
        function(**{**good, argument: value})
    sentence = str(caught.value)
    innermost = Path(traceback.extract_tb(caught.value.__traceback__)[-1].filename)
    assert innermost.is_relative_to(kinds.LAB), f"an error of others: {sentence}"
    assert len(sentence) > 20, sentence
    assert "\n" not in sentence, sentence
    assert not list(tmp_path.glob("*.[oj]*n*"))  # nothing half written
