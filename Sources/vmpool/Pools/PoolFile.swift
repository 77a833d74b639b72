import APIModel
import ArgumentParser
import CommandLineSupport
import JSONCodec

/// A pool's document in a file, as the server prints it or a user writes it.
enum PoolFile {
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
    if let other = try JSON.decode(Named.self, from: bytes, unknownMembers: .ignore).name, other != name {
      throw Failure("the file declares \(other), and not \(name)", status: 65)
    }
    let document = try JSON.decode(DeclarePoolDocument.self, from: bytes, passingOver: PoolDocument.readOnlyMembers)
    try document.check()
    return document
  }

  private struct Named: Decodable {
    let name: String?
  }
}
