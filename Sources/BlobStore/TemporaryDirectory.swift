import Foundation
import Glibc
import LinuxSupport
import SystemPackage

/// A directory for blobs that do not outlive the process.
///
/// The process locks it (flock(2)) for as long as it lives, however it ends. The next such process removes those that no
/// process holds any more.
final class TemporaryDirectory: Sendable {
  let path: String
  private let lock: OwnedDescriptor
  private static let prefix = "vmpoold-blobs-"

  /// Makes one in `$TMPDIR`, or in `/var/tmp`: blobs are large, and `/tmp` may be memory.
  init() throws(BlobStoreError) {
    let parent = BlobRepository.temporaryParent
    Self.sweep(parent)
    // Safe, here and below: texts are copied, and paths live for their calls.
    var template = Array("\(parent)/\(Self.prefix)XXXXXX".utf8CString)
    let made = try translating(parent) { () throws(Errno) in
      guard let made = unsafe mkdtemp(&template) else { throw Errno(rawValue: errno) }
      return unsafe String(cString: made)
    }
    path = made
    lock = try translating(made) { () throws(Errno) in
      let directory = unsafe open(made, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
      guard directory >= 0 else { throw Errno(rawValue: errno) }
      let lock = OwnedDescriptor(owning: directory)
      guard flock(lock.rawValue, LOCK_EX | LOCK_NB) == 0 else { throw Errno(rawValue: errno) }
      return lock
    }
  }

  func remove() { Self.remove(path) }

  /// Removes what processes that were killed have left behind.
  private static func sweep(_ parent: String) {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
    for name in names where name.hasPrefix(prefix) {
      let path = parent + "/" + name
      // Safe: the path lives for the call, and the kernel fills one whole stat structure.
      let directory = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
      guard directory >= 0 else { continue }
      let lock = OwnedDescriptor(owning: directory)
      var status = stat()
      // One that is new may be about to be locked.
      guard unsafe fstat(lock.rawValue, &status) == 0, status.st_ctim.tv_sec < time(nil) - 60,
        flock(lock.rawValue, LOCK_EX | LOCK_NB) == 0
      else { continue }
      remove(path)
    }
  }

  // What cannot be removed now is another's, or found again by the next sweep.
  private static func remove(_ path: String) { try? FileManager.default.removeItem(atPath: path) }
}

extension BlobRepository {
  /// Where blobs are that do not outlive the process, in a directory of their own: `$TMPDIR`, or `/var/tmp`.
  public static var temporaryParent: String {
    // Safe: the text is copied; nothing changes the environment while the server runs.
    unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/var/tmp"
  }
}
