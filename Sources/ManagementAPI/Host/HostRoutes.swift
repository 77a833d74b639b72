import APIModel
import Foundation
import HTTPServer
import KVM
import LinuxSupport
import PoolManager

/// What the host and its KVM say of themselves.
public struct HostFacts: Sendable {
  /// KVM_GET_API_VERSION.
  public var kvmAPIVersion: Int
  /// KVM_CHECK_EXTENSION's answers, by capability in lower case without `KVM_CAP_`.
  public var capabilities: [String: Int]
  /// The processor's brand string.
  public var cpu: String
  /// Whether ring-0 guest code is emulated in software.
  public var ring0Emulated: Bool
  /// The limits of the server's control groups.
  public var controlGroup: ControlGroupLimits

  /// Facts made by hand, as tests do.
  public init(
    kvmAPIVersion: Int, capabilities: [String: Int], cpu: String, ring0Emulated: Bool,
    controlGroup: ControlGroupLimits = ControlGroupLimits()
  ) {
    self.kvmAPIVersion = kvmAPIVersion
    self.capabilities = capabilities
    self.cpu = cpu
    self.ring0Emulated = ring0Emulated
    self.controlGroup = controlGroup
  }

  /// What `system` and /proc/cpuinfo say, and the limits of the server's control groups.
  public init(_ system: KVMSystem, controlGroup: ControlGroupLimits) {
    self.init(
      kvmAPIVersion: system.apiVersion,
      capabilities: Dictionary(uniqueKeysWithValues: system.capabilities.map { ($0.key.rawValue, $0.value) }),
      cpu: Self.processorName, ring0Emulated: KVMSystem.emulatesRing0, controlGroup: controlGroup)
  }

  private static var processorName: String {
    // A host without /proc is one that does not tell.
    let lines = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n") ?? []
    guard let line = lines.first(where: { $0.hasPrefix("model name") }), let colon = line.firstIndex(of: ":") else {
      return "unknown"
    }
    return line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
  }
}

/// `/v1/host`.
enum HostRoutes {
  static let routes = [
    Route(method: .get, template: "/v1/host", operationID: "getHost", scope: .read, operation: get)
  ]

  private static func get(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let host = api.configuration.host
    let limits = LimitsDocument(
      maxVMs: api.fleet.limits.vms, maxMemoryMiB: api.fleet.limits.memoryMiB, maxVCPUs: api.fleet.limits.threads,
      maxVCPUsPerVM: min(PoolRules.vcpus.upperBound, host.capabilities["max_vcpus"] ?? .max),
      maxMemoryMiBPerVM: min(PoolRules.memoryMiB.upperBound, api.fleet.limits.memoryMiB),
      maxBodyBytes: api.configuration.bodyLimit,
      maxPools: api.fleet.limits.pools, maxBlobBytes: api.images.blobs.limits.blobBytes,
      maxBlobsBytes: api.images.blobs.limits.totalBytes)
    let document = HostDocument(
      version: Release.version, kvmAPIVersion: host.kvmAPIVersion, capabilities: host.capabilities, cpu: host.cpu,
      kickMechanism: api.fleet.mechanism.rawValue, ring0Emulated: host.ring0Emulated, limits: limits,
      controlGroup: ControlGroupDocument(
        memoryBytes: host.controlGroup.memoryBytes, tasks: host.controlGroup.tasks,
        processors: host.controlGroup.processors))
    return try .json(document)
  }
}
