import APIClient
import ArgumentParser

/// The files that `vmpool` speaks TLS with: on the command line of every command, and in a context.
struct TLSOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Believe servers whose certificate leads to one in this PEM file, rather than to one of this machine's authorities.",
      valueName: "file"),
    completion: .file(extensions: ["pem", "crt"]))
  var cacert: String?

  @Option(
    help: ArgumentHelp("Show this certificate, a PEM file, to a server that asks for one.", valueName: "file"),
    completion: .file(extensions: ["pem", "crt"]))
  var cert: String?

  @Option(
    help: ArgumentHelp("The key of --cert, where it is in another PEM file.", valueName: "file"),
    completion: .file(extensions: ["pem", "key"]))
  var clientKey: String?

  func validate() throws {
    if clientKey != nil, cert == nil { throw ValidationError("--client-key needs --cert.") }
  }

  /// These, and where there are none those of a context.
  func over(_ files: TLSFiles) -> TLSFiles {
    TLSFiles(
      authority: cacert ?? files.authority, certificate: cert ?? files.certificate,
      key: cert == nil ? files.key : clientKey)
  }
}
