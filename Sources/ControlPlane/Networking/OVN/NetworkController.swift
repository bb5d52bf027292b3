import AloftModel
import Execution
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
/// - It can: one that does not reach PostgreSQL any more gives the lock back, and from one that says nothing it is taken.
/// - What changes costs what it changes: the objects named by the rows are read and written, nothing else.
/// - Whatever keeps changes from OVN is written down where users see it (`network_controller`); they wait, and nothing is lost.
/// - What OVN does not take of an object stands in `network_refusals`, and is tried again, until it does.
struct NetworkController: Sendable {
  /// How often the replica that writes says that it does, and looks for changes whatever wake-ups were lost.
  static let heartbeat = Duration.seconds(5)
  /// How many changes are carried over in one go.
  static let batch = 500
  /// When what OVN did not take is tried again, and how much of it in one go.
  static let retrySeconds = 8.0
  static let retries = 100

  let database: Database
  let wakeups: Wakeups
  let environment: Environment
  let logger: Logger
  /// Tells replicas apart.
  let replica: UUID
  let writer: NorthboundWriter
  private let client: OVSDBClient
  let times: Times
  let progress = Lock(Progress())

  /// How long things may take, in seconds.
  struct Times: Sendable {
    /// For how long the replica that writes keeps the lock though the database does not answer.
    var withoutDatabase: TimeInterval = 10
    /// After which silence of the one that has the lock another one takes it.
    var silence: TimeInterval = 60
    /// How long one step may take, the first with everything included, before it counts as silence.
    var longestStep: TimeInterval = 900
    /// How often the one that writes says so, and the others look.
    var pause = NetworkController.heartbeat
  }

  /// Nil where no northbound database is set.
  init?(
    _ settings: NetworkingSettings, database: Database, wakeups: Wakeups, environment: Environment, logger: Logger,
    times: Times = Times()
  ) throws {
    self.times = times
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
      group.addTask {
        var watch = ControllerWatch(patience: times.silence)
        await environment.repeating(every: times.pause, orWarn: "who writes to OVN cannot be told", logger) {
          try await keepTurns(&watch)
        }
      }
    }
    await writer.resign()
    client.close()
  }

  /// One term behind another.
  private func serve() async {
    while !Task.isCancelled {
      do {
        // Who cannot read what is wanted must not keep others from writing it.
        _ = try await database.one("SELECT 1 FROM network_controller")
        try await writer.acquire()
        let ports = Task { await watchPorts() }
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await serveTerm()) } catch { outcome = .failure(error) }
        // What is still to be told must not come behind what the next term tells.
        ports.cancel()
        await ports.value
        try outcome.get()
      } catch is CancellationError {
        return
      } catch {
        if Task.isCancelled { return }
        logger.warning("networks cannot be written to OVN now", metadata: ["error": "\(error)"])
        if shouldResign(after: error) { await writer.resign() }
        endTerm()
        await tell(problem: "\(error)")
        try? await environment.sleep(.seconds(1))
      }
    }
  }

  private func serveTerm() async throws {
    try await beginTerm()
    try await carryEverythingOver()
    while !Task.isCancelled {
      noteProgress()
      let ticket = wakeups.ticket(.networks)
      if try await carryChangesOver() == 0 {
        try await tryRefusedAgain()
        await wakeups.wait(for: .networks, since: ticket, atMost: Self.heartbeat)
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
    try await settle(changes, .all, refused: summary.refused)
    logger.info(
      "networks are as OVN has them",
      metadata: ["operations": "\(summary.operations)", "refusals": "\(summary.refusals.count)"])
  }

  /// Carries the oldest changes over. Returns how many there were.
  func carryChangesOver() async throws -> Int {
    let batch = try await database.run { session in
      try Batch(
        try session.query("SELECT kind, id, seq FROM network_changes ORDER BY seq LIMIT \(Self.batch)"), in: session)
    }
    try await carryOver(batch)
    return batch.rows.count
  }

  /// Tries what OVN did not take some time ago. Apart from changes, which it would hold up.
  private func tryRefusedAgain() async throws {
    let batch = try await database.run { session in
      try Batch(
        try session.query(
          """
          SELECT kind, id, NULL::bigint FROM network_refusals WHERE tried_at < aloft_now() - make_interval(secs => \(Self.retrySeconds))
           ORDER BY tried_at LIMIT \(Self.retries)
          """), in: session)
    }
    if !batch.names.isEmpty { try await carryOver(batch) }
  }

  /// Objects to carry over, as they are now.
  private struct Batch: Sendable {
    var names: Set<NetworkObjects.Name>
    /// The rows of `network_changes` that name them.
    var rows: [Int]
    var changes: [NetworkModel.Change]

    /// Of rows with kind, id, and number, which is null of what is no change.
    init(_ found: Rows, in session: Session) throws {
      names = Set(try found.map { NetworkObjects.Name(kind: try $0.get(0), id: try $0.get(1)) })
      rows = try found.compactMap { try $0.get(2, as: Int?.self) }
      changes = try NetworkObjects.changes(of: names, in: session)
    }
  }

  private func carryOver(_ batch: Batch) async throws {
    // What OVN does not take stays wanted; the rest of the cloud goes on.
    let refused = try await writer.apply(batch.changes)
    try await settle(batch.rows, .these(batch.names), refused: refused)
  }

  /// Forgets changes that are carried over, and writes down which of these objects OVN does not take as they are.
  private func settle(
    _ rows: [Int], _ objects: NetworkRefusals.Objects, refused: [NetworkModel.ObjectID: String]
  ) async throws {
    let statements: [SQL] = [
      "DELETE FROM network_changes WHERE seq = ANY(\(rows))",
      """
      UPDATE network_controller SET replica = \(replica), seen_at = aloft_now(), problem = NULL
       WHERE replica IS DISTINCT FROM \(replica) OR problem IS NOT NULL OR seen_at < aloft_now() - interval '4 seconds'
      """,
    ]
    let news = try await database.run { session -> [String] in
      let results = try session.pipeline(statements + NetworkRefusals.writing(refused, among: objects))
      return try NetworkRefusals.news(results[results.count - 1])
    }
    for refusal in news { logger.error("OVN refuses a change", metadata: ["refusal": "\(refusal)"]) }
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
