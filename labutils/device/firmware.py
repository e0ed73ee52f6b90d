"""A network as firmware: compiled for a microcontroller, run in an emulator, measured."""

import hashlib
import math
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from labutils.base import given
from labutils.base.home import cache_folder
from labutils.device._extra import needed
from labutils.device.boards import BOARDS, Board
from labutils.device.emulator import FLASH_SIZE, PROCESSORS, Emulator
from labutils.device.packing import CODED, KNOWN
from labutils.device.quantization import Int8Network
from labutils.device.source import check_network, sources, weights_header

SOURCES = Path(__file__).parent / "c"
# -g keeps the names of functions and variables, which the emulator needs; nothing else.
OPTIONS = (
    *("-O2", "-g", "-ffreestanding", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
    "-Wl,--entry=infer",  # without an entry everything would be thrown away as unused
)
# What lies in RAM, in words.
VARIABLES = {
    "image": "the image",
    "front": "what the first layer and every second one found",
    "back": "what the second layer and every second one found",
    "columns": "the columns of a convolution",
    "unpacked": "the weights that were unpacked",
    "arranged": "a picture channel by channel",
}


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
    """A network, real or in int8, compiled and ready to run in the emulator.

    Parameters
    ----------
    network : a chain of convolutions, pooling and linear layers for images of 1 x 28 x 28, as a
        SimpleCNN, its weights float32; or what `quantize_int8` made of one, for any images
    formats : how layers with weights are packed: "dense", "csr", "gaps", "bitmask", "2:4" where
        at most 2 of 4 neighbours are not zero (any n of m up to 8), or, in int8, in a Huffman code
        ("huffman", or "gaps huffman" without the zeros), by layer; dense where not named
    processor : "Cortex-M0+", "Cortex-M4F" or "Cortex-M7"; if not given, that of the board, or a
        Cortex-M4F; with a board, its own
    board : which of `BOARDS` it must fit

    Raises
    ------
    TypeError, ValueError
        Another network, weights that are not finite, an unknown layer, format, processor or
        board; more than n of m neighbours not zero; or it does not fit the board, and by how much.
    PermissionError
        There is no folder to compile in; the message says how to name one.
    ModuleNotFoundError
        The compiler or the emulator is missing; the message says which pip line brings them.
    """

    def __init__(
        self,
        network: nn.Module,
        formats: Mapping[str, str] = {},
        processor: str | None = None,
        board: str | None = None,
    ) -> None:
        self.network = check_network(network)
        chosen = None if board is None else BOARDS[given.choice(board, "board", BOARDS)]
        self.processor = PROCESSORS[_choose_processor(processor, chosen)]
        self.is_int8 = isinstance(network, Int8Network)
        if not isinstance(formats, Mapping):
            raise TypeError(f"formats={formats!r:.60}: give a dictionary, as {{'fc1': 'csr'}}.")
        self.layers = sources(network, formats, self.processor.has_simd)
        self._check_formats(formats)
        self._check_size()
        self.emulator = Emulator(self._compile(), self.processor)
        if chosen:
            self._check_fit(chosen)

    def logits(self, images: Tensor) -> Tensor:
        """Run images N x 1 x 28 x 28 one by one; return int32 sums, or float32 logits, N x 10.

        Real images for a real network; int8 ones, as `Int8Network.integers` makes them, for one
        in int8.
        """
        found, kind = [], "<i4" if self.is_int8 else "<f4"
        for image in given.tensor(images, "images"):
            self._show(image)
            self.emulator.call("infer")
            found.append(torch.from_numpy(self.emulator.read("logits", kind).copy()))
        return torch.stack(found)

    def measure(self, image: Tensor) -> Footprint:
        """Count what one image, 1 x 28 x 28, costs. Counts differ a little between images."""
        self._show(image)
        counts, stack = self.emulator.count("infer", [layer.name for layer in self.layers])
        return Footprint(
            instructions=sum(counts.values()),
            by_layer={source.layer.name: counts[source.name] for source in self.layers},
            weights=sum(self.constants().values()),
            flash=self.emulator.flash,
            ram=self.emulator.ram,
            stack=stack,
        )

    def constants(self) -> dict[str, int]:
        """Return each layer's bytes of weights, places, biases and scales."""
        sizes = self.emulator.sizes(in_ram=False)
        return {
            source.layer.name: sum(
                n for name, n in sizes.items() if name.startswith(f"{source.name}_")
            )
            for source in self.layers
        }

    def _check_fit(self, board: Board) -> None:
        """Refuse what is too large for a board, saying by how much, and what takes most."""
        constants, variables = self.constants(), self.emulator.sizes(in_ram=True)
        layer, variable = max(constants, key=constants.get), max(variables, key=variables.get)
        weights = f"the weights of {layer}, {constants[layer]:,}"
        stored = f"{VARIABLES.get(variable, variable)}, {variables[variable]:,}"
        ram = self.emulator.ram + self.emulator.stack("infer")
        short = [
            f"{need:,} bytes of {kind} where there are {have:,}, {need - have:,} too many (most "
            f"for {largest})"
            for kind, need, have, largest in (
                ("flash", self.emulator.flash, board.flash, weights),
                ("RAM", ram, board.ram, stored),
            )
            if need > have
        ]
        if short:
            raise ValueError(
                f"This network does not fit the {board.name}: it needs {' and '.join(short)}. "
                "Remove filters, quantize it, or choose a larger board."
            )

    def _check_size(self) -> None:
        """Refuse what is too large to be emulated before it is written down number by number."""
        each = 1 if self.is_int8 else 4
        need = each * sum(
            int(source.layer.weight.count_nonzero())
            for source in self.layers
            if source.layer.weight is not None
        )
        if need > FLASH_SIZE:
            raise ValueError(
                f"The weights need {need:,} bytes of flash, and no board that is emulated here "
                f"has more than {FLASH_SIZE:,}: remove filters first."
            )

    def _show(self, image: Tensor) -> None:
        """Put an image where the firmware looks for it."""
        wanted, shape = torch.int8 if self.is_int8 else torch.float32, self.layers[0].layer.shape
        if given.tensor(image, "image").dtype != wanted or image.numel() != math.prod(shape):
            raise ValueError(
                f"The image is {tuple(image.shape)} of {image.dtype}: this firmware reads "
                f"{' x '.join(map(str, shape))} of {wanted}."
            )
        pixels = image.view(shape).permute(1, 2, 0)  # their channels together
        self.emulator.write("image", np.ascontiguousarray(pixels.cpu().numpy()))

    def _compile(self) -> Path:
        """Return the compiled firmware, from the cache if it was compiled before."""
        header = weights_header(self.layers)
        options = [
            *("-target", self.processor.target, f"-mcpu={self.processor.features}", *OPTIONS),
            *([] if self.is_int8 else ["-DFLOAT32"]),
            *(["-DWIDE_STARTS"] if self._has_wide_starts() else []),
        ]
        files = sorted(SOURCES.iterdir())
        told = [header, *options, *(file.read_text(encoding="utf-8") for file in files)]
        name = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
        target = cache_folder() / "firmware" / f"{name}.elf"
        if not target.exists():
            _build(header, options, target)
        return target

    def _has_wide_starts(self) -> bool:
        """Whether some sparse layer has too many weights for 16-bit starts."""
        return any(
            # Gaps may add bridges, at most one in 255 places.
            int(layer.weight.count_nonzero()) + layer.weight.numel() // 255 >= 2**16
            for layer, format in ((source.layer, source.format) for source in self.layers)
            if format != "dense" and layer.weight is not None
        )

    def _check_formats(self, formats: Mapping[str, str]) -> None:
        named = [source.layer.name for source in self.layers if source.layer.weight is not None]
        for layer, format in formats.items():
            given.choice(layer, "formats", named)
            given.choice(format, f"formats[{layer!r}]", KNOWN)
            if format in CODED and not self.is_int8:
                raise ValueError(f"formats[{layer!r}]={format!r} is for networks in int8.")


def _build(header: str, options: list[str], target: Path) -> None:
    """Compile beside the target, then rename: it appears whole, whoever else compiles it too."""
    needed("ziglang")
    work = target.with_suffix(f".{uuid.uuid4().hex}")
    try:
        work.mkdir(parents=True)
    except OSError as error:
        raise PermissionError(
            f"The folder {target.parent} cannot be written, and compiling needs one: set "
            "XDG_CACHE_HOME to a folder of your own."
        ) from error
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
        shutil.rmtree(work)


def _choose_processor(name: str | None, board: Board | None) -> str:
    """Return the processor's name: the one asked for, else the board's, else a Cortex-M4F."""
    usual = board.processor if board else "Cortex-M4F"
    name = usual if name is None else given.choice(name, "processor", PROCESSORS)
    if board and name != usual:
        raise ValueError(
            f"processor={name!r}: the {board.name} has a {usual}; give one of the two."
        )
    return name
