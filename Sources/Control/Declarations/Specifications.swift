import APIModel
import Access
import Digests
import GuestImages
import PoolManager

// What clients ask for, checked member by member.

extension VMSpecification {
  /// What a request to create a VM asks for. Whether the image fits the memory and the vCPUs is for the image to say.
  public init(
    _ document: CreateVMDocument, from images: ImageCatalogue, of tenant: Tenant = .standard
  ) throws(SpecificationError) {
    try self.init(
      try Self.image(of: document, images, tenant), vcpus: document.vcpus, memoryMiB: document.memoryMiB,
      deadlineMS: document.deadlineMS)
  }

  private static func image(
    of document: CreateVMDocument, _ images: ImageCatalogue, _ tenant: Tenant
  ) throws(SpecificationError) -> GuestImage {
    switch (document.image, document.flat) {
    case (let name?, nil): return try images.image(name, of: tenant)
    case (nil, let flat?):
      do throws(DocumentMistake) { return .flat(try FlatImage(flat)) } catch { throw .mistake(error) }
    case (nil, nil): throw .mistake(.at("/image", "Neither image nor flat is given; give one of the two."))
    case (_?, _?): throw .mistake(.at("/flat", "Both image and flat are given; give one of the two."))
    }
  }

  fileprivate init(
    _ image: GuestImage, vcpus: Int?, memoryMiB: Int?, deadlineMS: Int?
  ) throws(SpecificationError) {
    do throws(DocumentMistake) {
      let deadlineNS = try deadlineMS.map { limit throws(DocumentMistake) in
        UInt64(try checked(limit, default: limit, in: PoolRules.deadlineMS, at: "/deadline_ms")) * 1_000_000
      }
      self.init(
        image: image,
        vcpus: try checked(vcpus, default: 1, in: PoolRules.vcpus, at: "/vcpus"),
        memoryMiB: try checked(
          memoryMiB, default: min(image.defaultMemoryMiB, PoolRules.memoryMiB.upperBound),
          in: PoolRules.memoryMiB, at: "/memory_mib"),
        deadlineNS: deadlineNS)
    } catch {
      throw .mistake(error)
    }
  }
}

extension PoolSpecification {
  /// What a pool's declaration asks for, which names `image`.
  init(_ document: DeclarePoolDocument, _ image: GuestImage) throws(SpecificationError) {
    do throws(DocumentMistake) { try document.check() } catch { throw .mistake(error) }
    let vm = try VMSpecification(
      image, vcpus: document.vcpus, memoryMiB: document.memoryMiB, deadlineMS: document.deadlineMS)
    // The VMs are made later, when no client waits for an answer, so a guest that can never fit is refused now. An
    // unusable image may become usable.
    do throws(GuestLayoutError) {
      if image.reasonUnusable == nil {
        _ = try image.layout(memoryBytes: UInt64(vm.memoryMiB) << 20, vcpus: vm.vcpus)
      }
    } catch {
      throw .layout(error)
    }
    self.init(
      vm: vm, ready: document.ready.min...document.ready.max, maxVMs: document.maxVMs,
      refillConcurrency: document.refill?.concurrency, isPaused: document.paused ?? false,
      probeIntervalNS: document.probeIntervalMS.map { UInt64($0) * 1_000_000 },
      readyPoint: ReadyPoint(document.readyWhen ?? .loaded),
      readyTimeoutNS: UInt64(document.readyTimeoutMS ?? PoolRules.standardReadyTimeoutMS) * 1_000_000,
      resetsVMs: document.effectiveOnRelease == .reset,
      verification: ResetVerification(document.verifyReset ?? .sampled))
    isShared = document.shared ?? false
  }
}

extension ResetVerification {
  fileprivate init(_ document: VerifyReset) {
    switch document {
    case .off: self = .off
    case .sampled: self = .sampled
    case .full: self = .full
    }
  }
}

extension ReadyPoint {
  /// What a declaration asks for that has been checked.
  fileprivate init(_ document: ReadyWhen) {
    switch document {
    case .loaded: self = .loaded
    case .started: self = .started
    case .console(let text): self = .console(text)
    case .afterMS(let time): self = .after(ns: UInt64(time) * 1_000_000)
    }
  }
}

extension FlatImage {
  fileprivate init(_ document: FlatImageDocument) throws(DocumentMistake) {
    let placement = try FlatPlacement(
      mode: document.mode, loadAddress: document.loadAddress, entry: document.entry, at: "/flat")
    guard !document.code.isEmpty, let code = Base64.decoded(document.code) else {
      throw .at("/flat/code", "The code is not base64 (RFC 4648, padded, without white space).")
    }
    self.init(ImagePart(code), placement)
  }
}

extension FlatPlacement {
  /// What a document says of machine code, in members below `pointer`.
  init(mode: String, loadAddress: String?, entry: String?, at pointer: String) throws(DocumentMistake) {
    guard let known = FlatMode(rawValue: mode) else {
      let modes = FlatMode.allCases.map(\.rawValue).joined(separator: ", ")
      throw .at(pointer + "/mode", "There is no mode \(mode.clipped()); give one of \(modes).")
    }
    let loadAddress = try Self.address(loadAddress, at: pointer + "/load_address")
    self.init(
      mode: known, loadAddress: loadAddress ?? 0x10000, entry: try Self.address(entry, at: pointer + "/entry"))
  }

  private static func address(_ text: String?, at pointer: String) throws(DocumentMistake) -> UInt64? {
    guard let text else { return nil }
    let digits = text.dropFirst(2)
    guard text.hasPrefix("0x"), (1...8).contains(digits.utf8.count), digits.utf8.allSatisfy(isHexDigit),
      let address = UInt64(digits, radix: 16)
    else {
      throw .at(pointer, "\(text.clipped(to: 32)) is no address; give 0x and one to eight hex digits in a string.")
    }
    return address
  }

  // `UInt64(_:radix:)` alone would take a sign.
  private static func isHexDigit(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte | 0x20)
  }
}
