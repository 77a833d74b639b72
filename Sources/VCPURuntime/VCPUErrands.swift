import KVM
import Synchronization

/// What a vCPU's thread does for others while the vCPU is parked: every ioctl of a vCPU waits for KVM_RUN to return, and no
/// other thread can know that it has.
struct Errand: Sendable {
  let number: UInt64
  let body: @Sendable (borrowing VCPUDescriptor) -> Void
}

extension VCPU {
  /// Publishes work that the vCPU's thread does while the vCPU is parked, between two instructions of its guest. Does not
  /// wait. The work is done, or has been passed over since the vCPU runs, when the request is answered.
  ///
  /// `body` must be short and must not wait. Throws `ended`.
  public func request(
    errand body: @escaping @Sendable (borrowing VCPUDescriptor) -> Void
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

  /// Asks for the registers of a parked vCPU. Does not wait. Throws `ended`.
  public func requestRegisters() throws(KickError) -> RequestedRegisters {
    let registers = RequestedRegisters.Place()
    let ticket = try request { descriptor in
      do throws(KVMError) {
        let read = (try descriptor.generalRegisters(), try descriptor.specialRegisters())
        registers.result.withLock { $0 = .success(read) }
      } catch {
        registers.result.withLock { $0 = .failure(error) }
      }
    }
    return RequestedRegisters(vcpu: self, ticket: ticket, place: registers)
  }

  /// Part of step T4: does what waits to be done. By the vCPU's thread.
  func runErrands(isParked: Bool) {
    let waiting = errands.withLock { errands in
      let waiting = errands.waiting
      errands.waiting = []
      return waiting
    }
    guard isParked else { return }
    withDescriptor { descriptor in
      for errand in waiting { errand.body(descriptor) }
    }
  }
}

/// Registers that have been asked for.
public struct RequestedRegisters: Sendable {
  /// Where the vCPU's thread puts them; a leaf lock.
  final class Place: Sendable {
    let result = Mutex<Result<(GeneralRegisters, SpecialRegisters), KVMError>?>(nil)
  }

  /// Whose they are.
  public let vcpu: VCPU
  /// The request for them.
  public let ticket: KickTicket
  private let place: Place

  init(vcpu: VCPU, ticket: KickTicket, place: Place) {
    self.vcpu = vcpu
    self.ticket = ticket
    self.place = place
  }

  /// The registers, once the request has been answered; nil if the vCPU was running then.
  public func get() throws(KVMError) -> (GeneralRegisters, SpecialRegisters)? {
    try place.result.withLock { $0 }?.get()
  }
}
