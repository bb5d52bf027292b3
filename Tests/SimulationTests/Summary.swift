/// What a set of histories has seen.
struct Summary {
  let histories: Int
  let steps: Int
  let virtualMilliseconds: Int
  let failed: [UInt64]
  let counts: [String: Int]

  init(_ reports: [Simulation.Report]) {
    histories = reports.count
    steps = reports.reduce(0) { $0 + $1.steps }
    virtualMilliseconds = reports.reduce(0) { $0 + $1.virtualMilliseconds }
    failed = reports.filter { !$0.failures.isEmpty }.map(\.seed)
    counts = reports.reduce(into: [:]) { $0.merge($1.counts) { $0 + $1 } }
  }

  /// What every set of a few dozen histories must have seen.
  static let expected = [
    // What users do.
    "create", "start", "stop", "stop forced", "reboot", "reset", "delete", "rename", "relabel",
    "relabel with an old If-Match", "read", "list", "explain", "retry", "create retried",
    "answer 202", "answer 409 no_capacity", "answer 409 wrong_state", "answer 412 precondition_failed",
    // Messages.
    "request lost", "answer lost", "request doubled", "old report again", "request delayed", "user's answer lost",
    "wake-up lost", "node unreachable", "node unreachable beyond its lease",
    "node unreachable for many minutes", "download broken",
    // Agents and their hosts.
    "agent killed", "agent died before an effect", "agent died after an effect", "libvirt down",
    "libvirt did not answer", "libvirt refused", "event lost", "host rebooted",
    "host's clock set back", "host's clock set forward", "disk full for a while", "disk full",
    "downloads fail for a while",
    // The control plane.
    "replica killed", "replica died before a commit", "replica died after a commit",
    "connection lost before a commit", "connection lost after a commit", "database crashed",
    "step held up",
    // Guests.
    "QEMU killed", "guest powered itself off", "guest paused by an I/O error", "guest ignores ACPI",
    "domain destroyed from outside", "domain undefined from outside", "a guest was hit",
    // Networks.
    "attach NIC", "detach NIC", "OVN down on a node", "a guest was held without its ports",
    // What operations come to.
    "operation succeeded", "operation failed: superseded", "operation failed: deadline_exceeded",
  ]

  var missing: [String] { Self.expected.filter { counts[$0] == nil } }

  func text(took time: Duration) -> String {
    let lines = counts.sorted { $0.key < $1.key }.map { "  \($0.value)\t\($0.key)" }
    return """
      \(histories) histories, \(failed.count) failed\(failed.isEmpty ? "" : ": \(failed)")
      \(steps) steps, \(virtualMilliseconds / 60_000) minutes of virtual time, \(time.components.seconds) s of real time
      \(lines.joined(separator: "\n"))
      """
  }
}
