import ArgumentParser

/// The tenant whose things a command shows, for operators.
struct TenantOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "For operators: the tenant whose things are meant. Without it, a list shows all, and a name is the key's own tenant's.",
      valueName: "name"))
  var tenant: String?
}
