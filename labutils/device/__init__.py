"""What a network becomes on a small device: whole numbers, C, flash and instructions."""

from labutils.device.quantization import Int8Layer, Int8Network, quantize_int8

__all__ = ["Int8Layer", "Int8Network", "quantize_int8"]
