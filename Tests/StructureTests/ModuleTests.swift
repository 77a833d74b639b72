import Foundation
import Testing

/// The arrows of ARCHITECTURE.md: what each module may import of ours, and which of them may touch which C module.
struct ModuleTests {
  /// Modules by level, the lowest first: a module imports what stands below it, never beside or above.
  static let levels: [[String]] = [
    [
      "CLinux", "CKVM", "CGuests", "CBareKVM", "CComparedKicks", "CMicroHTTP", "CJansson", "CCurl", "CNettle",
      "CSQLite", "CYAML",
    ],
    ["Processor", "LinuxSupport", "Digests", "JSONCodec", "Metrics", "Containers", "Access"],
    ["KVM", "GuestMemory", "HTTPServer", "StateStore", "BlobStore", "APIModel"],
    ["Devices", "GuestImages", "VCPURuntime", "ServerConfiguration"],
    ["MachineRuntime", "ComparedKicks"],
    ["PoolManager"],
    ["Control"],
    ["ManagementAPI", "APIClient", "Benchmarks", "CommandLineSupport"],
    ["vmpoold", "vmpool", "vmpool-bench"],
  ]

  /// Each C module has few importers, so that pointers stay where they are looked after.
  static let importersOfC: [String: Set<String>] = [
    "CLinux": ["LinuxSupport"], "CKVM": ["KVM", "VCPURuntime"], "CGuests": ["GuestImages"],
    "CBareKVM": ["Benchmarks"], "CComparedKicks": ["ComparedKicks"], "CMicroHTTP": ["HTTPServer"],
    "CJansson": ["JSONCodec"], "CCurl": ["APIClient"],
    "CNettle": ["Digests"], "CSQLite": ["StateStore"], "CYAML": ["ServerConfiguration"],
  ]

  private static func level(_ module: String) -> Int? { levels.firstIndex { $0.contains(module) } }

  @Test func everyModuleHasALevel() throws {
    for module in try Repository.importsByModule().keys {
      #expect(Self.level(module) != nil, "\(module) is not in the table of levels")
    }
  }

  @Test func arrowsPointDownwardsOnly() throws {
    for (module, imports) in try Repository.importsByModule() {
      let own = try #require(Self.level(module))
      for imported in imports {
        guard let other = Self.level(imported) else { continue }
        #expect(other < own, "\(module) imports \(imported), which does not stand below it")
      }
    }
  }

  @Test func cModulesHaveNoOtherImporters() throws {
    for (module, imports) in try Repository.importsByModule() {
      for imported in imports {
        guard let allowed = Self.importersOfC[imported] else { continue }
        #expect(allowed.contains(module), "\(module) imports \(imported)")
      }
    }
  }

  /// What is pure stays pure: it can be tested and fuzzed without KVM, threads or a clock.
  @Test(arguments: ["Processor", "Devices", "GuestImages", "Metrics", "JSONCodec", "APIModel"])
  func pureModulesKnowNothingOfKVMOrThreads(module: String) throws {
    let forbidden: Set<String> = ["KVM", "CKVM", "Dispatch", "VCPURuntime"]
    #expect(try Repository.importsByModule()[module, default: []].isDisjoint(with: forbidden))
  }

  /// What operations do is not bound to the protocol that they come by.
  @Test func controlKnowsNothingOfHTTP() throws {
    let imports = try Repository.importsByModule()["Control", default: []]
    #expect(!imports.isEmpty && imports.isDisjoint(with: ["HTTPServer", "CMicroHTTP"]))
  }

  /// The client builds, and runs, where there is no KVM.
  @Test func theClientKnowsNothingOfKVM() throws {
    let imports = try Repository.importsByModule()["vmpool", default: []]
    #expect(imports.isDisjoint(with: ["KVM", "CKVM", "VCPURuntime", "MachineRuntime", "PoolManager", "Benchmarks"]))
  }

  /// The server knows the mechanisms that a pool can have, and no more.
  @Test func onlyBenchmarksKnowMechanismsThatNoPoolHas() throws {
    for (module, imports) in try Repository.importsByModule() where imports.contains("ComparedKicks") {
      #expect(["Benchmarks", "vmpool-bench"].contains(module), "\(module) imports ComparedKicks")
    }
  }

  @Test func noModuleHasTheNameOfOneOfItsTypes() throws {
    for (path, text) in try Repository.files(in: "Sources", endings: ["swift"]) {
      let module = path.split(separator: "/")[1]
      for kind in ["struct", "class", "enum", "protocol", "actor"] {
        #expect(!text.contains("\(kind) \(module) "), "\(path) declares \(kind) \(module)")
        #expect(!text.contains("\(kind) \(module):"), "\(path) declares \(kind) \(module)")
      }
    }
  }
}
