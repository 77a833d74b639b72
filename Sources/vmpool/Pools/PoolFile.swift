import APIModel
import ArgumentParser
import CommandLineSupport
import JSONCodec

/// A pool's document in a file, as the server prints it or a user writes it.
enum PoolFile {
  /// The members that only the server sets. A client that sends them back means nothing by them.
  static let readOnlyMembers: Set<String> = ["name", "source", "status"]

  /// The declaration in a file, or in stdin for `-`, for the pool of that name. Reports what is wrong: 66 where the file
  /// cannot be read, 65 where it is no declaration, or one of another pool.
  static func declaration(in path: String, of name: String) throws -> DeclarePoolDocument {
    let bytes = try contents(of: path)
    do {
      return try declaration(bytes, of: name)
    } catch let error as Failure {
      throw error
    } catch {
      throw Failure("\(path) is no declaration of a pool: \(error)", status: 65)
    }
  }

  static func declaration(_ bytes: [UInt8], of name: String) throws -> DeclarePoolDocument {
    guard case .object(var members) = try JSON.decode(AnyJSON.self, from: bytes) else {
      return try JSON.decode(DeclarePoolDocument.self, from: bytes)
    }
    if case .string(let other)? = members["name"], other != name {
      throw Failure("the file declares \(other), and not \(name)", status: 65)
    }
    members = members.filter { !readOnlyMembers.contains($0.key) }
    return try JSON.decode(DeclarePoolDocument.self, from: try JSON.encode(AnyJSON.object(members)))
  }
}
