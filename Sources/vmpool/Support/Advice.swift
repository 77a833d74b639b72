import APIClient
import APIModel
import CommandLineSupport
import Glibc

/// The server's problems and the transport's failures, in the words of the command line.
enum Advice {
  /// What happened, and what to do next with this program.
  static func text(_ error: APIError) -> String {
    switch error {
    case .problem(let problem): text(problem)
    case .unreachable(let endpoint, let reason, let number): unreachable(endpoint, reason, number)
    case .untrusted(let endpoint, let reason):
      "\(endpoint) is not spoken to: \(reason). --cacert FILE names the authority that signed the server's certificate, "
        + "--cert and --client-key your own; a server without TLS is http://."
    case .foreign(let endpoint, let answer):
      "\(endpoint) is no vmpool server: \(answer). Another program listens there; name vmpoold's address with --server."
    case .protocolViolation(let text): text
    }
  }

  /// Reports on stderr why guests will not do on the server's host what they are made for.
  static func report(_ warnings: [String]) {
    for warning in warnings { StandardError.complain("warning: \(withoutHTTP(warning))") }
  }

  // MARK: - Problems

  private static func text(_ problem: Problem) -> String {
    inOptions(withoutHTTP(problem.detail), pointer: problem.pointer) + access(problem)
  }

  /// What to do where the server does not know the user, or knows that the user may not; nothing for other problems.
  private static func access(_ problem: Problem) -> String {
    switch (problem.status, problem.type) {
    case (401, _):
      " Give a key: --key-file FILE, $VMPOOL_KEY or `vmpool context set`. An operator makes one with `vmpool keys create`, "
        + "the first one with `vmpoold create-key` on the server's machine."
    case (403, "/problems/scope-missing"):
      " A key with this scope comes from an operator: `vmpool keys create --scopes ...`."
    default: ""
    }
  }

  /// What is wrong with a declaration that options make, in the words of the options.
  static func text(_ mistake: DocumentMistake) -> String { inOptions(mistake.description, pointer: mistake.pointer) }

  /// The server's refusal of a pool that a file declares, with the pool's name and the member as the file has it.
  static func refusal(_ problem: Problem, ofPool name: String) -> Failure {
    Failure(text(problem, ofPool: name), status: APIError.problem(problem).exitCode.rawValue)
  }

  private static func text(_ problem: Problem, ofPool name: String) -> String {
    let detail = withoutHTTP(problem.detail)
    guard let pointer = problem.pointer, pointer.count > 1 else {
      return detail.contains("pool \(name) ") ? detail : "pool \(name): \(detail)"
    }
    let member = DocumentMistake(pointer: pointer, description: detail).path
    let text = detail.replacing(pointer, with: member)
    return "pool \(name): " + (text.hasPrefix(member) ? text : "\(member): \(text)")
  }

  /// A sentence about the member at `pointer`, with the option that gives the member in the place of its name. Numbers of
  /// milliseconds become durations, as the option takes them.
  private static func inOptions(_ detail: String, pointer: String?) -> String {
    guard let pointer, let option = option(of: pointer) else { return detail }
    var text = detail
    if let match = text.wholeMatch(of: /[a-z_.\/]+ is (-?[0-9]+); give ([0-9]+) to ([0-9]+)\./) {
      let takesDuration = pointer.hasSuffix("_ms") && option != "--timeout-ms"
      let numbers = [match.1, match.2, match.3].map { number in
        takesDuration ? Int(number).map { "\(DurationArgument(milliseconds: $0))" } ?? "\(number)" : "\(number)"
      }
      return "\(option) is \(numbers[0]); give \(numbers[1]) to \(numbers[2])."
    }
    for (name, words) in [
      (pointer, option), ("ready.min", "the minimum of --ready"), ("ready.max", "the maximum of --ready"),
      ("max_vms", "--max-vms"),
    ] { text = text.replacing(name, with: words) }
    return text.contains(option) ? text : "\(option): \(text)"
  }

  /// The sentence with the advice that speaks HTTP replaced by this program's commands.
  ///
  /// The server writes for its API's clients: `There is no pool x; GET /v1/pools lists them.`
  static func withoutHTTP(_ detail: String) -> String {
    var text = detail
    for (phrase, command) in [
      ("GET /v1/vms lists", "`vmpool vms` lists"), ("GET /v1/pools lists", "`vmpool pools` lists"),
      ("GET /v1/images lists", "`vmpool images` lists"), ("GET /v1/leases lists", "`vmpool leases` lists"),
      ("GET /v1/blobs lists", "`vmpool blobs` lists"), ("GET /v1/keys lists", "`vmpool keys` lists"),
      ("(wait_ms)", "(--wait)"),
      ("ring0_emulated in GET /v1/host", "`vmpool host` says so"),
      (" is not as If-Match says", " was changed meanwhile"), ("GET it and try again", "Try again"),
    ] {
      text = text.replacing(phrase, with: command)
    }
    // Other advice on requests does not help a user who types commands.
    return text.replacing(/[;,.] (GET|PUT|POST|PATCH|DELETE)( it)?( at)? \/[^ ]*[^.]*/, with: "")
  }

  /// The option that gives the member at a pointer (RFC 6901), where there is one.
  static func option(of pointer: String) -> String? {
    let parts = pointer.split(separator: "/").map(String.init)
    guard let member = parts.first == "flat" ? parts.dropFirst().first : parts.first else { return nil }
    return switch member {
    case "memory_mib": "--memory"
    case "code": "--flat"
    case "labels": "--label"
    case "modules": "--module"
    case "environment": "--env"
    case "refill": "--refill-concurrency"
    case "input", "input_base64": "--input"
    case "timeout_ms": "--timeout-ms"
    case "image", "vcpus", "ready", "max_vms", "deadline_ms", "probe_interval_ms", "ready_when", "ready_timeout_ms",
      "on_release", "verify_reset",
      "paused", "ttl_ms", "wait_ms",
      "command_line", "mode", "load_address", "entry", "kind", "initramfs", "block":
      "--" + member.replacing(/_ms$/, with: "").replacing("_", with: "-")
    default: nil
    }
  }

  // MARK: - The transport

  private static func unreachable(_ endpoint: String, _ reason: String, _ number: Int32?) -> String {
    let socket = endpoint.hasPrefix("unix:") ? String(endpoint.dropFirst("unix:".count)) : nil
    let advice: String? =
      switch (number, socket) {
      case (EACCES, let socket?): permission(socket)
      case (ENOENT, _?): "there is no such socket; start vmpoold, or name its socket with --server"
      case (ECONNREFUSED, _?): "the socket is there, but no server listens on it; start vmpoold"
      case (ECONNREFUSED, nil): "nothing listens there; start vmpoold, or name another server with --server"
      case (_, nil): "\(reason); look at the address, and whether vmpoold runs there"
      default: nil
      }
    return "\(endpoint) cannot be reached: \(advice ?? reason)"
  }

  /// Who may use a socket that this user may not.
  private static func permission(_ socket: String) -> String {
    var status = stat()
    // Safe, here and below: the structure is a local, and the group's name is copied at once; there is one thread.
    guard unsafe stat(socket, &status) == 0 else {
      return "permission denied: this user may not look into the socket's folder"
    }
    guard let group = unsafe getgrgid(status.st_gid), let name = unsafe group.pointee.gr_name,
      status.st_gid != 0, status.st_mode & S_IWGRP != 0
    else { return "permission denied: only the socket's owner may use it; try sudo" }
    let text = unsafe String(cString: name)
    return "permission denied: the socket is for members of the group \(text); "
      + "`sudo usermod -aG \(text) $USER`, then log in again"
  }
}
