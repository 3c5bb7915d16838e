"""A second device without one: tensors that say they lie elsewhere ("meta"), hold their values here, mix with no other.

    with SecondDevice() as device:
        move(model)(There(picture))
    device.waits        # what a GPU would have to be waited for, by kind

What mixes tensors of both devices, or hands one of the second to numpy, raises as it would on a GPU. Kernels, precision
and memory stay the CPU's: those are for `tools/gpu_check.py` on a GPU.
"""

from collections import Counter

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
DEVICE = torch.device("meta")
READS = {aten._local_scalar_dense, aten.is_nonzero, aten.item}  # a number for the host
# Their results' sizes depend on values, which the host must wait for.
SIZED = {aten.nonzero, aten.masked_select, aten.bincount, aten._unique2, aten.repeat_interleave}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
COPIES = {aten._to_copy: 0, aten.copy_: 1, aten.copy: 1}  # where the source stands


class There(Tensor):
    """A tensor on the second device; `held` is what it holds."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> "There":
        dense = held.layout == torch.strided  # of a sparse one the shape is all that is shown
        layout = dict(strides=held.stride(), storage_offset=held.storage_offset()) if dense else {}
        tensor = Tensor._make_wrapper_subclass(cls, held.shape, device=DEVICE, dtype=held.dtype, **layout)
        tensor.held = held
        return tensor

    def __repr__(self) -> str:
        return f"There({self.held})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise RuntimeError(f"{function} outside of SecondDevice")


class Numbers(TorchFunctionMode):
    """Between Python's numbers and the second device lies a copy."""

    def __init__(self, device: "SecondDevice") -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.tensor and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            return self.copied(torch.tensor(*args, **{**kwargs, "device": "cpu"}))
        if function is Tensor.tolist and isinstance(args[0], There):
            return args[0].cpu().tolist()
        if function is Tensor.new_tensor and isinstance(args[0], There):
            kwargs = {"dtype": args[0].dtype, **kwargs}
            return self.copied(torch.tensor(*args[1:], **kwargs))
        if function is Tensor.__getitem__ and isinstance(args[0], There) and isinstance(args[1], list):
            return args[0][self.copied(torch.tensor(args[1]))]
        return function(*args, **kwargs)

    def copied(self, tensor: Tensor) -> Tensor:
        self.device.waits["from the host"] += 1
        return There(tensor)


class SecondDevice(TorchDispatchMode):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.numbers = Numbers(self)

    def __enter__(self) -> "SecondDevice":
        self.numbers.__enter__()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.numbers.__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs, kind = dict(kwargs or {}), function.overloadpacket
        if kind is aten._fused_sdp_choice:
            return 0  # the plain formula
        tensors = [*_tensors(args), *_tensors(kwargs)]
        from_there = any(isinstance(tensor, There) for tensor in tensors)
        stays = isinstance(args[0], There) if kind in COPIES else from_there
        if kwargs.get("device") is not None:
            stays, kwargs["device"] = torch.device(kwargs["device"]) == DEVICE, torch.device("cpu")
        if kind in COPIES:
            self.count_copy(isinstance(args[COPIES[kind]], There), stays, kwargs)
        else:
            self.refuse_mixtures(function, args, tensors)
        if from_there and kind in READS:
            self.waits["read"] += 1
        if from_there and (kind in SIZED or (kind in INDEXING and _by_mask(args[1]))):
            self.waits["sized by values"] += 1
        out = function(*_mapped(_held, args), **_mapped(_held, kwargs))
        if not stays or kind in READS:
            return out
        own = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, There)}  # of in-place functions
        return _mapped(lambda part: own[id(part)] if id(part) in own else _there(part), out)

    def count_copy(self, from_there: bool, to_there: bool, kwargs: dict) -> None:
        """A copy between the devices is waited for unless it was asked not to."""
        if from_there != to_there and not kwargs.get("non_blocking"):
            self.waits["to the host" if from_there else "from the host"] += 1

    def refuse_mixtures(self, function, args: tuple, tensors: list[Tensor]) -> None:
        """As CUDA does: numbers (tensors without dimensions) may come from the host, and so may indices."""
        if any(tensor.device == DEVICE and not isinstance(tensor, There) for tensor in tensors):
            raise RuntimeError(f"{function}: a tensor was made on the second device in a way that is not simulated")
        places = {isinstance(tensor, There) for tensor in tensors if tensor.dim()}
        if len(places) < 2:
            return
        if function.overloadpacket not in INDEXING or not isinstance(args[0], There):
            raise RuntimeError(f"{function}: tensors on two devices")
        self.waits["from the host"] += 1


def _by_mask(indices: object) -> bool:
    return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices)


def _there(part: object) -> object:
    return There(part) if isinstance(part, Tensor) and not isinstance(part, There) else part


def move(model: nn.Module) -> nn.Module:
    """Puts a model on the second device; within `SecondDevice`."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(There(parameter.data), requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = There(buffer)
        if hasattr(module, "_device"):  # mmengine's preprocessor remembers where it is
            module._device = DEVICE
    return model


def _tensors(node):
    """Those of an operator's arguments, of which some are lists. Torch's own trees take longer than the operators."""
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, list | tuple | dict):
        for part in node.values() if isinstance(node, dict) else node:
            yield from _tensors(part)


def _mapped(change, node):
    if isinstance(node, list | tuple):
        return type(node)([_mapped(change, part) for part in node])
    if isinstance(node, dict):
        return {key: _mapped(change, part) for key, part in node.items()}
    return change(node)


def _held(part):
    return part.held if isinstance(part, There) else part
