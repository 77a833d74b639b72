// Tells the thread sanitizer that Synchronization.Mutex is a lock.
//
// Its fast path is inlined into our code and seen. Its slow path, taken under contention, lives in the toolchain's
// library, which is not instrumented: the sanitizer sees the release but not the acquisition, and takes every contended
// critical section for a race. So the slow path is called through here, and followed by an acquiring load of the lock's
// word. Without the sanitizer this file is empty.
#if __has_feature(thread_sanitizer)
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"

typedef __attribute__((swiftcall)) void (*lock_slow_function)(uint32_t, __attribute__((swift_context)) void *);

__attribute__((swiftcall)) void lock_slow(uint32_t thread, __attribute__((swift_context)) void *lock) __asm__(LOCK_SLOW);

__attribute__((swiftcall)) void lock_slow(uint32_t thread, __attribute__((swift_context)) void *lock) {
  static _Atomic(lock_slow_function) real;
  lock_slow_function call = __atomic_load_n((lock_slow_function *)&real, __ATOMIC_RELAXED);
  if (!call) {
    call = (lock_slow_function)dlsym(RTLD_NEXT, LOCK_SLOW);
    __atomic_store_n((lock_slow_function *)&real, call, __ATOMIC_RELAXED);
  }
  call(thread, lock);
  (void)__atomic_load_n((uint32_t *)lock, __ATOMIC_ACQUIRE);
}
#else
typedef int not_built_with_the_thread_sanitizer;
#endif
