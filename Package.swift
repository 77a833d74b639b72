// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target of the project: Swift 6 mode, strict memory safety, no warning left standing.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
]

let strictC: [CSetting] = [
  .unsafeFlags(["-std=gnu17", "-Wall", "-Wextra", "-Werror", "-Wno-gnu-zero-variadic-macro-arguments"])
]

let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let deques = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let heaps = Target.Dependency.product(name: "HeapModule", package: "swift-collections")
let histogram = Target.Dependency.product(name: "Histogram", package: "hdrhistogram-swift")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

func module(_ name: String, _ dependencies: [Target.Dependency], path: String? = nil) -> Target {
  .target(name: name, dependencies: dependencies, path: path, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

let package = Package(
  name: "vmpool",
  products: [
    .executable(name: "vmpoold", targets: ["vmpoold"]),
    .executable(name: "vmpool", targets: ["vmpool"]),
    .executable(name: "vmpool-bench", targets: ["vmpool-bench"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
  ],
  targets: [
    // C: what Swift cannot express, and no more.
    .target(name: "CKVM", cSettings: strictC),
    .target(name: "CLinux", cSettings: strictC),
    .target(name: "CGuests"),
    .target(name: "CBareKVM", cSettings: strictC),
    .target(name: "CComparedKicks", dependencies: ["CKVM"], cSettings: strictC),
    .systemLibrary(name: "CMicroHTTP", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
    .systemLibrary(name: "CJansson", pkgConfig: "jansson", providers: [.apt(["libjansson-dev"])]),
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
    .systemLibrary(name: "CNettle", pkgConfig: "nettle", providers: [.apt(["nettle-dev"])]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),

    // Leaves that know nothing of VMs.
    module("LinuxSupport", ["CLinux", systemPackage]),
    module("JSONCodec", ["CJansson"]),
    module("HTTPServer", ["CMicroHTTP", "LinuxSupport", systemPackage]),
    module("Metrics", []),
    module("Containers", []),
    module("Access", []),
    .target(
      name: "APIModel", dependencies: ["JSONCodec"],
      // A link to VERSION: both programs carry the version that stands there.
      resources: [.embedInCode("VERSION")], swiftSettings: strict),
    module("Digests", ["CNettle"]),
    module("BlobStore", ["Containers", "Digests", "LinuxSupport", systemPackage]),
    module("StateStore", ["Access", "CSQLite", "Digests", "LinuxSupport", systemPackage]),
    module("ServerConfiguration", ["Access", "APIModel", "CYAML", "LinuxSupport", systemPackage]),

    // The machine, from the ioctls upwards.
    module("Processor", []),
    module("KVM", ["CKVM", "Processor", "LinuxSupport", systemPackage]),
    module("GuestMemory", ["LinuxSupport", systemPackage]),
    module("Devices", ["GuestMemory"]),
    module("GuestImages", ["CGuests", "Processor", "GuestMemory", "LinuxSupport", systemPackage]),
    module("VCPURuntime", ["CKVM", "KVM", "LinuxSupport", systemPackage]),
    module(
      "MachineRuntime",
      ["VCPURuntime", "KVM", "Processor", "GuestMemory", "Devices", "GuestImages", "LinuxSupport", systemPackage]),

    // The pool and its API.
    module(
      "PoolManager",
      [
        "Access", "MachineRuntime", "VCPURuntime", "GuestImages", "Metrics", "Containers", "LinuxSupport", deques,
        heaps,
      ]),
    module(
      "Control",
      [
        "Access", "PoolManager", "MachineRuntime", "GuestImages", "APIModel", "JSONCodec", "BlobStore", "Containers",
        "Digests", "StateStore", "LinuxSupport",
      ]),
    .target(
      name: "ManagementAPI",
      dependencies: [
        "Access", "Control", "PoolManager", "MachineRuntime", "VCPURuntime", "GuestImages", "Devices", "KVM",
        "APIModel", "JSONCodec", "HTTPServer", "BlobStore", "Digests", "StateStore", "Metrics", "LinuxSupport",
        systemPackage,
      ],
      // A link to openapi/vmpool.yaml: the program serves the very document it was built with.
      resources: [.embedInCode("vmpool.yaml")], swiftSettings: strict),
    module("APIClient", ["APIModel", "JSONCodec", "CCurl"]),
    module("ComparedKicks", ["CComparedKicks", "VCPURuntime"]),
    module(
      "Benchmarks",
      [
        "CBareKVM", "ComparedKicks", "MachineRuntime", "VCPURuntime", "KVM", "GuestImages", "LinuxSupport", histogram,
        systemPackage,
      ]),

    // Executables: command line and wiring, nothing else.
    module("CommandLineSupport", ["JSONCodec", argumentParser]),
    .executableTarget(
      name: "vmpoold",
      dependencies: [
        "ManagementAPI", "Control", "APIModel", "PoolManager", "BlobStore", "StateStore", "ServerConfiguration",
        "MachineRuntime", "VCPURuntime", "Metrics", "KVM", "HTTPServer", "LinuxSupport",
        argumentParser, logging, systemPackage,
      ], swiftSettings: strict),
    .executableTarget(
      name: "vmpool",
      dependencies: [
        "CommandLineSupport", "APIClient", "APIModel", "JSONCodec", "ServerConfiguration", "GuestImages", "Digests",
        "LinuxSupport", argumentParser, systemPackage,
      ], swiftSettings: strict),
    .executableTarget(
      name: "vmpool-bench",
      dependencies: [
        "CommandLineSupport", "APIModel", "Benchmarks", "ComparedKicks", "JSONCodec", "LinuxSupport", argumentParser,
      ], swiftSettings: strict),

    // Beside the tests: what they need of C.
    .target(name: "ThreadSanitizerSupport", path: "Tests/ThreadSanitizerSupport"),
    module("TestSupport", ["KVM", "LinuxSupport", systemPackage], path: "Tests/Support"),
    .target(
      name: "CHeldEntry", dependencies: ["CKVM", "CComparedKicks"], path: "Tests/CHeldEntry", cSettings: strictC),
    tests("GuestMemoryTests", ["GuestMemory"]),
    tests("KVMTests", ["TestSupport", "KVM"]),
    tests("LinuxSupportTests", ["TestSupport", "LinuxSupport", systemPackage]),
    tests("JSONCodecTests", ["TestSupport", "JSONCodec"]),
    tests("APIModelTests", ["APIModel", "JSONCodec"]),
    tests("APIClientTests", ["TestSupport", "APIClient", "APIModel", "JSONCodec"]),
    tests(
      "CommandLineTests",
      [
        "TestSupport", "vmpool", "CommandLineSupport", "APIClient", "APIModel", "JSONCodec", "ServerConfiguration",
        "LinuxSupport", argumentParser,
      ]),
    tests("DaemonTests", ["vmpoold", "LinuxSupport", "HTTPServer", logging, systemPackage]),
    tests("HTTPServerTests", ["TestSupport", "HTTPServer", "LinuxSupport", "ThreadSanitizerSupport"]),
    tests("AccessTests", ["TestSupport", "Access"]),
    tests("MetricsTests", ["Metrics"]),
    tests("ContainersTests", ["TestSupport", "Containers"]),
    tests(
      "StateStoreTests",
      ["TestSupport", "Access", "StateStore", "CSQLite", "LinuxSupport", "ThreadSanitizerSupport"]),
    tests("DigestsTests", ["TestSupport", "Digests"]),
    tests("BlobStoreTests", ["TestSupport", "BlobStore", "Digests", "LinuxSupport", systemPackage]),
    tests("ServerConfigurationTests", ["TestSupport", "ServerConfiguration", "APIModel"]),
    tests("DevicesTests", ["TestSupport", "Devices", "GuestMemory"]),
    tests(
      "GuestImagesTests",
      ["TestSupport", "GuestImages", "Processor", "GuestMemory", "LinuxSupport", systemPackage]),
    tests(
      "VCPURuntimeTests",
      [
        "TestSupport", "VCPURuntime", "ComparedKicks", "KVM", "CKVM", "CHeldEntry", "GuestMemory", "GuestImages",
        "LinuxSupport",
        "ThreadSanitizerSupport",
      ]),
    tests(
      "MachineRuntimeTests",
      [
        "TestSupport", "MachineRuntime", "VCPURuntime", "ComparedKicks", "KVM", "CKVM", "CHeldEntry", "GuestImages",
        "Devices",
        "GuestMemory", "LinuxSupport",
        "ThreadSanitizerSupport",
      ]),
    tests(
      "PoolManagerTests",
      [
        "TestSupport", "PoolManager", "MachineRuntime", "VCPURuntime", "KVM", "Devices", "GuestImages",
        "LinuxSupport", "ThreadSanitizerSupport",
      ]),
    tests(
      "ControlTests",
      [
        "Access", "Control", "APIModel", "BlobStore", "Digests", "GuestImages", "MachineRuntime", "PoolManager",
        "StateStore",
      ]),
    tests(
      "ManagementAPITests",
      [
        "TestSupport", "Access", "ManagementAPI", "Control", "PoolManager", "MachineRuntime", "VCPURuntime",
        "GuestImages",
        "Devices",
        "KVM", "APIModel",
        "JSONCodec", "HTTPServer", "BlobStore", "Digests", "StateStore", "Metrics", "LinuxSupport", yams,
      ]),
    tests(
      "BenchmarksTests",
      [
        "TestSupport", "Benchmarks", "ComparedKicks", "vmpool-bench", "GuestImages", "KVM", "VCPURuntime", "JSONCodec",
        argumentParser,
      ]),
    tests("StructureTests", []),
  ]
)

// Tests/Fuzz/run builds this, with a sanitizer and coverage in all of it; nothing else does.
if Context.environment["VMPOOL_FUZZ"] != nil {
  package.targets.append(
    .executableTarget(
      name: "ImageFuzzer", dependencies: ["GuestImages"], path: "Tests/Fuzz", exclude: ["run"],
      swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])]))
}

// scripts/test builds some of the tests a second time, with a sanitizer: these, and what they depend on.
if let names = Context.environment["VMPOOL_TEST_TARGETS"] {
  var kept: Set<String> = []
  var next = names.split(separator: " ").map(String.init)
  while let name = next.popLast() {
    guard kept.insert(name).inserted else { continue }
    guard let target = package.targets.first(where: { $0.name == name }) else {
      fatalError("VMPOOL_TEST_TARGETS: there is no target \(name)")
    }
    next += target.dependencies.compactMap { if case .byNameItem(let name, _) = $0 { name } else { nil } }
  }
  package.targets.removeAll { !kept.contains($0.name) }
  package.products.removeAll()
}
