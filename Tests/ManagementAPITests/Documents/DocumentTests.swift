import APIModel
import JSONCodec
import Testing

@testable import ManagementAPI

/// What the API says of itself.
struct DocumentTests {
  private let harness = Harness(factory: StubFactory())

  @Test(arguments: ProblemKind.allCases) func everyTypeLeadsToAPage(kind: ProblemKind) {
    let reply = harness.send("GET", kind.type)
    #expect(reply.status == 200)
    #expect(reply["Content-Type"] == "text/plain; charset=utf-8")
    #expect(reply.text.hasPrefix("\(kind.title) (\(kind.status))\n\n") && reply.text.hasSuffix(".\n"))
  }

  private struct Links: Decodable {
    let name: String
    let version: String
    let links: [String: String]
  }

  @Test func everyLinkOfTheStartLeadsSomewhere() throws {
    let document = try harness.send("GET", "/").document(Links.self)
    #expect(document.name == "vmpool" && document.version == Release.version)
    for path in document.links.values { #expect(Router(Route.all).template(ofRaw: path) == path) }
  }

  @Test func thePageListsEveryOperation() {
    let page = harness.send("GET", "/docs").text
    for (name, operation) in OpenAPIDocument.shared.operations {
      let parts = name.split(separator: " ")
      let summary = (operation["summary"] as? String ?? "none").replacing("<", with: "&lt;")
      let row = "<tr><td><code>\(parts[0])</code><td><code>\(parts[1])</code><td>\(summary)\n"
      #expect(page.contains(row), "\(row)")
    }
    #expect(!page.contains("http") && !page.contains("<script"))
  }
}
