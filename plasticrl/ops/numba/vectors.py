"""The vector type that the kernels are written in, its tanh, and the treatment of denormals."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias, cast

from llvmlite import ir  # type: ignore[import-untyped]
from llvmlite.binding import get_host_cpu_features  # type: ignore[import-untyped]
from numba.extending import intrinsic, models, register_model

from plasticrl.ops.numba.compilation import inlined as inlined
from plasticrl.ops.numba.compilation import kernel as kernel

cgutils: Any = import_module("numba.core.cgutils")  # as Any: numba's internals are not annotated
types: Any = import_module("numba.core.types")

# Vectors as wide as the processor's; their number of lanes changes the order of sums, and so the last bits.
WIDTH = 16 if get_host_cpu_features().get("avx512f") else 8
LANES = ir.VectorType(ir.FloatType(), WIDTH)
_INTS = ir.VectorType(ir.IntType(32), WIDTH)
_DOUBLES = ir.VectorType(ir.DoubleType(), WIDTH)
FLOAT_ALIGN = 4

Vector: TypeAlias = Any  # WIDTH float32
Pointer: TypeAlias = Any  # a pointer to numbers, or an array
Range: TypeAlias = tuple[int, int]


def operation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Define an operation for kernels by the function that emits its LLVM code."""
    return cast(Callable[..., Any], intrinsic(function))


class _Float32Vector(types.Type):  # type: ignore[misc]
    """Several of the processor's vectors side by side, in as many registers."""

    def __init__(self, count: int) -> None:
        super().__init__(name=f"float32_vector_{count}")
        self.lanes = ir.VectorType(ir.FloatType(), count * WIDTH)


vector = _Float32Vector(1)


@register_model(_Float32Vector)
class _Float32VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, kind.lanes)  # type: ignore[no-untyped-call]


def _zeros(count: int) -> Callable[[], Vector]:
    """Return an operation that returns ``count`` vectors side by side, of zeros."""
    kind = _Float32Vector(count)

    @operation
    def zeros(typing: Any) -> Any:
        return kind(), lambda context, builder, sig, args: ir.Constant(kind.lanes, None)

    return cast(Callable[[], Vector], zeros)


zeros_1, zeros_2, zeros_4 = _zeros(1), _zeros(2), _zeros(4)


def constant(kind: Any, value: float) -> Any:
    """Return ``value`` in every lane, as a constant of this vector type."""
    return ir.Constant(kind, [value] * WIDTH)


def call_llvm(builder: Any, name: str, result: Any, *args: Any) -> Any:
    """Call an intrinsic function of LLVM."""
    kind = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def emit_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit ``a * b + c``, fused if the processor supports it."""
    suffix = "f64" if a.type == _DOUBLES else "f32"
    return call_llvm(builder, f"llvm.fmuladd.v{a.type.count}{suffix}", a.type, a, b, c)


def address_of(context: Any, builder: Any, sig: Any, args: Any, lanes: Any = LANES) -> Any:
    """Return a pointer to vectors of these lanes, at element ``args[1]`` of ``args[0]``."""
    data = args[0]
    if isinstance(sig.args[0], types.Array):
        data = cgutils.create_struct_proxy(sig.args[0])(context, builder, args[0]).data
    index = context.cast(builder, args[1], sig.args[1], types.intp)
    return builder.bitcast(builder.gep(data, [index]), lanes.as_pointer())


def _first(context: Any, builder: Any, kind: Any, count: Any) -> Any:
    """Return a mask of the first ``count`` lanes."""
    narrow = context.cast(builder, count, kind, types.int32)
    lanes = ir.Constant(_INTS, list(range(WIDTH)))
    return builder.icmp_signed("<", lanes, _broadcast(builder, narrow, _INTS))


def _broadcast(builder: Any, scalar: Any, kind: Any) -> Any:
    undefined = ir.Constant(kind, ir.Undefined)
    single = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    first = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(single, undefined, first)


def _pointer(kind: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

    return types.CPointer(kind)(types.intp), generate


@operation
def floats(typing: Any, address: Any) -> Any:
    """Return a pointer to the float32 at an address, for indexing, loading and storing."""
    return _pointer(types.float32)


@operation
def doubles(typing: Any, address: Any) -> Any:
    """Return a pointer to the float64 at an address."""
    return _pointer(types.float64)


@operation
def flags(typing: Any, address: Any) -> Any:
    """Return a pointer to the bool at an address, read as integers."""
    return _pointer(types.uint8)


@operation
def address(typing: Any, array: Any, i: Any) -> Any:
    """Return the address of ``array[i]``, of float32."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.ptrtoint(address_of(context, builder, sig, args), ir.IntType(64))

    return types.intp(array, i), generate


@operation
def load(typing: Any, array: Any, i: Any) -> Any:
    """Load the vector ``array[i : i + WIDTH]`` of a contiguous array or a pointer, without bounds checks."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(address_of(context, builder, sig, args), align=FLOAT_ALIGN)

    return vector(array, i), generate


@operation
def load_like(typing: Any, like: Any, array: Any, i: Any) -> Any:
    """Load as many vectors side by side as ``like`` has, from ``array[i]`` on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = address_of(context, builder, sig.return_type(*sig.args[1:]), args[1:], like.lanes)
        return builder.load(address, align=FLOAT_ALIGN)

    return like(like, array, i), generate


@operation
def splat_like(typing: Any, like: Any, x: Any) -> Any:
    """Return ``x`` in every lane of as many vectors as ``like`` has."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _broadcast(builder, context.cast(builder, args[1], sig.args[1], types.float32), like.lanes)

    return like(like, x), generate


@operation
def store(typing: Any, array: Any, i: Any, value: Any) -> Any:
    """Write ``value``, one vector or several, from ``array[i]`` on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = address_of(context, builder, sig, args, value.lanes)
        builder.store(args[2], address, align=FLOAT_ALIGN)
        return context.get_dummy_value()

    return types.void(array, i, value), generate


@operation
def load_first(typing: Any, array: Any, i: Any, count: Any) -> Any:
    """Load ``array[i : i + count]`` followed by zeros; memory beyond ``count`` is not touched."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = _first(context, builder, sig.args[2], args[2])
        align = ir.Constant(ir.IntType(32), FLOAT_ALIGN)
        address = address_of(context, builder, sig, args)
        return call_llvm(
            builder, f"llvm.masked.load.v{WIDTH}f32.p0", LANES, address, align, mask, constant(LANES, 0.0)
        )

    return vector(array, i, count), generate


@operation
def store_first(typing: Any, array: Any, i: Any, value: Any, count: Any) -> Any:
    """Write the first ``count`` lanes of ``value`` to ``array[i : i + count]``."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = _first(context, builder, sig.args[3], args[3])
        align = ir.Constant(ir.IntType(32), FLOAT_ALIGN)
        address = address_of(context, builder, sig, args)
        call_llvm(builder, f"llvm.masked.store.v{WIDTH}f32.p0", ir.VoidType(), args[2], address, align, mask)
        return context.get_dummy_value()

    return types.void(array, i, value, count), generate


@operation
def splat(typing: Any, x: Any) -> Any:
    """Return ``x`` in every lane."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _broadcast(builder, context.cast(builder, args[0], sig.args[0], types.float32), LANES)

    return vector(x), generate


@operation
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``, of one vector or several side by side."""
    return a(a, b, c), lambda context, builder, sig, args: emit_fma(builder, *args)


@operation
def add(typing: Any, a: Any, b: Any) -> Any:
    """Return ``a + b``."""
    return a(a, b), lambda context, builder, sig, args: builder.fadd(*args)


@operation
def sub(typing: Any, a: Any, b: Any) -> Any:
    """Return ``a - b``."""
    return a(a, b), lambda context, builder, sig, args: builder.fsub(*args)


@operation
def mul(typing: Any, a: Any, b: Any) -> Any:
    """Return ``a * b``."""
    return a(a, b), lambda context, builder, sig, args: builder.fmul(*args)


@operation
def clip(typing: Any, a: Any, limit: Any) -> Any:
    """Clip ``a`` to ``-limit .. limit``; NaN stays NaN."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_clip(builder, *args)

    return a(a, limit), generate


def emit_clip(builder: Any, a: Any, limit: Any) -> Any:
    """Emit the clipping of ``a`` to ``-limit .. limit``; comparisons with NaN are false, so NaN stays."""
    negative = builder.fneg(limit)
    above = builder.fcmp_ordered(">", a, limit)
    below = builder.fcmp_ordered("<", a, negative)
    return builder.select(above, limit, builder.select(below, negative, a))


@operation
def keep_inside(typing: Any, value: Any, a: Any, limit: Any) -> Any:
    """Return ``value`` if ``-limit <= a <= limit``, else 0; the gradient of :func:`clip` at ``a``."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value, a, limit = args
        inside = builder.and_(
            builder.fcmp_ordered("<=", a, limit), builder.fcmp_ordered(">=", a, builder.fneg(limit))
        )
        return builder.select(inside, value, constant(LANES, 0.0))

    return vector(vector, vector, vector), generate


@operation
def total(typing: Any, a: Any) -> Any:
    """Return the sum of the lanes."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), LANES])
        fn = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{WIDTH}f32")
        return builder.call(fn, [ir.Constant(ir.FloatType(), -0.0), args[0]], fastmath=("reassoc",))

    return types.float32(vector), generate


# tanh(x) = x P(x^2) / Q(x^2) for |x| <= 9, beyond which float32 tanh is 1. A rational least-squares fit,
# reweighted towards the largest error (4e-11), and evaluated in float64, so that the result is tanh rounded.
_TANH_LIMIT = 9.02
_TANH_P = (1.0, 0.1409922004, 0.004425962828, 4.22740845e-05, 1.111779717e-07, 3.674548532e-11)
_TANH_Q = (1.0, 0.4743255333, 0.02920114134, 0.0005008368014, 2.603886168e-06, 2.951245172e-09)


@operation
def tanh(typing: Any, a: Any) -> Any:
    """Return ``tanh(a)``, correctly rounded except near rounding ties."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fptrunc(_emit_tanh(builder, builder.fpext(args[0], _DOUBLES)), LANES)

    return vector(vector), generate


@operation
def sigmoid(typing: Any, a: Any) -> Any:
    """Return ``1 / (1 + exp(-a)) = (1 + tanh(a / 2)) / 2``; the absolute error is that of rounding."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        half = constant(_DOUBLES, 0.5)
        halved = builder.fmul(builder.fpext(args[0], _DOUBLES), half)
        return builder.fptrunc(emit_fma(builder, half, _emit_tanh(builder, halved), half), LANES)

    return vector(vector), generate


def _emit_tanh(builder: Any, a: Any) -> Any:
    x = emit_clip(builder, a, constant(_DOUBLES, _TANH_LIMIT))
    square = builder.fmul(x, x)
    top, bottom = (_polynomial(builder, square, c) for c in (_TANH_P, _TANH_Q))
    return builder.fdiv(builder.fmul(x, top), bottom)


def _polynomial(builder: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    result = constant(_DOUBLES, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = emit_fma(builder, result, x, constant(_DOUBLES, c))
    return result


@operation
def flush_denormals(typing: Any) -> Any:
    """Make this thread treat denormals as zero; return the argument for :func:`restore_denormals`.

    Traces and adjoints decay into the denormal range, where x86 is many times slower. Other processors
    handle denormals at full speed and keep their setting.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = cgutils.alloca_once(builder, ir.IntType(32))
        if not _is_x86(builder):
            return ir.Constant(ir.IntType(32), 0)
        _control(builder, "stmxcsr", word)
        before = builder.load(word)
        flush_to_zero_and_denormals_are_zero = ir.Constant(ir.IntType(32), 0x8040)
        builder.store(builder.or_(before, flush_to_zero_and_denormals_are_zero), word)
        _control(builder, "ldmxcsr", word)
        return before

    return types.uint32(), generate


@operation
def restore_denormals(typing: Any, before: Any) -> Any:
    """Undo :func:`flush_denormals`."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if _is_x86(builder):
            word = cgutils.alloca_once(builder, ir.IntType(32))
            builder.store(args[0], word)
            _control(builder, "ldmxcsr", word)
        return context.get_dummy_value()

    return types.void(types.uint32), generate


def _is_x86(builder: Any) -> bool:
    return str(builder.module.triple).split("-", 1)[0] in ("x86_64", "i686", "i386")


def _control(builder: Any, instruction: str, word: Any) -> None:
    pointer = builder.bitcast(word, ir.IntType(8).as_pointer())
    call_llvm(builder, f"llvm.x86.sse.{instruction}", ir.VoidType(), pointer)
