#include "CLinux.h"
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int clinux_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0; }

int clinux_forbid_dumps(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0; }

int clinux_keep_capabilities(uint64_t kept) {
  // The bounding set says what executing a file may give. Past the kernel's last capability: EINVAL. Without CAP_SETPCAP:
  // EPERM, and no_new_privs says it all.
  for (unsigned long number = 0; number < 64; number++)
    if (prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0) break;
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return -errno;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct sets[2];
  if (syscall(SYS_capget, &header, sets) < 0) return -errno;
  // A service manager's filter may refuse capset(2) to a service that has no capabilities anyway.
  bool changes = false;
  for (int i = 0; i < 2; i++) {
    uint32_t mask = (uint32_t)(kept >> 32 * i);
    changes = changes || sets[i].permitted & ~mask || sets[i].inheritable;
    sets[i].permitted &= mask;
    sets[i].effective &= mask;
    sets[i].inheritable = 0;
  }
  if (!changes) return 0;
  return syscall(SYS_capset, &header, sets) < 0 ? -errno : 0;
}

int64_t clinux_capabilities(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct sets[2];
  if (syscall(SYS_capget, &header, sets) < 0) return -errno;
  return (int64_t)((uint64_t)sets[1].effective << 32 | sets[0].effective);
}

int clinux_has_no_new_privileges(void) { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }

int clinux_filter_calls(const void *program, size_t bytes, bool logs) {
  struct sock_fprog filter = {.len = (unsigned short)(bytes / sizeof(struct sock_filter)), .filter = (void *)program};
  unsigned flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW | (logs ? SECCOMP_FILTER_FLAG_LOG : 0);
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter) < 0 ? -errno : 0;
}

// Landlock. The C library has no functions for it, and Debian 12's headers end with its second version.
// Source: Linux, Documentation/userspace-api/landlock.rst, include/uapi/linux/landlock.h.
struct landlock_ruleset {
  uint64_t handled_access_fs;
};
struct __attribute__((packed)) landlock_path {
  uint64_t allowed_access;
  int32_t parent_fd;
};

int clinux_landlock_version(void) {
  long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
  return version < 0 ? -errno : (int)version;
}

int clinux_landlock_ruleset(uint64_t handled) {
  struct landlock_ruleset ruleset = {.handled_access_fs = handled};
  long fd = syscall(SYS_landlock_create_ruleset, &ruleset, sizeof ruleset, 0);
  return fd < 0 ? -errno : (int)fd;
}

int clinux_landlock_allow(int ruleset, const char *path, uint64_t access, uint64_t of_files) {
  struct landlock_path rule = {.allowed_access = access, .parent_fd = open(path, O_PATH | O_CLOEXEC)};
  if (rule.parent_fd < 0) return -errno;
  struct stat status;
  long r = fstat(rule.parent_fd, &status);
  // The kernel refuses rules about a file's directory entries.
  if (!r && !S_ISDIR(status.st_mode)) rule.allowed_access &= of_files;
  if (!r) r = syscall(SYS_landlock_add_rule, ruleset, 1 /* LANDLOCK_RULE_PATH_BENEATH */, &rule, 0);
  int error = errno;
  close(rule.parent_fd);
  return r < 0 ? -error : 0;
}

int clinux_landlock_restrict(int ruleset) {
  return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}
