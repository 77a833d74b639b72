import GuestImages
import HTTPServer
import KVM
import LinuxSupport
import Logging
import ManagementAPI
import PoolManager
import VCPURuntime

/// The server's life: everything put together, in order, and taken apart again.
struct Daemon {
  private let options: Vmpoold

  init(_ options: Vmpoold) { self.options = options }

  /// Runs until a signal ends it.
  func run() throws(StartupError) {
    ProcessSetup.prepareSignals()
    let log = LogWriter(format: options.logFormat, level: options.logLevel)
    LoggingSystem.bootstrap { _ in LineLogHandler(writer: log) }
    let logger = Logger(label: "vmpoold")
    let systemd = Systemd.takeOver()

    let addresses = try listenAddresses(inherited: systemd.listeners)
    let system = try openKVM()
    let mechanism = try mechanism(on: system)
    if let path = options.stateDir { try ProcessSetup.prepareStateDirectory(path) }
    if let failure = ProcessSetup.raiseDescriptorLimit() {
      logger.warning("the limit on descriptors could not be raised", metadata: ["error": "\(failure)"])
    }

    let fleet = Fleet(
      factory: KVMMachineFactory(system: system), mechanism: mechanism, limits: FleetLimits(vms: options.maxVMs))
    try declareDemoPool(in: fleet)
    let http = httpConfiguration(addresses, logger)
    var configuration = APIHandler.Configuration(
      host: HostFacts(system), hostNames: hostNames(addresses), bodyLimit: http.bodyLimit)
    if log.isEnabled(.info) { configuration.accessLog = { record, route in log.write(record, route: route) } }
    let api = APIHandler(fleet: fleet, configuration: configuration)
    let server = try start(http, api)
    for address in server.boundAddresses { logger.info("listening on \(address)") }
    systemd.notify("READY=1")

    let signal = waitForSignal(ProcessSetup.endSignals)
    let shutdown = Shutdown(fleet: fleet, api: api, server: server, systemd: systemd, logger: logger)
    shutdown.run(because: signal)
  }

  // MARK: Pieces

  private func listenAddresses(inherited: [ListenAddress]) throws(StartupError) -> [ListenAddress] {
    var addresses = inherited + options.listen
    if addresses.isEmpty { addresses = [.tcp(host: "127.0.0.1", port: 8080)] }
    if !options.insecureListen, let open = addresses.first(where: { !$0.isLoopback }) {
      throw .usage(
        "other machines can reach \(open), and there is no authentication; listen on a loopback address or a unix "
          + "socket, or say --insecure-listen")
    }
    return addresses
  }

  private func openKVM() throws(StartupError) -> KVMSystem {
    do throws(KVMUnavailable) {
      return try KVMSystem()
    } catch {
      throw .unavailable("\(error)")
    }
  }

  private func mechanism(on system: KVMSystem) throws(StartupError) -> KickMechanism {
    switch options.kickMechanism {
    case .auto: return system.hasImmediateExit ? .immediateExit : .signalMask
    case .signalMask: return .signalMask
    case .immediateExit:
      guard system.hasImmediateExit else {
        throw .unavailable("\(KVMUnavailable.lacksCapability(.immediateExit)), or say --kick-mechanism signal_mask")
      }
      return .immediateExit
    }
  }

  private func declareDemoPool(in fleet: Fleet) throws(StartupError) {
    guard !options.noDemoPool, let spin = BuiltinGuest.named("spin") else { return }
    let vm = VMSpecification(image: .builtin(spin), vcpus: 1, memoryMiB: 2)
    do throws(FleetError) {
      _ = try fleet.declare("demo", PoolSpecification(vm: vm, ready: 2))
    } catch {
      throw .unavailable("\(error)")
    }
  }

  private func httpConfiguration(_ addresses: [ListenAddress], _ logger: Logger) -> HTTPServerConfiguration {
    var configuration = HTTPServerConfiguration(listen: addresses)
    configuration.diagnostics = { line in logger.debug("libmicrohttpd: \(line)") }
    return configuration
  }

  /// What clients may call the server by.
  private func hostNames(_ addresses: [ListenAddress]) -> [String] {
    options.allowHost
      + addresses.compactMap { address in
        switch address {
        case .tcp(let host, _): host
        case .inherited(let descriptor): Systemd.host(of: descriptor)
        case .unix: nil
        }
      }
  }

  private func start(_ configuration: HTTPServerConfiguration, _ api: APIHandler) throws(StartupError) -> HTTPService {
    do throws(HTTPServerError) {
      let server = try HTTPService(configuration: configuration, handler: api)
      try server.start()
      return server
    } catch {
      throw .cannotListen("\(error)")
    }
  }
}
