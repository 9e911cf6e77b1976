/* int_words.h - the words on floats of int_body.h, by those of avx*_math.h. */
#ifndef LOCI_KERNEL_INT_WORDS_H
#define LOCI_KERNEL_INT_WORDS_H

#define f_mul  v_mul
#define f_fma  v_fma
#define f_set  v_set
#define f_zero v_zero
#define f_load v_load

/* n of VL numbers to y. */
INLINE void f_put(float *y, int n, vf v, int add)
{
    if (n >= VL) {
        v_store(y, add ? v_add(v_load(y), v) : v);
    } else {
        const vm some = v_lanes(n);
        v_store_some(y, some, add ? v_add(v_load_some(y, some), v) : v);
    }
}

#endif
