import CKVM
import Glibc
import LinuxSupport
import Synchronization
import SystemPackage

/// Where each number stands in a statistics descriptor.
///
/// Source: api.rst, section KVM_GET_STATS_FD: a header, descriptors with names, and the data.
struct StatisticsSchema: Sendable {
  /// Names and offsets of the scalar counters and gauges; histograms are left out.
  let scalars: [(name: String, offset: Int)]
  /// Bytes from the first to past the last scalar.
  let dataOffset: Int
  let dataSize: Int
  let signalExits: Int?

  init(reading descriptor: Int32) throws(KVMError) {
    let header = try Self.read(descriptor, offset: 0, count: MemoryLayout<kvm_stats_header>.size)
    func word(_ bytes: [UInt8], _ at: Int) -> Int {
      Int(UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16 | UInt32(bytes[at + 3]) << 24)
    }
    let nameSize = word(header, 4)
    let count = word(header, 8)
    let descriptors = word(header, 16)
    dataOffset = word(header, 20)
    let stride = 16 + nameSize
    let table = try Self.read(descriptor, offset: descriptors, count: count * stride)
    var scalars: [(name: String, offset: Int)] = []
    var end = 0
    for index in 0..<count {
      let base = index * stride
      let type = Int32(truncatingIfNeeded: word(table, base)) & 0xF
      let size = Int(table[base + 6]) | Int(table[base + 7]) << 8
      guard type <= KVM_STATS_TYPE_PEAK, size == 1 else { continue }
      let name = String(decoding: table[(base + 16)..<(base + stride)].prefix { $0 != 0 }, as: UTF8.self)
      let offset = word(table, base + 8)
      scalars.append((name, offset))
      end = max(end, offset + 8)
    }
    self.scalars = scalars
    dataSize = end
    signalExits = scalars.first { $0.name == "signal_exits" }?.offset
  }

  static func read(_ descriptor: Int32, offset: Int, count: Int) throws(KVMError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      // Safe: the pointer and length are of the same buffer, advanced together.
      let got = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe pread(descriptor, buffer.baseAddress?.advanced(by: done), count - done, off_t(offset + done))
      }
      guard got > 0 else {
        throw KVMError(request: "read of KVM statistics", errno: got < 0 ? Errno(rawValue: errno) : .ioError)
      }
      done += got
    }
    return bytes
  }
}

/// Reads the schema once for all vCPUs of a kernel.
final class StatisticsSchemaCache: Sendable {
  // Guards the schema alone; a leaf, held while it is read the first time.
  private let cached = Mutex<StatisticsSchema?>(nil)

  func schema(of descriptor: Int32) throws(KVMError) -> StatisticsSchema {
    let outcome = cached.withLock { cached -> Result<StatisticsSchema, KVMError> in
      if let cached { return .success(cached) }
      do throws(KVMError) {
        let schema = try StatisticsSchema(reading: descriptor)
        cached = schema
        return .success(schema)
      } catch {
        return .failure(error)
      }
    }
    return try outcome.get()
  }
}

/// The kernel's own counts of one vCPU. Readable from any thread, also while the vCPU runs.
public struct KernelStatistics: ~Copyable, Sendable {
  private let schema: StatisticsSchema
  private let descriptor: OwnedDescriptor

  init(schema: StatisticsSchema, descriptor: consuming OwnedDescriptor) {
    self.schema = schema
    self.descriptor = descriptor
  }

  /// Every counter and gauge by the kernel's name.
  public borrowing func all() throws(KVMError) -> [String: UInt64] {
    let data = try StatisticsSchema.read(descriptor.rawValue, offset: schema.dataOffset, count: schema.dataSize)
    var values: [String: UInt64] = [:]
    for scalar in schema.scalars { values[scalar.name] = Self.word(data, scalar.offset) }
    return values
  }

  /// How often KVM_RUN returned to user space because of a signal; nil where the kernel does not count it.
  public borrowing func signalExits() throws(KVMError) -> UInt64? {
    guard let offset = schema.signalExits else { return nil }
    return Self.word(
      try StatisticsSchema.read(descriptor.rawValue, offset: schema.dataOffset + offset, count: 8), 0)
  }

  private static func word(_ bytes: [UInt8], _ at: Int) -> UInt64 {
    (0..<8).reduce(0) { $0 | UInt64(bytes[at + $1]) << (8 * UInt64($1)) }
  }
}
