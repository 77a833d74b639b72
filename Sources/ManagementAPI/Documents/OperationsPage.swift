import HTTPServer

/// The page at `/docs`: every operation, with the summary that the OpenAPI document gives it. It needs no script and no other
/// file.
enum OperationsPage {
  static let text: String = {
    let summaries = Self.summaries(in: String(decoding: PackageResources.vmpool_yaml, as: UTF8.self))
    let rows = Route.all.map { route in
      "<tr><td><code>\(route.method.rawValue)</code><td><code>\(escaped(route.template))</code>"
        + "<td>\(escaped(summaries[route.operationID] ?? ""))"
    }
    return """
      <!DOCTYPE html>
      <html lang="en">
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width">
      <title>vmpool API</title>
      <style>body{font:1rem/1.4 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}td{padding:.2rem .8rem .2rem 0;\
      vertical-align:top}</style>
      <h1>vmpool API</h1>
      <p><a href="/openapi.yaml">/openapi.yaml</a> describes every operation, its parameters and its answers.
      <table>
      \(rows.joined(separator: "\n"))
      </table>
      </html>

      """
  }()

  /// The operations' summaries by operation id. Reads lines: the document is the project's own, and each of the two stands
  /// on a line of its own, the summary behind the id.
  private static func summaries(in document: String) -> [String: String] {
    var summaries: [String: String] = [:]
    var operation = ""
    for line in document.split(separator: "\n") {
      if line.hasPrefix("      operationId: ") {
        operation = String(line.dropFirst(19))
      } else if line.hasPrefix("      summary: "), summaries[operation] == nil {
        summaries[operation] = String(line.dropFirst(15))
      }
    }
    return summaries
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
  }
}
