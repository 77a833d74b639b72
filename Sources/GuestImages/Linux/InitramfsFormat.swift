/// What Linux can unpack as an initramfs: cpio archives in the "newc" format, compressed or not, one after another.
///
/// Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst, init/initramfs.c and lib/decompress.c.
enum InitramfsFormat {
  private static let archives = ["070701", "070702"].map { Array($0.utf8) }
  private static let compressed: [[UInt8]] = [
    [0x1F, 0x8B], [0x1F, 0x9E], Array("BZh".utf8), [0x5D, 0x00, 0x00], [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00],
    [0x89, 0x4C, 0x5A, 0x4F], [0x02, 0x21, 0x4C, 0x18], [0x28, 0xB5, 0x2F, 0xFD],
  ]
  private static let searchedBytes: UInt64 = 512

  /// Why the kernel could not unpack `part`, and what to do; nil where it can.
  static func problem(with part: ImagePart) throws(ImageError) -> String? {
    guard part.count > 0 else { return "The initramfs is empty. Leave it out, or give a cpio archive." }
    let head: [UInt8]
    do throws(ImageReadError) {
      head = try part.bytes(at: 0, count: Int(min(part.count, searchedBytes)))
    } catch { throw .unreadable(error) }
    // The kernel skips zeros in front of an archive.
    let first = Array(head.drop { $0 == 0 })
    if (archives + compressed).contains(where: first.starts(with:)) { return nil }
    let pack = "(cd DIRECTORY && find . | cpio -o -H newc -R 0:0) > initramfs.cpio"
    let found = try ForeignFile(part).map { "It is \($0.name)." } ?? "It begins like none."
    return
      "The initramfs is no cpio archive that a kernel unpacks (newc, compressed or not). \(found) Make one with \(pack)"
      + "."
  }
}
