import Testing

@testable import ManagementAPI

@Suite struct RouterTests {
  private let router = Router(Route.all)

  @Test(arguments: [
    ("/v1/vms", "/v1/vms"), ("/v1/%76ms", "/v1/vms"),
    ("/v1/vms/vm-0123456789ab4a60/vcpus/7/kick", "/v1/vms/{vm}/vcpus/{index}/kick"),
    ("/v1/pools/a", "/v1/pools/{pool}"), ("/v1/pools/A", "/v1/pools/{pool}"), ("/v1/vms/", nil), ("/", "/"), ("", nil),
    ("*", nil), ("/%", nil),
    ("/%zz", nil),
    ("/v1/%ff", nil), ("//v1/vms", nil),
  ])
  func templatesOfPathsAsSent(path: String, template: String?) {
    #expect(router.template(ofRaw: path) == template)
  }

  @Test func parameters() throws {
    let found = try router.find(["v1", "vms", "vm-0123456789ab4a60", "vcpus", "3", "registers"])?.parameters.get()
    #expect(found == PathParameters(vm: "vm-0123456789ab4a60", index: 3, name: ""))
    #expect(try router.find(["v1", "pools", "a-1"])?.parameters.get().name == "a-1")
  }

  @Test func theFirstMalformedParameterIsNamed() {
    let found = router.find(["v1", "vms", "5", "vcpus", "9", "registers"])
    #expect(found?.path.template == "/v1/vms/{vm}/vcpus/{index}/registers")
    #expect(found?.parameters == .failure(MalformedParameter(parameter: .vm, text: "5")))
    #expect(router.find(["v1", "vms", "5", "vcpus", "9", "register"]) == nil)
    #expect(router.find(["v1", "vms", ""]) == nil)
  }

  @Test(arguments: [
    (PathParameter.vm, "VMId"), (.lease, "LeaseId"), (.image, "ResourceName"), (.pool, "ResourceName"),
    (.digest, "Digest"),
  ]) func patternsAreThoseOfTheDocument(parameter: PathParameter, schema: String) {
    #expect(OpenAPIDocument.shared.component("schemas", schema)["pattern"] as? String == parameter.pattern)
  }

  @Test func everyTemplateFindsItself() {
    for route in Route.all {
      let path = route.template.replacing("{vm}", with: "vm-0123456789ab4a60").replacing("{index}", with: "0")
        .replacing("{lease}", with: "lease-0123456789abcdef")
        .replacing("{image}", with: "spin").replacing("{pool}", with: "demo").replacing("{kind}", with: "draining")
        .replacing("{digest}", with: "sha256:" + String(repeating: "0", count: 64))
      #expect(router.template(ofRaw: path) == route.template)
    }
  }
}
