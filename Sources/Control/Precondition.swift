/// Looks at the tag of what is about to be changed; nil where there is none. Throws where the change must not happen.
public typealias Precondition = (_ tag: String?) throws(PreconditionFailure) -> Void

/// A precondition does not hold: what a client wants to change is not as it expects. Nothing was changed.
public struct PreconditionFailure: Error, Sendable, Equatable, CustomStringConvertible {
  /// What the client expects, of what, and what is there instead: a sentence.
  public let description: String

  /// A failure.
  public init(_ description: String) { self.description = description }
}
