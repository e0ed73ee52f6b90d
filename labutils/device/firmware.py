"""A network as firmware: compiled for a microcontroller, run in an emulator, measured."""

import hashlib
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labutils.base import given
from labutils.base.home import cache_folder
from labutils.base.networks import SimpleCNN
from labutils.device._extra import needed
from labutils.device.boards import Board, check_board, check_fit
from labutils.device.emulator import FLASH_SIZE, PROCESSORS, Emulator
from labutils.device.packing import FORMATS
from labutils.device.quantization import LAYERS, Int8Network
from labutils.device.source import check_network, rows_of, weights_header

SOURCES = Path(__file__).parent / "c"
# -g keeps the names of functions and variables, which the emulator needs; nothing else.
OPTIONS = (
    *("-O2", "-g", "-ffreestanding", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
    "-Wl,--entry=infer",  # without an entry everything would be thrown away as unused
)
# What lies in RAM, in words.
VARIABLES = {
    "image": "the image",
    "middle": "what conv1 found",
    "features": "what conv2 found",
    "hidden": "what fc1 found",
    "columns": "the columns of a convolution",
}
FIRST_SPARSE = 1  # conv1 has no zeros worth the trouble: 9 weights a filter


@dataclass(frozen=True)
class Footprint:
    """What a firmware costs on its device.

    Attributes
    ----------
    instructions : executed for one image, in all
    by_layer : the same by layer
    weights : bytes of flash for weights with their places, biases and scales
    flash, ram, stack : in bytes; flash with code and constants, RAM without the stack
    """

    instructions: int
    by_layer: dict[str, int]
    weights: int
    flash: int
    ram: int
    stack: int


class Firmware:
    """A SimpleCNN, real or in int8, compiled and ready to run in the emulator.

    Parameters
    ----------
    network : a SimpleCNN of any widths, or what `quantize_int8` made of it; real weights become
        float32
    formats : how conv2, fc1 and fc2 are packed: "dense", "csr", "gaps" or "bitmask", by layer;
        dense where not named
    processor : "Cortex-M0+", "Cortex-M4F" or "Cortex-M7"; if not given, that of the board, or a
        Cortex-M4F; with a board, its own
    board : which of `BOARDS` it must fit

    Raises
    ------
    TypeError, ValueError
        Another network, weights that are not finite, an unknown layer, format, processor or
        board; or it does not fit the board, and by how much.
    PermissionError
        There is no folder to compile in; the message says how to name one.
    ModuleNotFoundError
        The compiler or the emulator is missing; the message says which pip line brings them.
    """

    def __init__(
        self,
        network: SimpleCNN | Int8Network,
        formats: Mapping[str, str] | None = None,
        processor: str | None = None,
        board: str | None = None,
    ) -> None:
        self.network = check_network(network)
        self.formats = _check_formats({} if formats is None else formats)
        self.board = None if board is None else check_board(board)
        self.processor = PROCESSORS[_choose_processor(processor, self.board)]
        self.is_int8 = isinstance(network, Int8Network)
        self._check_size()
        self.emulator = Emulator(self._compile(), self.processor)
        if self.board:
            check_fit(self.board, self._needs(), self._largest())

    def logits(self, images: Tensor) -> Tensor:
        """Run images N x 1 x 28 x 28 one by one; return int32 sums, or float32 logits, N x 10.

        Real images for a real network; int8 ones, as `Int8Network.integers` makes them, for one
        in int8.
        """
        return torch.stack([self._run(image) for image in given.tensor(images, "images")])

    def measure(self, image: Tensor) -> Footprint:
        """Count what one image, 1 x 28 x 28, costs. Counts differ a little between images."""
        self._show(image)
        counts, stack = self.emulator.count("infer", LAYERS)
        return Footprint(
            instructions=sum(counts.values()),
            by_layer={name: counts[name] for name in LAYERS},
            weights=sum(self.constants().values()),
            flash=self.emulator.flash,
            ram=self.emulator.ram,
            stack=stack,
        )

    def constants(self) -> dict[str, int]:
        """Return each layer's bytes of weights, places, biases and scales."""
        sizes = self.emulator.sizes(in_ram=False)
        return {
            layer: sum(n for name, n in sizes.items() if name.startswith(f"{layer}_"))
            for layer in LAYERS
        }

    def _needs(self) -> dict[str, int]:
        """Return how many bytes of flash and RAM it takes, the stack included."""
        stack = self.emulator.stack("infer")
        return {"flash": self.emulator.flash, "RAM": self.emulator.ram + stack}

    def _largest(self) -> dict[str, str]:
        """Return in words what takes most flash, and most RAM."""
        constants, variables = self.constants(), self.emulator.sizes(in_ram=True)
        layer, variable = (max(of, key=of.get) for of in (constants, variables))
        return {
            "flash": f"the weights of {layer}, {constants[layer]:,}",
            "RAM": f"{VARIABLES.get(variable, variable)}, {variables[variable]:,}",
        }

    def _check_size(self) -> None:
        """Refuse what is too large to be emulated before it is written down number by number."""
        each = 1 if self.is_int8 else 4
        need = sum(int(layer.weight.count_nonzero()) for layer in rows_of(self.network)) * each
        if need > FLASH_SIZE:
            raise ValueError(
                f"The weights need {need:,} bytes of flash, and no board that is emulated here "
                f"has more than {FLASH_SIZE:,}: remove filters first."
            )

    def _run(self, image: Tensor) -> Tensor:
        self._show(image)
        self.emulator.call("infer")
        return torch.from_numpy(
            self.emulator.read("logits", "<i4" if self.is_int8 else "<f4").copy()
        )

    def _show(self, image: Tensor) -> None:
        """Put an image where the firmware looks for it."""
        wanted = torch.int8 if self.is_int8 else torch.float32
        if given.tensor(image, "image").dtype != wanted or image.numel() != 28 * 28:
            raise ValueError(
                f"The image is {tuple(image.shape)} of {image.dtype}: this firmware reads 28 x 28 "
                f"of {wanted}."
            )
        self.emulator.write("image", np.ascontiguousarray(image.cpu().numpy()))

    def _compile(self) -> Path:
        """Return the compiled firmware, from the cache if it was compiled before."""
        header = weights_header(rows_of(self.network), self.formats, self.processor.has_simd)
        options = [
            *("-target", self.processor.target, f"-mcpu={self.processor.features}", *OPTIONS),
            *([] if self.is_int8 else ["-DFLOAT32"]),
            *(["-DWIDE_STARTS"] if _is_wide(self.network, self.formats) else []),
        ]
        sources = sorted(SOURCES.iterdir())
        told = [header, *options, *(source.read_text(encoding="utf-8") for source in sources)]
        name = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
        target = cache_folder() / "firmware" / f"{name}.elf"
        if not target.exists():
            _check_writable(target.parent)
            _build(header, options, target)
        return target


def _build(header: str, options: list[str], target: Path) -> None:
    """Compile beside the target, then rename: it appears whole, whoever else compiles it too."""
    needed("ziglang")
    work = target.with_suffix(f".{uuid.uuid4().hex}")
    work.mkdir()
    try:
        (work / "weights.h").write_text(header, encoding="utf-8")
        zig = str(target.parent / "zig")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ziglang", "cc", *options, f"-I{work}"),
                f"-Wl,-T,{SOURCES / 'memory.ld'}",
                *(str(SOURCES / "network.c"), "-o", str(work / "firmware.elf")),
            ],
            env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": zig, "ZIG_LOCAL_CACHE_DIR": zig},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"The compiler refused the firmware: {done.stderr.strip()[-1000:]}")
        (work / "firmware.elf").replace(target)
    finally:
        for file in work.iterdir():
            file.unlink()
        work.rmdir()


def _check_writable(folder: Path) -> None:
    """Make the folder that keeps compiled firmware; refuse one that cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise PermissionError(
            f"The folder {folder} cannot be written, and compiling needs one: set XDG_CACHE_HOME "
            "to a folder of your own."
        ) from error


def _choose_processor(name: str | None, board: Board | None) -> str:
    """Return the processor's name: the one asked for, else the board's, else a Cortex-M4F."""
    if name is None:
        return board.processor if board else "Cortex-M4F"
    if board and given.choice(name, "processor", PROCESSORS) != board.processor:
        raise ValueError(
            f"processor={name!r}: the {board.name} has a {board.processor}; give one of the two."
        )
    return given.choice(name, "processor", PROCESSORS)


def _check_formats(formats: Mapping[str, str]) -> dict[str, str]:
    packable = LAYERS[FIRST_SPARSE:]
    if not isinstance(formats, Mapping):
        raise TypeError(f"formats={formats!r}: give a dictionary, as {{'fc1': 'csr'}}.")
    for layer, format in formats.items():
        if layer not in packable:
            raise ValueError(
                f"formats names {layer!r}: choose from {', '.join(packable)} (conv1 stays dense)."
            )
        given.choice(format, f"formats[{layer!r}]", FORMATS)
    return dict(formats)


def _is_wide(network: SimpleCNN | Int8Network, formats: Mapping[str, str]) -> bool:
    """Whether some sparse layer has too many weights for 16-bit starts."""
    sparse = [layer for layer in rows_of(network) if formats.get(layer.name, "dense") != "dense"]
    # Gaps may add bridges, at most one in 255 places.
    most = [int(la.weight.count_nonzero()) + la.weight.numel() // 255 for la in sparse]
    return max(most, default=0) >= 2**16
