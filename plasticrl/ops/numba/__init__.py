"""The kernels, in numba: float32 on the CPU."""
