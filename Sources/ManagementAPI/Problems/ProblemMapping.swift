import APIModel
import Access
import BlobStore
import Control
import GuestImages
import HTTPServer
import JSONCodec
import MachineRuntime
import PoolManager

// What the layers below say, in the API's words.

extension APIProblem {
  init(_ mistake: DocumentMistake) { self = .invalid(mistake.pointer, mistake.description) }

  init(_ error: SpecificationError) {
    switch error {
    case .mistake(let mistake): self.init(mistake)
    case .noSuchImage(let name):
      self = .invalid("/image", "There is no image \(name.clipped()); GET /v1/images lists them.")
    case .layout(let error): self.init(error)
    case .tooLarge(let refusal): self.init(refusal)
    }
  }

  /// No VM more. Where the VM is larger than the host, neither time nor a deletion helps, and the client made the mistake.
  init(_ refusal: BudgetRefusal) {
    guard refusal.neverFits else {
      self.init(.resourcesExhausted, "\(refusal)".asSentence)
      return
    }
    self = .invalid(refusal.resource == .memory ? "/memory_mib" : "/vcpus", "\(refusal)".asSentence)
  }

  init(_ refusal: DeclarationRefusal) {
    switch refusal {
    case .specification(let error): self.init(error)
    case .fleet(let error): self.init(error)
    case .journal(let failure): self.init(failure)
    case .declaredInFile, .declaredOverAPI: self.init(.declaredInFile, "\(refusal)".asSentence)
    case .precondition: self.init(.preconditionFailed, "\(refusal)".asSentence)
    case .unencodable: self.init(.internalError, "\(refusal)".asSentence)
    }
  }

  init(_ refusal: ImageRefusal) {
    switch refusal {
    case .noSuchImage(let name): self = .noSuchImage(Tenant.split(name).name)
    case .noSuchBlob(let digest, let pointer):
      self = .invalid(pointer, "There is no blob \(digest); PUT it at /v1/blobs/\(digest) first.")
    case .blob(let error): self.init(error)
    case .journal(let failure): self.init(failure)
    case .quota(let refusal): self.init(refusal)
    case .builtin: self.init(.builtinImage, "\(refusal)".asSentence)
    case .tooMany, .tooManyParts, .tooLongManifests: self.init(.resourcesExhausted, "\(refusal)".asSentence)
    case .invalid(let error): self.init(.invalidImage, "\(refusal)".asSentence, pointer: error.pointer)
    case .precondition: self.init(.preconditionFailed, "\(refusal)".asSentence)
    case .imageInUse, .unfit: self.init(.imageInUse, "\(refusal)".asSentence)
    case .blobInUse: self.init(.blobInUse, "\(refusal)".asSentence)
    case .unencodable: self.init(.internalError, "\(refusal)".asSentence)
    }
  }

  init(_ refusal: KeyRefusal) {
    switch refusal {
    case .firstNeedsAdmin:
      self.init(
        .firstKeyNeedsAdmin,
        "This is the server's first key, which closes the server. It needs the scope admin, so that it can make others."
      )
    case .tooMany(let limit):
      self.init(
        .resourcesExhausted, "There are \(limit) keys, and none of them has ended; revoke those that are not used.")
    case .noSuchKey(let id): self = .noSuchKey(id)
    case .state(let error, isRevoked: false): self.init(.storageFailed, "\(error)".asSentence)
    case .state(let error, isRevoked: true):
      self.init(
        .storageFailed,
        "The key is revoked until the server ends, but that could not be recorded (\(error)); try again.")
    }
  }

  init(_ refusal: IdempotencyRefusal) {
    let kind: ProblemKind =
      switch refusal {
      case .badKey: .badRequest
      case .inProgress, .interrupted: .idempotencyKeyInUse
      case .otherBody: .idempotencyKeyReused
      case .state: .storageFailed
      }
    self.init(kind, "\(refusal)".asSentence)
  }

  init(_ refusal: QuotaRefusal) { self.init(.quotaExceeded, "\(refusal)".asSentence) }

  init(_ refusal: EventRefusal) {
    switch refusal {
    case .full: self.init(.resourcesExhausted, "\(refusal)".asSentence)
    case .quota(let refusal): self.init(refusal)
    }
  }

  init(_ failure: JournalFailure) { self.init(.storageFailed, "\(failure)".asSentence) }

  init(_ error: BlobStoreError) {
    let kind: ProblemKind =
      switch error {
      case .noSuchBlob: .blobNotFound
      case .empty, .tooLong, .tooShort, .otherTotal: .badRequest
      case .refused: .invalidImage
      case .tooLarge: .payloadTooLarge
      case .roomAnnounced: .resourcesExhausted
      case .quotaUsedUp, .diskFull: .insufficientStorage
      case .wrongOffset: .wrongOffset
      case .uploadInProgress: .uploadInProgress
      case .digestMismatch: .digestMismatch
      case .damaged, .failed: .storageFailed
      }
    self.init(kind, "\(error)".asSentence)
    if case .wrongOffset(let offset) = error { uploadOffset = offset }
  }

  init(_ error: JSONDecodingError) {
    switch error.kind {
    case .malformed, .tooDeep, .tooManyValues: self.init(.malformedJSON, "\(error)")
    case .nul, .duplicateMember, .unknownMember, .missingMember, .wrongType, .outOfRange, .badValue:
      self.init(.invalidMember, "\(error)", pointer: error.pointer)
    }
  }

  init(_ refusal: HTTPRefusal) {
    let kind: ProblemKind =
      switch refusal {
      case .badRequest: .badRequest
      case .bodyTooLarge: .payloadTooLarge
      case .requestTimeout: .requestTimeout
      case .shuttingDown: .draining
      case .tooManyConnections: .resourcesExhausted
      case .internalError: .internalError
      }
    self.init(kind, refusal.detail.asSentence)
  }

  init(_ error: FleetError) {
    switch error {
    case .noSuchVM(let id): self = .noSuchVM(id)
    case .noSuchPool(let name): self = .noSuchPool(Tenant.split(name).name)
    case .limitReached: self.init(.resourcesExhausted, "\(error)".asSentence)
    case .noRoom(let refusal): self.init(refusal)
    case .quota(let refusal): self.init(refusal)
    case .poolDraining: self.init(.poolDraining, "\(error)".asSentence)
    case .staleFence: self.init(.staleFence, "\(error)".asSentence)
    case .stuck: self.init(.vmQuarantined, "\(error)".asSentence)
    case .draining: self = .draining
    case .creation(.image(let layout)): self.init(layout)
    case .argumentsRefused(let vm, let error): self.init(error, vm: vm)
    case .creation(let creation):
      self.init(creation.isExhaustion ? .resourcesExhausted : .internalError, "\(creation)".asSentence)
    }
  }

  init(_ error: GuestLayoutError) { self.init(.invalidMember, "\(error)", pointer: error.pointer) }

  init(_ error: GuestArgumentsError) {
    let member =
      switch error {
      case .noCommandLine: "/command_line"
      case .noEnvironment, .badName: "/environment"
      case .tooLong(let what, _, _), .forbiddenByte(let what), .hasStarted(let what):
        what == "environment" ? "/environment" : "/command_line"
      }
    self.init(.invalidMember, "\(error)", pointer: member)
  }

  /// What became of controlling the VM of that id.
  init(_ error: MachineControlError, vm id: String) {
    switch error {
    case .invalidState(_, let state, _):
      self.init(.wrongState, "\(error)".asSentence, state: state.name)
    case .timedOut: self.init(.kickTimeout, "\(error)".asSentence)
    case .noSuchVCPU(let index, let count):
      self.init(.vcpuNotFound, "\(id) has no vCPU \(index); it has \(count), counted from 0.")
    case .arguments(let error): self.init(error)
    case .deleted: self = .noSuchVM(id)
    case .failed(let detail): self.init(.internalError, detail.asSentence)
    }
  }

  static func noSuchImage(_ name: String) -> APIProblem {
    APIProblem(.imageNotFound, "There is no image \(name); GET /v1/images lists them.")
  }

  static func noSuchVM(_ id: String) -> APIProblem {
    APIProblem(.vmNotFound, "There is no VM \(id); GET /v1/vms lists them.")
  }

  static func noSuchKey(_ id: String) -> APIProblem {
    APIProblem(.keyNotFound, "There is no key \(id); GET /v1/keys lists them.")
  }

  static func noSuchLease(_ id: String) -> APIProblem {
    APIProblem(.leaseNotFound, "There is no lease \(id); GET /v1/leases lists them.")
  }

  static var draining: APIProblem {
    APIProblem(.draining, "The server is shutting down and takes no new work.")
  }

  static var serverBusy: APIProblem {
    APIProblem(
      .serverBusy,
      "All worker threads are busy, and as much work waits for them as the server keeps; try again in a moment.")
  }

  static func invalid(_ pointer: String, _ detail: String) -> APIProblem {
    APIProblem(.invalidMember, detail, pointer: pointer)
  }
}

/// What `body` makes; what the fleet says instead, as a problem.
func translating<Value>(_ body: () throws(FleetError) -> Value) throws(APIProblem) -> Value {
  do throws(FleetError) {
    return try body()
  } catch {
    throw APIProblem(error)
  }
}

/// What `body` makes; what stands in the way of a declaration, as a problem.
func translating<Value>(_ body: () throws(DeclarationRefusal) -> Value) throws(APIProblem) -> Value {
  do throws(DeclarationRefusal) {
    return try body()
  } catch {
    throw APIProblem(error)
  }
}

/// What `body` makes; what stands in the way of an image or a blob, as a problem.
func translating<Value>(_ body: () throws(ImageRefusal) -> Value) throws(APIProblem) -> Value {
  do throws(ImageRefusal) {
    return try body()
  } catch {
    throw APIProblem(error)
  }
}

/// What `body` makes; what the VM says instead, as a problem.
func translating<Value>(
  _ vm: VM, _ body: () throws(MachineControlError) -> Value
) throws(APIProblem) -> Value {
  do throws(MachineControlError) {
    return try body()
  } catch {
    throw APIProblem(error, vm: vm.id)
  }
}

extension GuestLayoutError {
  /// The member of a request for a VM that is at fault.
  fileprivate var pointer: String {
    switch self {
    case .unreadable, .unusable, .placement: "/image"
    case .emptyCode, .codeBeyondMemory: "/flat/code"
    case .memoryTooSmall: "/memory_mib"
    case .vcpuCount: "/vcpus"
    case .loadAddressReserved, .loadAddressUnaligned, .codeBeyondMode: "/flat/load_address"
    case .entryOutsideCode, .entryBeyondSegment: "/flat/entry"
    }
  }
}

extension ImageError {
  /// The member of a manifest that is at fault; nil where the bytes of several together make no image.
  fileprivate var pointer: String? {
    switch self {
    case .notRecognised, .foreign, .elf, .multiboot: "/kernel"
    case .notOfKind: "/kind"
    case .noPlacement, .unusedPart("mode", _): "/mode"
    case .unusedPart("initramfs", _): "/initramfs"
    case .unusedPart("module", _), .tooManyModules: "/modules"
    case .unusedPart("block device", _): "/block"
    case .unusedPart("command line", _), .commandLine: "/command_line"
    case .moduleText(let index, _, _), .moduleTextNUL(let index): "/modules/\(index)/string"
    case .linux(.initramfs): "/initramfs"
    case .linux: "/kernel"
    // What a request has below `flat`, a manifest has at its top.
    case .placement(let error): error.pointer.replacing("/flat/", with: "/")
    case .unusedPart, .solo5, .unreadable: nil
    }
  }
}

extension String {
  /// With a capital first, unless a name stands there, and a full stop at the end.
  var asSentence: String {
    let capitalised = first.map { $0.isLowercase ? $0.uppercased() + dropFirst() : self } ?? ""
    return capitalised.hasSuffix(".") ? capitalised : capitalised + "."
  }
}
