/* The name of the build. setup.py compiles every file of kernels/ once per instruction set and
 * element type
 * (-DPYDL_ISA=avx512 -DPYDL_TYPE=f32); KERNEL(relu) is then pydl_avx512_f32_relu and `real` is
 * float. */
#ifndef PYDL_ISA_H
#define PYDL_ISA_H

#define PYDL_CAT_(a, b) a##b
#define PYDL_CAT(a, b) PYDL_CAT_(a, b)
#define PYDL_NAME_(isa, type, f) pydl_##isa##_##type##_##f
#define PYDL_NAME(isa, type, f) PYDL_NAME_(isa, type, f)
#define KERNEL(f) PYDL_NAME(PYDL_ISA, PYDL_TYPE, f)

#define PYDL_REAL_f32 float
#define PYDL_REAL_f64 double
#define real PYDL_CAT(PYDL_REAL_, PYDL_TYPE)

#define PYDL_INT_f32 int32_t
#define PYDL_INT_f64 int64_t
#define real_int PYDL_CAT(PYDL_INT_, PYDL_TYPE) /* the integer as wide as a real */

#if defined(__AVX512F__)
#define PYDL_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define PYDL_VECTOR_BYTES 32
#else
#define PYDL_VECTOR_BYTES 16
#endif

#endif
