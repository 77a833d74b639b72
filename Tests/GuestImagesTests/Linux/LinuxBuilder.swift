@testable import GuestImages

/// A bzImage put together byte by byte, right or wrong as the test wants it.
struct LinuxBuilder {
  var magic = Array("HdrS".utf8)
  var version: UInt16 = 0x20F
  var setupSectors: UInt8 = 1
  /// In units of 16 bytes; nil: as many as there are.
  var units: UInt32?
  var loadFlags: UInt8 = 1
  var extendedFlags: UInt16 = 1
  /// Where the header ends.
  var headerEnd = 0x268
  var preferredAddress: UInt64 = 0x10_0000
  var initSize: UInt32 = 0x20_0000
  var initramfsLimit: UInt32 = 0x7FFF_FFFF
  var commandLineLimit: UInt32 = 2047
  var release = "6.1.0-test (somebody)"
  /// What is loaded: the 64-bit entry is at 0x200.
  var code = [UInt8](repeating: 0x90, count: 0x400)

  var bytes: [UInt8] {
    var file = [UInt8](repeating: 0, count: (Int(setupSectors) + 1) * 512)
    func put(_ bytes: [UInt8], at offset: Int) { file.replaceSubrange(offset..<offset + bytes.count, with: bytes) }
    file[0x1F1] = setupSectors
    put([UInt8](littleEndian: units ?? UInt32((code.count + 15) / 16)), at: 0x1F4)
    put([0x55, 0xAA, 0xEB, UInt8(headerEnd - 0x202)], at: 0x1FE)
    put(magic, at: 0x202)
    put([UInt8](littleEndian: version), at: 0x206)
    put([UInt8](littleEndian: UInt16(0x100)), at: 0x20E)
    file[0x211] = loadFlags
    put([UInt8](littleEndian: initramfsLimit), at: 0x22C)
    put([UInt8](littleEndian: extendedFlags), at: 0x236)
    put([UInt8](littleEndian: commandLineLimit), at: 0x238)
    put([UInt8](littleEndian: preferredAddress), at: 0x258)
    put([UInt8](littleEndian: initSize), at: 0x260)
    put(Array(release.utf8) + [0], at: 0x300)
    return file + code
  }

  func image(
    initramfs: ImagePart? = nil, commandLine: String? = nil, kind: GuestKind? = nil
  ) throws(ImageError) -> GuestImage {
    try GuestImage(
      name: "linux", ImageParts(main: ImagePart(bytes), initramfs: initramfs, commandLine: commandLine), kind: kind)
  }
}

extension LinuxBuilder {
  /// `count` bytes that begin as a compressed archive does.
  static func initramfs(_ count: Int) -> [UInt8] {
    [0x1F, 0x8B] + [UInt8](repeating: 0xAB, count: count - 2)
  }
}
