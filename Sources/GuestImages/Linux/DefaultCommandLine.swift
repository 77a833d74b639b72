extension GuestKind {
  /// The command line of an image of this kind that is given none; nil where that is empty.
  public var defaultCommandLine: String? { self == .linux ? LinuxImage.defaultCommandLine : nil }
}
