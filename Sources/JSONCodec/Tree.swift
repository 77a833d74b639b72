import CJansson
import Glibc

/// A jansson value that has one owner: this, until it is put into a ``Container``.
@safe
struct NewValue: ~Copyable {
  private let pointer: UnsafeMutablePointer<json_t>

  // Safe, here and below: `pointer` is a reference of ours, given back once: by `deinit` or by whom `release` hands it.

  /// Takes over a fresh reference.
  @unsafe
  fileprivate init(_ fresh: UnsafeMutablePointer<json_t>?) {
    guard let fresh = unsafe fresh else { preconditionFailure("out of memory while writing JSON") }
    unsafe pointer = fresh
  }

  deinit { unsafe json_decref(pointer) }

  static var null: NewValue { unsafe NewValue(json_null()) }

  static func boolean(_ value: Bool) -> NewValue { unsafe NewValue(value ? json_true() : json_false()) }

  static func integer(_ value: Int64) -> NewValue { unsafe NewValue(json_integer(json_int_t(value))) }

  /// `value` is finite.
  static func real(_ value: Double) -> NewValue { unsafe NewValue(json_real(value)) }

  static func string(_ value: String) -> NewValue {
    let count = value.utf8.count
    // Safe: jansson copies `count` bytes, and a String's are always valid UTF-8.
    let fresh = unsafe value.withCString { unsafe json_stringn_nocheck($0, count) }
    return unsafe NewValue(fresh)
  }

  @unsafe
  fileprivate consuming func release() -> UnsafeMutablePointer<json_t> {
    let released = unsafe pointer
    discard self
    return unsafe released
  }
}

/// An array or object under construction, held by one reference of ours, beside its parent's.
@safe
final class Container {
  /// What it is.
  enum Kind { case array, object }

  let kind: Kind
  private let pointer: UnsafeMutablePointer<json_t>

  init(_ kind: Kind) {
    self.kind = kind
    let fresh = unsafe NewValue(kind == .array ? json_array() : json_object())
    unsafe pointer = fresh.release()
  }

  // Safe, here and below: `pointer` is a reference of ours, given back once.
  deinit { unsafe json_decref(pointer) }

  /// A second reference, for the parent to hold.
  var reference: NewValue { unsafe NewValue(json_incref(pointer)) }

  /// Number of elements of an array.
  var count: Int { unsafe json_array_size(pointer) }

  /// Adds a member to an object; one that it has already keeps its place and changes its value.
  func set(_ name: String, to value: consuming NewValue) {
    let count = name.utf8.count
    // Safe: jansson copies the name, whose bytes are valid UTF-8, and takes the reference over, even when it fails.
    let value = unsafe value.release()
    let status = unsafe name.withCString { unsafe json_object_setn_new_nocheck(pointer, $0, count, value) }
    precondition(status == 0, "out of memory while writing JSON")
  }

  /// Changes an element of an array, or appends it where `index` is the count.
  func set(_ index: Int, to value: consuming NewValue) {
    // Safe: as above.
    let value = unsafe value.release()
    let status =
      unsafe index == count ? json_array_append_new(pointer, value) : json_array_set_new(pointer, index, value)
    precondition(status == 0, "out of memory while writing JSON")
  }

  /// Puts an object's members into the order of their names.
  func sortMembers() {
    for name in unsafe memberNames(of: pointer).sorted() {
      let count = name.utf8.count
      // Safe: the second reference keeps the value while it is taken out and put back at the end.
      let value = unsafe NewValue(name.withCString { unsafe json_incref(json_object_getn(pointer, $0, count)) })
      _ = unsafe name.withCString { unsafe json_object_deln(pointer, $0, count) }
      set(name, to: value)
    }
  }

  /// The text of the first element of an array.
  func textOfFirst(flags: Int) -> [UInt8] {
    // Safe: `json_dumps` returns text that ends with NUL and is ours to free; it holds no other NUL.
    guard let text = unsafe json_dumps(json_array_get(pointer, 0), flags) else {
      preconditionFailure("out of memory while writing JSON")
    }
    defer { unsafe free(text) }
    return unsafe [UInt8](UnsafeRawBufferPointer(start: text, count: strlen(text)))
  }
}
