"""Products of a matrix with a vector, and of its transpose."""

from plasticrl.ops.numba.vectors import (
    WIDTH,
    Pointer,
    Vector,
    add,
    fma,
    inlined,
    join,
    kernel,
    load,
    load_first,
    mul,
    splat,
    store,
    totals,
)


@kernel
def products(w: Pointer, x: Pointer, first: int, count: int, at: int, n: int) -> Vector:
    """Multiply rows ``first .. first + count`` of w, at most a vector's lanes, by ``x[at : at + n]``."""
    sums = _eight_products(w, x, first, min(count, 8), at, n)
    if WIDTH > 8 and count > 8:
        sums = join(sums, _eight_products(w, x, first + 8, count - 8, at, n))
    return sums


@inlined
def _eight_products(w: Pointer, x: Pointer, first: int, count: int, at: int, n: int) -> Vector:
    """Multiply at most eight rows.

    Eight sums in flight share the loads of x and hide their latency; missing rows repeat the last one.
    """
    last = first + count - 1
    r0, r1, r2, r3 = first * n, min(first + 1, last) * n, min(first + 2, last) * n, min(first + 3, last) * n
    r4, r5, r6, r7 = (
        min(first + 4, last) * n,
        min(first + 5, last) * n,
        min(first + 6, last) * n,
        min(first + 7, last) * n,
    )
    s0, s1, s2, s3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    s4, s5, s6, s7 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    whole = n - n % WIDTH
    for p in range(0, whole, WIDTH):
        v = load(x, at + p)
        s0, s1 = fma(load(w, r0 + p), v, s0), fma(load(w, r1 + p), v, s1)
        s2, s3 = fma(load(w, r2 + p), v, s2), fma(load(w, r3 + p), v, s3)
        s4, s5 = fma(load(w, r4 + p), v, s4), fma(load(w, r5 + p), v, s5)
        s6, s7 = fma(load(w, r6 + p), v, s6), fma(load(w, r7 + p), v, s7)
    if whole < n:
        p, m = whole, n - whole
        v = load_first(x, at + p, m)
        s0, s1 = fma(load_first(w, r0 + p, m), v, s0), fma(load_first(w, r1 + p, m), v, s1)
        s2, s3 = fma(load_first(w, r2 + p, m), v, s2), fma(load_first(w, r3 + p, m), v, s3)
        s4, s5 = fma(load_first(w, r4 + p, m), v, s4), fma(load_first(w, r5 + p, m), v, s5)
        s6, s7 = fma(load_first(w, r6 + p, m), v, s6), fma(load_first(w, r7 + p, m), v, s7)
    return totals(s0, s1, s2, s3, s4, s5, s6, s7)


@kernel
def add_transposed(
    w: Pointer, factors: Pointer, own: int, first: int, count: int, target: Pointer, at: int, m: int
) -> None:
    """Add rows ``first .. first + count`` of w (at most eight, of m columns), each times its factor.

    The factor of row i is ``factors[own + i]``. The sum goes to ``target[at : at + m]``; m is a multiple of
    the vector width.
    """
    last = first + count - 1
    r0, r1, r2, r3 = first * m, min(first + 1, last) * m, min(first + 2, last) * m, min(first + 3, last) * m
    r4, r5, r6, r7 = (
        min(first + 4, last) * m,
        min(first + 5, last) * m,
        min(first + 6, last) * m,
        min(first + 7, last) * m,
    )
    f0, f1 = splat(factors[own + first]), splat(factors[own + first + 1] if count > 1 else 0.0)
    f2, f3 = (
        splat(factors[own + first + 2] if count > 2 else 0.0),
        splat(factors[own + first + 3] if count > 3 else 0.0),
    )
    f4, f5 = (
        splat(factors[own + first + 4] if count > 4 else 0.0),
        splat(factors[own + first + 5] if count > 5 else 0.0),
    )
    f6, f7 = (
        splat(factors[own + first + 6] if count > 6 else 0.0),
        splat(factors[own + first + 7] if count > 7 else 0.0),
    )
    for j in range(0, m, WIDTH):
        a = fma(load(w, r0 + j), f0, load(target, at + j))
        b = mul(load(w, r1 + j), f1)
        a, b = fma(load(w, r2 + j), f2, a), fma(load(w, r3 + j), f3, b)
        a, b = fma(load(w, r4 + j), f4, a), fma(load(w, r5 + j), f5, b)
        a, b = fma(load(w, r6 + j), f6, a), fma(load(w, r7 + j), f7, b)
        store(target, at + j, add(a, b))
