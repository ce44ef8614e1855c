"""A device that computes on the CPU and behaves like an accelerator: what would break or wait on a GPU, found without one.

    tensor = torch.ones(3, device=DEVICE)     a wrapper around a CPU tensor, whose device is "pretend:0"
    with counting() as counts: ...            what a GPU would have waited for, or copied, inside

An operation that mixes its tensors with the CPU's raises `MixedDevices`, 0-dimensional ones and indices aside, as on
CUDA. Counted are synchronisations (the host waits for the device: `.item()`, `.tolist()`, copies to the host, shapes that
depend on values, such as those of boolean indexing) and copies of pageable memory to the device. It is built from torch's
facility for backends in Python, and works in every thread: autograd's device thread, and so gradient checkpointing, too.

    Alike(2)                                  an `Accelerator` in a world of processes that are all like this one

Its collectives take tensors of the device alone, as NCCL does, and keep what they were handed. What it cannot show: the
order of kernels in a stream, memory, and speed.
"""

import atexit
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend


class _Module:
    """What torch asks a device's module, `torch.pretend`."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def manual_seed_all(self, seed: int) -> None: ...

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.zeros(1, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None: ...

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def device(self, device: Any) -> Any:
        return nullcontext()


_setup_privateuseone_for_python_backend("pretend", backend_module=_Module())
# Autograd's thread for the device drops Python objects when it has done: not after Python has gone.
os.environ["TORCH_AUTOGRAD_SHUTDOWN_WAIT_LIMIT"] = "0"
atexit.register(time.sleep, 0.1)
DEVICE = torch.device("pretend", 0)
CPU = torch.device("cpu")
aten = torch.ops.aten

# The size of what they return is known on the device alone. `index` with a mask of bools comes on top.
SHAPED_BY_VALUES = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
    aten.bincount.default,
}
TO_HOST = {aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default}
COPIES = {aten.copy_.default, aten._to_copy.default}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


class MixedDevices(RuntimeError):
    """Tensors of the device and of the CPU met in one operation or, of the CPU, in a collective."""


@dataclass
class Counts:
    """What was counted, by operation."""

    synchronisations: Counter[str] = field(default_factory=Counter)
    copies_to_device: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)  # of synchronisations, where `where` was asked for

    @property
    def waits(self) -> int:
        """Synchronisations."""
        return self.synchronisations.total()


_counting: list[tuple[Counts, Callable[[], str] | None]] = []
_lock = threading.Lock()


@contextmanager
def counting(where: Callable[[], str] | None = None) -> Iterator[Counts]:
    """Counts until the block ends, in all threads; `where` says from which place a synchronisation comes."""
    counts = Counts()
    _counting.append((counts, where))
    try:
        yield counts
    finally:
        _counting.remove((counts, where))


def _count(kind: str, name: str) -> None:
    with _lock:
        for counts, where in _counting:
            getattr(counts, kind)[name] += 1
            if where and kind == "synchronisations":
                counts.places[f"{name} {where()}"] += 1


class Pretend(Tensor):
    """A tensor of the device; `raw` is the CPU's that it stands for."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> "Pretend":
        made: Pretend = Tensor._make_wrapper_subclass(
            cls, raw.size(), strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype, device=DEVICE
        )
        made.raw = raw
        return made

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor of the device to numpy: copy it to the host first")

    __array__ = numpy

    def __repr__(self, **_: Any) -> str:
        return f"Pretend({list(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        leaves, spec = tree_flatten((args, kwargs))
        _check(func, leaves)
        _count("operations", str(func))
        _count_waits(func, args, kwargs)
        held = {id(leaf.raw): leaf for leaf in leaves if isinstance(leaf, Pretend)}
        stays = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
        raw_args, raw_kwargs = tree_unflatten([_unwrapped(leaf) for leaf in leaves], spec)
        out = func(*raw_args, **raw_kwargs)
        if stays or (func is aten.copy_.default and not isinstance(args[0], Pretend)):
            return out

        def wrapped(one: Any) -> Any:
            if not isinstance(one, Tensor):
                return one
            found = held[id(one)] if id(one) in held else Pretend(one)
            if found.shape != one.shape:
                raise NotImplementedError(f"{func} changes the shape of a tensor that it is given")
            return found

        return tree_map(wrapped, out)


def _unwrapped(leaf: Any) -> Any:
    if isinstance(leaf, Pretend):
        return leaf.raw
    return CPU if isinstance(leaf, torch.device) and leaf.type == DEVICE.type else leaf


def _check(func: Any, leaves: list[Any]) -> None:
    plain = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, Pretend) and leaf.ndim]
    if plain and func not in COPIES | INDEXING:
        shapes = [list(leaf.shape) for leaf in leaves if isinstance(leaf, Tensor)]
        raise MixedDevices(f"{func} was given tensors of {DEVICE} and of the CPU, of shapes {shapes}")


def _count_waits(func: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
    name = func.overloadpacket.__name__
    if func in TO_HOST or (func in SHAPED_BY_VALUES and not kwargs.get("output_size")):
        _count("synchronisations", name)
    elif func is aten._to_copy.default and kwargs.get("device") is not None:
        if torch.device(kwargs["device"]).type == "cpu":
            _count("synchronisations", "copy to host")
    elif func is aten.copy_.default:
        into, out_of = (isinstance(one, Pretend) for one in args[:2])
        if out_of and not into:
            _count("synchronisations", "copy to host")
        if into and not out_of:
            _count("copies_to_device", "copy_")
    elif func in INDEXING:
        _count_indexing(func, name, args)


def _count_indexing(func: Any, name: str, args: Any) -> None:
    given = [index for index in args[1] if index is not None]
    masks = any(index.dtype in (torch.bool, torch.uint8) for index in given)
    # One number into one mask becomes `masked_fill`, which waits for nothing.
    filled = func is not aten.index.Tensor and len(given) == 1 and args[2].numel() == 1
    if masks and not filled:
        _count("synchronisations", f"{name} by a mask")
    for index in given:
        if not isinstance(index, Pretend) and index.ndim:
            _count("copies_to_device", f"{name} by indices of the CPU")


def _factory(size: Any, *_: Any, dtype: torch.dtype | None = None, **__: Any) -> Tensor:
    return Pretend(torch.empty(tuple(size), dtype=dtype))


def _strided_factory(size: Any, stride: Any, *, dtype: torch.dtype | None = None, **__: Any) -> Tensor:
    return Pretend(torch.empty_strided(tuple(size), tuple(stride), dtype=dtype))


def _factory_of(operation: Any) -> Callable[..., Tensor]:
    """A factory whose own way grows an empty tensor, which a wrapper cannot follow."""

    def made(*args: Any, device: Any = None, pin_memory: bool | None = None, **kwargs: Any) -> Tensor:
        return Pretend(operation(*args, device=CPU, **kwargs))

    return made


def _copy_from(out_of: Tensor, into: Tensor, non_blocking: bool = False) -> Tensor:
    """What `torch.tensor(..., device=DEVICE)` ends in, which looks past `__torch_dispatch__`."""
    _count("copies_to_device", "torch.tensor")
    into.raw.copy_(getattr(out_of, "raw", out_of))
    return into


def _scalar(value: Tensor) -> Any:
    """What `torch.tensor([...])` of tensors of the device ends in."""
    _count("synchronisations", "_local_scalar_dense")
    return value.raw.item()


# Without a tensor among its arguments, an operation on the device comes here: all factories end in these.
_library = torch.library.Library("aten", "IMPL")
_library.impl("empty.memory_format", _factory, "PrivateUse1")
_library.impl("empty_strided", _strided_factory, "PrivateUse1")
_library.impl("_copy_from", _copy_from, "PrivateUse1")
for _name in ("arange", "arange.start", "arange.start_step", "eye", "eye.m"):
    _packet, _, _overload = _name.partition(".")
    _library.impl(_name, _factory_of(getattr(getattr(aten, _packet), _overload or "default")), "PrivateUse1")
_library.impl("_local_scalar_dense", _scalar, "PrivateUse1")


def on_device(module: Any) -> Any:
    """The module, its parameters moved as they are to CUDA: the same objects, those that are tied still so."""
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return module.to(DEVICE)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


class Alike(Accelerator):
    """A world of `size` processes that are all like this one, the first; `handed` is what its collectives were given."""

    device = DEVICE
    num_processes = 0
    process_index = 0
    is_main_process = True
    mixed_precision = "no"

    def __init__(self, size: int) -> None:
        self.num_processes, self.handed = size, []

    def _take(self, name: str, value: Tensor) -> None:
        if not isinstance(value, Pretend) or not value.is_contiguous():
            raise MixedDevices(
                f"{name} of {value.device}, and not of {DEVICE}, or of a view of what is not in one piece"
            )
        self.handed.append((name, tuple(value.shape), value.dtype))

    def gather(self, tensor: Tensor) -> Tensor:
        self._take("gather", tensor)
        return torch.cat([tensor] * self.num_processes)

    def reduce(self, tensor: Tensor, reduction: str = "sum") -> Tensor:
        self._take("reduce", tensor)
        return tensor * self.num_processes

    def wait_for_everyone(self) -> None:
        self.handed.append(("wait", (), None))

    def no_sync(self, model: Any) -> Any:
        return nullcontext()

    def prepare(self, model: Any) -> Any:
        return on_device(model)
