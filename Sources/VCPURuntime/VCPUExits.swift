import CKVM
import LinuxSupport
import SystemPackage

// The exits of the vCPU's guest: what the thread does with them between two entries (`VCPULoop.swift`). While the guest runs,
// this allocates nothing, retains nothing and locks nothing.

extension VCPU {
  /// Has the devices serve the port or memory access that KVM_RUN has handed out.
  func serveAccess(_ reason: UInt32, _ handler: borrowing any ExitHandler) -> ExitAction {
    if reason == KVM_EXIT_MMIO {
      let access = control.memoryAccess
      if access.is_write {
        return handler.memoryWrite(access.address, size: UInt8(truncatingIfNeeded: access.size), value: access.value)
      }
      let (value, action) = handler.memoryRead(access.address, size: UInt8(truncatingIfNeeded: access.size))
      control.setMemoryDatum(value)
      return action
    }
    let access = control.portAccess
    var last = ExitAction.resume
    // A string instruction hands over several data at once; the whole of it is served even if one ends the guest.
    for item in 0..<access.count {
      let action: ExitAction
      if access.is_write {
        action = handler.portWrite(access.port, size: access.size, value: control.portDatum(item))
      } else {
        let (value, effect) = handler.portRead(access.port, size: access.size)
        control.setPortDatum(item, value)
        action = effect
      }
      if last != .end { last = action }
    }
    return last
  }

  /// How the guest ends with an exit that is neither a port nor a memory access; nil when it just goes on.
  func end(forExit reason: UInt32) -> VCPUEnd? {
    switch ExitReason.response(to: reason) {
    case .access, .resume: nil
    case .halt: .halted
    case .systemEvent:
      switch Int32(truncatingIfNeeded: control.systemEvent) {
      case KVM_SYSTEM_EVENT_SHUTDOWN: .poweredOff
      case KVM_SYSTEM_EVENT_RESET: .reset
      default: .crashed("system event \(control.systemEvent)" + place())
      }
    case .crash, .unserved, nil: .crashed(describeCrash(reason))
    }
  }

  // MARK: Completion, T3

  /// Step T3: has KVM complete the access that is open, and serves what else the same instruction accesses. Returns an end if
  /// one of them ends the guest.
  func completeAccess(_ progress: inout Progress) -> VCPUEnd? {
    let byself = mechanism == .signalMask ? Self.signal : 0
    // An instruction can be split into a few accesses, never into thousands.
    for _ in 0..<4096 {
      let result = control.complete(byself)
      if result == -Int(EINTR) {
        control.countInterruption(atEntry: control.wasAtEntry)
        break
      }
      guard result == 0 else {
        control.countRunError()
        return .crashed("KVM_RUN failed while an access was completed: \(Errno(rawValue: Int32(-result)))")
      }
      let reason = control.exitReason
      control.countExit(reason)
      if reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO {
        switch serveAccess(reason, handler) {
        case .resume, .idle: break
        case .sleep(let untilNS): progress.wakeNS = untilNS
        case .end: return handler.end()
        }
      } else if let end = end(forExit: reason) {
        return end
      }
    }
    _ = mechanism == .signalMask ? ckvm_drain(Self.signal) : false
    return nil
  }

  /// Has KVM complete the access by which a guest has ended, before the owner may put other registers in the place of the
  /// guest's: at its next KVM_RUN it would complete that access into those. No device sees what else the same instruction
  /// accesses.
  func discardAccess(_ progress: inout Progress) {
    guard progress.accessIsOpen else { return }
    progress.accessIsOpen = false
    let byself = mechanism == .signalMask ? Self.signal : 0
    for _ in 0..<4096 {
      let result = control.complete(byself)
      if result == -Int(EINTR) { control.countInterruption(atEntry: control.wasAtEntry) }
      guard result == 0 else { break }
      let reason = control.exitReason
      control.countExit(reason)
      if reason == KVM_EXIT_MMIO {
        if !control.memoryAccess.is_write { control.setMemoryDatum(0) }
      } else if reason == KVM_EXIT_IO {
        let access = control.portAccess
        if !access.is_write { for item in 0..<access.count { control.setPortDatum(item, 0) } }
      }
    }
    _ = mechanism == .signalMask ? ckvm_drain(Self.signal) : false
  }
}
