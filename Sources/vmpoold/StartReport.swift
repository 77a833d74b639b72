import APIModel
import HTTPServer
import Logging
import ManagementAPI
import PoolManager
import StateStore
import VCPURuntime

/// The first lines of the log: the version and what KVM can do here, where the state is, the limits, and what to type
/// next.
struct StartReport {
  let logger: Logger

  func host(_ host: HostFacts, _ mechanism: KickMechanism) {
    let rings = host.ring0Emulated ? "ring 0 is emulated, so kernels as guests are slow here" : "ring 0 runs natively"
    logger.info("vmpoold \(Release.version) on \(host.cpu): KVM kicks vCPUs by \(mechanism.rawValue), \(rings)")
  }

  func state(_ directory: String?, _ recovered: Recovered) {
    guard let directory else {
      logger.info("the state is in memory and ends with the server; --state-dir DIR keeps it")
      return
    }
    logger.info(
      "the state is in \(directory)",
      metadata: ["pools": "\(recovered.pools.count)", "images": "\(recovered.images.count)"])
    let lost = recovered.lostLeases.count
    if lost > 0 { logger.notice("leases were lost with the server that held them", metadata: ["leases": "\(lost)"]) }
  }

  func limits(_ limits: FleetLimits, _ host: HostLimits, memoryIsGiven: Bool) {
    let source = memoryIsGiven ? "" : " (\(host.memorySource))"
    logger.info(
      "limits: \(limits.vms) VMs, \(limits.threads) vCPUs, \(limits.memoryMiB) MiB of guest memory\(source)")
  }

  /// One line an address; the last says what to type.
  func listening(_ addresses: [ListenAddress], speaksTLS: Bool, hasDemonstration: Bool) {
    for address in addresses.dropLast() { logger.info("listening on \(address)") }
    guard let last = addresses.last else { return }
    let next = (hasDemonstration ? "vmpool run demo" : "vmpool host") + Self.option(last, speaksTLS: speaksTLS)
    logger.info("listening on \(last)", metadata: ["next": "\(next)"])
  }

  /// How `vmpool` finds the server; nothing for the address that it takes by itself.
  private static func option(_ address: ListenAddress, speaksTLS: Bool) -> String {
    switch address {
    case .tcp(let host, let port) where speaksTLS:
      " --server https://" + ListenAddress.tcp(host: host == "0.0.0.0" ? "127.0.0.1" : host, port: port).description
    case .tcp("127.0.0.1", 8080): ""
    case .tcp("0.0.0.0", let port): " --server 127.0.0.1:\(port)"
    default: " --server " + shellWord("\(address)")
    }
  }

  /// The text as one word of a shell's command line.
  static func shellWord(_ text: String) -> String {
    let isPlain = text.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20) || "/.:_-".utf8.contains(byte)
    }
    return isPlain ? text : "'" + text.replacing("'", with: "'\\''") + "'"
  }
}
