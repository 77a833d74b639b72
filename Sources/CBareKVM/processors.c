#define _GNU_SOURCE
#include "CBareKVM.h"
#include <errno.h>
#include <sched.h>

int barekvm_processors(int *numbers, int capacity) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) < 0) return -errno;
  int count = 0;
  for (int number = 0; number < CPU_SETSIZE && count < capacity; number++) {
    if (CPU_ISSET(number, &set)) numbers[count++] = number;
  }
  return count;
}

int barekvm_use_processors(const int *numbers, int count) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i = 0; i < count; i++) CPU_SET(numbers[i], &set);
  return sched_setaffinity(0, sizeof set, &set) < 0 ? -errno : 0;
}
