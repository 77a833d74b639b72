#if defined(__x86_64__)
#include "../result.h"
#include "CKVM.h"
#include <stdlib.h>
#include <sys/ioctl.h>

int ckvm_set_tss_address(int vm, uint64_t address) { return result(ioctl(vm, KVM_SET_TSS_ADDR, address)); }

int ckvm_create_pit(int vm) {
  struct kvm_pit_config config = {.flags = KVM_PIT_SPEAKER_DUMMY};
  return result(ioctl(vm, KVM_CREATE_PIT2, &config));
}

int ckvm_route_interrupts(int vm) {
  enum { legacy = 16, pins = 24, timer_pin = 2, controller_pins = 8 };
  struct kvm_irq_routing *table = calloc(1, sizeof *table + (legacy + pins) * sizeof table->entries[0]);
  if (!table) return -ENOMEM;
  for (uint32_t gsi = 0; gsi < pins; gsi++) {
    // The cascade of the 8259 has this number, and the timer its pin of the I/O APIC.
    if (gsi == timer_pin) continue;
    if (gsi < legacy)
      table->entries[table->nr++] = (struct kvm_irq_routing_entry){
          .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
          .u.irqchip = {gsi < controller_pins ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi % controller_pins}};
    table->entries[table->nr++] = (struct kvm_irq_routing_entry){
        .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
        .u.irqchip = {KVM_IRQCHIP_IOAPIC, gsi == 0 ? timer_pin : gsi}};
  }
  int r = result(ioctl(vm, KVM_SET_GSI_ROUTING, table));
  free(table);
  return r;
}

int ckvm_kvmclock_ctrl(int vcpu) { return result(ioctl(vcpu, KVM_KVMCLOCK_CTRL, 0)); }

static struct kvm_cpuid2 *cpuid_table(uint32_t count) {
  struct kvm_cpuid2 *table = calloc(1, sizeof *table + count * sizeof table->entries[0]);
  if (table) table->nent = count;
  return table;
}

int ckvm_supported_cpuid(int kvm, struct kvm_cpuid_entry2 *entries, uint32_t capacity) {
  struct kvm_cpuid2 *table = cpuid_table(capacity);
  if (!table) return -ENOMEM;
  int r = result(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, table));
  if (r == 0) {
    memcpy(entries, table->entries, table->nent * sizeof table->entries[0]);
    r = (int)table->nent;
  }
  free(table);
  return r;
}

int ckvm_set_cpuid(int vcpu, const struct kvm_cpuid_entry2 *entries, uint32_t count) {
  struct kvm_cpuid2 *table = cpuid_table(count);
  if (!table) return -ENOMEM;
  memcpy(table->entries, entries, count * sizeof table->entries[0]);
  int r = result(ioctl(vcpu, KVM_SET_CPUID2, table));
  free(table);
  return r;
}

int ckvm_get_regs(int vcpu, struct kvm_regs *regs) { return result(ioctl(vcpu, KVM_GET_REGS, regs)); }

int ckvm_set_regs(int vcpu, const struct kvm_regs *regs) { return result(ioctl(vcpu, KVM_SET_REGS, regs)); }

int ckvm_get_sregs(int vcpu, struct kvm_sregs *sregs) { return result(ioctl(vcpu, KVM_GET_SREGS, sregs)); }

int ckvm_set_sregs(int vcpu, const struct kvm_sregs *sregs) { return result(ioctl(vcpu, KVM_SET_SREGS, sregs)); }

uint64_t ckvm_translate(int vcpu, uint64_t linear) {
  struct kvm_translation translation = {.linear_address = linear};
  if (ioctl(vcpu, KVM_TRANSLATE, &translation) < 0 || !translation.valid) return UINT64_MAX;
  return translation.physical_address;
}

int ckvm_get_tsc_khz(int vcpu) { return result(ioctl(vcpu, KVM_GET_TSC_KHZ, 0)); }

int ckvm_set_msr(int vcpu, uint32_t index, uint64_t value) {
  // The structure ends in a flexible array.
  union {
    struct kvm_msrs header;
    char bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
  } msrs = {.header.nmsrs = 1};
  struct kvm_msr_entry entry = {.index = index, .data = value};
  memcpy(msrs.bytes + sizeof(struct kvm_msrs), &entry, sizeof entry);
  int r = result(ioctl(vcpu, KVM_SET_MSRS, &msrs));
  return r < 0 ? r : r == 1 ? 0 : -EINVAL;
}

#endif
