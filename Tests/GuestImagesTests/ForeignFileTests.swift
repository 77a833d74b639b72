import Testing

@testable import GuestImages

/// Files that people upload and that no VM can start: the refusal names each, and says what to do.
struct ForeignFileTests {
  struct Row: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    /// What the message must say.
    let advice: String
    var testDescription: String { name }

    init(_ name: String, _ bytes: [UInt8], at offset: Int = 0, size: Int = 0, _ advice: String) {
      self.name = name
      var file = [UInt8](repeating: 0, count: max(size, offset + bytes.count))
      file.replaceSubrange(offset..<offset + bytes.count, with: bytes)
      self.bytes = file
      self.advice = advice
    }

    init(_ name: String, _ text: String, at offset: Int = 0, size: Int = 0, _ advice: String) {
      self.init(name, Array(text.utf8), at: offset, size: size, advice)
    }
  }

  private static func portableExecutable(_ sections: [String]) -> [UInt8] {
    var file = [UInt8](repeating: 0, count: 0x400)
    file.replaceSubrange(0..<2, with: Array("MZ".utf8))
    file[0x3C] = 0x80
    file.replaceSubrange(0x80..<0x84, with: [0x50, 0x45, 0, 0])
    for (index, section) in sections.enumerated() {
      let start = 0x188 + 40 * index
      file.replaceSubrange(start..<start + section.utf8.count, with: Array(section.utf8))
    }
    return file
  }

  static let rows = [
    Row("empty", [], "Upload a kernel"),
    Row("a gzip file", [0x1F, 0x8B, 8], "zcat"), Row("an xz file", [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0], "xzcat"),
    Row("a zstd file", [0x28, 0xB5, 0x2F, 0xFD], "zstdcat"), Row("a bzip2 file", "BZh9", "bzcat"),
    Row("an lz4 file", [0x02, 0x21, 0x4C, 0x18], "lz4cat"), Row("an lz4 file", [0x04, 0x22, 0x4D, 0x18], "lz4cat"),
    Row("an lzma file", [0x5D, 0, 0, 1], "xzcat"), Row("an lzop file", [0x89, 0x4C, 0x5A, 0x4F], "lzop"),
    Row("a Linux kernel for ARM64", [0x41, 0x52, 0x4D, 0x64], at: 56, "x86-64"),
    Row("a Linux kernel for RISC-V", [0x52, 0x53, 0x43, 0x05], at: 56, "x86-64"),
    Row("an EFI program", portableExecutable([".text", ".data"]), "no EFI firmware"),
    Row("a unified kernel image (UKI)", portableExecutable([".osrel", ".linux"]), "--only-section=.linux"),
    Row("a disc image (ISO 9660)", "CD001", at: 32_769, size: 65_536, "bsdtar"),
    Row("a firmware image", [0xEA, 0x5B, 0xE0], at: 131_056, size: 131_072, "no firmware"),
    Row("a firmware image", "_FVH", at: 40, size: 4096, "no firmware"),
    Row("an option ROM", [0x55, 0xAA, 0x40], "no firmware"),
    Row("a disk image or boot sector", [0x55, 0xAA], at: 510, "neither disk nor BIOS"),
    Row("an ext2, ext3 or ext4 file system", [0x53, 0xEF], at: 1080, size: 2048, "cpio -o -H newc"),
    Row("a squashfs file system", "hsqs", "cpio -o -H newc"), Row("a tar archive", "ustar", at: 257, "cpio -o -H newc"),
    Row("a QEMU disk (qcow2)", [0x51, 0x46, 0x49, 0xFB], "cpio -o -H newc"),
    Row("a cpio archive", "070701", "beside a Linux kernel"), Row("an old cpio archive (odc)", "070707", "-H newc"),
    Row("a script", "#!/bin/sh\n", "/init"), Row("a Debian package", "!<arch>\ndebian-binary", "dpkg-deb"),
    Row("a zip archive", [0x50, 0x4B, 3, 4], "Unpack"), Row("JSON", "{\"kernel\":", "application/json"),
    Row("a page of HTML", "<!DOCTYPE html>", "again"),
    Row("an image for U-Boot", [0x27, 0x05, 0x19, 0x56], "dumpimage"),
  ]

  @Test(arguments: rows) func isCalledByItsName(row: Row) throws {
    let error = try #require(throws: ImageError.self) {
      try GuestImage(name: "x", ImageParts(main: ImagePart(row.bytes)))
    }
    #expect("\(error)".hasPrefix("The file is \(row.name). "), "\(error)")
    #expect("\(error)".contains(row.advice) && "\(error)".hasSuffix("."), "\(error)")
  }

  /// The head of a file says the same as the whole, or leaves it open; of these files it leaves the five open that are
  /// recognised by what they lack, or by what stands farther behind.
  @Test(arguments: rows) func itsHeadDoesNotSayOtherwise(row: Row) {
    let found = ForeignFile(head: Array(row.bytes.prefix(ForeignFile.headBytes)))
    let open = [
      "empty", "an EFI program", "a unified kernel image (UKI)", "a disc image (ISO 9660)",
      "a disk image or boot sector",
    ]
    let isOpen = open.contains(row.name) || row.bytes.count == 131_072
    #expect(found?.name == (isOpen ? nil : row.name))
  }

  /// `init(head:)` leaves a file with a mark of a kernel to the loaders, although it begins like another kind.
  @Test func headsOfKernelsAreLeftOpen() throws {
    var multiboot: [UInt8] = [0x1F, 0x8B] + [UInt8](repeating: 0, count: 1022)
    for word in [0x1BAD_B002, 0, 0xE452_4FFE] as [UInt32] {
      multiboot += (0..<4).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
    }
    #expect(ForeignFile(head: multiboot) == nil)
    var linux: [UInt8] = [0x1F, 0x8B] + [UInt8](repeating: 0, count: 0x300)
    linux.replaceSubrange(0x202..<0x206, with: Array("HdrS".utf8))
    #expect(ForeignFile(head: linux) == nil)
    #expect(ForeignFile(head: [0x7F] + Array("ELF".utf8)) == nil)
  }

  private static func elf(_ owner: String, _ type: UInt32, _ descriptor: [UInt8]) -> ELFBuilder {
    BootedImageTests.elf(
      .init(type: ELFFile.Segment.note, virtualAddress: 0, bytes: ELFBuilder.note(owner, type, descriptor)))
  }

  /// Programs and unikernels that are ELF files: a client that insists on the kind is believed.
  @Test(arguments: [
    (elf("GNU", 1, [0, 0, 0, 0, 3, 0, 0, 0]), "a program for Linux", "initramfs"),
    (elf("Go", 4, [1]), "a program for Linux", "initramfs"),
    (elf("HERMIT", 0x5A00, [1]), "a Hermit unikernel", "hermit-loader"),
    (elf("Xen", 6, [0x4C]), "a kernel for Xen's paravirtual mode", "PVH"),
    (elf("FreeBSD", 1, [0, 0, 0, 0]), "a program or kernel for FreeBSD", "PVH note"),
  ])
  func programsAreNoKernels(file: ELFBuilder, name: String, advice: String) throws {
    let parts = ImageParts(main: file.part)
    let error = try #require(throws: ImageError.self) { try GuestImage(name: "x", parts) }
    #expect("\(error)".hasPrefix("The file is \(name). ") && "\(error)".contains(advice), "\(error)")
    #expect(try GuestImage(name: "x", parts, kind: .elf).description.kind == .elf)
  }

  /// An initramfs is one that Linux unpacks.
  @Test func anInitramfsIsAnArchive() throws {
    for bytes in [
      Array("070701".utf8), Array("070702".utf8), [0, 0, 0, 0] + Array("070701".utf8), [0x1F, 0x8B], Array("BZh".utf8),
      [0x28, 0xB5, 0x2F, 0xFD], [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0], [0x02, 0x21, 0x4C, 0x18], [0x5D, 0, 0],
    ] as [[UInt8]] {
      #expect(try LinuxBuilder().image(initramfs: ImagePart(bytes)).description.kind == .linux)
    }
    for (bytes, found) in [
      (Array("hsqs".utf8), "a squashfs file system"), (Array("#!/bin/sh".utf8), "a script"),
      (Array("070707".utf8), "an old cpio archive (odc)"), (Array("any bytes".utf8), "It begins like none"),
      ([], "empty"),
      ([0x04, 0x22, 0x4D, 0x18], "an lz4 file"),
    ] as [([UInt8], String)] {
      let error = try #require(throws: ImageError.self) { try LinuxBuilder().image(initramfs: ImagePart(bytes)) }
      #expect("\(error)".contains(found) && "\(error)".hasPrefix("The initramfs "), "\(error)")
    }
  }
}
