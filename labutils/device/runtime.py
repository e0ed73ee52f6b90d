"""How does a network run in ONNX Runtime, the engine that many devices use?"""

import copy
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from labutils.base import given
from labutils.base.digits import Split
from labutils.base.writing import write_whole
from labutils.cost.latency import latency
from labutils.device._extra import needed
from labutils.device.quantization import Int8Network

INPUT, OUTPUT = "images", "logits"
AGREEMENT = 1e-4  # how far the logits may lie apart, beside PyTorch's
TRIED = 64  # images on which that is tried


def export_onnx(
    model: nn.Module, path: str | Path, image_shape: tuple[int, ...] = (1, 28, 28)
) -> Path:
    """Write a network as an ONNX file of float32, for any number of images, and try it.

    The file appears once ONNX Runtime gave the network's own logits to within 1e-4.

    Parameters
    ----------
    model : left as it was
    image_shape : of the images it reads

    Raises
    ------
    TypeError, ValueError
        It is no network, does not read such images, or has weights that are not finite.
    RuntimeError
        ONNX Runtime computes something else.
    ModuleNotFoundError
        onnx, onnxscript or onnxruntime is missing; the message says which pip line brings it.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        needed(name)
    path = given.path(path)
    if isinstance(given.network(model), Int8Network):
        raise TypeError(
            "model is in int8: export the real one, then call quantize_onnx for its file."
        )
    for name, tensor in model.state_dict().items():
        given.tensor(tensor, name)
    model = copy.deepcopy(model).cpu().float().eval()
    images = torch.randn(
        TRIED, *given.shape(image_shape), generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        try:
            wanted = model(images)
        except RuntimeError as error:
            raise ValueError(
                f"image_shape={tuple(image_shape)} does not fit: this {type(model).__name__} does "
                f"not read images N x {' x '.join(map(str, image_shape))}."
            ) from error
        content = _exported(model, images)
    found = _answering(content, threads=1)(images)
    apart = float((found - wanted).abs().max())
    if not apart <= AGREEMENT:
        raise RuntimeError(
            f"ONNX Runtime gives logits up to {apart:.2g} away from PyTorch's, more than "
            f"{AGREEMENT}: {path} was not written."
        )
    write_whole(path, lambda file: file.write(content))
    return path


def quantize_onnx(path: str | Path, target: str | Path, calibration: Split) -> Path:
    """Let ONNX Runtime turn a file's network into int8, a scale for each channel.

    Parameters
    ----------
    path, target : the file as it is, and the one to write
    calibration : training images, some hundreds, to find the activations' ranges
    """
    quantization = needed("onnxruntime.quantization")
    path, target = _existing(path), given.path(target, "target")
    given.split(calibration, "calibration")

    class Batches(quantization.CalibrationDataReader):
        left = iter(calibration.images.split(100))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.left, None)
            return None if batch is None else {INPUT: batch.cpu().float().numpy()}

    with tempfile.TemporaryDirectory() as folder:
        _answering(path.read_bytes(), 1)(calibration.images[:1])  # refuses what does not fit
        prepared, written = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        needed("onnxruntime.quantization.shape_inference").quant_pre_process(
            str(path), str(prepared), skip_symbolic_shape=True
        )
        quantization.quantize_static(
            str(prepared),
            str(written),
            Batches(),
            per_channel=True,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"ActivationSymmetric": True},
        )
        content = written.read_bytes()
    write_whole(target, lambda file: file.write(content))
    return target


def onnx_answers(path: str | Path, threads: int = 1) -> Callable[[Tensor], Tensor]:
    """Open an ONNX file; return a function from images N x 1 x 28 x 28 to logits N x 10."""
    return _answering(_existing(path).read_bytes(), given.whole(threads, "threads"))


def onnx_latency(
    models: Mapping[str, nn.Module],
    files: Mapping[str, str | Path],
    *,
    rounds: int = 50,
) -> pd.DataFrame:
    """Time networks in PyTorch and files in ONNX Runtime, all in turn.

    One image and 64 at a time, each on one CPU thread and on two.

    Parameters
    ----------
    models : networks to time in PyTorch, by name
    files : ONNX files, by name; those of a network carry its name
    rounds : how often each is timed

    Returns
    -------
    Table with the columns `model`, `engine`, `batch`, `threads`, and in milliseconds for the
    whole batch `median`, `low` and `high`, as `latency` has them.
    """
    given.named(models, "models", "{'dense': model}")
    given.named(files, "files", "{'dense': 'dense.onnx'}")
    tables = []
    for threads in (1, 2):
        timed = {(name, "PyTorch"): model for name, model in models.items()}
        timed |= {(name, "ONNX Runtime"): onnx_answers(p, threads) for name, p in files.items()}
        for batch in (1, 64):
            by_number = {str(number): run for number, run in enumerate(timed.values())}
            found = latency(by_number, batch, threads, rounds=rounds)
            names = pd.DataFrame(list(timed), columns=["model", "engine"])
            tables.append(pd.concat([names, found.drop(columns="model")], axis=1))
    return pd.concat(tables, ignore_index=True)


def file_bytes(path: str | Path) -> tuple[int, int]:
    """Return how many bytes a file has, and how many once zipped."""
    content = _existing(path).read_bytes()
    return len(content), len(zlib.compress(content, 9))


def _existing(path: str | Path) -> Path:
    path = given.path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path.resolve()} is not there: export_onnx writes such files.")
    return path


def _exported(model: nn.Module, images: Tensor) -> bytes:
    """Return the network as the content of an ONNX file."""
    program = torch.onnx.export(
        model,
        (images,),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    proto = program.model_proto
    # What the exporter notes beside the network, the paths of this machine's files among it.
    graph = proto.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in (proto, graph, *graph.node, *values, *proto.functions):
        part.ClearField("metadata_props")
    return proto.SerializeToString()


def _answering(content: bytes, threads: int) -> Callable[[Tensor], Tensor]:
    runtime = needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # A thread that waits busily would take the core from whoever is timed next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of many kinds, none of which ONNX Runtime exports
        raise ValueError(
            "This is no ONNX file that can be run: export_onnx writes such files."
        ) from error

    def answers(images: Tensor) -> Tensor:
        values = given.images(images).cpu().float().numpy()
        try:
            return torch.from_numpy(session.run([OUTPUT], {INPUT: values})[0])
        except Exception as error:
            raise ValueError("This network does not read such images.") from error

    return answers
