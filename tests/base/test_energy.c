/* Goal: joules are those of packages and memory and of nothing twice, whatever the counters do; a
 * machine without meters says why and fails nothing.
 * Method: folders that look like /sys/class/powercap, whose counters the test moves: forward, past
 * their range, backwards, into nonsense; and a library with NVIDIA's five functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/base.h"
#include "base/energy.h"
#include "loci/energy.h"
#include "temp_dir.h"

static char dir[TEMP_PATH];

static int set_up(void **state)
{
    (void)state;
    return temp_dir_make(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

static void put(const char *zone, const char *file, const char *text)
{
    char path[TEMP_PATH + 128];
    snprintf(path, sizeof path, "%s/%s", dir, zone);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", dir, zone, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void put_zone(const char *zone, const char *name, const char *now, const char *range)
{
    put(zone, "name", name);
    put(zone, "energy_uj", now);
    if (range) put(zone, "max_energy_range_uj", range);
}

static loci_energy *open_meters(const char *nvml)
{
    loci_energy *e;
    const loci_energy_options opt = { dir, nvml };
    assert_int_equal(loci_energy_open(&e, &opt, NULL), LOCI_OK);
    return e;
}

static double cpu_joules(loci_energy *e)
{
    const loci_energy_reading r = loci_energy_read(e);
    assert_true(r.has_cpu);
    return r.cpu_joules;
}

static void packages_and_memory_alone(void **state)
{
    (void)state;
    static const char *const not_counted[][2] = {
        { "intel-rapl:0:0", "core\n" },  { "intel-rapl:0:1", "uncore\n" },
        { "intel-rapl:2", "psys\n" },    { "intel-rapl-mmio:0", "package-0\n" },
        { "intel-rapl", "package-0\n" }, { "dtpm", "package-0\n" },
    };
    put_zone("intel-rapl:0", "package-0\n", "1000000\n", "262143328850\n");
    put_zone("intel-rapl:1", "package-1\n", "500\n", "262143328850\n");
    put_zone("intel-rapl:1:2", "dram\n", "70\n", "65712999613\n");
    for (size_t i = 0; i < sizeof not_counted / sizeof *not_counted; i++)
        put_zone(not_counted[i][0], not_counted[i][1], "5\n", "262143328850\n");
    loci_energy *e = open_meters("");
    assert_string_equal(loci_energy_source(e), "package-0, package-1, dram");
    assert_false(loci_energy_read(e).has_gpu);
    assert_true(cpu_joules(e) == 0.0);
    for (size_t i = 0; i < sizeof not_counted / sizeof *not_counted; i++)
        put(not_counted[i][0], "energy_uj", "900000000\n");
    assert_true(cpu_joules(e) == 0.0);
    put("intel-rapl:0", "energy_uj", "3500000\n");
    put("intel-rapl:1", "energy_uj", "1000500\n");
    put("intel-rapl:1:2", "energy_uj", "250070\n");
    assert_float_equal(cpu_joules(e), 3.75, 1e-12);
    assert_float_equal(cpu_joules(e), 3.75, 1e-12); /* since the opening, not since the last look */
    loci_energy_close(e);
}

static void starting_anew(void **state)
{
    (void)state;
    put_zone("intel-rapl:0", "package-0\n", "262143000000\n", "262143328850\n");
    loci_energy *e = open_meters("");
    put("intel-rapl:0", "energy_uj", "671150\n");
    assert_float_equal(cpu_joules(e), 1.0, 1e-12);
    put("intel-rapl:0", "energy_uj", "262143328850\n");
    assert_float_equal(cpu_joules(e), 1.0 + 262142.6577, 1e-6);
    put("intel-rapl:0", "energy_uj", "0\n"); /* round again, and nothing used */
    assert_float_equal(cpu_joules(e), 1.0 + 262142.6577, 1e-6);
    loci_energy_close(e);
}

static void steps(void **state)
{
    (void)state;
    assert_int_equal(loci_energy_step(10, 10, 100), 0);
    assert_int_equal(loci_energy_step(10, 99, 100), 89);
    assert_int_equal(loci_energy_step(90, 5, 100), 15);
    assert_int_equal(loci_energy_step(100, 5, 100), 5);
    assert_int_equal(loci_energy_step(150, 5, 100), 5); /* was never below its range: set back */
    assert_int_equal(loci_energy_step(90, 5, 0), 5);
    assert_true(loci_energy_step(UINT64_MAX, 0, UINT64_MAX) == 0);
}

/* A counter that cannot be read stands still, and goes on from where it was. */
static void unreadable_for_a_while(void **state)
{
    (void)state;
    put_zone("intel-rapl:0", "package-0\n", "1000000\n", NULL);
    loci_energy *e = open_meters("");
    static const char *const nonsense[] = {
        "", "\n", "12 13\n", "-5\n", "0x10\n", "1e6\n", "99999999999999999999\n"
    };
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        put("intel-rapl:0", "energy_uj", nonsense[i]);
        assert_true(cpu_joules(e) == 0.0);
    }
    put("intel-rapl:0", "energy_uj", "2000000\n");
    assert_float_equal(cpu_joules(e), 1.0, 1e-12);
    loci_energy_close(e);
}

static void expect_none(const char *why)
{
    loci_energy *e = open_meters("");
    const loci_energy_reading r = loci_energy_read(e);
    assert_false(r.has_cpu || r.has_gpu);
    assert_true(r.cpu_joules == 0.0 && r.gpu_joules == 0.0);
    if (strncmp(loci_energy_source(e), "not available: ", 15) != 0 ||
        !strstr(loci_energy_source(e), why))
        fail_msg("%s: wanted \"%s\"", loci_energy_source(e), why);
    loci_energy_close(e);
}

static void no_meter(void **state)
{
    (void)state;
    expect_none("no RAPL zones");
    put_zone("intel-rapl:0", "package-0\n", "watts\n", "100\n");
    expect_none("intel-rapl:0/energy_uj: not a number");
    char path[TEMP_PATH + 64];
    snprintf(path, sizeof path, "%s/intel-rapl:0/energy_uj", dir);
    assert_int_equal(unlink(path), 0);
    expect_none("No such file");
    temp_dir_remove(dir);
    expect_none("no RAPL zones"); /* not even a folder */
    if (geteuid() == 0) return;   /* root reads everything */
    assert_int_equal(mkdir(dir, 0700), 0);
    put_zone("intel-rapl:0", "package-0\n", "5\n", "100\n");
    assert_int_equal(chmod(path, 0), 0);
    expect_none("Permission denied");
}

static void gpus(void **state)
{
    (void)state;
    loci_energy *e = open_meters(FAKE_NVML);
    assert_string_equal(loci_energy_source(e), "GPU 0, GPU 2");
    loci_energy_reading r = loci_energy_read(e);
    assert_true(r.has_gpu && !r.has_cpu);
    assert_float_equal(r.gpu_joules, 5.0, 1e-9); /* two devices, 2.5 J a reading */
    assert_float_equal(loci_energy_read(e).gpu_joules, 10.0, 1e-9);
    loci_energy_close(e);
    put_zone("intel-rapl:0", "package-0\n", "5\n", "100\n");
    e = open_meters(FAKE_NVML); /* once more: the first close left the library in order */
    assert_string_equal(loci_energy_source(e), "package-0; GPU 0, GPU 2");
    loci_energy_close(e);
    e = open_meters("/nowhere/libnvidia-ml.so.1");
    assert_false(loci_energy_read(e).has_gpu);
    loci_energy_close(e);
}

static void this_machine(void **state)
{
    (void)state;
    loci_energy *e;
    assert_int_equal(loci_energy_open(&e, NULL, NULL), LOCI_OK);
    const loci_energy_reading a = loci_energy_read(e), b = loci_energy_read(e);
    assert_true(b.cpu_joules >= a.cpu_joules && b.gpu_joules >= a.gpu_joules);
    assert_true(loci_energy_source(e)[0] != '\0');
    loci_energy_close(e);
    loci_energy_close(NULL);
}

static void numbers(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_true(loci_energy_number("18446744073709551615\n", 21, &v) && v == UINT64_MAX);
    assert_true(loci_energy_number(" 0 ", 3, &v) && v == 0);
    assert_true(loci_energy_number("12345", 3, &v) && v == 123);
    assert_false(loci_energy_number("18446744073709551616", 20, &v));
    assert_false(loci_energy_number("", 0, &v));
    assert_false(loci_energy_number(" \n", 2, &v));
    assert_false(loci_energy_number("1\0", 2, &v));
    assert_int_equal(v, 123);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packages_and_memory_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(starting_anew, set_up, tear_down),
        cmocka_unit_test(steps),
        cmocka_unit_test_setup_teardown(unreadable_for_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_meter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gpus, set_up, tear_down),
        cmocka_unit_test(this_machine),
        cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
