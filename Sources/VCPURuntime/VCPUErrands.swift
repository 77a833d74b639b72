import KVM
import Synchronization

/// What a vCPU's thread does for others while the vCPU is parked: every ioctl of a vCPU waits for KVM_RUN to return, and no
/// other thread can know that it has.
struct Errand: Sendable {
  let number: UInt64
  let body: @Sendable (borrowing VCPUDescriptor, VCPULoopState) -> Void
}

/// What a vCPU's thread keeps of its guest, beside what KVM keeps.
public struct VCPULoopState: Sendable, Equatable {
  /// How long the sleep that the guest asked for still lasts, in nanoseconds; 0: it does not sleep.
  public var remainingSleepNS: UInt64 = 0
  /// The task priority of a vCPU without an interrupt controller of the kernel's: CR8.
  public var taskPriority: UInt64 = 0

  /// A guest that does not sleep.
  public init() {}
}

extension VCPU {
  /// Publishes work that the vCPU's thread does while the vCPU is parked, between two instructions of its guest. Does not
  /// wait. The work is done, or has been passed over since the vCPU runs, when the request is answered.
  ///
  /// `body` must be short and must not wait. Throws `ended`.
  public func request(
    errand body: @escaping @Sendable (borrowing VCPUDescriptor) -> Void
  ) throws(KickError) -> KickTicket {
    try publishErrand { (descriptor, _) in body(descriptor) }
  }

  private func publishErrand(
    _ body: @escaping @Sendable (borrowing VCPUDescriptor, VCPULoopState) -> Void
  ) throws(KickError) -> KickTicket {
    let number = errands.withLock { errands in
      errands.last += 1
      errands.waiting.append(Errand(number: errands.last, body: body))
      return errands.last
    }
    do throws(KickError) {
      return try publishErrand()
    } catch {
      errands.withLock { $0.waiting.removeAll { $0.number == number } }
      throw error
    }
  }

  /// The same for work that has a result.
  public func request<Value>(
    resultOf body: @escaping @Sendable (borrowing VCPUDescriptor, VCPULoopState) throws(KVMError) -> Value
  ) throws(KickError) -> ErrandResult<Value> {
    let place = ErrandResult<Value>.Place()
    let ticket = try publishErrand { (descriptor, loop) in
      do throws(KVMError) {
        let value = try body(descriptor, loop)
        place.result.withLock { $0 = .success(value) }
      } catch {
        place.result.withLock { $0 = .failure(error) }
      }
    }
    return ErrandResult(vcpu: self, ticket: ticket, place: place)
  }

  /// Asks for the registers of a parked vCPU. Does not wait. Throws `ended`.
  public func requestRegisters() throws(KickError) -> RequestedRegisters {
    try request(resultOf: { (descriptor, _) throws(KVMError) in
      (try descriptor.generalRegisters(), try descriptor.specialRegisters())
    })
  }

  /// Part of step T4: takes the work that waits to be done. By the vCPU's thread.
  func takeErrands() -> [Errand] {
    errands.withLock { errands in
      let waiting = errands.waiting
      errands.waiting = []
      return waiting
    }
  }

  /// Part of step T4: does that work. By the vCPU's thread, with what it keeps of its guest.
  func perform(_ errands: [Errand], _ state: VCPULoopState) {
    withDescriptor { descriptor in
      for errand in errands { errand.body(descriptor, state) }
    }
  }

  /// Puts other registers in the place of the guest's, on the calling thread: waking the vCPU's thread for it would take
  /// longer than the work. Only when the vCPU is parked for good, before the goal `ready` is published: its thread enters
  /// the kernel for errands alone then, which wait for `body`. The next run begins with the loop's state of the first.
  ///
  /// - Returns: false if the vCPU has been joined.
  public func replaceRegisters(
    _ body: (borrowing VCPUDescriptor) throws(KVMError) -> Void
  ) throws(KVMError) -> Bool {
    try withDescriptor(body) != nil
  }
}

/// The result of an errand that has been asked for.
public struct ErrandResult<Value: Sendable>: Sendable {
  /// Where the vCPU's thread puts it; a leaf lock.
  final class Place: Sendable {
    let result = Mutex<Result<Value, KVMError>?>(nil)
  }

  /// Whose errand it is.
  public let vcpu: VCPU
  /// The request for it.
  public let ticket: KickTicket
  private let place: Place

  init(vcpu: VCPU, ticket: KickTicket, place: Place) {
    self.vcpu = vcpu
    self.ticket = ticket
    self.place = place
  }

  /// The result, once the request has been answered; nil if the vCPU was running then.
  public func get() throws(KVMError) -> Value? { try place.result.withLock { $0 }?.get() }
}

/// Registers that have been asked for.
public typealias RequestedRegisters = ErrandResult<(GeneralRegisters, SpecialRegisters)>
