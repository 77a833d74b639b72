/// Why a Solo5 unikernel cannot be run.
public enum Solo5Error: Error, Sendable, Equatable, CustomStringConvertible {
  /// It is no executable for x86-64 processors.
  case notExecutable
  /// The note that names its interface is not 16 bytes long.
  case interfaceNote(bytes: Int)
  /// It was built for something else than the hvt tender.
  case foreignTarget(String)
  /// It was built for another version of the interface.
  case interfaceVersion(UInt32)
  /// It has no manifest.
  case noManifest
  /// The manifest's length does not fit the number of its entries.
  case manifestSize(bytes: Int)
  /// The manifest's version is not 1.
  case manifestVersion(UInt32)
  /// The manifest has no entry, or too many.
  case manifestEntries(UInt32)
  /// The manifest's first entry is not the reserved one.
  case manifestHead
  /// An entry's name is empty, not ended, or of other characters than letters and digits.
  case deviceName(entry: Int)
  /// Two entries have the same name.
  case deviceTwice(String)
  /// An entry is of no known type.
  case deviceType(String, UInt32)
  /// An entry says that a device is there already.
  case deviceAttached(String)
  /// It needs a network device.
  case networkDevice(String)
  /// Nothing was given for a block device.
  case blockMissing(String)
  /// Something was given for a block device that it does not have.
  case blockUnknown(String)
  /// A block device is not one or more whole blocks of 512 bytes.
  case blockSize(String, bytes: UInt64)
  /// A segment begins where only the tender's data may be.
  case segmentTooLow(Int, UInt64)
  /// A segment ends beyond the 4 GiB that any of these guests may have.
  case segmentTooHigh(Int)
  /// Two segments share a page, which cannot have the permissions of both.
  case segmentsSharePage(Int, Int)
  /// A segment may be both written and executed.
  case writableCode(Int)
  /// It is to be loaded at other addresses than it runs at.
  case segmentMoved(Int)
  /// The permissions change in too many places.
  case scatteredSegments(limit: Int)

  /// Its command line is too long.
  case commandLineLength(Int, limit: Int)
  /// A byte 0 would end its command line early.
  case commandLineNUL

  /// States what is wrong and what to do.
  public var description: String {
    switch self {
    case .notExecutable: "The Solo5 unikernel is no executable for x86-64. Build it with an x86-64 toolchain."
    case .interfaceNote(let bytes):
      "The Solo5 unikernel's ABI1 note has \(bytes) bytes instead of 16. Build it again."
    case .foreignTarget(let name):
      "The Solo5 unikernel was built for \(name). Build it for hvt (with MirageOS: mirage configure -t hvt)."
    case .interfaceVersion(let version):
      "The Solo5 unikernel wants version \(version) of the hvt interface. Build it with Solo5 0.5 or newer, for version 2."
    case .noManifest: "The Solo5 unikernel has no manifest (MFT1 note). Build it with a manifest, even an empty one."
    case .manifestSize(let bytes):
      "The Solo5 unikernel's manifest of \(bytes) bytes is not as long as its entries. Build it again."
    case .manifestVersion(let version): "The Solo5 unikernel's manifest has version \(version), not 1. Build it again."
    case .manifestEntries(let count):
      "The Solo5 unikernel's manifest has \(count) entries. Build it with 1 to \(Solo5Manifest.entryLimit)."
    case .manifestHead: "The Solo5 unikernel's manifest does not begin with the reserved entry. Build it again."
    case .deviceName(let entry):
      "The name in entry \(entry) of the Solo5 unikernel's manifest is not 1 to 67 letters and digits. Rename the device."
    case .deviceTwice(let name): "The Solo5 unikernel's manifest has two devices named \(name). Rename one."
    case .deviceType(let name, let type):
      "The Solo5 unikernel's device \(name) is of the unknown type \(type). Build it for block devices alone."
    case .deviceAttached(let name): "The Solo5 unikernel's device \(name) says that it is attached. Build it again."
    case .networkDevice(let name):
      """
      The Solo5 unikernel needs the network device \(name), and there are none in this version. Build it without \
      network devices.
      """
    case .blockMissing(let name):
      "The Solo5 unikernel's block device \(name) has no contents. Give the image a block of that name."
    case .blockUnknown(let name): "The Solo5 unikernel has no block device \(name). Leave it out."
    case .blockSize(let name, let bytes):
      "The \(bytes) bytes of block device \(name) are not one or more whole blocks of 512. Make them so."
    case .segmentTooLow(let number, let address):
      """
      Segment \(number) of the Solo5 unikernel begins at 0x\(String(address, radix: 16)). Link it at 0x100000 or above.
      """
    case .segmentTooHigh(let number): "Segment \(number) of the Solo5 unikernel ends beyond 3 GiB. Link it lower."
    case .segmentsSharePage(let first, let second):
      "Segments \(first) and \(second) of the Solo5 unikernel share a page of 4 KiB. Link them apart."
    case .writableCode(let number):
      "Segment \(number) of the Solo5 unikernel may be both written and executed. Link code and data apart."
    case .segmentMoved(let number):
      "Segment \(number) of the Solo5 unikernel has different virtual and physical addresses. Link it with the same."
    case .scatteredSegments(let limit):
      "The Solo5 unikernel's segments begin or end in more than \(limit) places of 2 MiB. Link them closer together."
    case .commandLineLength(let bytes, let limit):
      "The Solo5 unikernel's command line has \(bytes) bytes, and there is room for \(limit). Make it shorter."
    case .commandLineNUL: "The Solo5 unikernel's command line holds a NUL. Leave it out."
    }
  }
}
