/// What devices a Solo5 unikernel declares, by its manifest.
///
/// Source: Solo5's include/mft_abi.h: a version, the number of entries, then the entries, of which the first is reserved.
/// A device's handle is its entry's number.
struct Solo5Manifest: Sendable, Equatable {
  /// A declared device.
  struct Device: Sendable, Equatable {
    /// The number of its entry.
    let handle: UInt64
    let name: String
    let isNetwork: Bool
  }

  /// The most entries there may be (MFT_MAX_ENTRIES).
  static let entryLimit = 64
  /// What a block device is read and written in.
  static let blockBytes: UInt64 = 512

  private static let headBytes = 8
  private static let entryBytes = 104
  private static let nameBytes = 68
  private static let blockType: UInt32 = 1
  private static let networkType: UInt32 = 2
  private static let reservedType: UInt32 = 1 << 30

  // Where an entry's members are.
  private static let typeOffset = 68
  private static let capacityOffset = 72
  private static let blockSizeOffset = 80
  private static let attachedOffset = 96

  /// In the order of their handles.
  let devices: [Device]

  /// Reads the manifest that a note holds. Every byte may come from an enemy.
  init(_ bytes: [UInt8]) throws(Solo5Error) {
    guard
      let version = bytes.littleEndian(UInt32.self, at: 0), let count = bytes.littleEndian(UInt32.self, at: 4)
    else { throw .manifestSize(bytes: bytes.count) }
    guard version == 1 else { throw .manifestVersion(version) }
    guard count >= 1, count <= UInt32(Self.entryLimit) else { throw .manifestEntries(count) }
    guard bytes.count == Self.headBytes + Int(count) * Self.entryBytes else { throw .manifestSize(bytes: bytes.count) }
    var devices: [Device] = []
    for number in 0..<Int(count) {
      let start = Self.headBytes + number * Self.entryBytes
      let entry = Array(bytes[start..<start + Self.entryBytes])
      guard number > 0 else {
        let isReserved = entry.littleEndian(UInt32.self, at: Self.typeOffset) == Self.reservedType
        guard isReserved, entry[0] == 0, entry[Self.attachedOffset] == 0 else { throw .manifestHead }
        continue
      }
      let device = try Self.device(entry, number)
      guard !devices.contains(where: { $0.name == device.name }) else { throw .deviceTwice(device.name) }
      devices.append(device)
    }
    self.devices = devices
  }

  private static func device(_ entry: [UInt8], _ number: Int) throws(Solo5Error) -> Device {
    let characters = entry[..<nameBytes].prefix { $0 != 0 }
    let isPlain = characters.allSatisfy { character in
      switch character {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "a")...UInt8(ascii: "z"):
        true
      default: false
      }
    }
    guard !characters.isEmpty, characters.count < nameBytes, isPlain else { throw .deviceName(entry: number) }
    let name = String(decoding: characters, as: UTF8.self)
    let type = entry.littleEndian(UInt32.self, at: typeOffset) ?? 0
    guard type == blockType || type == networkType else { throw .deviceType(name, type) }
    guard entry[attachedOffset] == 0 else { throw .deviceAttached(name) }
    return Device(handle: UInt64(number), name: name, isNetwork: type == networkType)
  }

  /// The manifest as the unikernel is given it: every device is there, block devices with `capacities` by their handles.
  func attached(_ capacities: [UInt64: UInt64]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Self.headBytes + (devices.count + 1) * Self.entryBytes)
    func put(_ number: some FixedWidthInteger & UnsignedInteger, at offset: Int) {
      let littleEndian = [UInt8](littleEndian: number)
      bytes.replaceSubrange(offset..<offset + littleEndian.count, with: littleEndian)
    }
    put(UInt32(1), at: 0)
    put(UInt32(devices.count + 1), at: 4)
    put(Self.reservedType, at: Self.headBytes + Self.typeOffset)
    for device in devices {
      let start = Self.headBytes + Int(device.handle) * Self.entryBytes
      let name = Array(device.name.utf8)
      bytes.replaceSubrange(start..<start + name.count, with: name)
      put(device.isNetwork ? Self.networkType : Self.blockType, at: start + Self.typeOffset)
      put(capacities[device.handle] ?? 0, at: start + Self.capacityOffset)
      put(UInt16(Self.blockBytes), at: start + Self.blockSizeOffset)
      bytes[start + Self.attachedOffset] = 1
    }
    return bytes
  }
}
