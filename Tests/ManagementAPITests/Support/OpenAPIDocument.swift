import Foundation
import Testing
import Yams

@testable import ManagementAPI

/// openapi/vmpool.yaml, read for comparison with what the server does.
struct OpenAPIDocument: @unchecked Sendable {
  // Never written: a tree of values.
  private let root: [String: Any]
  private let router = Router(Route.all)

  static let url = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../../openapi/vmpool.yaml").standardized
  static let shared = OpenAPIDocument()

  private init() {
    let text = (try? String(contentsOf: Self.url, encoding: .utf8)) ?? ""
    root = (try? Yams.load(yaml: text)) as? [String: Any] ?? [:]
  }

  /// Follows a `$ref`, if there is one.
  func resolved(_ value: Any?) -> [String: Any] {
    guard let object = value as? [String: Any] else { return [:] }
    guard let reference = object["$ref"] as? String else { return object }
    var place: Any? = root
    for key in reference.dropFirst(2).split(separator: "/") { place = (place as? [String: Any])?[String(key)] }
    return resolved(place)
  }

  var paths: [String: [String: Any]] { root["paths"] as? [String: [String: Any]] ?? [:] }

  func component(_ kind: String, _ name: String) -> [String: Any] {
    resolved(["$ref": "#/components/\(kind)/\(name)"])
  }

  /// Operations by `METHOD template`.
  var operations: [String: [String: Any]] {
    var operations: [String: [String: Any]] = [:]
    for (template, path) in paths {
      for method in ["get", "post", "put", "delete", "patch", "head", "options", "trace"] {
        if let operation = path[method] as? [String: Any] {
          operations["\(method.uppercased()) \(template)"] = operation
        }
      }
    }
    return operations
  }

  /// Every problem example anywhere in the document.
  var problemExamples: [[String: Any]] {
    var found: [[String: Any]] = []
    func walk(_ value: Any) {
      if let object = value as? [String: Any] {
        if let type = object["type"] as? String, type.hasPrefix("/problems/") { found.append(object) }
        object.values.forEach(walk)
      } else if let list = value as? [Any] {
        list.forEach(walk)
      }
    }
    walk(root)
    return found
  }

  /// That the document describes a reply: its status and its content type.
  func check(_ reply: Reply, to method: String, _ segments: [String], _ sourceLocation: SourceLocation) {
    guard let path = router.find(segments)?.path, let route = path.route(method) else { return }
    let name = "\(route.method.rawValue) \(route.template)"
    let responses = operations[name]?["responses"] as? [String: Any] ?? [:]
    let response = resolved(responses[String(reply.status)])
    guard !response.isEmpty else {
      Issue.record("\(name) answers \(reply.status), which is not described", sourceLocation: sourceLocation)
      return
    }
    let types = (response["content"] as? [String: Any])?.keys.sorted() ?? []
    let isDescribed = reply["Content-Type"].map(types.contains) ?? types.isEmpty
    #expect(isDescribed, "\(name) \(reply.status): \(reply["Content-Type"] ?? "none")", sourceLocation: sourceLocation)
  }
}

@Suite struct OpenAPITests {
  private let document = OpenAPIDocument.shared

  @Test func everyRouteHasAnOperationAndEveryOperationARoute() {
    let routes = Set(Route.all.map { "\($0.method.rawValue) \($0.template) \($0.operationID)" })
    let operations = Set(document.operations.map { "\($0.key) \($0.value["operationId"] as? String ?? "")" })
    #expect(routes == operations)
    #expect(routes.count == Route.all.count, "an operation stands in the table twice")
  }

  @Test(arguments: Route.all.indices) func queryParametersAgree(index: Int) {
    let route = Route.all[index]
    let path = document.paths[route.template] ?? [:]
    let operation = document.operations["\(route.method.rawValue) \(route.template)"] ?? [:]
    let parameters = (path["parameters"] as? [Any] ?? []) + (operation["parameters"] as? [Any] ?? [])
    let described = parameters.map(document.resolved).filter { $0["in"] as? String == "query" }
    #expect(Set(described.compactMap { $0["name"] as? String }) == Set(route.query), "\(route.operationID)")
  }

  @Test(arguments: Route.all.indices) func scopesAgree(index: Int) {
    let route = Route.all[index]
    let operation = document.operations["\(route.method.rawValue) \(route.template)"] ?? [:]
    let responses = operation["responses"] as? [String: Any] ?? [:]
    let security = (operation["security"] as? [[String: [String]]])?.map { $0["key"] }
    #expect(operation["x-vmpool-scope"] as? String == route.scope?.rawValue, "\(route.operationID)")
    #expect(security == (route.scope.map { [nil, [$0.rawValue]] } ?? []), "\(route.operationID)")
    for status in ["401", "403", "429"] {
      #expect(responses[status] != nil || route.scope == nil, "\(route.operationID) \(status)")
    }
  }

  @Test(arguments: Route.all.indices) func idempotencyKeysAgree(index: Int) {
    let route = Route.all[index]
    let operation = document.operations["\(route.method.rawValue) \(route.template)"] ?? [:]
    let names = (operation["parameters"] as? [Any] ?? []).map { document.resolved($0)["name"] as? String }
    #expect(names.contains("Idempotency-Key") == route.isIdempotent, "\(route.operationID)")
  }

  @Test(arguments: Route.all.indices) func bodiesAgree(index: Int) {
    let route = Route.all[index]
    let operation = document.operations["\(route.method.rawValue) \(route.template)"] ?? [:]
    let body = document.resolved(operation["requestBody"])
    let types = (body["content"] as? [String: Any])?.keys.sorted() ?? []
    switch route.body {
    case .none: #expect(types.isEmpty, "\(route.operationID)")
    case .json(let isRequired):
      #expect(types == ["application/json"], "\(route.operationID)")
      #expect(body["required"] as? Bool == isRequired, "\(route.operationID)")
    case .mergePatch: #expect(types == ["application/json", "application/merge-patch+json"], "\(route.operationID)")
    case .upload(let orDocument):
      let bytes = ["application/octet-stream"]
      #expect(types == (orDocument ? ["application/json"] + bytes : bytes), "\(route.operationID)")
    case .bytes: #expect(types == ["application/octet-stream"], "\(route.operationID)")
    }
  }

  @Test func problemTypesAgree() throws {
    let type = (document.component("schemas", "Problem")["properties"] as? [String: [String: Any]])?["type"]
    let described = try #require(type?["enum"] as? [String])
    #expect(Set(described) == Set(ProblemKind.allCases.map(\.type)))
  }

  @Test(arguments: ProblemKind.allCases) func problemsLookLikeTheirExamples(kind: ProblemKind) throws {
    let examples = document.problemExamples.filter { $0["type"] as? String == kind.type }
    #expect(!examples.isEmpty)
    for example in examples {
      #expect(example["title"] as? String == kind.title)
      #expect(example["status"] as? Int == kind.status)
    }
  }

  @Test func servedDocumentIsTheFile() throws {
    #expect(PackageResources.vmpool_yaml == Array(try Data(contentsOf: OpenAPIDocument.url)))
    let harness = Harness(factory: StubFactory())
    #expect(harness.send("GET", "/openapi.yaml").body == PackageResources.vmpool_yaml)
  }
}
