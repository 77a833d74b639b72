/// A pool as the configuration file declares it. What the file leaves out is nil.
public struct PoolDeclaration: Sendable, Equatable {
  /// How many VMs are kept ready.
  public struct Ready: Sendable, Equatable {
    /// 0 to 1000.
    public var min: Int
    /// `min` to 1000.
    public var max: Int
  }

  /// How far the guests of its VMs have come when they are leased.
  public enum ReadyWhen: Sendable, Equatable {
    /// Not started, or just started.
    case loaded, started
    /// They have printed this text, of 1 to 256 bytes.
    case console(String)
    /// 1 to 600000 milliseconds have passed since their start.
    case afterMS(Int)
  }

  /// A lower-case letter, then up to 62 lower-case letters, digits and hyphens; unique in the file.
  public var name: String
  /// The name of an image, of the same form. Whether there is one is not known here.
  public var image: String
  /// 1 to 8.
  public var vcpus: Int?
  /// 1 to 1024.
  public var memoryMiB: Int?
  /// One number in the file stands for both.
  public var ready: Ready?
  /// 1 to 100000, and not below `ready.max`.
  public var maxVMs: Int?
  /// 1 to 86400000.
  public var deadlineMS: Int?
  /// How many VMs are made at the same time, 1 to 64.
  public var refillConcurrency: Int?
  /// Whether refilling is stopped.
  public var paused: Bool?
  /// 10 to 3600000.
  public var probeIntervalMS: Int?
  /// What `vmpoold` takes for `loaded` where it is left out.
  public var readyWhen: ReadyWhen?
  /// 1 to 600000.
  public var readyTimeoutMS: Int?
  /// Where its name stands, both from 1.
  public var position: ConfigurationMistake.Position
}
