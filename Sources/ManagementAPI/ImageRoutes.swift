import APIModel
import GuestImages

/// `/v1/images` and below.
enum ImageRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/images", operationID: "listImages", query: ["limit", "page_token"], handler: list),
    Route(method: .get, template: "/v1/images/{image}", operationID: "getImage", handler: get),
  ]

  private static let documents = BuiltinGuest.all.map(ImageDocument.init).sorted { $0.name < $1.name }

  private static func list(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    .now(try .json(try Page(of: documents, by: \.name, call.query)))
  }

  private static func get(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let name = call.parameters.name
    guard let document = documents.first(where: { $0.name == name }) else {
      throw APIProblem(.imageNotFound, "There is no image \(name); GET /v1/images lists them.")
    }
    return .now(try .json(document))
  }
}

extension Page {
  /// The page of `items`, which are sorted by name, that a query asks for.
  init(of items: [Item], by name: (Item) -> String, _ query: Query) throws(APIProblem) {
    let limit = try query.pageLimit()
    let token = try query.resourceName("page_token")
    let rest = token.map { token in items.drop { name($0) <= token } } ?? items[...]
    let page = Array(rest.prefix(limit))
    self.init(items: page, nextPageToken: rest.count > limit ? page.last.map(name) : nil)
  }
}
