import CSeccomp

/// A system call that is allowed, or refused, and with which arguments.
struct SystemCallRule: Equatable {
  /// The argument of this number, as far as `mask` goes, must be `value`.
  struct Condition: Equatable {
    let argument: UInt32
    let mask: UInt64
    let value: UInt64
  }

  let name: String
  /// All must hold; none: any arguments.
  let conditions: [Condition]

  init(_ name: String, _ conditions: Condition...) {
    self.name = name
    self.conditions = conditions
  }

  static func plain(_ names: String) -> [SystemCallRule] {
    names.split { $0 == " " || $0 == "\n" }.map { SystemCallRule(String($0)) }
  }
}

extension SystemCallRule.Condition {
  /// The low 32 bits: what the kernel looks at where an argument is an int.
  static func int(_ argument: UInt32, is value: UInt64) -> Self {
    Self(argument: argument, mask: 0xFFFF_FFFF, value: value)
  }

  static func bits(_ argument: UInt32, _ mask: UInt64, are value: UInt64) -> Self {
    Self(argument: argument, mask: mask, value: value)
  }
}
