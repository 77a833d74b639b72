import CKVM
import Glibc

extension VCPU {
  /// Has KVM tell the guest's kernel that it stood still, so that its watchdogs take no pause for a lockup. By the vCPU's
  /// thread.
  func noteStandstill() {
    // Safe: the descriptor is open while this thread lives.
    let result = ckvm_kvmclock_ctrl(control.descriptor)
    // EINVAL: the guest does not use kvmclock.
    if result < 0, result != -EINVAL { control.countRunError() }
  }
}
