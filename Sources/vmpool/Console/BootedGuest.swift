import APIClient
import APIModel
import CommandLineSupport

/// What `vmpool boot` makes on the server, and deletes again.
final class BootedGuest {
  /// How far a request is that makes something on the server.
  private enum Request<Sent> {
    case unsent
    /// No answer has come. The server may have made the thing, or may make it later.
    case unanswered(Sent)
    case answered
  }

  let client: VMPoolClient
  private let files: ImageFiles
  private let name: String
  private var blobs: [String] = []
  private var image = Request<Void>.unsent
  private var machine = Request<CreateVMDocument>.unsent
  private var vm: String?

  /// How long the server may take for each deletion, at least. It may be busy for longer than `--timeout`.
  private static let patience = Duration.seconds(10)

  init(files: ImageFiles, name: String, client: VMPoolClient) {
    (self.files, self.name, self.client) = (files, name, client)
  }

  /// A name that no other image has.
  static func newName() -> String {
    let digits = String(UInt64.random(in: 0..<1 << 48), radix: 16)
    return "boot-" + String(repeating: "0", count: 12 - digits.count) + digits
  }

  func store() throws {
    do {
      _ = try files.store(as: name, to: client) { sent in
        switch sent {
        case .blob(let digest): blobs.append(digest)
        case .image: image = .unanswered(())
        }
      }
    } catch APIError.problem(let problem) {
      image = .answered
      throw APIError.problem(problem)
    }
    image = .answered
  }

  func start(_ options: NewVMOptions) throws -> String {
    let request = CreateVMDocument(
      image: name, vcpus: options.vcpus, memoryMiB: options.memory, deadlineMS: options.deadline?.milliseconds)
    machine = .unanswered(request)
    do throws(APIError) {
      let made = try client.createVM(request, idempotencyKey: name)
      (machine, vm) = (.answered, made.id)
      Advice.report(made.warnings)
      return made.id
    } catch {
      if case .problem = error { machine = .answered }
      throw error
    }
  }

  /// Deletes the VM, the image and the image's bytes, as far as they are there and nothing else uses them. Says what is left.
  func delete() {
    client.timeout = max(client.timeout, Self.patience)
    var deletions = Deletions()
    if case .unanswered(let request) = machine {
      _ = deletions.attempt("a VM of the image \(name)") { () throws(APIError) in vm = try id(of: request) }
    }
    if let vm { _ = deletions.attempt(vm) { () throws(APIError) in try client.deleteVM(vm) } }
    if !deleteImage(&deletions) {
      for digest in Set(blobs).sorted() {
        _ = deletions.attempt("the blob \(digest)") { () throws(APIError) in try client.deleteUnusedBlob(digest) }
      }
    }
    deletions.report()
  }

  /// Deletes the image. True where its blobs need no request of their own: the server deletes them with the image.
  private func deleteImage(_ deletions: inout Deletions) -> Bool {
    if case .unsent = image { return false }
    let what = "the image \(name)"
    switch deletions.attempt(what, { () throws(APIError) in try client.deleteImage(name) }) {
    case .deleted, .left: return true
    case .absent:
      // The server may still be busy with the request that makes it.
      guard case .unanswered = image else { return false }
      deletions.left.append(what)
      return true
    }
  }

  /// Repeats the request for a VM whose answer did not come. By the key, the server knows that it is the same request.
  private func id(of request: CreateVMDocument) throws(APIError) -> String? {
    let end = ContinuousClock.now + Self.patience
    while true {
      do throws(APIError) {
        return try client.createVM(request, idempotencyKey: name).id
      } catch .problem(let problem) where problem.type != "/problems/idempotency-key-in-use" {
        // The server made nothing of a request that it refused.
        return nil
      } catch {
        guard case .problem = error, .now < end, !signalCameAgain else { throw error }
        _ = waitForInput(false, milliseconds: 100)
      }
    }
  }
}

/// Deletes one thing after the other, and remembers what it could not delete.
private struct Deletions {
  enum Outcome { case deleted, absent, left }

  var left: [String] = []
  private var failure: APIError?

  mutating func attempt(_ what: String, _ deletion: () throws(APIError) -> Void) -> Outcome {
    // The program does not wait again for a server that did not answer.
    if case .unreachable = failure {
      left.append(what)
      return .left
    }
    do throws(APIError) {
      try deletion()
      return .deleted
    } catch .problem(let problem) where problem.status == 404 {
      // It is not there, or another client deleted it.
      return .absent
    } catch {
      failure = error
      left.append(what)
      return .left
    }
  }

  func report() {
    if left.isEmpty { return }
    let reason =
      signalCameAgain ? "a second signal came" : failure.map { Advice.text($0) } ?? "the server did not answer in time"
    StandardError.complain("\(left.joined(separator: ", ")) may be left: \(reason)")
  }
}
