"""torch under random rounding: which results do the last bits decide?

Vignes, "A stochastic arithmetic for reliable scientific computation", Math. Comput. Simul. 35,
1993: every operation whose result is not exact is rounded up or down at random. An outcome that
changes is not decided by the function but by the rounding of whoever computes it.

An operation rounds a number alike wherever it gives it, and what is exact stays: real ties remain
ties.
"""

import zlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

_EXACT = {"detach", "clone", "_to_copy", "copy_", "fill_", "zero_", "scatter_add_backward"}


class RandomRounding(TorchDispatchMode):
    """Inside, float32 results that are not exact move by one unit in the last place, or do not."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def __enter__(self):
        torch.set_flush_denormal(self.seed % 2 == 1)  # XLA has no numbers below 1e-38
        return super().__enter__()

    def __exit__(self, *error):
        torch.set_flush_denormal(False)
        return super().__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        doubled = None
        if func.overloadpacket.__name__ not in _EXACT and not func.is_view:
            doubled = tree_map(_as_double, (args, kwargs))
        result = func(*args, **kwargs)
        if doubled is not None and isinstance(result, torch.Tensor) and result.dtype == torch.float:
            try:
                exact = func(*doubled[0], **doubled[1])
            except RuntimeError:  # it mixes dtypes
                return result
            if exact.dtype == torch.double and exact.shape == result.shape:
                moved = torch.nextafter(result, self._towards(result, str(func)))
                inexact = (exact != result.double()) & result.isfinite()
                result.copy_(torch.where(inexact, moved, result))
        return result

    def _towards(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Up, down or itself, by a hash of the number, of the operation and of the seed."""
        salt = zlib.crc32(f"{name} {self.seed}".encode())
        bits = x.contiguous().view(torch.int32).long() + salt
        bits = (bits ^ (bits >> 13)) % 2**31 * 1274126177 % 2**31
        choice = (bits ^ (bits >> 16)) % 3
        return torch.where(choice == 0, x, torch.where(choice == 1, torch.inf, -torch.inf))


def _as_double(x):
    """A copy of a float tensor in float64; the rest as it is."""
    return x.double() if isinstance(x, torch.Tensor) and x.dtype == torch.float else x
