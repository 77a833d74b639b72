import APIModel
import BlobStore
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
import VCPURuntime

/// The server's life: everything put together, in order, and taken apart again.
struct Daemon {
  private let options: Vmpoold

  init(_ options: Vmpoold) { self.options = options }

  /// Runs until a signal ends it.
  func run() throws(StartupError) {
    ProcessSetup.prepareSignals()
    ProcessMemory.keep()
    let log = LogWriter(format: options.logFormat, level: options.logLevel)
    LoggingSystem.bootstrap { _ in LineLogHandler(writer: log) }
    let logger = Logger(label: "vmpoold")
    let systemd = Systemd.takeOver()

    let addresses = try listenAddresses(inherited: systemd.listeners)
    let system = try openKVM()
    let mechanism = try mechanism(on: system)
    let file = try readConfiguration()
    let state = try openState(logger)
    if let failure = DescriptorLimit.raise() {
      logger.warning("the limit on descriptors could not be raised", metadata: ["error": "\(failure)"])
    }

    let journal = StateJournal(state)
    let events = EventLog(EventLog.Configuration(heartbeatMS: options.eventHeartbeat * 1000))
    let fleet = Fleet(
      factory: KVMMachineFactory(system: system), mechanism: mechanism, limits: limits(), journal: journal,
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
    try declarePools(pools, file, state, logger)
    let http = httpConfiguration(addresses, logger)
    var configuration = APIHandler.Configuration(
      host: HostFacts(system), hostNames: hostNames(addresses), bodyLimit: http.bodyLimit)
    if log.isEnabled(.info) { configuration.accessLog = { record, route in log.write(record, route: route) } }
    let api = APIHandler(
      fleet: fleet, pools: pools, images: images, events: events, state: state, configuration: configuration)
    let server = try start(http, api)
    for address in server.boundAddresses { logger.info("listening on \(address)") }
    systemd.notify("READY=1")

    let upkeep = StateUpkeep(state, blobs, logger)
    let signal = waitForEnd(pools, logger)
    upkeep.end()
    let shutdown = Shutdown(fleet: fleet, api: api, server: server, systemd: systemd, logger: logger)
    shutdown.run(because: signal)
    state.close()
    blobs.close()
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
      let state = try StateDatabase.open(directory: options.stateDir, sync: options.stateSync) { report in
        switch report {
        case .failing(let error, let failures):
          logger.error("the state cannot be written", metadata: ["error": "\(error)", "failures": "\(failures)"])
        case .recovered: logger.notice("the state can be written again")
        }
      }
      let lost = state.recovered.lostLeases.count
      if lost > 0 { logger.notice("leases were lost with the server that held them", metadata: ["leases": "\(lost)"]) }
      return state
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

  private func limits() -> FleetLimits {
    let host = HostLimits.current
    return FleetLimits(
      vms: options.maxVMs, memoryMiB: options.maxMemoryMiB ?? host.memoryMiB,
      descriptors: max(1, host.descriptors - max(0, options.maxConnections - 1024)),
      mappings: host.mappings, creations: options.refillConcurrency)
  }

  /// The pools there were when the server ended last; on a first start, the demonstration.
  private func declarePools(
    _ pools: PoolDeclarations, _ file: ConfigurationFile?, _ state: StateDatabase, _ logger: Logger
  ) throws(StartupError) {
    for pool in state.recovered.pools {
      do throws(DeclarationError) {
        try pools.recover(pool.name, document: pool.document, revision: UInt64(pool.revision))
      } catch {
        // It stays on record: the next release, or the next configuration, may know what to do with it.
        logger.error("a pool cannot be brought back", metadata: ["error": "\(error)"])
      }
    }
    if let file { return load(file, into: pools, logger) }
    guard !options.noDemoPool, state.recovered.epoch == 1 else { return }
    do throws(DeclarationError) {
      try pools.declareDemonstration()
    } catch {
      throw .unavailable("\(error)")
    }
  }

  // MARK: The configuration file

  private func readConfiguration() throws(StartupError) -> ConfigurationFile? {
    guard let path = options.config else { return nil }
    do throws(ConfigurationError) {
      return try ConfigurationFile(path: path)
    } catch {
      let text = error.lines.joined(separator: "\nvmpoold: ")
      if case .cannotRead = error { throw StartupError(exitStatus: 66, message: text) }
      throw StartupError(exitStatus: 65, message: text)
    }
  }

  private func load(_ file: ConfigurationFile, into pools: PoolDeclarations, _ logger: Logger) {
    for error in pools.load(file: file.pools.map { ($0.name, DeclarePoolDocument($0)) }) {
      logger.error("a pool of the configuration file is not declared", metadata: ["error": "\(error)"])
    }
  }

  /// Waits for a signal that ends the server; SIGHUP reads the configuration file again.
  private func waitForEnd(_ pools: PoolDeclarations, _ logger: Logger) -> Int32 {
    while true {
      let signal = waitForSignal(ProcessSetup.endSignals + [SIGHUP])
      guard signal == SIGHUP else { return signal }
      do throws(StartupError) {
        guard let file = try readConfiguration() else {
          logger.notice("SIGHUP: there is no configuration file to read again")
          continue
        }
        load(file, into: pools, logger)
        logger.notice("the configuration file was read again", metadata: ["pools": "\(file.pools.count)"])
      } catch {
        logger.error(
          "the configuration file is not as it must be; what was read before holds",
          metadata: ["error": "\(error.message)"])
      }
    }
  }

  /// What operators want to find in the log. On whichever thread it happens.
  private static func log(_ event: FleetEvent, _ logger: Logger) {
    switch event {
    case .note(let pool, .failing(let detail)):
      logger.warning("a VM could not be made", metadata: ["pool": "\(pool ?? "_none")", "error": "\(detail)"])
    case .note(let pool, .limited(let refusal)):
      logger.warning("no room for a VM", metadata: ["pool": "\(pool ?? "_none")", "error": "\(refusal)"])
    case .note(let pool, .quarantined(let vm)):
      logger.error("a VM could not be taken apart in time", metadata: ["pool": "\(pool ?? "_none")", "vm": "\(vm)"])
    case .note(let pool, .recovered): logger.notice("VMs can be made again", metadata: ["pool": "\(pool ?? "_none")"])
    case .journal(let failure):
      logger.error("the end of a lease could not be recorded", metadata: ["error": "\(failure)"])
    case .note(_, .exhausted), .vm, .lease, .ended, .pool: break
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

extension DeclarePoolDocument {
  fileprivate init(_ pool: PoolDeclaration) {
    self.init(
      image: pool.image, vcpus: pool.vcpus, memoryMiB: pool.memoryMiB,
      ready: pool.ready.map { ReadyRange(min: $0.min, max: $0.max) } ?? ReadyRange(1), maxVMs: pool.maxVMs,
      deadlineMS: pool.deadlineMS, refill: pool.refillConcurrency.map { RefillDocument(concurrency: $0) },
      paused: pool.paused, probeIntervalMS: pool.probeIntervalMS)
  }
}
