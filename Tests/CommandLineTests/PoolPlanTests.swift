import APIClient
import APIModel
import ServerConfiguration
import Testing

@testable import vmpool

@Suite struct PoolPlanTests {
  private static func pools(_ yaml: String) throws -> [PoolDeclaration] {
    try ConfigurationFile(parsing: Array(yaml.utf8), path: "test").pools
  }

  /// A pool as the server has it, all members at their defaults unless `change` says otherwise.
  private static func present(
    _ name: String, tag: String? = "\"7\"", _ change: (inout PoolDocument) -> Void = { _ in }
  ) -> PoolPlan.Present {
    var pool = PoolDocument(
      name: name, image: "spin", vcpus: 1, memoryMiB: 2, ready: ReadyRange(1), maxVMs: nil, deadlineMS: nil,
      refill: RefillDocument(), paused: false, probeIntervalMS: nil, source: "api",
      status: PoolStatusDocument(
        ready: 1, outdated: 0, leased: 0, creating: 0, retiring: 0, quarantined: 0, waiting: 0, running: 0, paused: 0,
        stopped: 0, draining: false, refill: RefillStatusDocument(state: "ok")))
    change(&pool)
    return (pool, tag)
  }

  @Test func declaresWhatIsNotThere() throws {
    let plan = PoolPlan(try Self.pools("pools: {a: {image: spin, max_vms: 4}}"), present: [], prune: true)
    #expect(
      plan.text == """
        + a: new
            image: spin
            ready: 1
            max_vms: 4
        """)
    #expect(plan.steps.map(\.condition) == [.absent])
    #expect(plan.steps[0].settings?.document.maxVMs == 4)
    #expect(!plan.isEmpty)
  }

  @Test func leavesAloneWhatIsTheSame() throws {
    // What is left out is its default.
    let yaml = ["{image: spin}", "{image: spin, vcpus: 1, memory_mib: 2, ready: {min: 1, max: 1}, paused: false}"]
    for pool in yaml {
      let plan = PoolPlan(try Self.pools("pools: {a: \(pool)}"), present: [Self.present("a")], prune: true)
      #expect(plan.text == "= a: unchanged")
      #expect(plan.isEmpty)
    }
  }

  @Test(arguments: [
    ("{image: echo}", "image: spin → echo"), ("{image: spin, vcpus: 2}", "vcpus: 1 → 2"),
    ("{image: spin, memory_mib: 4}", "memory_mib: 2 → 4"), ("{image: spin, ready: 0}", "ready: 1 → 0"),
    ("{image: spin, ready: {min: 1, max: 2}}", "ready: 1 → {min: 1, max: 2}"),
    ("{image: spin, max_vms: 5}", "max_vms: none → 5"), ("{image: spin, deadline_ms: 5}", "deadline_ms: none → 5"),
    ("{image: spin, refill: {concurrency: 3}}", "refill.concurrency: none → 3"),
    ("{image: spin, paused: true}", "paused: false → true"),
    ("{image: spin, probe_interval_ms: 20}", "probe_interval_ms: none → 20"),
    ("{image: spin, ready_when: started}", "ready_when: loaded → started\n    on_release: replace → reset"),
    (
      #"{image: spin, ready_when: {console: 'a "b"'}}"#,
      #"ready_when: loaded → {console: "a \"b\""}"# + "\n    on_release: replace → reset"
    ),
    ("{image: spin, ready_when: {after_ms: 5}}", "ready_when: loaded → {after_ms: 5}\n    on_release: replace → reset"),
    ("{image: spin, ready_timeout_ms: 5}", "ready_timeout_ms: 60000 → 5"),
    ("{image: spin, verify_reset: off}", "verify_reset: sampled → off"),
    ("{image: spin, ready_when: started, on_release: replace}", "ready_when: loaded → started"),
  ])
  func tellsEveryMemberThatChanges(pool: String, line: String) throws {
    let wanted = try Self.pools("pools: {a: \(pool)}")
    let plan = PoolPlan(wanted, present: [Self.present("a")], prune: false)
    #expect(plan.text == "~ a: changed\n    \(line)")
    #expect(plan.steps.map(\.condition) == [.unchanged(since: "\"7\"")])
    // And what is declared then is the same as what was wanted.
    let document = try #require(plan.steps[0].settings?.document)
    let after = Self.present("a") {
      ($0.image, $0.vcpus, $0.memoryMiB) = (document.image, document.vcpus ?? 0, document.memoryMiB ?? 0)
      ($0.ready, $0.maxVMs, $0.deadlineMS) = (document.ready, document.maxVMs, document.deadlineMS)
      ($0.refill, $0.paused) = (document.refill ?? RefillDocument(), document.paused ?? true)
      $0.probeIntervalMS = document.probeIntervalMS
      ($0.readyWhen, $0.readyTimeoutMS) = (document.readyWhen ?? .loaded, document.readyTimeoutMS ?? 0)
      ($0.onRelease, $0.verifyReset) = (document.effectiveOnRelease, document.verifyReset ?? .off)
    }
    #expect(PoolPlan(wanted, present: [after], prune: false).isEmpty)
  }

  /// What is not compared would be lost when a pool is declared anew.
  @Test func knowsEveryMemberThatAFileCanHave() throws {
    let declaration = try #require(try Self.pools("pools: {a: {image: spin}}").first).document
    func members(_ value: Any) -> Set<String> { Set(Mirror(reflecting: value).children.compactMap(\.label)) }
    #expect(members(RefillDocument()) == ["concurrency"])
    #expect(
      members(PoolSettings(declaration)).subtracting(["refillConcurrency"])
        == members(declaration).subtracting(["refill"]))
    #expect(PoolSettings(declaration).members.count == members(PoolSettings(declaration)).count)
  }

  @Test func takesALimitBack() throws {
    let present = Self.present("a") { $0.maxVMs = 5 }
    let plan = PoolPlan(try Self.pools("pools: {a: {image: spin}}"), present: [present], prune: false)
    #expect(plan.text == "~ a: changed\n    max_vms: 5 → none")
  }

  @Test func deletesOnlyWhenToldTo() throws {
    let present = [
      Self.present("z") { $0.status.leased = 2 }, Self.present("b"), Self.present("a"),
      Self.present("theirs") { $0.source = "file" }, Self.present("leaving") { $0.status.draining = true },
    ]
    let wanted = try Self.pools("pools: {a: {image: spin}}")
    #expect(PoolPlan(wanted, present: present, prune: false).text == "= a: unchanged")
    let plan = PoolPlan(wanted, present: present, prune: true)
    #expect(
      plan.text == """
        = a: unchanged
        - b: deleted
        - z: deleted, when its leases have ended: there are 2
        """)
    #expect(plan.steps.map(\.condition) == [.none, .unchanged(since: "\"7\""), .unchanged(since: "\"7\"")])
  }

  @Test func leavesTheServersOwnFileAlone() throws {
    let present = [Self.present("a") { $0.source = "file" }]
    let same = PoolPlan(try Self.pools("pools: {a: {image: spin}}"), present: present, prune: true)
    #expect(same.text == "= a: unchanged")
    let other = PoolPlan(try Self.pools("pools: {a: {image: echo}}"), present: present, prune: true)
    #expect(other.steps.map(\.action) == [.refuse])
    #expect(other.text.hasPrefix("! a: declared in the server's configuration file"))
  }

  @Test func declaresAgainWhatIsBeingDeleted() throws {
    let present = [Self.present("a", tag: nil) { $0.status.draining = true }]
    let plan = PoolPlan(try Self.pools("pools: {a: {image: spin}}"), present: present, prune: true)
    #expect(plan.steps.map(\.action) == [.create])
  }
}
