/* energy.h - joules that the machine used, where it has meters.
 *
 *   processor   RAPL counters of Linux: packages and memory below /sys/class/powercap, which most
 *               systems let only root read
 *   GPU         counters of NVIDIA's driver, through its own library if it is there (loaded at run
 *               time: nothing is linked)
 *
 * Meters count for the whole machine, whoever is to blame: a reading on a busy machine is not the
 * caller's alone.  Where there is none, everything here says so and nothing fails. */
#ifndef LOCI_ENERGY_H
#define LOCI_ENERGY_H

#include <stdbool.h>
#include <stddef.h>
#include "loci/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct loci_energy loci_energy; /* used by one thread at a time */

typedef struct {
    const char
        *powercap;    /* folder of the zones; NULL: /sys/class/powercap; borrowed for the call */
    const char *nvml; /* library; NULL: libnvidia-ml.so.1, "": none; borrowed for the call */
} loci_energy_options;

typedef struct {
    bool has_cpu, has_gpu;         /* is there a meter? */
    double cpu_joules, gpu_joules; /* since the meter was opened; 0 without one */
} loci_energy_reading;

/* Find the meters and begin to count.  opt NULL: the system's.  *out is owned: loci_energy_close.
 * A machine without meters is no error.  Errors: LOCI_ENOMEM. */
LOCI_API loci_status loci_energy_open(loci_energy **out, const loci_energy_options *opt,
                                      loci_error *err);
LOCI_API void loci_energy_close(loci_energy *e); /* NULL is fine */
/* What was used since the meter was opened.  A RAPL counter starts anew after its range, some tens
 * of minutes of a busy machine: read more often than that and nothing is lost.  A counter that can
 * be read no more stands still.  Cost: some microseconds a counter. */
LOCI_API loci_energy_reading loci_energy_read(loci_energy *e);
/* What is counted, "package-0, dram; GPU 0", or "not available: " and why: borrowed from e. */
LOCI_API const char *loci_energy_source(const loci_energy *e);

#ifdef __cplusplus
}
#endif
#endif
