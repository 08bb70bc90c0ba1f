"""PyTorch's side: a module, eagerly or compiled, in either layout."""

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.measuring.workers import peak_memory
from benchmarks.peers.contest import Case
from benchmarks.peers.matrices import best_rate


class TorchPeer:
    """`function(module, *inputs)` without gradients.

    Args:
        function: of a module and its inputs, channels first; gives one tensor, or several.
        device: cpu or cuda.
        channels_last: whether tensors with four axes are laid out so.
        compile_mode: of `torch.compile`; None runs eagerly.
    """

    def __init__(
        self,
        case: Case,
        function: Callable[..., Any],
        module: torch.nn.Module,
        inputs: tuple[np.ndarray, ...],
        *,
        device: str,
        channels_last: bool = False,
        compile_mode: str | None = None,
    ) -> None:
        set_up(case, device)
        self.case, self.device, self.compile_mode = case, device, compile_mode
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.dtype = getattr(torch, case.dtype)
        self.function, self.module = function, module.eval().requires_grad_(False).to(device)
        self.inputs = [tensor(array, device) for array in inputs]

    def exact(self) -> dict[str, np.ndarray]:
        """What the module gives in float32, before it is prepared; TF32 is not used."""
        with torch.inference_mode(), full_precision():
            return arrays(self.function(self.module, *self.inputs))

    def prepare(self) -> dict[str, Any]:
        """Converts, lays out, compiles, and runs once."""
        self.module = self.module.to(self.dtype).to(memory_format=self.layout)
        self.inputs = [self._laid_out(one) for one in self.inputs]
        call = self.function
        if self.compile_mode:
            call = torch.compile(self.function, mode=compile_mode(self.compile_mode, self.device))
        self.call = call
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        begin = time.perf_counter()
        self.run(1)
        return {"first_call_seconds": time.perf_counter() - begin}

    def _laid_out(self, one: torch.Tensor) -> torch.Tensor:
        """Pictures in whole numbers stay so."""
        one = one.to(self.dtype) if one.is_floating_point() else one
        return one.contiguous(memory_format=self.layout) if one.ndim == 4 else one

    def run(self, repeats: int) -> None:
        with torch.inference_mode():
            for _ in range(repeats):
                result = self.call(self.module, *self.inputs)
        del result
        finish(self.device)

    def result(self) -> dict[str, np.ndarray]:
        """What a call gives."""
        with torch.inference_mode():
            return arrays(self.call(self.module, *self.inputs))

    def memory(self) -> dict[str, int]:
        return memory(self.device)

    def release(self) -> None:
        release(self.device)

    def peak(self) -> float:
        return matrix_rate(self.case, self.device)


def load_autoencoder(case: Case) -> torch.nn.Module:
    """diffusers' AsymmetricAutoencoderKL with the weights of the case, float32."""
    import diffusers

    return diffusers.AsymmetricAutoencoderKL.from_pretrained(case.folder / case.model, low_cpu_mem_usage=False)


def set_up(case: Case, device: str) -> None:
    """Threads, and which products may be rounded. Raises RuntimeError if PyTorch sees no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("PyTorch sees no GPU")
    torch.set_num_threads(os.cpu_count() or 1)
    torch.backends.cudnn.benchmark = True
    set_tf32(not case.exact)


def compile_mode(given: str, device: str) -> str | None:
    """What `torch.compile` takes; `automatic` is max-autotune on a GPU."""
    chosen = {"cpu": "default", "cuda": "max-autotune"}[device] if given == "automatic" else given
    return None if chosen == "default" else chosen


def set_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


@contextlib.contextmanager
def full_precision():
    """Meanwhile float32 products keep all bits."""
    before = torch.backends.cudnn.allow_tf32
    set_tf32(False)
    try:
        yield
    finally:
        set_tf32(before)


def tensor(array: np.ndarray, device: str) -> torch.Tensor:
    """Channels first, if there are four axes."""
    turned = array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
    return torch.from_numpy(np.ascontiguousarray(turned)).to(device)


def arrays(found: Any) -> dict[str, np.ndarray]:
    """As float32, and channels last if there are four axes; one without names is the `result`."""
    named = found if isinstance(found, dict) else {"result": found}
    return {name: array(one) for name, one in named.items()}


def array(one: torch.Tensor) -> np.ndarray:
    values = one.detach().float().cpu().numpy()
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1)) if values.ndim == 4 else values


def finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def memory(device: str) -> dict[str, int]:
    """Peaks so far."""
    peaks = {"peak_main_memory": peak_memory()}
    if device == "cuda":
        peaks["peak_device_memory"] = torch.cuda.max_memory_allocated()
    return peaks


def release(device: str) -> None:
    """Gives what is cached back to the GPU, so that the next peer finds room."""
    if device == "cuda":
        torch.cuda.empty_cache()


def matrix_rate(case: Case, device: str) -> float:
    """FLOP/s in a large matrix product of the type in use."""

    def make(side: int) -> Callable[[int], None]:
        a = torch.randn(side, side, device=device).to(getattr(torch, case.dtype))
        b = a.T.contiguous()

        def run(repeats: int) -> None:
            for _ in range(repeats):
                a @ b
            finish(device)

        return run

    return best_rate(make, on_cpu=device == "cpu")
