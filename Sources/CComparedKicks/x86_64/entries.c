#include "CComparedKicks.h"
#include <ucontext.h>

// The stub that the server ships, and its places (CKVM/x86_64/entry.S).
long ckvm_entry_stub(int fd, const volatile void *reasons);
extern const char ckvm_entry_window[], ckvm_entry_syscall[], ckvm_entry_aborted[];

CKVM_IN_HANDLER void ip_fixup_kicked(struct ckvm_vcpu *vcpu, void *context) {
  const struct windowed_entry *places = (const struct windowed_entry *)vcpu->entry;
  greg_t *ip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  if (*ip >= (greg_t)places->window && *ip <= (greg_t)places->syscall) *ip = (greg_t)places->aborted;
}

CKVM_IN_HANDLER void signal_only_kicked(struct ckvm_vcpu *vcpu, void *context) { (void)vcpu, (void)context; }

static const struct windowed_entry ip_fixup = {
    {ckvm_entry_stub, ip_fixup_kicked}, ckvm_entry_window, ckvm_entry_syscall, ckvm_entry_aborted};
static const struct ckvm_entry signal_only = {ckvm_entry_stub, signal_only_kicked};

const struct ckvm_entry *ip_fixup_entry(void) { return &ip_fixup.entry; }
const struct ckvm_entry *signal_only_entry(void) { return &signal_only; }
