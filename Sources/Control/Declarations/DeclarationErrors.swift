import APIModel
import GuestImages
import JSONCodec
import PoolManager

/// Why a document makes no VM and no pool.
public enum SpecificationError: Error, Sendable, CustomStringConvertible {
  /// A member of the document says what cannot be.
  case mistake(DocumentMistake)
  /// There is no image of that name.
  case noSuchImage(String)
  /// The guest does not fit the memory or the vCPUs that the document gives it.
  case layout(GuestLayoutError)
  /// The host has no room for such a VM, even without any other.
  case tooLarge(BudgetRefusal)

  /// What happened, to what, and what to do next.
  public var description: String {
    switch self {
    case .mistake(let mistake): "\(mistake)"
    case .noSuchImage(let name): "there is no image \(name.clipped()); store it first, or name another"
    case .layout(let error): "\(error)"
    case .tooLarge(let refusal): "\(refusal)"
    }
  }
}

/// Why a pool was not declared, changed or deleted. Its declaration is as it was.
public enum DeclarationRefusal: Error, Sendable, CustomStringConvertible {
  /// The configuration file declares the pool, so the file alone changes it.
  case declaredInFile(String)
  /// A client declared the pool over the API, so the configuration file does not change it.
  case declaredOverAPI(String)
  /// The pool is not as its client expects.
  case precondition(PreconditionFailure)
  /// The declaration makes no pool.
  case specification(SpecificationError)
  /// The fleet refuses the pool.
  case fleet(FleetError)
  /// The declaration could not be recorded.
  case journal(JournalFailure)
  /// The declaration could not be written as JSON.
  case unencodable(JSONEncodingError)

  /// What happened, to what, and what to do next.
  public var description: String {
    switch self {
    case .declaredInFile(let name):
      "the pool \(name) is declared in the server's configuration file; change it there and send the server SIGHUP"
    case .declaredOverAPI: "it was declared over the API, which holds; delete one of the two"
    case .precondition(let failure): "\(failure)"
    case .specification(let error): "\(error)"
    case .fleet(let error): "\(error)"
    case .journal(let failure): "\(failure)"
    case .unencodable(let error): "\(error)"
    }
  }
}

/// Why a pool that was declared elsewhere than over the API is not there.
public struct DeclarationError: Error, Sendable, CustomStringConvertible {
  /// Its name.
  public let pool: String
  /// What happened, and what to do next.
  public let detail: String

  /// The same, with the pool's name.
  public var description: String { "pool \(pool): \(detail)" }
}
