import APIModel
import Foundation
import JSONCodec
import PoolManager
import TestSupport
import Testing
import VCPURuntime

@testable import ManagementAPI

@Suite(.enabled(if: RealKVM.isAvailable)) struct PoolTests {
  @Test func declaredFilledTakenFromAndDeleted() throws {
    let harness = try Harness()
    let new = harness.send("PUT", "/v1/pools/web-1", #"{"image":"spin","ready":2}"#)
    #expect(new.status == 201 && new["Location"] == "/v1/pools/web-1")
    let pool = try harness.wait(forReady: 2, in: "web-1")
    #expect(pool.image == "spin" && pool.vcpus == 1 && pool.memoryMiB == 2 && pool.ready == ReadyRange(2))
    #expect(pool.status.refill.lastError == nil && pool.status.running == 0)

    let vms = try harness.send("GET", "/v1/vms?pool=web-1").document(Page<VMDocument>.self).items
    #expect(vms.map(\.state) == ["ready", "ready"])
    #expect(harness.send("POST", "/v1/vms/\(vms[0].id)/start").status == 200)
    #expect(try harness.wait(forReady: 2, in: "web-1").status.running == 1)

    let again = harness.send("PUT", "/v1/pools/web-1", #"{"image":"echo","ready":1,"memory_mib":4,"vcpus":1}"#)
    #expect(again.status == 200 && again["Location"] == nil)
    #expect(try harness.wait(forReady: 1, in: "web-1").image == "echo")

    #expect(harness.send("DELETE", "/v1/pools/web-1").status == 204)
    #expect(harness.send("GET", "/v1/pools/web-1").status == 404)
    #expect(try harness.send("GET", "/v1/vms").document(Page<VMDocument>.self).items.isEmpty)
  }
}

@Suite(.enabled(if: RealKVM.isAvailable)) struct BootedPoolTests {
  @Test func itsVMsAreClonesThatTakeNoArguments() throws {
    let harness = try Harness()
    let pool = #"{"image":"echo","ready":2,"ready_when":"started","ready_timeout_ms":30000}"#
    #expect(harness.send("PUT", "/v1/pools/p", pool).status == 201)
    let document = try harness.wait(forReady: 2, in: "p")
    #expect(document.readyWhen == .started && document.readyTimeoutMS == 30_000)
    #expect(document.status.template.state == "ready" && document.status.template.memoryBytes ?? 0 > 0)
    #expect(harness.metrics()[#"vmpool_pool_template_ready{pool="p"}"#] == 1)
    #expect(harness.metrics()[#"vmpool_pool_template_boot_seconds{pool="p"}"#] ?? 0 > 0)
    #expect(harness.send("POST", "/v1/pools/p/leases", #"{"command_line":"x"}"#).problem?.pointer == "/command_line")
    let told = harness.send("POST", "/v1/pools/p/run", #"{"environment":{"A":"b"}}"#).problem
    #expect(told?.pointer == "/environment" && told?.detail.contains("have booted already") == true)
    #expect(
      harness.send("POST", "/v1/pools/p/run", #"{"input":"hi\u0004","wait_ms":30000}"#).text.contains(
        #""console":"hi""#))
    let loaded = try harness.send("PATCH", "/v1/pools/p", #"{"ready_when":null}"#).document(PoolDocument.self)
    #expect(loaded.readyWhen == .loaded && loaded.status.template.state == "none")
  }

  @Test func aVMThatIsReleasedComesBackAsAnother() throws {
    let harness = try Harness()
    let pool = #"{"image":"echo","ready":1,"max_vms":1,"ready_when":"started","verify_reset":"full"}"#
    #expect(harness.send("PUT", "/v1/pools/p", pool).status == 201)
    var document = try harness.wait(forReady: 1, in: "p")
    #expect(document.onRelease == .reset && document.verifyReset == .full)
    for round in 1...3 {
      #expect(
        harness.send("POST", "/v1/pools/p/run", #"{"input":"hi\u0004","wait_ms":30000}"#).text.contains(
          #""console":"hi""#))
      document = try harness.wait(forReady: 1, in: "p")
      let metrics = harness.metrics()
      #expect(metrics[#"vmpool_resets_total{pool="p",result="ok"}"#] == Double(round))
      #expect(metrics[#"vmpool_resets_total{pool="p",result="differed"}"#] == 0)
      #expect(metrics[#"vmpool_reset_pages_total{pool="p"}"#] != nil)
      #expect(metrics[#"vmpool_reset_seconds_count{pool="p"}"#] == Double(round))
    }
    #expect(document.status.resetting == 0)
    let replaced = try harness.send("PATCH", "/v1/pools/p", #"{"on_release":"replace"}"#).document(PoolDocument.self)
    #expect(replaced.onRelease == .replace && replaced.status.template.state == "ready")
    #expect(
      try harness.send("PATCH", "/v1/pools/p", #"{"on_release":null}"#).document(PoolDocument.self).onRelease == .reset)
    // Nothing was said of it, so it goes along with the ready point.
    let loaded = try harness.send("PATCH", "/v1/pools/p", #"{"ready_when":null}"#).document(PoolDocument.self)
    #expect(loaded.onRelease == .replace)
  }

  @Test(arguments: [
    (#""on_release":"keep""#, "/on_release"), (#""on_release":1"#, "/on_release"),
    (#""on_release":"reset""#, "/on_release"), (#""verify_reset":"on""#, "/verify_reset"),
    (#""verify_reset":false"#, "/verify_reset"),
  ]) func whatIsWrongAboutResetsIsNamed(member: String, pointer: String) {
    let harness = Harness(factory: StubFactory())
    let put = harness.send("PUT", "/v1/pools/p", #"{"image":"spin","ready":0,\#(member)}"#)
    #expect(put.status == 400 && put.problem?.pointer == pointer, "\(put.text)")
    harness.send("PUT", "/v1/pools/p", #"{"image":"spin","ready":0}"#)
    #expect(harness.send("PATCH", "/v1/pools/p", "{\(member)}").problem?.pointer == pointer)
  }

  @Test(arguments: [
    (#""booted""#, "/ready_when"), ("1", "/ready_when"), ("{}", "/ready_when"),
    (#"{"console":"a","after_ms":1}"#, "/ready_when"), (#"{"console":""}"#, "/ready_when/console"),
    (#"{"after_ms":0}"#, "/ready_when/after_ms"), (#"{"port":1}"#, "/ready_when/port"),
  ]) func whatIsWrongIsNamed(point: String, pointer: String) {
    let harness = Harness(factory: StubFactory())
    let put = harness.send("PUT", "/v1/pools/p", #"{"image":"spin","ready":0,"ready_when":\#(point)}"#)
    #expect(put.problem?.pointer == pointer, "\(put.text)")
    harness.send("PUT", "/v1/pools/p", #"{"image":"spin","ready":0}"#)
    #expect(harness.send("PATCH", "/v1/pools/p", #"{"ready_when":\#(point)}"#).problem?.pointer == pointer)
  }
}

@Suite struct LeaseTextTests {
  @Test(arguments: [
    "{}", #"{"b":"x","a":"y"}"#, #"{"a\"b":"line\nbreak \\ \u0001\u001f\u007f","ünï":"🦀"}"#,
  ])
  func whatTheEncoderWrites(labels: String) throws {
    let harness = Harness(factory: StubFactory())
    harness.send("PUT", "/v1/pools/p", #"{"image":"spin","ready":1}"#)
    _ = try harness.wait(forReady: 1, in: "p")
    let answer = harness.send("POST", "/v1/pools/p/leases", #"{"labels":\#(labels)}"#)
    let document = try answer.document(LeaseDocument.self)
    let lease = try #require(harness.fleet.lease(document.lease))
    #expect(document == LeaseDocument(lease))
    #expect(answer.body == (try JSON.encode(LeaseDocument(lease))) + [0x0A])
    #expect(harness.send("GET", "/v1/leases/\(lease.id)").body == answer.body)
  }
}

@Suite struct LeaseEndTests {
  @Test func hasEndedBeforeWhatFollowsFromIt() throws {
    let harness = Harness(factory: StubFactory())
    harness.send("PUT", "/v1/pools/p", #"{"image":"spin","ready":1}"#)
    let lease = try harness.send("POST", "/v1/pools/p/leases", #"{"wait_ms":30000}"#).document(LeaseDocument.self)
    let aftermath = harness.fleet.endFirst(lease.lease, as: .released, by: .server)
    #expect(harness.fleet.leases().isEmpty)
    #expect(harness.send("GET", "/v1/leases/\(lease.lease)").status == 410)
    #expect(harness.send("GET", "/v1/vms/\(lease.vm)").status == 404)
    aftermath()
    // What follows from it, follows.
    _ = try harness.wait(forReady: 1, in: "p")
    // Where there is nothing to end, nothing follows.
    harness.fleet.endFirst(lease.lease, as: .released, by: .server)()
  }
}

@Suite(.enabled(if: RealKVM.isAvailable)) struct ProbeTests {
  @Test func aProbedPoolMeasuresKicksThatNobodyAskedFor() throws {
    let harness = try Harness()
    harness.send("PUT", "/v1/pools/p", #"{"image":"spin","ready":1}"#)
    _ = try harness.wait(forReady: 1, in: "p")
    #expect(harness.send("POST", "/v1/pools/p/leases").status == 201)
    let count = #"vmpool_kick_latency_seconds_count{pool="p"}"#
    #expect(harness.metrics()[count] == 0)
    #expect(harness.send("PATCH", "/v1/pools/p", #"{"probe_interval_ms":10}"#).status == 200)
    // Half a minute at most, and much less unless something is broken.
    let end = Date().addingTimeInterval(30)
    while harness.metrics()[count] ?? 0 < 3, Date() < end { usleep(1000) }
    #expect(harness.metrics()[count] ?? 0 >= 3)
    let off = try harness.send("PATCH", "/v1/pools/p", #"{"probe_interval_ms":null}"#).document(PoolDocument.self)
    #expect(off.probeIntervalMS == nil)
    #expect(harness.send("PATCH", "/v1/pools/p", #"{"probe_interval_ms":9}"#).problem?.pointer == "/probe_interval_ms")
  }
}

@Suite struct PoolListTests {
  /// A client whose lease is refused reads what stands in its way.
  @Test func aRefusedLeaseSaysWhatToChange() {
    let harness = Harness(factory: StubFactory())
    harness.send("PUT", "/v1/pools/p", #"{"image": "spin", "ready": 0, "paused": true}"#)
    let refused = harness.send("POST", "/v1/pools/p/leases").problem
    #expect(refused?.kind == "pool-exhausted")
    #expect(refused?.detail.contains("set paused to false") == true)
  }

  @Test func whatGetGivesCanBePut() throws {
    let harness = Harness(factory: StubFactory())
    let made = harness.send("PUT", "/v1/pools/p", #"{"image": "spin", "ready": {"min": 0, "max": 1}}"#)
    let got = harness.send("GET", "/v1/pools/p")
    let again = harness.send("PUT", "/v1/pools/p", got.text)
    #expect(again.status == 200, "\(again.text)")
    #expect(again["ETag"] != nil && made.status == 201)
    let patched = harness.send("PATCH", "/v1/pools/p", got.text.replacing(#""paused":false"#, with: #""paused":true"#))
    #expect(try patched.document(PoolDocument.self).paused)
    for method in ["PUT", "PATCH"] {
      #expect(harness.send(method, "/v1/pools/other", got.text).problem?.pointer == "/name")
    }
  }

  @Test(arguments: [
    (#"{"min": 1, "mx": 2}"#, "/ready/mx"), (#"{"min": 1, "max": "2"}"#, "/ready/max"), (#""1""#, "/ready"),
    ("[1]", "/ready"), (#"{"min": 0, "max": 1, "status": {}}"#, "/ready/status"),
  ]) func whatIsWrongInReadyIsNamed(ready: String, pointer: String) {
    let harness = Harness(factory: StubFactory())
    #expect(harness.send("PUT", "/v1/pools/p", #"{"image": "spin", "ready": \#(ready)}"#).problem?.pointer == pointer)
    harness.send("PUT", "/v1/pools/p", #"{"image": "spin", "ready": 0}"#)
    #expect(harness.send("PATCH", "/v1/pools/p", #"{"ready": \#(ready)}"#).problem?.pointer == pointer)
  }

  @Test func pagesByName() throws {
    let harness = Harness(factory: StubFactory())
    for name in ["c", "a", "b"] { harness.send("PUT", "/v1/pools/\(name)", #"{"image":"spin","ready":0}"#) }
    func page(_ query: String) throws -> Page<PoolDocument> {
      try harness.send("GET", "/v1/pools\(query)").document(Page<PoolDocument>.self)
    }
    #expect(try page("").items.map(\.name) == ["a", "b", "c"])
    let first = try page("?limit=2")
    #expect(first.items.map(\.name) == ["a", "b"] && first.nextPageToken == "b")
    let second = try page("?limit=2&page_token=b")
    #expect(second.items.map(\.name) == ["c"] && second.nextPageToken == nil)
    #expect(try page("?page_token=bb").items.map(\.name) == ["c"])
    #expect(try page("?page_token=zzz").items.isEmpty)
  }

  @Test func tellsWhyItCannotGoOn() throws {
    let harness = Harness(factory: StubFactory(refusal: .vcpu(.thread(.resourceTemporarilyUnavailable))))
    harness.send("PUT", "/v1/pools/a", #"{"image":"spin","ready":1}"#)
    var error: String?
    try waitUntil("a creation has failed") {
      error = try harness.send("GET", "/v1/pools/a").document(PoolDocument.self).status.refill.lastError
      return error != nil
    }
    #expect(error?.contains("thread") == true)
  }

  @Test func images() throws {
    let harness = Harness(factory: StubFactory())
    let all = try harness.send("GET", "/v1/images").document(Page<ImageDocument>.self)
    #expect(all.items.map(\.name) == ["echo", "halt", "hello", "mmio", "pio", "spin"] && all.nextPageToken == nil)
    let page = try harness.send("GET", "/v1/images?limit=1&page_token=mmio").document(Page<ImageDocument>.self)
    #expect(page.items.map(\.name) == ["pio"] && page.nextPageToken == "pio")
    for image in all.items {
      #expect(try harness.send("GET", "/v1/images/\(image.name)").document(ImageDocument.self) == image)
      #expect(image.kind == "builtin" && image.sizeBytes > 0 && [0, 3].contains(image.ring))
    }
  }

  @Test func theHost() throws {
    let harness = Harness(factory: StubFactory(), limits: FleetLimits(vms: 7, pools: 3))
    let host = try harness.send("GET", "/v1/host").document(HostDocument.self)
    #expect(host.version == Release.version && host.kvmAPIVersion == 12 && host.kickMechanism == "immediate_exit")
    #expect(host.limits.maxVMs == 7 && host.limits.maxPools == 3 && host.limits.maxBodyBytes == 1 << 20)
  }
}
