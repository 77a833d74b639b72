#include "CHeldEntry.h"

_Atomic uint32_t held_entry_wanted, held_entry_standing;

long held_entry_stub(int fd, const volatile void *reasons);
extern const char held_entry_window[], held_entry_syscall[], held_entry_aborted[];

static const struct ckvm_entry entry = {held_entry_stub, ckvm_set_immediate_exit};
static const struct windowed_entry ip_fixup = {
    {held_entry_stub, ip_fixup_kicked}, held_entry_window, held_entry_syscall, held_entry_aborted};
static const struct ckvm_entry signal_only = {held_entry_stub, signal_only_kicked};

const struct ckvm_entry *held_entry(void) { return &entry; }
const struct ckvm_entry *held_ip_fixup_entry(void) { return &ip_fixup.entry; }
const struct ckvm_entry *held_signal_only_entry(void) { return &signal_only; }
void held_entry_hold(void) { atomic_store(&held_entry_wanted, 1); }
void held_entry_release(void) { atomic_store(&held_entry_wanted, 0); }
bool held_entry_is_holding(void) { return atomic_load(&held_entry_wanted) && atomic_load(&held_entry_standing); }
