/// The release that this build is of.
public enum Release {
  /// The version that both programs, `GET /v1/host` and `vmpool_build_info` give: what the file VERSION at the top says.
  public static let version = String(
    decoding: PackageResources.VERSION.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)

  /// The compiler's version, as far as a program can know it.
  public static let compiler: String = {
    #if compiler(>=6.4)
      "6.4 or newer"
    #elseif compiler(>=6.3)
      "6.3"
    #else
      "6.2"
    #endif
  }()
}
