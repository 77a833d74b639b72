/// What this build is.
public enum Release {
  /// The version that `GET /v1/host`, `vmpool_build_info` and `vmpoold --version` tell.
  public static let version = "0.1.0"

  /// The compiler's version, as far as a program can tell.
  static let compiler: String = {
    #if compiler(>=6.4)
      "6.4 or newer"
    #elseif compiler(>=6.3)
      "6.3"
    #else
      "6.2"
    #endif
  }()
}
