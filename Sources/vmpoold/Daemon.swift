import APIModel
import Access
import BlobStore
import Control
import Glibc
import HTTPServer
import KVM
import LinuxSupport
import Logging
import MachineRuntime
import ManagementAPI
import PoolManager
import ServerConfiguration
import StateStore
import SystemPackage
import VCPURuntime

/// The server's life: everything put together, in order, and taken apart again.
struct Daemon {
  private let options: Vmpoold

  init(_ options: Vmpoold) { self.options = options }

  /// Runs until a signal ends it.
  func run() throws(StartupError) {
    ProcessSetup.prepareSignals()
    ProcessMemory.keep()
    let systemd = Systemd.takeOver()
    var sandbox = try ServerSandbox(options.sandbox)
    let (log, signals) = try startThreads()
    LoggingSystem.bootstrap { [level = options.logLevel] _ in LineLogHandler(writer: log, level: level) }
    // A log that is not read keeps the process no longer than this.
    defer { _ = log.flush(forNS: 500_000_000) }
    let logger = Logger(label: "vmpoold")
    let report = StartReport(logger: logger)

    let addresses = listenAddresses(inherited: systemd.listeners)
    let system = try openKVM()
    let mechanism = try mechanism(on: system)
    if let failure = DescriptorLimit.raise() {
      logger.warning("the limit on descriptors could not be raised", metadata: ["error": "\(failure)"])
    }
    let hostLimits = HostLimits.current
    let limits = limits(hostLimits)
    let file = try readConfiguration()
    let tls = try readCertificate(logger)
    if let path = options.stateDir { try ProcessSetup.prepareStateDirectory(path) }
    try sandbox.bind(options, addresses)
    let confinement = sandbox.status
    let host = HostFacts(system, controlGroup: hostLimits.group, sandbox: SandboxDocument(confinement))
    let state = try openState(logger)
    try checkAddresses(
      addresses, hasTLS: tls != nil, isClosed: file?.access != nil || !state.recovered.keys.isEmpty)

    let journal = StateJournal(state)
    let events = EventLog(EventLog.Configuration(heartbeatMS: options.eventHeartbeat * 1000))
    let fleet = Fleet(
      factory: KVMMachineFactory(system: system), mechanism: mechanism, limits: limits, journal: journal,
      firstFence: UInt64(state.recovered.highestFence) + 1
    ) { event in
      events.publish(event)
      Self.log(event, logger)
    }
    let blobs = try openBlobs()
    let images = ImageCatalogue(blobs: blobs, journal: journal)
    recoverImages(images, state, logger)
    let pools = PoolDeclarations(
      fleet: fleet, images: images, journal: journal, firstRevision: UInt64(state.recovered.highestRevision) + 1)
    recoverPools(pools, state, logger)
    let access = CurrentAccess()
    let configured = ConfiguredPools(
      path: options.config, fleet: fleet, pools: pools, access: access, systemd: systemd, logger: logger)
    if let file { configured.declare(file) }
    let hasDemonstration = file == nil && declareDemonstration(pools, state, logger)
    var http = httpConfiguration(addresses, logger)
    http.credentials = tls?.credentials
    var configuration = APIHandler.Configuration(
      host: host, hostNames: hostNames(addresses), bodyLimit: http.bodyLimit, load: http.load)
    configuration.access = AccessPolicy(access)
    if log.isEnabled(.info) { configuration.accessLog = { record, route in log.write(record, route: route) } }
    let programMetrics = ProgramMetrics(
      log: log, configuredPools: configured, state: state, load: http.load, tls: tls)
    configuration.programMetrics = { programMetrics.families }
    let api = APIHandler(
      fleet: fleet, pools: pools, images: images, events: events, state: state, configuration: configuration)
    access.observe { api.accessChanged() }
    let server = try start(http, api)
    let upkeep = try startBackground(configured, state, blobs, api.keys, logger) { tls?.readAgain(for: server) }
    try sandbox.seal()
    if let warning = HTTPService.libraryWarning { logger.warning("\(warning)") }
    report.host(host, mechanism)
    report.state(options.stateDir, state.recovered)
    report.confinement(confinement)
    report.limits(limits, hostLimits, memoryIsGiven: options.maxMemoryMiB != nil)
    report.listening(server.boundAddresses, speaksTLS: tls != nil, hasDemonstration: hasDemonstration)
    systemd.notify("READY=1\nSTATUS=serving")
    Liveness.keep(systemd, fleet: fleet, addresses: server.boundAddresses, speakTLS: tls != nil, logger)

    let signal = signals.wait()
    configured.end()
    upkeep.end()
    let shutdown = Shutdown(fleet: fleet, api: api, server: server, systemd: systemd, logger: logger)
    shutdown.run(because: signal)
    // When keys were last used is worth a try, and no more.
    try? api.keys.keepUp()
    state.close()
    blobs.close()
  }

  /// The threads that must be there before anything can block: one writes the log, one ends the process.
  private func startThreads() throws(StartupError) -> (LogWriter, EndSignals) {
    do throws(Errno) {
      let signals = try EndSignals()
      return (try LogWriter(format: options.logFormat, level: options.logLevel), signals)
    } catch {
      throw .noThread(error)
    }
  }

  /// The threads that work beside requests: one reads the configuration file again, one forgets what is old.
  private func startBackground(
    _ pools: ConfiguredPools, _ state: StateDatabase, _ blobs: BlobRepository, _ keys: KeyRing, _ logger: Logger,
    atSIGHUP readCertificateAgain: @escaping @Sendable () -> Bool?
  ) throws(StartupError) -> StateUpkeep {
    do throws(Errno) {
      try pools.readAgainAtSIGHUP(andAlso: readCertificateAgain)
      return try StateUpkeep(state: state, blobs: blobs, keys: keys, logger: logger)
    } catch {
      throw .noThread(error)
    }
  }

  // MARK: Pieces

  private func listenAddresses(inherited: [ListenAddress]) -> [ListenAddress] {
    let addresses = inherited + options.listen
    return addresses.isEmpty ? [.tcp(host: "127.0.0.1", port: 8080)] : addresses
  }

  /// `isClosed`: a client must say who it is.
  private func checkAddresses(_ addresses: [ListenAddress], hasTLS: Bool, isClosed: Bool) throws(StartupError) {
    if options.insecureListen { return }
    if let refusal = ListenRule(hasTLS: hasTLS, isClosed: isClosed).refusal(of: addresses) { throw refusal }
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
    do throws(StateStoreError) {
      return try StateDatabase.open(directory: options.stateDir, sync: options.stateSync) { report in
        switch report {
        case .failing(let error, let failures):
          logger.error("the state cannot be written", metadata: ["error": "\(error)", "failures": "\(failures)"])
        case .recovered: logger.notice("the state can be written again")
        }
      }
    } catch {
      throw .stateDirectory("\(error)")
    }
  }

  private func openBlobs() throws(StartupError) -> BlobRepository {
    do throws(BlobStoreError) {
      return try BlobRepository(
        directory: options.stateDir.map { $0 + "/blobs" },
        limits: BlobLimits(blobBytes: options.maxImageMiB << 20, totalBytes: options.maxBlobsMiB << 20))
    } catch {
      throw .stateDirectory("\(error)")
    }
  }

  /// The images there were when the server ended last. Before the pools, which are made of them.
  private func recoverImages(_ images: ImageCatalogue, _ state: StateDatabase, _ logger: Logger) {
    for image in state.recovered.images {
      do throws(ImageRecoveryError) {
        guard let failure = try images.recover(image) else { continue }
        logger.error("an image is unusable", metadata: ["error": "\(failure)"])
      } catch {
        // It stays on record: the next release may know what to do with it.
        logger.error("an image cannot be brought back", metadata: ["error": "\(error)"])
      }
    }
  }

  private func limits(_ host: HostLimits) -> FleetLimits {
    FleetLimits(
      vms: options.maxVMs, memoryMiB: options.maxMemoryMiB ?? host.memoryMiB,
      descriptors: max(1, host.descriptors - max(0, options.maxConnections - 1024)),
      mappings: host.mappings, threads: host.threads, creations: options.refillConcurrency)
  }

  /// The pools there were when the server ended last.
  private func recoverPools(_ pools: PoolDeclarations, _ state: StateDatabase, _ logger: Logger) {
    for pool in state.recovered.pools {
      do throws(DeclarationError) {
        try pools.recover(pool.name, document: pool.document, revision: UInt64(pool.revision))
      } catch {
        // It stays on record: the next release, or the next configuration, may know what to do with it.
        logger.error("a pool cannot be brought back", metadata: ["error": "\(error)"])
      }
    }
  }

  /// Declares the demonstration on a first start. Returns whether there is one: a host may be too small for it.
  private func declareDemonstration(_ pools: PoolDeclarations, _ state: StateDatabase, _ logger: Logger) -> Bool {
    guard !options.noDemoPool else { return false }
    guard state.recovered.epoch == 1 else { return state.recovered.pools.contains { $0.name == "demo" } }
    do throws(DeclarationError) {
      try pools.declareDemonstration()
      return true
    } catch {
      logger.warning("the demonstration is not declared", metadata: ["error": "\(error)"])
      return false
    }
  }

  private func readConfiguration() throws(StartupError) -> ConfigurationFile? {
    do throws(ConfigurationError) {
      return try ConfiguredPools.read(options.config)
    } catch {
      if case .cannotRead = error { throw StartupError(exitStatus: 66, messages: error.lines) }
      throw StartupError(exitStatus: 65, messages: error.lines)
    }
  }

  /// Logs what operators look for. Called on any thread, also under the fleet's lock.
  private static func log(_ event: FleetEvent, _ logger: Logger) {
    switch event {
    case .note(let pool, .failing(let detail)):
      logger.warning("a VM could not be made", metadata: ["pool": "\(pool ?? "_none")", "error": "\(detail)"])
    case .note(let pool, .limited(let refusal)):
      logger.warning("no room for a VM", metadata: ["pool": "\(pool ?? "_none")", "error": "\(refusal)"])
    case .note(let pool, .quarantined(let vm)):
      logger.error("a VM could not be taken apart in time", metadata: ["pool": "\(pool ?? "_none")", "vm": "\(vm)"])
    case .note(let pool, .resetFailed(let vm, let detail)):
      logger.warning(
        "a VM could not be reset and is destroyed",
        metadata: ["pool": "\(pool ?? "_none")", "vm": "\(vm)", "error": "\(detail)"])
    case .note(let pool, .resetDiffers(let vm, let detail)):
      logger.error(
        "a VM that was reset differs from its template and is destroyed",
        metadata: ["pool": "\(pool ?? "_none")", "vm": "\(vm)", "differences": "\(detail)"])
    case .note(let pool, .recovered): logger.notice("VMs can be made again", metadata: ["pool": "\(pool ?? "_none")"])
    case .journal(let failure):
      logger.error("the end of a lease could not be recorded", metadata: ["error": "\(failure)"])
    case .vm(let vm, .stopped(.guest(.crashed(let detail)))):
      logger.warning(
        "a guest crashed", metadata: ["pool": "\(vm.pool ?? "_none")", "vm": "\(vm.id)", "detail": "\(detail)"])
    case .note(_, .exhausted), .vm, .lease, .ended, .pool: break
    }
  }

  private func readCertificate(_ logger: Logger) throws(StartupError) -> ServerCertificate? {
    do throws(ServerCertificateError) {
      return try ServerCertificate(
        certificate: options.tlsCert, key: options.tlsKey, clientAuthority: options.tlsClientCA, logger)
    } catch {
      throw StartupError(exitStatus: 66, messages: ["\(error)"])
    }
  }

  private func httpConfiguration(_ addresses: [ListenAddress], _ logger: Logger) -> HTTPServerConfiguration {
    var configuration = HTTPServerConfiguration(listen: addresses)
    configuration.diagnostics = { line in logger.debug("libmicrohttpd: \(line)") }
    configuration.load = HTTPLoad(connectionLimit: options.maxConnections, waitingLimit: options.maxWaiting) { line in
      logger.warning("a limit of HTTP is reached", metadata: ["error": "\(line)"])
    }
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
