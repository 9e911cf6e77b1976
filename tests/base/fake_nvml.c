/* fake_nvml.c - what energy.c calls of NVIDIA's library: three devices, of which the second has no
 * meter.  Each reading of the others is 2,500 mJ above the one before, from 10^12 on. */
#define EXPORT __attribute__((visibility("default")))

static int ids[3], up;
static unsigned long long used[3];

EXPORT int nvmlInit_v2(void);
EXPORT int nvmlShutdown(void);
EXPORT int nvmlDeviceGetCount_v2(unsigned *n);
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **device);
EXPORT int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules);

int nvmlInit_v2(void)
{
    up = 1;
    for (int i = 0; i < 3; i++) used[i] = 1000000000000;
    return 0;
}

int nvmlShutdown(void)
{
    up = 0;
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *n)
{
    *n = 3;
    return up ? 0 : 1;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **device)
{
    if (!up || i >= 3) return 2;
    *device = &ids[i];
    return 0;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules)
{
    const long i = (int *)device - ids;
    if (!up || i == 1) return 3;
    *millijoules = used[i] += 2500;
    return 0;
}
