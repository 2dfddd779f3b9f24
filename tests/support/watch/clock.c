/* A clock as robots without a battery for it have, for the program that it is preloaded into and those that it starts.
 * CLOCK_SHIFT is in seconds. With CLOCK_JUMPS the clock is off by that, right, or off the other way, from one look to the next.
 * What counts the time since the start, CLOCK_MONOTONIC, is as ever.
 * cc -shared -fPIC -o clock.so clock.c -ldl; then LD_PRELOAD=clock.so CLOCK_SHIFT=-1700000000 program */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) {
  static unsigned looks;
  const char *seconds = getenv("CLOCK_SHIFT");
  long off = seconds ? atol(seconds) : 0;
  return getenv("CLOCK_JUMPS") ? off * ((long)(looks++ % 3) - 1) : off;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
  int failed = real(now, zone);
  if (!failed) now->tv_sec += shift();
  return failed;
}

time_t time(time_t *now) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  if (now) *now = at.tv_sec;
  return at.tv_sec;
}
