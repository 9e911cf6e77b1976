/* energy.c - joules from RAPL counters and from NVIDIA's driver.
 *
 * A RAPL zone is a folder of /sys/class/powercap with three files: name, energy_uj (microjoules so
 * far) and max_energy_range_uj (where the counter starts anew).
 *
 *   intel-rapl:N      "package-N", the whole processor    counted
 *                     "psys", the whole board             not: it has the packages in it
 *   intel-rapl:N:M    "dram"                              counted: no part of the package
 *                     "core", "uncore"                    not: parts of the package
 *   intel-rapl-mmio:N the same package by another way     not
 *
 * AMD processors have the same zones under the same names.  The GPU's counter is one number of 64
 * bits in millijoules since the driver was loaded; its library is looked for at run time. */
#include "base/energy.h"
#include "base/base.h"
#include "loci/energy.h"
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ZONES_MAX = 64, GPUS_MAX = 64, FILE_BYTES = 64 };

typedef struct {
    int fd; /* of energy_uj */
    uint64_t last, range;
} zone;

typedef struct { /* of the driver's library; a call returns 0 when it worked */
    void *library;
    int (*shutdown)(void);
    int (*energy)(void *device, unsigned long long *millijoules);
} driver;

struct loci_energy {
    zone zone[ZONES_MAX];
    int n_zones;
    uint64_t microjoules; /* of all zones since the opening */
    driver nvml;
    void *gpu[GPUS_MAX];
    unsigned long long gpu_first[GPUS_MAX], gpu_last[GPUS_MAX]; /* millijoules */
    int n_gpus;
    char why[200]; /* no zone could be used because of this */
    char source[400];
};

/* ---- numbers ------------------------------------------------------------------------------ */

bool loci_energy_number(const char *text, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0, digits = 0;
    while (i < n && isspace((unsigned char)text[i])) i++;
    for (; i < n && text[i] >= '0' && text[i] <= '9'; i++, digits++) {
        const uint64_t d = (uint64_t)(text[i] - '0');
        if (v > (UINT64_MAX - d) / 10) return false;
        v = 10 * v + d;
    }
    while (i < n && isspace((unsigned char)text[i])) i++;
    if (digits == 0 || i < n) return false;
    *out = v;
    return true;
}

uint64_t loci_energy_step(uint64_t before, uint64_t now, uint64_t range)
{
    if (now >= before) return now - before;
    /* A counter that fell without reaching its range was set back (a suspend): what it has is new. */
    return range > before ? range - before + now : now;
}

/* ---- RAPL ----------------------------------------------------------------------------------- */

/* Up to FILE_BYTES of a small file, NUL-terminated; -1 with errno, else the bytes. */
static int read_small(int fd, char out[FILE_BYTES + 1])
{
    ssize_t n;
    do n = pread(fd, out, FILE_BYTES, 0);
    while (n < 0 && errno == EINTR);
    out[n > 0 ? n : 0] = '\0';
    return (int)n;
}

static int open_in(const char *dir, const char *zone_name, const char *file)
{
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/%s/%s", dir, zone_name, file);
    if (n >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, O_RDONLY | O_CLOEXEC);
}

static bool read_number(int fd, uint64_t *out)
{
    char text[FILE_BYTES + 1];
    const int n = read_small(fd, text);
    return n > 0 && loci_energy_number(text, (size_t)n, out);
}

/* "package-0" or "dram" of a zone that counts; false otherwise. */
static bool counted(const char *dir, const char *entry, char name[FILE_BYTES + 1])
{
    const char *number = entry + strlen("intel-rapl:");
    if (strncmp(entry, "intel-rapl:", strlen("intel-rapl:")) != 0) return false;
    const bool below = strchr(number, ':') != NULL;
    const int fd = open_in(dir, entry, "name");
    const int n = fd >= 0 ? read_small(fd, name) : -1;
    if (fd >= 0) close(fd);
    if (n <= 0) return false;
    name[strcspn(name, "\r\n")] = '\0';
    return below ? strcmp(name, "dram") == 0 : strncmp(name, "package", strlen("package")) == 0;
}

static void add_source(loci_energy *e, const char *text, const char *between)
{
    const size_t n = strlen(e->source);
    snprintf(e->source + n, sizeof e->source - n, "%s%s", n ? between : "", text);
}

static void open_zone(loci_energy *e, const char *dir, const char *entry, const char *name)
{
    zone z = { .fd = open_in(dir, entry, "energy_uj") };
    const int range = open_in(dir, entry, "max_energy_range_uj");
    /* Without its range a counter is one that never starts anew. */
    if (range >= 0 && !read_number(range, &z.range)) z.range = 0;
    if (range >= 0) close(range);
    const bool opened = z.fd >= 0;
    if (opened && e->n_zones < ZONES_MAX && read_number(z.fd, &z.last)) {
        e->zone[e->n_zones++] = z;
        add_source(e, name, ", ");
        return;
    }
    snprintf(e->why, sizeof e->why, "%.60s/%.40s/energy_uj: %s", dir, entry,
             opened ? "not a number" : strerror(errno));
    if (opened) close(z.fd);
}

static void open_zones(loci_energy *e, const char *dir)
{
    struct dirent **entry;
    char name[FILE_BYTES + 1];
    snprintf(e->why, sizeof e->why, "no RAPL zones in %.100s", dir);
    const int n = scandir(dir, &entry, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (counted(dir, entry[i]->d_name, name)) open_zone(e, dir, entry[i]->d_name, name);
        free(entry[i]);
    }
    if (n >= 0) free(entry);
}

static double read_zones(loci_energy *e)
{
    for (int i = 0; i < e->n_zones; i++) {
        zone *z = &e->zone[i];
        uint64_t now;
        if (!read_number(z->fd, &now)) continue;
        e->microjoules += loci_energy_step(z->last, now, z->range);
        z->last = now;
    }
    return 1e-6 * (double)e->microjoules;
}

/* ---- NVIDIA --------------------------------------------------------------------------------- */

/* A function of the library by name; its address goes into *fn (a function pointer). */
static bool find(void *library, const char *name, void *fn)
{
    void *const address = dlsym(library, name);
    memcpy(fn, &address, sizeof address);
    return address != NULL;
}

static void open_gpus(loci_energy *e, const char *library)
{
    int (*init)(void), (*count)(unsigned *), (*handle)(unsigned, void **);
    unsigned n = 0;
    driver *d = &e->nvml;
    if (!*library || !(d->library = dlopen(library, RTLD_NOW | RTLD_LOCAL))) return;
    if (!find(d->library, "nvmlInit_v2", &init) ||
        !find(d->library, "nvmlShutdown", &d->shutdown) ||
        !find(d->library, "nvmlDeviceGetCount_v2", &count) ||
        !find(d->library, "nvmlDeviceGetHandleByIndex_v2", &handle) ||
        !find(d->library, "nvmlDeviceGetTotalEnergyConsumption", &d->energy) || init() != 0) {
        dlclose(d->library);
        d->library = NULL;
        return;
    }
    if (count(&n) != 0) n = 0;
    for (unsigned i = 0; i < n && e->n_gpus < GPUS_MAX; i++) {
        char text[16];
        const int g = e->n_gpus;
        if (handle(i, &e->gpu[g]) != 0 || d->energy(e->gpu[g], &e->gpu_first[g]) != 0) continue;
        e->gpu_last[g] = e->gpu_first[g];
        e->n_gpus++;
        snprintf(text, sizeof text, "GPU %u", i);
        add_source(e, text, e->n_gpus == 1 ? "; " : ", ");
    }
}

static double read_gpus(loci_energy *e)
{
    double joules = 0.0;
    for (int g = 0; g < e->n_gpus; g++) {
        unsigned long long now;
        if (e->nvml.energy(e->gpu[g], &now) == 0 && now > e->gpu_last[g]) e->gpu_last[g] = now;
        joules += 1e-3 * (double)(e->gpu_last[g] - e->gpu_first[g]);
    }
    return joules;
}

/* ---- both ----------------------------------------------------------------------------------- */

loci_status loci_energy_open(loci_energy **out, const loci_energy_options *opt, loci_error *err)
{
    *out = NULL;
    loci_energy *e = calloc(1, sizeof *e);
    if (!e) return loci_fail(err, LOCI_ENOMEM, "no memory for energy meters");
    open_zones(e, opt && opt->powercap ? opt->powercap : "/sys/class/powercap");
    open_gpus(e, opt && opt->nvml ? opt->nvml : "libnvidia-ml.so.1");
    if (e->n_zones == 0 && e->n_gpus == 0)
        snprintf(e->source, sizeof e->source, "not available: %s, no GPU with a meter", e->why);
    *out = e;
    return LOCI_OK;
}

void loci_energy_close(loci_energy *e)
{
    if (!e) return;
    for (int i = 0; i < e->n_zones; i++) close(e->zone[i].fd);
    if (e->nvml.library) {
        e->nvml.shutdown();
        dlclose(e->nvml.library);
    }
    free(e);
}

loci_energy_reading loci_energy_read(loci_energy *e)
{
    return (loci_energy_reading){ .has_cpu = e->n_zones > 0,
                                  .has_gpu = e->n_gpus > 0,
                                  .cpu_joules = read_zones(e),
                                  .gpu_joules = read_gpus(e) };
}

const char *loci_energy_source(const loci_energy *e)
{
    return e->source;
}
