import Foundation
import PoolManager

/// A lease as JSON, as `LeaseDocument` is encoded: whoever leases a VM waits for it.
enum LeaseText {
  static func document(_ lease: Lease) -> [UInt8] {
    var text = JSONText(capacity: 384)
    text.put("{\"lease\":\"")
    text.put(lease.id)
    text.put("\",\"pool\":\"")
    text.put(lease.pool)
    text.put("\",\"vm\":\"")
    text.put(lease.vm.id)
    text.put("\",\"fence\":")
    text.put(lease.fence)
    text.put(",\"labels\":{")
    for (place, label) in lease.labels.sorted(by: { $0.key < $1.key }).enumerated() {
      if place > 0 { text.put(",") }
      text.quote(label.key)
      text.put(":")
      text.quote(label.value)
    }
    text.put("},\"granted_at\":")
    text.put(milliseconds: RFC3339.milliseconds(lease.grantedAt))
    text.put(",\"expires_at\":")
    text.put(milliseconds: RFC3339.milliseconds(lease.expiresAt))
    text.put(",\"max_expires_at\":")
    text.put(milliseconds: RFC3339.milliseconds(lease.lastsUntil))
    text.put("}")
    return text.bytes
  }
}
