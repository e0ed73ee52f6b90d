"""What a network becomes on a small device: int8, C, flash and instructions.

What needs the packages of the extra ``[device]`` is imported when it is first used, so that the
rest of this room is there without them.
"""

import importlib

_ROOMS = {
    "_extra": "missing",
    "boards": "BOARDS",
    "explorer": "device_explorer",
    "few_bits": "train_int8",
    "files": "load_int8 save_int8",
    "firmware": "Firmware",
    "pad": "as_digit",
    "pictures": "break_even_curves instruction_bars search_points",
    "quantization": "Int8Network quantize_int8",
    "runtime": "export_onnx file_bytes onnx_answers onnx_latency quantize_onnx",
    "smallest": "choose load_smallest read_trials",
    "source": "smallest_formats",
    "stored_results": "remembered",
    "tables": "Variant break_even firmware_table format_table",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
