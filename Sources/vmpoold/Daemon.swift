import HTTPServer
import KVM
import LinuxSupport
import Logging
import ManagementAPI
import PoolManager
import StateStore
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
    let state = try openState(logger)
    if let failure = ProcessSetup.raiseDescriptorLimit() {
      logger.warning("the limit on descriptors could not be raised", metadata: ["error": "\(failure)"])
    }

    let journal = StateJournal(state)
    let fleet = Fleet(
      factory: KVMMachineFactory(system: system), mechanism: mechanism, limits: limits(), journal: journal,
      firstFence: UInt64(state.recovered.highestFence) + 1)
    let pools = PoolDeclarations(
      fleet: fleet, journal: journal, firstRevision: UInt64(state.recovered.highestRevision) + 1)
    try declarePools(pools, state, logger)
    let http = httpConfiguration(addresses, logger)
    var configuration = APIHandler.Configuration(
      host: HostFacts(system), hostNames: hostNames(addresses), bodyLimit: http.bodyLimit)
    if log.isEnabled(.info) { configuration.accessLog = { record, route in log.write(record, route: route) } }
    let api = APIHandler(fleet: fleet, pools: pools, state: state, configuration: configuration)
    let server = try start(http, api)
    for address in server.boundAddresses { logger.info("listening on \(address)") }
    systemd.notify("READY=1")

    let signal = waitForSignal(ProcessSetup.endSignals)
    let shutdown = Shutdown(fleet: fleet, api: api, server: server, systemd: systemd, logger: logger)
    shutdown.run(because: signal)
    state.close()
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

  private func openState(_ logger: Logger) throws(StartupError) -> StateDatabase {
    if let path = options.stateDir { try ProcessSetup.prepareStateDirectory(path) }
    do throws(StateStoreError) {
      let state = try StateDatabase.open(directory: options.stateDir, sync: options.stateSync)
      let lost = state.recovered.lostLeases.count
      if lost > 0 { logger.notice("leases were lost with the server that held them", metadata: ["leases": "\(lost)"]) }
      return state
    } catch {
      throw .stateDirectory("\(error)")
    }
  }

  private func limits() -> FleetLimits {
    let host = HostLimits.current
    return FleetLimits(
      vms: options.maxVMs, memoryMiB: options.maxMemoryMiB ?? host.memoryMiB, descriptors: host.descriptors,
      mappings: host.mappings, creations: options.refillConcurrency)
  }

  /// The pools there were when the server ended last; on a first start, the demonstration.
  private func declarePools(
    _ pools: PoolDeclarations, _ state: StateDatabase, _ logger: Logger
  ) throws(StartupError) {
    for pool in state.recovered.pools {
      do throws(DeclarationError) {
        try pools.recover(pool.name, document: pool.document, revision: UInt64(pool.revision))
      } catch {
        // It stays on record: the next release, or the next configuration, may know what to do with it.
        logger.error("a pool cannot be brought back", metadata: ["error": "\(error)"])
      }
    }
    guard !options.noDemoPool, state.recovered.epoch == 1 else { return }
    do throws(DeclarationError) {
      try pools.declareDemonstration()
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
