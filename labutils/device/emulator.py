"""Run a firmware as the processor would: Unicorn executes its instructions and counts them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from labutils.device._extra import needed

unicorn, arm_const = needed("unicorn"), needed("unicorn.arm_const")
SH_FLAGS = needed("elftools.elf.constants").SH_FLAGS
ELFFile = needed("elftools.elf.elffile").ELFFile

FLASH_SIZE, RAM, RAM_SIZE = 1 << 24, 0x2000_0000, 1 << 24  # as in c/memory.ld
STACK_TOP = RAM + RAM_SIZE
RETURN = 0x00FF_FFF0  # where a function comes back to that is called from outside
PAINT, PAINTED = 0xA5, 1 << 14  # bytes below the top of the stack, painted to see which change
FPU = 0xF << 20
# The first five bits of an instruction of two halfwords (ARMv7-M Architecture Reference Manual).
WIDE = (0b11101, 0b11110, 0b11111)


class Processor(NamedTuple):
    """A processor to compile for and to emulate.

    Attributes
    ----------
    target, features : what the compiler calls it
    model : what Unicorn calls it
    has_fpu : whether it computes with floats itself
    has_simd : whether it multiplies two pairs of 16-bit numbers at once
    """

    target: str
    features: str
    model: int
    has_fpu: bool
    has_simd: bool


SOFT, HARD = "thumb-freestanding-eabi", "thumb-freestanding-eabihf"
M0, M4, M7 = (getattr(arm_const, f"UC_CPU_ARM_CORTEX_M{number}") for number in (0, 4, 7))
PROCESSORS = {
    "Cortex-M0+": Processor(SOFT, "cortex_m0plus", M0, has_fpu=False, has_simd=False),
    "Cortex-M4F": Processor(HARD, "cortex_m4+vfp4d16sp", M4, has_fpu=True, has_simd=True),
    "Cortex-M7": Processor(HARD, "cortex_m7+fp_armv8d16sp", M7, has_fpu=True, has_simd=True),
}


class Emulator:
    """A processor with a compiled firmware in its flash."""

    def __init__(self, elf: Path, processor: Processor) -> None:
        with elf.open("rb") as file:
            found = ELFFile(file)
            symbols = found.get_section_by_name(".symtab").iter_symbols()
            self.symbols = {s.name: (s["st_value"], s["st_size"]) for s in symbols if s.name}
            self.sections = {
                section.name: (section["sh_addr"], section["sh_size"])
                for section in found.iter_sections()
                if section["sh_flags"] & SH_FLAGS.SHF_ALLOC
            }
            loaded = [
                (part["p_paddr"], part["p_vaddr"], part.data())
                for part in found.iter_segments("PT_LOAD")
                if part["p_filesz"]
            ]
        self.machine = unicorn.Uc(
            unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        )
        self.machine.ctl_set_cpu_model(processor.model)
        self.machine.mem_map(0, FLASH_SIZE)
        self.machine.mem_map(RAM, RAM_SIZE)
        for _, address, data in loaded:  # where a start-up routine would have copied it
            self.machine.mem_write(address, data)
        if processor.has_fpu:
            access = self.machine.reg_read(arm_const.UC_ARM_REG_C1_C0_2)
            self.machine.reg_write(arm_const.UC_ARM_REG_C1_C0_2, access | FPU)
            self.machine.reg_write(arm_const.UC_ARM_REG_FPEXC, 1 << 30)

    @property
    def flash(self) -> int:
        """Bytes in flash: code, constants, and what is copied to RAM at the start."""
        return sum(
            size for name, (start, size) in self.sections.items() if start < RAM or name == ".data"
        )

    @property
    def ram(self) -> int:
        """Bytes of variables in RAM, the stack not counted."""
        return sum(size for start, size in self.sections.values() if start >= RAM)

    def sizes(self, *, in_ram: bool) -> dict[str, int]:
        """Return the bytes of every variable or constant that lies in RAM, or in flash."""
        return {
            name: size
            for name, (address, size) in self.symbols.items()
            if (address >= RAM) == in_ram and size
        }

    def call(self, function: str) -> None:
        """Call a function without arguments and let it return."""
        self.machine.reg_write(arm_const.UC_ARM_REG_SP, STACK_TOP)
        self.machine.reg_write(arm_const.UC_ARM_REG_LR, RETURN | 1)
        self.machine.emu_start(self.symbols[function][0] | 1, RETURN)
        if self.machine.reg_read(arm_const.UC_ARM_REG_PC) != RETURN:
            raise RuntimeError(f"The firmware's {function}() did not return.")

    def write(self, variable: str, values: np.ndarray) -> None:
        """Fill a variable of the firmware."""
        self.machine.mem_write(self.symbols[variable][0], values.tobytes())

    def read(self, variable: str, kind: str) -> np.ndarray:
        """Return what a variable of the firmware holds, as an array of a NumPy type."""
        return np.frombuffer(bytes(self.machine.mem_read(*self.symbols[variable])), kind)

    def count(self, function: str, parts: Sequence[str]) -> tuple[Counter[str], int]:
        """Count the instructions a call executes, by the function they lie in.

        Parameters
        ----------
        parts : functions to count apart; what others execute counts for ""

        Returns
        -------
        The counts, and how many bytes of stack it used.
        """
        blocks: Counter[tuple[int, int]] = Counter()

        def note(_machine: unicorn.Uc, address: int, size: int, _data: object) -> None:
            blocks[address, size] += 1

        # By block, not by instruction: that hook does not see the ones a condition skips.
        self.machine.ctl_flush_tb()  # hooks do not fire in code that is translated already
        hook = self.machine.hook_add(unicorn.UC_HOOK_BLOCK, note)
        try:
            stack = self.stack(function)
        finally:
            self.machine.hook_del(hook)
        found: Counter[str] = Counter()
        for (address, size), times in blocks.items():
            found[self._part(address, parts)] += times * self._instructions(address, size)
        return found, stack

    def stack(self, function: str) -> int:
        """Return how many bytes of stack a call uses."""
        self.machine.mem_write(STACK_TOP - PAINTED, bytes([PAINT]) * PAINTED)
        self.call(function)
        left = bytes(self.machine.mem_read(STACK_TOP - PAINTED, PAINTED))
        return len(left.lstrip(bytes([PAINT])))

    def _part(self, address: int, parts: Sequence[str]) -> str:
        for name in parts:
            start, size = self.symbols[name]
            if start & ~1 <= address < (start & ~1) + size:
                return name
        return ""

    def _instructions(self, address: int, size: int) -> int:
        """Count the instructions of a block, of two or four bytes each."""
        halves = np.frombuffer(bytes(self.machine.mem_read(address, size)), "<u2")
        place = count = 0
        while place < len(halves):
            place += 2 if halves[place] >> 11 in WIDE else 1
            count += 1
        return count
