import AloftModel
import Foundation
import JSON
import Northbound
import OVSDB
import OVSDBTestSupport
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Which replica writes to OVN")
struct NetworkTurnTests {
  private static let schema = "/usr/share/ovn/ovn-nb.ovsschema"
  private static var isInstalled: Bool { FileManager.default.fileExists(atPath: schema) }
  /// What takes seconds in production.
  private static let times = NetworkController.Times(
    withoutDatabase: 0.5, silence: 1, longestStep: 60, pause: .milliseconds(100))

  private static func controller(
    _ test: TestPlane, _ server: OVSDBServer, database: Database? = nil
  ) throws -> NetworkController {
    var settings = NetworkingSettings()
    settings.northbound = [server.remote.description]
    let made = try NetworkController(
      settings, database: database ?? test.database, wakeups: test.plane.plane.wakeups, environment: .live,
      logger: quiet, times: times)
    return try #require(made)
  }

  private static func writes(_ replica: NetworkController, _ test: TestPlane) async throws {
    try await eventually("this replica writes, and everything is told", within: .seconds(30)) {
      try await test.count(
        """
        SELECT (SELECT count(*) FROM network_controller WHERE replica = \(replica.replica) AND problem IS NULL)
             - (SELECT count(*) FROM network_changes)
        """) == 1
    }
  }

  @Test("a replica that does not reach PostgreSQL any more lets another one write", .enabled(if: isInstalled))
  func resigns() async throws {
    try await TestPlane.with { test async throws in
      let server = try await OVSDBServer(schema: try String(contentsOfFile: Self.schema, encoding: .utf8))
      let lost = try Database(
        configuration: DatabaseConfiguration(url: test.databaseURL, poolSize: 2), logger: quiet)
      let first = try Self.controller(test, server, database: lost)
      let one = Task { await first.run() }
      try await test.makeNetwork("blue", "10.0.0.0/24")
      try await Self.writes(first, test)
      let second = try Self.controller(test, server)
      let two = Task { await second.run() }
      await lost.shutdown()
      try await test.makeNetwork("red", "10.1.0.0/24")
      try await Self.writes(second, test)
      for task in [one, two] {
        task.cancel()
        await task.value
      }
    }
  }

  @Test("from one that has the lock and says nothing it is taken", .enabled(if: isInstalled))
  func overtakes() async throws {
    try await TestPlane.with { test async throws in
      let server = try await OVSDBServer(schema: try String(contentsOfFile: Self.schema, encoding: .utf8))
      // What is left of a process that stands still: its connection.
      let frozen = try server.client { $0.database = "OVN_Northbound" }
      try await frozen.lock(NorthboundWriter.lockName).acquired()
      let replica = try Self.controller(test, server)
      let running = Task { await replica.run() }
      try await test.makeNetwork("blue", "10.0.0.0/24")
      try await Self.writes(replica, test)
      running.cancel()
      await running.value
      frozen.close()
    }
  }

  @Test("silence is what stays the same for long enough while it can be read; whoever says anything new is not silent")
  func silence() {
    var watch = ControllerWatch(patience: 60)
    let looks: [(String?, TimeInterval, Bool)] = [
      ("a", 0, false), ("a", 59, false), ("a", 60, true),
      // It says that it is there.
      ("b", 61, false), ("b", 120, false),
      // Nobody could look.
      (nil, 121, false), ("b", 500, false), ("b", 559, false), ("b", 560, true),
    ]
    for (word, time, isSilent) in looks {
      let silent = watch.look(word, at: time)
      #expect(silent == isSilent, "\(time)")
    }
  }
}
