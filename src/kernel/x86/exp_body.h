/* exp_body.h - exp, ln and the logistic function on a vector, in the words of avx*_math.h. */

/* e^x, relative error <= 2e-7.  -inf and anything below -150 give 0, above 128 ln 2 +inf, NaN
 * stays NaN.  x = n ln 2 + r with |r| <= ln 2 / 2; e^r = 1 + r + r^2 P(r), P minimax (error of the
 * formula 3e-9). */
INLINE vf v_exp(vf x)
{
    /* The operand order of max and min lets a NaN in x through. */
    x = v_min(v_set(150.0f), v_max(v_set(-150.0f), x));
    const vf n = v_round(v_mul(x, v_set(0x1.715476p+0f)));
    vf r = v_fnma(n, v_set(0.69140625f), x); /* 8 bits of ln 2: an exact product */
    r = v_fnma(n, v_set(0.0017409306019544601f), r);
    vf p = v_set(0.0013814539415761828f);
    p = v_fma(p, r, v_set(0.00836874544620514f));
    p = v_fma(p, r, v_set(0.04166838899254799f));
    p = v_fma(p, r, v_set(0.1666652113199234f));
    p = v_fma(p, r, v_set(0.4999999403953552f));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set(1.0f));
    return v_scale2(p, n);
}

/* ln x for normal x > 0, relative error <= 2e-7, next to x = 1 an absolute one.
 * x = m 2^e with m in [3/4, 3/2); ln m = 2 atanh s, s = (m-1)/(m+1), |s| <= 1/5. */
INLINE vf v_log(vf x)
{
    vf e;
    const vf one = v_set(1.0f), m = v_split2(x, &e);
    const vf s = v_div(v_sub(m, one), v_add(m, one)), t = v_mul(s, s);
    vf p = v_set(2.0f / 9.0f);
    p = v_fma(p, t, v_set(2.0f / 7.0f));
    p = v_fma(p, t, v_set(2.0f / 5.0f));
    p = v_fma(p, t, v_set(2.0f / 3.0f));
    p = v_fma(p, t, v_set(2.0f));
    return v_fma(e, v_set(0.69314718f), v_mul(p, s));
}

/* 1 / (1 + e^-x) */
INLINE vf v_sigmoid(vf x)
{
    const vf one = v_set(1.0f);
    return v_div(one, v_add(one, v_exp(v_sub(v_zero(), x))));
}
