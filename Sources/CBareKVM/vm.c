#include "bare.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PML4 = 0x1000, PDPT = 0x2000, LOW_PD = 0x3000, HIGH_PD = 0x4000, STACKS = 0x8000, CODE = 0x10000 };

int barekvm_open(struct barekvm_host **result) {
  struct barekvm_host *host = calloc(1, sizeof *host);
  if (!host) return -ENOMEM;
  int error = 0;
  host->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (host->kvm < 0) {
    error = -errno;
    free(host);
    return error;
  }
  host->run_size = ioctl(host->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  host->cpuid = calloc(1, sizeof *host->cpuid + 256 * sizeof host->cpuid->entries[0]);
  if (!host->cpuid) error = -ENOMEM;
  if (!error) {
    host->cpuid->nent = 256;
    if (host->run_size < 0 || ioctl(host->kvm, KVM_GET_SUPPORTED_CPUID, host->cpuid) < 0) error = -errno;
  }
  if (!error) error = barekvm_install_handler();
  if (error) barekvm_close(host);
  else *result = host;
  return error;
}

void barekvm_close(struct barekvm_host *host) {
  close(host->kvm);
  free(host->cpuid);
  free(host);
}

// Present, writable, user, accessed; for the 2 MiB pages also dirty and large.
static void write_page_tables(char *memory) {
  uint64_t *pml4 = (uint64_t *)(memory + PML4), *pdpt = (uint64_t *)(memory + PDPT);
  uint64_t *low = (uint64_t *)(memory + LOW_PD), *high = (uint64_t *)(memory + HIGH_PD);
  pml4[0] = PDPT | 0x27;
  pdpt[0] = LOW_PD | 0x27;
  pdpt[3] = HIGH_PD | 0x27;
  for (uint64_t i = 0; i < 512; i++) {
    low[i] = i << 21 | 0xE7;
    high[i] = (0xC0000000 + (i << 21)) | 0xE7;
  }
}

static int load_registers(int vcpu, int index, int ring) {
  struct kvm_sregs sregs;
  if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0) return -errno;
  struct kvm_segment flat = {.limit = 0xFFFFFFFF, .present = 1, .dpl = (uint8_t)ring, .s = 1, .g = 1};
  struct kvm_segment code = flat, data = flat;
  code.selector = (uint16_t)(0x08 | ring);
  code.type = 0xB;
  code.l = 1;
  data.selector = (uint16_t)(0x10 | ring);
  data.type = 0x3;
  data.db = 1;
  sregs.cs = code;
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
  sregs.cr3 = PML4;
  sregs.cr4 = 1 << 5 | 1 << 9 | 1 << 10; // PAE, OSFXSR, OSXMMEXCPT
  sregs.cr0 = 1u << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1 << 1 | 1; // PG, WP, NE, ET, MP, PE
  sregs.efer = 1 << 10 | 1 << 8; // LMA, LME
  if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0) return -errno;
  struct kvm_regs regs = {.rip = CODE, .rsp = STACKS + (uint64_t)(index + 1) * 0x1000, .rdi = (uint64_t)index,
                          .rflags = (uint64_t)ring << 12 | 2};
  return ioctl(vcpu, KVM_SET_REGS, &regs) < 0 ? -errno : 0;
}

static int map_memory(struct barekvm_vm *vm, const void *code, size_t code_size) {
  void *memory =
      mmap(NULL, vm->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  vm->memory = memory;
  madvise(memory, vm->memory_size, MADV_DONTDUMP);
  write_page_tables(memory);
  memcpy(vm->memory + CODE, code, code_size);
  return 0;
}

int barekvm_create_vm(struct barekvm_host *host, struct barekvm_vm *vm, bool has_irqchip, uint32_t slot_flags) {
  vm->fd = ioctl(host->kvm, KVM_CREATE_VM, 0);
  if (vm->fd < 0) return -errno;
  if (ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xFFFBD000ul) < 0) return -errno;
  if (has_irqchip && ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0) return -errno;
  struct kvm_userspace_memory_region region = {
      .flags = slot_flags, .memory_size = vm->memory_size, .userspace_addr = (uintptr_t)vm->memory};
  return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

int barekvm_create_vcpu(struct barekvm_host *host, struct barekvm_vm *vm, enum barekvm_mechanism mechanism) {
  int index = vm->vcpus;
  struct barekvm_vcpu *vcpu = &vm->vcpu[index];
  vcpu->mechanism = mechanism;
  vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, index);
  if (vcpu->fd < 0) return -errno;
  vm->vcpus++;
  if (ioctl(vcpu->fd, KVM_SET_CPUID2, host->cpuid) < 0) return -errno;
  void *run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
  if (run == MAP_FAILED) return -errno;
  vcpu->run = run;
  return 0;
}

static int boot_vcpu(struct barekvm_host *host, struct barekvm_vm *vm, const struct barekvm_options *options) {
  int index = vm->vcpus;
  struct barekvm_vcpu *vcpu = &vm->vcpu[index];
  int error = barekvm_create_vcpu(host, vm, options->mechanism);
  if (!error) error = load_registers(vcpu->fd, index, options->ring);
  if (error) return error;
  // With the kernel's interrupt controllers every vCPU but the first waits for another to start it.
  struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
  if (options->has_irqchip && ioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable) < 0) return -errno;
  return barekvm_start_thread(vcpu);
}

int barekvm_create(struct barekvm_host *host, const struct barekvm_options *options, struct barekvm_vm **result) {
  if (options->memory_size < 1 << 20 || options->code_size > options->memory_size - CODE) return -EINVAL;
  if (options->vcpus < 1 || options->vcpus > BAREKVM_MAX_VCPUS) return -EINVAL;
  struct barekvm_vm *vm = calloc(1, sizeof *vm);
  if (!vm) return -ENOMEM;
  vm->fd = -1;
  vm->memory_size = options->memory_size;
  vm->run_size = (size_t)host->run_size;
  int error = map_memory(vm, options->code, options->code_size);
  if (!error) error = barekvm_create_vm(host, vm, options->has_irqchip, 0);
  while (!error && vm->vcpus < options->vcpus) error = boot_vcpu(host, vm, options);
  if (error) barekvm_destroy(vm);
  else *result = vm;
  return error;
}

void barekvm_destroy(struct barekvm_vm *vm) {
  for (int i = 0; i < vm->vcpus; i++) {
    barekvm_end_thread(&vm->vcpu[i]);
    if (vm->vcpu[i].run) munmap(vm->vcpu[i].run, vm->run_size);
    close(vm->vcpu[i].fd);
  }
  if (vm->fd >= 0) close(vm->fd);
  if (vm->memory) munmap(vm->memory, vm->memory_size);
  free(vm->dirty);
  free(vm);
}

const void *barekvm_memory(struct barekvm_vm *vm) { return vm->memory; }
