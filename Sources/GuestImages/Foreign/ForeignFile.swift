/// A file that no VM can start, recognised by its first bytes, and what its owner can do instead.
public struct ForeignFile: Sendable, Equatable, CustomStringConvertible {
  /// What it is, with its article, such as `a gzip file`.
  public let name: String
  /// What to do, in sentences.
  public let advice: String

  /// States what the file is, and what to do.
  public var description: String { "The file is \(name). \(advice)" }

  private init(_ name: String, _ advice: String) {
    self.name = name
    self.advice = advice
  }

  /// Recognises a file by its bytes; nil where it is none of these.
  init?(_ part: ImagePart) throws(ImageError) {
    do throws(ImageReadError) {
      guard let found = try Self.recognise(part) else { return nil }
      self = found
    } catch { throw .unreadable(error) }
  }

  /// How many first bytes of a file `init(head:)` looks at: those in which a Multiboot header may stand.
  public static let headBytes = 8192

  /// Recognises a file that no VM can start by its first `headBytes` bytes alone; nil where the rest decides.
  public init?(head: [UInt8]) {
    let part = ImagePart(head)
    do throws(ImageReadError) {
      // A kernel may begin like another file: the marks of kernels come first, as for a whole file.
      if try part.holds([0x7F] + Array("ELF".utf8), at: 0) { return nil }
      if try part.holds(Array("HdrS".utf8), at: 0x202) { return nil }
      if try MultibootHeader(part) != nil { return nil }
      for signature in Self.signatures where try part.holds(signature.bytes, at: signature.offset) {
        self = signature.file
        return
      }
    } catch {
      // Bytes in memory can be read; a file is looked at again when it is whole.
    }
    return nil
  }

  private static func recognise(_ part: ImagePart) throws(ImageReadError) -> ForeignFile? {
    guard part.count > 0 else { return empty }
    for signature in signatures where try part.holds(signature.bytes, at: signature.offset) { return signature.file }
    if try part.holds(Array("MZ".utf8), at: 0), let file = try portableExecutable(part) { return file }
    return try bootableWithoutSignature(part)
  }

  private static func portableExecutable(_ part: ImagePart) throws(ImageReadError) -> ForeignFile? {
    guard part.count >= 64 else { return nil }
    let pointer = try part.number(at: 0x3C)  // e_lfanew
    guard try part.holds(Array("PE\0\0".utf8), at: UInt64(pointer)) else { return dos }
    // The section table follows the headers; a unified kernel image has its kernel in a section of that name.
    let head = try part.bytes(at: 0, count: Int(min(part.count, 4096)))
    let text = String(decoding: head, as: UTF8.self)
    return text.contains(".linux\0") && text.contains(".osrel") ? unifiedKernelImage : efiProgram
  }

  private static func bootableWithoutSignature(_ part: ImagePart) throws(ImageReadError) -> ForeignFile? {
    // A PC starts firmware 16 bytes before the end: there is a jump, which firmware images are made for.
    let unit: UInt64 = 64 << 10
    if part.count >= unit, part.count % unit == 0 {
      let start = try part.bytes(at: part.count - 16, count: 3)
      if start[0] == 0xEA || start[0] == 0xE9 || start == [0x90, 0x90, 0xE9] || start == [0x0F, 0x09, 0xE9] {
        return firmware
      }
    }
    if try part.holds([0x55, 0xAA], at: 510) { return diskImage }
    return nil
  }

  // MARK: Files

  static let empty = ForeignFile("empty", "Upload a kernel.")
  private static let pack = "(cd DIRECTORY && find . | cpio -o -H newc -R 0:0) > initramfs.cpio"
  private static let asInitramfs =
    "A VM has no disk. To run what is in it under Linux, unpack it into a directory, make an initramfs of that with "
    + "\(pack), and give it as the initramfs of a Linux kernel."

  private static func compressed(_ name: String, _ command: String) -> ForeignFile {
    ForeignFile(
      name,
      "If it is a compressed kernel, unpack it (\(command)) and upload that. If it is an initramfs, give it beside a kernel."
    )
  }

  private static let firmware = ForeignFile(
    "a firmware image",
    "A VM has no firmware: kernels are started directly. Upload the kernel that the firmware would load.")
  private static let efiProgram = ForeignFile(
    "an EFI program",
    "A VM has no EFI firmware. Upload a kernel: a Linux bzImage, an ELF file, or a Multiboot or PVH kernel.")
  private static let unifiedKernelImage = ForeignFile(
    "a unified kernel image (UKI)",
    "A VM has no EFI firmware. Take out kernel and initramfs (objcopy -O binary --only-section=.linux UKI vmlinuz; likewise "
      + ".initrd), and upload them.")
  private static let dos = ForeignFile("a DOS program", "A VM has no DOS. Upload a kernel.")
  static let diskImage = ForeignFile(
    "a disk image or boot sector",
    "A VM has neither disk nor BIOS. Upload the kernel that the disk boots, and its initramfs.")
  private static let arm64 = ForeignFile(
    "a Linux kernel for ARM64", "The host's processors are x86-64. Upload a kernel that is built for x86-64.")
  private static let script = ForeignFile(
    "a script",
    "A VM starts a kernel. Put the script into an initramfs, as /init for example: \(pack). Give that beside a Linux kernel."
  )
  private static let archive = "Unpack it, and upload the kernel that is in it."

  private struct Signature {
    let offset: UInt64
    let bytes: [UInt8]
    let file: ForeignFile

    init(_ bytes: [UInt8], at offset: UInt64 = 0, _ file: ForeignFile) {
      self.offset = offset
      self.bytes = bytes
      self.file = file
    }

    init(_ text: String, at offset: UInt64 = 0, _ file: ForeignFile) { self.init(Array(text.utf8), at: offset, file) }
  }

  /// In order: a file may begin like more than one. Sources: the formats' specifications, and file(1).
  private static let signatures: [Signature] = [
    Signature([0x1F, 0x8B], compressed("a gzip file", "zcat FILE > vmlinux")),
    Signature([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00], compressed("an xz file", "xzcat FILE > vmlinux")),
    Signature([0x28, 0xB5, 0x2F, 0xFD], compressed("a zstd file", "zstdcat FILE > vmlinux")),
    Signature("BZh", compressed("a bzip2 file", "bzcat FILE > vmlinux")),
    Signature([0x04, 0x22, 0x4D, 0x18], compressed("an lz4 file", "lz4cat FILE > vmlinux")),
    Signature([0x02, 0x21, 0x4C, 0x18], compressed("an lz4 file", "lz4cat FILE > vmlinux")),
    Signature([0x89, 0x4C, 0x5A, 0x4F], compressed("an lzop file", "lzop -dc FILE > vmlinux")),
    Signature([0x5D, 0x00, 0x00], compressed("an lzma file", "xzcat --format=lzma FILE > vmlinux")),
    Signature([0x41, 0x52, 0x4D, 0x64], at: 56, arm64),
    Signature([0x52, 0x53, 0x43, 0x05], at: 56, ForeignFile("a Linux kernel for RISC-V", arm64.advice)),
    Signature([0x18, 0x28, 0x6F, 0x01], at: 36, ForeignFile("a Linux kernel for 32-bit ARM", arm64.advice)),
    Signature(
      [0x27, 0x05, 0x19, 0x56],
      ForeignFile("an image for U-Boot", "Upload the kernel that is in it (dumpimage), built for x86-64.")),
    Signature(
      [0xD0, 0x0D, 0xFE, 0xED],
      ForeignFile("a device tree or FIT image", "Upload the kernel that is in it (dumpimage), built for x86-64.")),
    Signature("070701", ForeignFile("a cpio archive", "It may be an initramfs: give it beside a Linux kernel.")),
    Signature("070702", ForeignFile("a cpio archive", "It may be an initramfs: give it beside a Linux kernel.")),
    Signature(
      "070707", ForeignFile("an old cpio archive (odc)", "For an initramfs, make it anew with -H newc: \(pack).")),
    Signature(
      [0xC7, 0x71], ForeignFile("an old cpio archive (binary)", "For an initramfs, make it anew with -H newc: \(pack).")
    ),
    Signature("#!", script),
    Signature(
      "!<arch>\ndebian",
      ForeignFile("a Debian package", "Unpack it (dpkg-deb -x FILE DIRECTORY), and upload the kernel below boot/.")),
    Signature("!<arch>", ForeignFile("a library of object files", "Link a kernel, and upload that.")),
    Signature(
      [0xED, 0xAB, 0xEE, 0xDB],
      ForeignFile("an RPM package", "Unpack it (rpm2cpio), and upload the kernel that is in it.")),
    Signature("PK\u{03}\u{04}", ForeignFile("a zip archive", archive)),
    Signature([0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C], ForeignFile("a 7z archive", archive)),
    Signature("hsqs", ForeignFile("a squashfs file system", asInitramfs)),
    Signature([0x45, 0x3D, 0xCD, 0x28], ForeignFile("a cramfs file system", asInitramfs)),
    Signature("-rom1fs-", ForeignFile("a romfs file system", asInitramfs)),
    Signature("XFSB", ForeignFile("an XFS file system", asInitramfs)),
    Signature([0x53, 0xEF], at: 1080, ForeignFile("an ext2, ext3 or ext4 file system", asInitramfs)),
    Signature([0xE2, 0xE1, 0xF5, 0xE0], at: 1024, ForeignFile("an EROFS file system", asInitramfs)),
    Signature("_BHRfS_M", at: 65_600, ForeignFile("a btrfs file system", asInitramfs)),
    Signature(
      "QFI\u{FB}".unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) },
      ForeignFile("a QEMU disk (qcow2)", asInitramfs)),
    Signature("KDMV", ForeignFile("a VMware disk", asInitramfs)),
    Signature("vhdxfile", ForeignFile("a Hyper-V disk", asInitramfs)),
    Signature("conectix", ForeignFile("a Hyper-V disk", asInitramfs)),
    Signature(
      "CD001", at: 32_769,
      ForeignFile(
        "a disc image (ISO 9660)",
        "A VM has no disc drive. Take out the kernel and its initramfs (bsdtar -xf FILE), and upload them.")),
    Signature("ustar", at: 257, ForeignFile("a tar archive", asInitramfs)),
    Signature("_FVH", at: 40, firmware),
    Signature([0x55, 0xAA], ForeignFile("an option ROM", firmware.advice)),
    Signature(
      [0xCF, 0xFA, 0xED, 0xFE], ForeignFile("a program for macOS", "Build a kernel for x86-64 as a static ELF file.")),
    Signature(
      [0x00, 0x61, 0x73, 0x6D],
      ForeignFile(
        "a WebAssembly module", "A VM runs x86 code. Link it with a runtime into a unikernel, or into an initramfs.")),
    Signature(
      [0xCA, 0xFE, 0xBA, 0xBE],
      ForeignFile("a Java class or a program for macOS", "Build a kernel for x86-64 as a static ELF file.")),
    Signature("%PDF", ForeignFile("a PDF document", "Upload a kernel.")),
    Signature(
      "version https://git-lfs",
      ForeignFile("a pointer of Git LFS", "Fetch the file itself (git lfs pull), and upload that.")),
    Signature("<!", ForeignFile("a page of HTML", "The download was perhaps an error page. Fetch the file again.")),
    Signature("<html", ForeignFile("a page of HTML", "The download was perhaps an error page. Fetch the file again.")),
    Signature(
      "{", ForeignFile("JSON", "A manifest is sent with the media type application/json. Else upload a kernel.")),
  ]
}

// MARK: Programs

extension ForeignFile {
  /// The note that names the system a program is for (NT_GNU_ABI_TAG), and its first word for Linux.
  private static let abiTag: UInt32 = 1
  private static let linuxTag: UInt32 = 0

  /// An ELF file that says it is a program for an operating system, or a unikernel for a loader of its own. Nil where it says
  /// neither. A client that gives the kind `elf` is believed.
  static func program(_ part: ImagePart) throws(ImageError) -> ForeignFile? {
    // What is wrong with an ELF file its loader says.
    guard let elf = try? ELFFile(part), let notes = try? elf.notes() else { return nil }
    if (try? ELFImage.pvhNote(of: elf)) ?? nil != nil { return nil }
    let owners = Set(notes.map(\.owner))
    if owners.contains("HERMIT") {
      return ForeignFile(
        "a Hermit unikernel",
        "Its own loader starts it: upload hermit-loader for x86-64, and give this file as its module.")
    }
    if owners.contains("Xen") {
      return ForeignFile(
        "a kernel for Xen's paravirtual mode", "Only Xen starts it. Build it with a PVH entry (CONFIG_PVH for Linux).")
    }
    let isTagged = notes.contains {
      $0.owner == "GNU" && $0.type == abiTag && $0.descriptor.littleEndian(UInt32.self, at: 0) == linuxTag
    }
    guard isTagged || owners.contains("Go") else {
      guard let system = ["NetBSD", "FreeBSD", "OpenBSD"].first(where: owners.contains) else { return nil }
      return ForeignFile(
        "a program or kernel for \(system)",
        "It needs \(system)'s own loader. A kernel with a PVH note (Xen, type 18) or a Multiboot header can be started. If "
          + "this one starts by itself, give the kind elf.")
    }
    return ForeignFile(
      "a program for Linux",
      "It needs a Linux kernel. Put it into an initramfs, as /init for example: \(pack). Give that beside a Linux kernel. If "
        + "it starts by itself, give the kind elf.")
  }
}

extension ImagePart {
  /// Whether its bytes at `offset` are `bytes`.
  fileprivate func holds(_ bytes: [UInt8], at offset: UInt64) throws(ImageReadError) -> Bool {
    guard contains(offset: offset, count: UInt64(bytes.count)) else { return false }
    return try self.bytes(at: offset, count: bytes.count) == bytes
  }

  /// The 32-bit number at `offset`; 0 past the end.
  fileprivate func number(at offset: UInt64) throws(ImageReadError) -> UInt32 {
    guard contains(offset: offset, count: 4) else { return 0 }
    return try bytes(at: offset, count: 4).littleEndian(UInt32.self, at: 0) ?? 0
  }
}
