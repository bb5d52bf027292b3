import AloftModel
import Execution
import Foundation
import Logging
import OVSDB

/// When OVN's databases had each NIC's port: the northbound one its row, the southbound one its binding, which northd makes of it.
final class Arrivals: Sendable {
  private let northbound: OVSDBClient
  private let southbound: OVSDBClient
  private let rows = Lock<[String: ContinuousClock.Instant]>([:])
  private let bindings = Lock<[String: ContinuousClock.Instant]>([:])

  init(northbound: String, southbound: String) throws {
    self.northbound = try Self.client("OVN_Northbound", northbound)
    self.southbound = try Self.client("OVN_Southbound", southbound)
    follow(self.northbound, "Logical_Switch_Port", "name") { [rows] name, now in
      rows.withLock { if $0[name] == nil { $0[name] = now } }
    }
    follow(self.southbound, "Port_Binding", "logical_port") { [bindings] name, now in
      bindings.withLock { if $0[name] == nil { $0[name] = now } }
    }
  }

  static func client(_ database: String, _ remote: String) throws -> OVSDBClient {
    try OVSDBClient(
      OVSDBConfiguration(database: database, remotes: [try Remote(remote)]),
      logger: Logger(label: "aloft-bench", factory: { _ in SwiftLogNoOpLogHandler() }))
  }

  private func follow(
    _ client: OVSDBClient, _ table: String, _ column: String,
    _ note: @escaping @Sendable (String, ContinuousClock.Instant) -> Void
  ) {
    let replica = client.replica(of: [MonitoredTable(table, columns: [column])])
    Task {
      for try await batch in replica.changes {
        let now = ContinuousClock.now
        for name in batch.rows.compactMap({ $0.new?[column]?.string }) { note(name, now) }
      }
    }
  }

  func close() {
    northbound.close()
    southbound.close()
  }

  /// When the northbound database had the NIC's port.
  func written(_ nic: NICID) async throws -> ContinuousClock.Instant { try await first(nic, in: rows) }

  /// When the southbound database had it.
  func bound(_ nic: NICID) async throws -> ContinuousClock.Instant { try await first(nic, in: bindings) }

  /// Waits until the southbound database has so many ports, so that northd is at rest.
  func wait(forPorts count: Int) async throws {
    for _ in 0..<6000 {
      if bindings.withLock({ $0.count }) >= count { return }
      try await Task.sleep(for: .milliseconds(20))
    }
    throw BenchFailure("OVN did not have \(count) ports in 120 s")
  }

  private func first(
    _ nic: NICID, in instants: Lock<[String: ContinuousClock.Instant]>
  ) async throws -> ContinuousClock.Instant {
    for _ in 0..<30_000 {
      if let instant = instants.withLock({ $0[nic.port] }) { return instant }
      try await Task.sleep(for: .milliseconds(1))
    }
    throw BenchFailure("OVN did not have \(nic) in 30 s")
  }
}
