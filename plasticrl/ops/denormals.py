"""Flushing of denormal float32 numbers to zero while a kernel runs."""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

from plasticrl.ops.simd import call_llvm, cgutils, operation, types


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
