"""The hyperbolic tangent of a vector, since numba's own makes one call per number."""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

from plasticrl.ops.simd import LANES, WIDTH, constant, emit_clip, emit_fma, operation, vector

_DOUBLES = ir.VectorType(ir.DoubleType(), WIDTH)

# tanh(x) = x P(x^2) / Q(x^2) for |x| <= 9, beyond which float32 tanh is 1. A rational least-squares fit,
# reweighted towards the largest error (4e-11), and evaluated in float64, so that the result is tanh rounded.
_TANH_LIMIT = 9.02
_TANH_P = (1.0, 0.1409922004, 0.004425962828, 4.22740845e-05, 1.111779717e-07, 3.674548532e-11)
_TANH_Q = (1.0, 0.4743255333, 0.02920114134, 0.0005008368014, 2.603886168e-06, 2.951245172e-09)


@operation
def tanh(typing: Any, a: Any) -> Any:
    """Return ``tanh(a)``, correctly rounded except near rounding ties."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x = emit_clip(builder, builder.fpext(args[0], _DOUBLES), constant(_DOUBLES, _TANH_LIMIT))
        square = builder.fmul(x, x)
        top, bottom = (_polynomial(builder, square, c) for c in (_TANH_P, _TANH_Q))
        return builder.fptrunc(builder.fdiv(builder.fmul(x, top), bottom), LANES)

    return vector(vector), generate


def _polynomial(builder: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    result = constant(_DOUBLES, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = emit_fma(builder, result, x, constant(_DOUBLES, c))
    return result
