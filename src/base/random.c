/* random.c - one stream of random numbers per seed, the same on every machine.
 *
 * xoshiro256** (Blackman, Vigna) seeded by splitmix64 (Steele, Lea, Flood), both in the public
 * domain.  Integers and loci_rng_unit are exact everywhere; loci_rng_normal goes through log and
 * cos, whose last bit is the C library's. */
#include "base/base.h"
#include <math.h>

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void loci_rng_seed(loci_rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) r->s[i] = splitmix(&seed);
}

uint64_t loci_rng_u64(loci_rng *r)
{
    uint64_t *s = r->s;
    const uint64_t out = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

/* Lemire's method: multiply and reject the few values that would be counted once too often. */
uint32_t loci_rng_below(loci_rng *r, uint32_t n)
{
    uint64_t m = (loci_rng_u64(r) >> 32) * (uint64_t)n;
    if ((uint32_t)m < n) {
        const uint32_t floor = (uint32_t)(-n) % n;
        while ((uint32_t)m < floor) m = (loci_rng_u64(r) >> 32) * (uint64_t)n;
    }
    return (uint32_t)(m >> 32);
}

double loci_rng_unit(loci_rng *r)
{
    return (double)(loci_rng_u64(r) >> 11) * 0x1p-53;
}

/* Box-Muller; the second value is thrown away so that every call costs the same two draws. */
double loci_rng_normal(loci_rng *r)
{
    const double u = 1.0 - loci_rng_unit(r), v = loci_rng_unit(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

/* Both numbers pass through two rounds: neighbours of either give unrelated seeds. */
uint64_t loci_rng_mix(uint64_t a, uint64_t b)
{
    uint64_t x = a ^ rotl(b, 32) ^ 0x5851f42d4c957f2du;
    const uint64_t first = splitmix(&x);
    x ^= b;
    return first ^ splitmix(&x);
}
