public import APIModel

/// A pool as the configuration file declares it.
public struct PoolDeclaration: Sendable, Equatable {
  /// What `PoolRules` takes for a name; unique in the file.
  public var name: String
  /// What a client would PUT. Whether there is such an image is not known here.
  public var document: DeclarePoolDocument
  /// Where its name stands, both from 1.
  public var position: ConfigurationMistake.Position
}
