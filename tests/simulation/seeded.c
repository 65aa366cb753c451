/* Preloaded into one simulated life, so that its seed alone decides it: what the system would draw at random comes from the
   seed, and the wall clock stands still (the simulation brings its own). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

static uint64_t state;

static uint64_t next(void) {
    if (!state) {
        const char *seed = getenv("SIMULATION_SEED");
        state = (seed ? strtoull(seed, NULL, 10) : 0) * 2 + 1;
    }
    uint64_t z = __atomic_add_fetch(&state, 0x9e3779b97f4a7c15ULL, __ATOMIC_SEQ_CST);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

ssize_t getrandom(void *to, size_t length, unsigned int flags) {
    (void)flags;
    unsigned char *at = to;
    for (size_t done = 0; done < length; done += sizeof(uint64_t)) {
        uint64_t word = next();
        size_t left = length - done;
        memcpy(at + done, &word, left < sizeof word ? left : sizeof word);
    }
    return (ssize_t)length;
}

int getentropy(void *to, size_t length) {
    getrandom(to, length, 0);
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (clock == CLOCK_REALTIME) {
        at->tv_sec = 1800000000;
        at->tv_nsec = 0;
        return 0;
    }
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    return real(clock, at);
}
