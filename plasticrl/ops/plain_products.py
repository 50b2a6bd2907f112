"""Products of matrix rows and a vector: the main part of a step without a trace."""

from plasticrl.ops.simd import WIDTH, Pointer, Vector, fma, kernel, load, load_first, splat, totals


@kernel
def products(w: Pointer, x: Pointer, first: int, count: int, at: int, n: int) -> Vector:
    """Multiply rows ``first .. first + count`` of w, at most eight, by ``x[at : at + n]``.

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
