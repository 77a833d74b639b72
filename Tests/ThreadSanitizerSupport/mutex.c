// Tells the thread sanitizer that Synchronization.Mutex is a lock.
//
// Its fast path is inlined into our code and seen. Its slow paths, taken under contention, live in the toolchain's
// library, which is not instrumented, and hand the lock over inside the kernel (FUTEX_LOCK_PI): the sanitizer sees neither
// the release nor the acquisition, and takes every contended critical section for a race. So the slow paths are called
// through here, with a releasing and an acquiring access of the lock's word around them that change nothing. Without
// the sanitizer there is nothing of it.
#include "ThreadSanitizerSupport.h"

#if __has_feature(thread_sanitizer)
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *

SWIFT void lock_slow(uint32_t thread, SELF lock) __asm__(LOCK_SLOW);
SWIFT void unlock_slow(SELF lock) __asm__(UNLOCK_SLOW);

// dlsym's result is the same for everybody, so it does not matter who stores it.
SWIFT void lock_slow(uint32_t thread, SELF lock) {
  static void *real;
  void *call = __atomic_load_n(&real, __ATOMIC_RELAXED);
  if (!call) __atomic_store_n(&real, call = dlsym(RTLD_NEXT, LOCK_SLOW), __ATOMIC_RELAXED);
  ((SWIFT void (*)(uint32_t, SELF))call)(thread, lock);
  (void)__atomic_load_n((uint32_t *)lock, __ATOMIC_ACQUIRE);
}

SWIFT void unlock_slow(SELF lock) {
  static void *real;
  void *call = __atomic_load_n(&real, __ATOMIC_RELAXED);
  if (!call) __atomic_store_n(&real, call = dlsym(RTLD_NEXT, UNLOCK_SLOW), __ATOMIC_RELAXED);
  (void)__atomic_fetch_add((uint32_t *)lock, 0, __ATOMIC_RELEASE);
  ((SWIFT void (*)(SELF))call)(lock);
}

bool is_thread_sanitizer(void) { return true; }
#else
bool is_thread_sanitizer(void) { return false; }
#endif
