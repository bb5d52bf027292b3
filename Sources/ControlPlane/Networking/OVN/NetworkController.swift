import AloftModel
import Foundation
import Logging
import Northbound
import OVSDB
import Postgres

/// Carries what the database says of networks over to OVN's northbound database.
///
/// Invariants:
/// - One replica does it at a time: the one that has the lock in the northbound database. Every transaction there asserts it.
/// - A row of `network_changes` goes only when what it tells of is in the northbound database, so nothing is forgotten by a
///   replica that dies; who comes next begins with everything.
/// - What changes costs what it changes: the objects named by the rows are read and written, nothing else.
/// - Whatever keeps changes from OVN is written down where users see it (`network_controller`); they wait, and nothing is lost.
struct NetworkController: Sendable {
  /// How often the replica that writes says that it does, and looks for changes whatever wake-ups were lost.
  static let heartbeat = Duration.seconds(5)
  /// How many changes are carried over in one go.
  static let batch = 500

  let database: Database
  let wakeups: Wakeups
  let environment: Environment
  let logger: Logger
  /// Tells replicas apart.
  let replica: UUID
  private let client: OVSDBClient
  private let writer: NorthboundWriter

  /// Nil where no northbound database is set.
  init?(
    _ settings: NetworkingSettings, database: Database, wakeups: Wakeups, environment: Environment, logger: Logger
  ) throws {
    if settings.northbound.isEmpty { return nil }
    client = try settings.northboundClient(logger: logger)
    writer = NorthboundWriter(client: client, makeID: environment.newUUID, logger: logger)
    replica = environment.newUUID()
    self.database = database
    self.wakeups = wakeups
    self.environment = environment
    self.logger = logger
  }

  /// Runs until cancelled.
  func run() async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await serve() }
      group.addTask {
        await environment.repeating(
          every: Self.heartbeat, orWarn: "the state of OVN cannot be told", logger, tellConnection)
      }
    }
    await writer.resign()
    client.close()
  }

  /// One term behind another.
  private func serve() async {
    while !Task.isCancelled {
      do {
        try await writer.acquire()
        try await carryEverythingOver()
        let ports = Task { await watchPorts() }
        defer { ports.cancel() }
        while !Task.isCancelled {
          let ticket = wakeups.ticket(.networks)
          if try await carryChangesOver() == 0 {
            await wakeups.wait(for: .networks, since: ticket, atMost: Self.heartbeat)
          }
        }
      } catch is CancellationError {
        return
      } catch {
        if Task.isCancelled { return }
        logger.warning("networks cannot be written to OVN now", metadata: ["error": "\(error)"])
        await tell(problem: "\(error)")
        try? await environment.sleep(.seconds(1))
      }
    }
  }

  /// The beginning of a term: the northbound database becomes what ours says, whoever wrote it before.
  private func carryEverythingOver() async throws {
    let (model, changes) = try await database.transaction(.snapshot) { session in
      let changes = try session.query("SELECT seq FROM network_changes").map { try $0.get(0, as: Int.self) }
      return (NetworkModel(try NetworkObjects.all(in: session)), changes)
    }
    let summary = try await writer.replaceAll(model)
    let refusal = summary.refusals.first.map { "OVN refuses \(summary.refusals.count) changes: \($0)" }
    try await forget(changes, problem: refusal)
    logger.info(
      "networks are as OVN has them",
      metadata: ["operations": "\(summary.operations)", "refusals": "\(summary.refusals.count)"])
  }

  /// Carries the oldest changes over. Returns how many there were.
  func carryChangesOver() async throws -> Int {
    let (changes, rows) = try await database.run { session -> ([NetworkModel.Change], [Int]) in
      let rows = try session.query(
        "SELECT seq, kind, id FROM network_changes ORDER BY seq LIMIT \(Self.batch)")
      let named = try rows.map { NetworkObjects.Name(kind: try $0.get(1), id: try $0.get(2)) }
      return (try NetworkObjects.changes(of: Set(named), in: session), try rows.map { try $0.get(0) })
    }
    var refusal: String?
    do throws(NorthboundError) {
      try await writer.apply(changes)
    } catch {
      // What OVN does not take stays wanted; the rest of the cloud goes on.
      guard error.kind == .refused else { throw error }
      logger.error("OVN refuses changes", metadata: ["error": "\(error)"])
      refusal = "OVN refuses changes: \(error)"
    }
    try await forget(rows, problem: refusal)
    return rows.count
  }

  private func forget(_ rows: [Int], problem: String?) async throws {
    try await database.run { session in
      try session.pipeline([
        "DELETE FROM network_changes WHERE seq = ANY(\(rows))",
        """
        UPDATE network_controller SET replica = \(replica), seen_at = aloft_now(), problem = \(problem)
         WHERE (replica, problem) IS DISTINCT FROM (\(replica), \(problem)) OR seen_at < aloft_now() - interval '4 seconds'
        """,
      ])
    }
  }

  // MARK: What users see

  /// Which ports are up, for as long as this replica writes: another one may be behind. Begins with all of them, again where
  /// the database was away, so that nothing that changed meanwhile is missed.
  private func watchPorts() async {
    while !Task.isCancelled {
      do {
        for try await states in writer.portStates { try await tell(states) }
        return
      } catch {
        logger.warning("the states of ports cannot be told now", metadata: ["error": "\(error)"])
        try? await environment.sleep(.seconds(1))
      }
    }
  }

  private func tell(_ states: [PortState]) async throws {
    let ids = states.map(\.nic.uuid)
    let ups = states.map(\.isUp)
    try await database.run { session in
      try session.execute(
        """
        INSERT INTO nic_ports AS p (nic_id, up)
        SELECT t.id, t.up FROM unnest(\(ids)::uuid[], \(ups)::boolean[]) t (id, up) JOIN nics n ON n.id = t.id
         ORDER BY t.id
        ON CONFLICT (nic_id) DO UPDATE SET up = excluded.up, since = aloft_now() WHERE p.up <> excluded.up
        """)
    }
  }

  /// Says why nobody writes, where that is so: another replica may be able to.
  private func tellConnection() async throws {
    guard case .disconnected(let reason) = client.status else { return }
    await tell(problem: "OVN's northbound database cannot be reached: \(reason ?? "no server has answered yet")")
  }

  private func tell(problem: String) async {
    _ = try? await database.run { session in
      try session.execute(
        """
        UPDATE network_controller SET replica = \(replica), problem = \(problem)
         WHERE replica = \(replica) OR replica IS NULL OR seen_at < aloft_now() - interval '15 seconds'
        """)
    }
  }
}

extension NetworkingSettings {
  /// A client of the northbound database; nil where none is set.
  func northboundClient(logger: Logger) throws -> OVSDBClient {
    var configuration = OVSDBConfiguration(
      database: "OVN_Northbound", remotes: try northbound.map { try Remote($0) })
    configuration.tls = northboundTLS
    return try OVSDBClient(configuration, logger: logger)
  }
}
