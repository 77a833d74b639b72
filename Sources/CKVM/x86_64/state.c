#if defined(__x86_64__)
#include "../result.h"
#include "CKVM.h"
#include <stdlib.h>
#include <sys/ioctl.h>

size_t ckvm_vcpu_part_size(enum ckvm_vcpu_part part, size_t xsave) {
  switch (part) {
  case CKVM_SREGS2: return sizeof(struct kvm_sregs2);
  case CKVM_SREGS: return sizeof(struct kvm_sregs);
  case CKVM_XCRS: return sizeof(struct kvm_xcrs);
  case CKVM_XSAVE: return xsave ? xsave : sizeof(struct kvm_xsave);
  case CKVM_DEBUG_REGS: return sizeof(struct kvm_debugregs);
  case CKVM_REGS: return sizeof(struct kvm_regs);
  case CKVM_LAPIC: return sizeof(struct kvm_lapic_state);
  case CKVM_MP_STATE: return sizeof(struct kvm_mp_state);
  case CKVM_EVENTS: return sizeof(struct kvm_vcpu_events);
  }
  return 0;
}

int ckvm_get_vcpu_part(int vcpu, enum ckvm_vcpu_part part, void *bytes, size_t xsave) {
  switch (part) {
  case CKVM_SREGS2: return result(ioctl(vcpu, KVM_GET_SREGS2, bytes));
  case CKVM_SREGS: return result(ioctl(vcpu, KVM_GET_SREGS, bytes));
  case CKVM_XCRS: return result(ioctl(vcpu, KVM_GET_XCRS, bytes));
  case CKVM_XSAVE: return result(ioctl(vcpu, xsave ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, bytes));
  case CKVM_DEBUG_REGS: return result(ioctl(vcpu, KVM_GET_DEBUGREGS, bytes));
  case CKVM_REGS: return result(ioctl(vcpu, KVM_GET_REGS, bytes));
  case CKVM_LAPIC: return result(ioctl(vcpu, KVM_GET_LAPIC, bytes));
  case CKVM_MP_STATE: return result(ioctl(vcpu, KVM_GET_MP_STATE, bytes));
  case CKVM_EVENTS: return result(ioctl(vcpu, KVM_GET_VCPU_EVENTS, bytes));
  }
  return -EINVAL;
}

int ckvm_set_vcpu_part(int vcpu, enum ckvm_vcpu_part part, const void *bytes) {
  switch (part) {
  case CKVM_SREGS2: return result(ioctl(vcpu, KVM_SET_SREGS2, bytes));
  case CKVM_SREGS: return result(ioctl(vcpu, KVM_SET_SREGS, bytes));
  case CKVM_XCRS: return result(ioctl(vcpu, KVM_SET_XCRS, bytes));
  case CKVM_XSAVE: return result(ioctl(vcpu, KVM_SET_XSAVE, bytes));
  case CKVM_DEBUG_REGS: return result(ioctl(vcpu, KVM_SET_DEBUGREGS, bytes));
  case CKVM_REGS: return result(ioctl(vcpu, KVM_SET_REGS, bytes));
  case CKVM_LAPIC: return result(ioctl(vcpu, KVM_SET_LAPIC, bytes));
  case CKVM_MP_STATE: return result(ioctl(vcpu, KVM_SET_MP_STATE, bytes));
  case CKVM_EVENTS: {
    // The kernel returns what a guest has; which of it is to be taken over, the flags say.
    struct kvm_vcpu_events events;
    memcpy(&events, bytes, sizeof events);
    events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    return result(ioctl(vcpu, KVM_SET_VCPU_EVENTS, &events));
  }
  }
  return -EINVAL;
}

size_t ckvm_vm_part_size(enum ckvm_vm_part part) {
  switch (part) {
  case CKVM_PIC_MASTER:
  case CKVM_PIC_SLAVE:
  case CKVM_IO_APIC: return sizeof(struct kvm_irqchip);
  case CKVM_PIT: return sizeof(struct kvm_pit_state2);
  case CKVM_CLOCK: return sizeof(struct kvm_clock_data);
  }
  return 0;
}

static uint32_t chip(enum ckvm_vm_part part) {
  return part == CKVM_PIC_MASTER  ? KVM_IRQCHIP_PIC_MASTER
         : part == CKVM_PIC_SLAVE ? KVM_IRQCHIP_PIC_SLAVE
                                  : KVM_IRQCHIP_IOAPIC;
}

int ckvm_get_vm_part(int vm, enum ckvm_vm_part part, void *bytes) {
  switch (part) {
  case CKVM_PIC_MASTER:
  case CKVM_PIC_SLAVE:
  case CKVM_IO_APIC: {
    struct kvm_irqchip *state = bytes;
    state->chip_id = chip(part);
    return result(ioctl(vm, KVM_GET_IRQCHIP, state));
  }
  case CKVM_PIT: return result(ioctl(vm, KVM_GET_PIT2, bytes));
  case CKVM_CLOCK: return result(ioctl(vm, KVM_GET_CLOCK, bytes));
  }
  return -EINVAL;
}

int ckvm_set_vm_part(int vm, enum ckvm_vm_part part, const void *bytes) {
  switch (part) {
  case CKVM_PIC_MASTER:
  case CKVM_PIC_SLAVE:
  case CKVM_IO_APIC: return result(ioctl(vm, KVM_SET_IRQCHIP, bytes));
  case CKVM_PIT: return result(ioctl(vm, KVM_SET_PIT2, bytes));
  case CKVM_CLOCK: {
    // Guest time goes on from where it was, however long ago that is: the flags would have the kernel add that time.
    struct kvm_clock_data saved, clock = {0};
    memcpy(&saved, bytes, sizeof saved);
    clock.clock = saved.clock;
    return result(ioctl(vm, KVM_SET_CLOCK, &clock));
  }
  }
  return -EINVAL;
}

int ckvm_msr_indices(int kvm, uint32_t *indices, uint32_t capacity) {
  struct kvm_msr_list *list = calloc(1, sizeof *list + capacity * sizeof list->indices[0]);
  if (!list) return -ENOMEM;
  list->nmsrs = capacity;
  int r = result(ioctl(kvm, KVM_GET_MSR_INDEX_LIST, list));
  if (r == 0) {
    memcpy(indices, list->indices, list->nmsrs * sizeof list->indices[0]);
    r = (int)list->nmsrs;
  }
  free(list);
  return r;
}

// The structure is a head of 8 bytes and the entries; an entry has 16. So the head takes the second half of the first one.
_Static_assert(sizeof(struct kvm_msrs) == 8 && sizeof(struct kvm_msr_entry) == 16, "struct kvm_msrs");

int ckvm_get_msrs(int vcpu, struct kvm_msr_entry *entries) {
  return result(ioctl(vcpu, KVM_GET_MSRS, (char *)entries + sizeof(struct kvm_msrs)));
}

int ckvm_set_msrs(int vcpu, const struct kvm_msr_entry *entries) {
  return result(ioctl(vcpu, KVM_SET_MSRS, (const char *)entries + sizeof(struct kvm_msrs)));
}
#endif
