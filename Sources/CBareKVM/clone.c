#include "bare.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

// What `write_page_tables` and the guest's code take of a VM that has never run.
enum { PAGE = 4096, USED = 0x20000 };
// KVM_SET_MSRS takes fewer than 256.
enum { MSRS_A_CALL = 255, MSR_LISTS = 8, TSC = 0x10 };

// Laid out as struct kvm_msrs.
struct msr_list {
  uint32_t count, padding;
  struct kvm_msr_entry entries[MSRS_A_CALL];
};

struct barekvm_template {
  int memory;
  const char *contents;
  size_t size;
  struct kvm_clock_data clock;
  struct kvm_sregs2 sregs;
  struct kvm_xcrs xcrs;
  void *xsave;
  struct kvm_debugregs debug;
  struct kvm_regs regs;
  int lists;
  struct msr_list msrs[MSR_LISTS];
  struct kvm_mp_state mp_state;
  struct kvm_vcpu_events events;
};

// ---- freezing --------------------------------------------------------------------------------------------------

static int freeze_memory(struct barekvm_template *template, const struct barekvm_vm *vm) {
  template->size = vm->memory_size;
  template->memory = memfd_create("barekvm-template", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (template->memory < 0 || ftruncate(template->memory, (off_t)vm->memory_size) < 0) return -errno;
  if (pwrite(template->memory, vm->memory, USED, 0) != USED) return -EIO;
  if (fcntl(template->memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) return -errno;
  void *contents = mmap(NULL, vm->memory_size, PROT_READ, MAP_SHARED, template->memory, 0);
  if (contents == MAP_FAILED) return -errno;
  template->contents = contents;
  return 0;
}

// Adds an MSR that can be read and put back; any other one is left out.
static void add_msr(struct barekvm_template *template, int vcpu, uint32_t index) {
  struct {
    uint32_t count, padding;
    struct kvm_msr_entry entry;
  } one = {.count = 1, .entry = {.index = index}};
  if (ioctl(vcpu, KVM_GET_MSRS, &one) != 1 || ioctl(vcpu, KVM_SET_MSRS, &one) != 1) return;
  struct msr_list *list = &template->msrs[template->lists - 1];
  if (list->count == MSRS_A_CALL) {
    if (template->lists == MSR_LISTS) return;
    list = &template->msrs[template->lists++];
  }
  list->entries[list->count++] = one.entry;
}

// MSRs that KVM has and does not list: memory types, banks of machine checks, and its own.
static const uint32_t UNLISTED[][2] = {
    {0x200, 0x20F}, {0x250, 0x250}, {0x258, 0x259}, {0x268, 0x26F},
    {0x277, 0x277}, {0x2FF, 0x2FF}, {0x400, 0x47F}, {0x4B564D00, 0x4B564DFF},
};

static bool is_unlisted(uint32_t index) {
  for (size_t i = 0; i < sizeof UNLISTED / sizeof UNLISTED[0]; i++) {
    if (index >= UNLISTED[i][0] && index <= UNLISTED[i][1]) return true;
  }
  return false;
}

// The TSC comes first, since timers are set against it.
static int freeze_msrs(struct barekvm_template *template, int kvm, int vcpu) {
  enum { ROOM = 4096 };
  struct kvm_msr_list *listed = calloc(1, sizeof *listed + ROOM * sizeof listed->indices[0]);
  if (!listed) return -ENOMEM;
  listed->nmsrs = ROOM;
  int error = ioctl(kvm, KVM_GET_MSR_INDEX_LIST, listed) < 0 ? -errno : 0;
  template->lists = 1;
  if (!error) add_msr(template, vcpu, TSC);
  for (uint32_t i = 0; !error && i < listed->nmsrs; i++) {
    uint32_t index = listed->indices[i];
    if (index != TSC && !is_unlisted(index)) add_msr(template, vcpu, index);
  }
  for (size_t i = 0; !error && i < sizeof UNLISTED / sizeof UNLISTED[0]; i++) {
    for (uint32_t index = UNLISTED[i][0]; index <= UNLISTED[i][1]; index++) add_msr(template, vcpu, index);
  }
  free(listed);
  return error;
}

static int freeze_registers(struct barekvm_template *template, int vcpu, size_t xsave_size) {
  template->xsave = calloc(1, xsave_size ? xsave_size : sizeof(struct kvm_xsave));
  if (!template->xsave) return -ENOMEM;
  bool is_read = ioctl(vcpu, KVM_GET_SREGS2, &template->sregs) == 0 && ioctl(vcpu, KVM_GET_XCRS, &template->xcrs) == 0 &&
                 ioctl(vcpu, xsave_size ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, template->xsave) == 0 &&
                 ioctl(vcpu, KVM_GET_DEBUGREGS, &template->debug) == 0 && ioctl(vcpu, KVM_GET_REGS, &template->regs) == 0 &&
                 ioctl(vcpu, KVM_GET_MP_STATE, &template->mp_state) == 0 &&
                 ioctl(vcpu, KVM_GET_VCPU_EVENTS, &template->events) == 0;
  template->events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  return is_read ? 0 : -errno;
}

int barekvm_freeze(struct barekvm_host *host, struct barekvm_vm *vm, struct barekvm_template **result) {
  struct barekvm_template *template = calloc(1, sizeof *template);
  if (!template) return -ENOMEM;
  template->memory = -1;
  int xsave_size = ioctl(host->kvm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
  struct kvm_clock_data clock = {0};
  int error = freeze_memory(template, vm);
  if (!error) error = freeze_registers(template, vm->vcpu[0].fd, xsave_size > 0 ? (size_t)xsave_size : 0);
  if (!error) error = freeze_msrs(template, host->kvm, vm->vcpu[0].fd);
  if (!error && ioctl(vm->fd, KVM_GET_CLOCK, &clock) < 0) error = -errno;
  // Without the flags: those would have the kernel add the time since then.
  template->clock = (struct kvm_clock_data){.clock = clock.clock};
  if (error) barekvm_free_template(template);
  else *result = template;
  return error;
}

void barekvm_free_template(struct barekvm_template *template) {
  if (template->contents) munmap((void *)template->contents, template->size);
  if (template->memory >= 0) close(template->memory);
  free(template->xsave);
  free(template);
}

// ---- clones ----------------------------------------------------------------------------------------------------

static int restore_registers(int vcpu, const struct barekvm_template *template) {
  if (ioctl(vcpu, KVM_SET_SREGS2, &template->sregs) < 0) return -errno;
  if (ioctl(vcpu, KVM_SET_XCRS, &template->xcrs) < 0) return -errno;
  if (ioctl(vcpu, KVM_SET_XSAVE, template->xsave) < 0) return -errno;
  if (ioctl(vcpu, KVM_SET_DEBUGREGS, &template->debug) < 0) return -errno;
  if (ioctl(vcpu, KVM_SET_REGS, &template->regs) < 0) return -errno;
  for (int i = 0; i < template->lists; i++) {
    int done = ioctl(vcpu, KVM_SET_MSRS, &template->msrs[i]);
    if (done != (int)template->msrs[i].count) return done < 0 ? -errno : -EINVAL;
  }
  if (ioctl(vcpu, KVM_SET_MP_STATE, &template->mp_state) < 0) return -errno;
  return ioctl(vcpu, KVM_SET_VCPU_EVENTS, &template->events) < 0 ? -errno : 0;
}

static int map_template(struct barekvm_vm *vm, const struct barekvm_template *template) {
  void *memory = mmap(NULL, template->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, template->memory, 0);
  if (memory == MAP_FAILED) return -errno;
  vm->memory = memory;
  madvise(memory, template->size, MADV_DONTDUMP);
  vm->dirty = calloc((template->size / PAGE + 63) / 64, sizeof *vm->dirty);
  return vm->dirty ? 0 : -ENOMEM;
}

int barekvm_clone(struct barekvm_host *host, struct barekvm_template *template, enum barekvm_mechanism mechanism,
                  struct barekvm_vm **result) {
  struct barekvm_vm *vm = calloc(1, sizeof *vm);
  if (!vm) return -ENOMEM;
  vm->fd = -1;
  vm->memory_size = template->size;
  vm->run_size = (size_t)host->run_size;
  int error = map_template(vm, template);
  if (!error) error = barekvm_create_vm(host, vm, false, KVM_MEM_LOG_DIRTY_PAGES);
  if (!error && ioctl(vm->fd, KVM_SET_CLOCK, &template->clock) < 0) error = -errno;
  if (!error) error = barekvm_create_vcpu(host, vm, mechanism);
  if (!error) error = restore_registers(vm->vcpu[0].fd, template);
  if (!error) error = barekvm_start_thread(&vm->vcpu[0]);
  if (error) barekvm_destroy(vm);
  else *result = vm;
  return error;
}

int barekvm_reset(struct barekvm_vm *vm, struct barekvm_template *template) {
  struct barekvm_vcpu *vcpu = &vm->vcpu[0];
  if (ioctl(vm->fd, KVM_SET_CLOCK, &template->clock) < 0) return -errno;
  int error = restore_registers(vcpu->fd, template);
  if (error) return error;
  struct kvm_dirty_log log = {.dirty_bitmap = vm->dirty};
  if (ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0) return -errno;
  int pages = 0;
  for (size_t word = 0; word < (vm->memory_size / PAGE + 63) / 64; word++) {
    for (uint64_t bits = vm->dirty[word]; bits; bits &= bits - 1, pages++) {
      size_t offset = (word * 64 + (size_t)__builtin_ctzll(bits)) * PAGE;
      memcpy(vm->memory + offset, template->contents + offset, PAGE);
    }
  }
  barekvm_forget_end(vcpu);
  return pages;
}

const void *barekvm_touch_code(size_t *size) {
  *size = (size_t)(barekvm_touch_end - barekvm_touch);
  return barekvm_touch;
}
