import ControlPlane
import Execution
import Foundation
import HTTP
import HTTPTypes
import JSON
import NodeAgent
import Postgres
import SimulatedHypervisor

// Two replicas of the control plane on one database.
//
// Invariants
// - One step at a time: whoever calls waits for its end before the next is begun, so a seed gives the same run again.
// - Each replica has one connection, and before each step the connection learns what time it is.
// - A replica that died has no more effect: whatever it still sends is interrupted, and its object is thrown away.

/// What came of a call.
enum CallOutcome: Sendable {
  /// Nobody listens.
  case refused
  /// The replica died, or the answer was lost; `committed` tells what nobody can know but the simulation.
  case lost(committed: Bool)
  /// `troubled`: a fault was injected, so that 503 is a right answer.
  case answered(Answer, committed: Bool, troubled: Bool)
}

struct Answer: Sendable {
  var status: Int
  var headers: HTTPFields
  var bytes: [UInt8]

  var json: JSONValue { (try? JSONValue.parse(bytes)) ?? .null }
  func header(_ name: String) -> String? { HTTPField.Name(name).flatMap { headers[$0] } }
  var text: String { String(decoding: bytes, as: UTF8.self) }
}

final class Cluster: Sendable {
  static let size = 2

  /// What happens to one step's commits.
  fileprivate struct Fate {
    var isDead = false
    /// Commits of this step that were reached.
    var reached = 0
    /// Commits of this step that the database has carried out.
    var carriedOut = 0
    var armed: (commit: Int, trouble: CommitTrouble)?
    var hit: CommitTrouble?
  }

  enum CommitTrouble: String, CaseIterable {
    case deathBefore = "replica died before a commit"
    case deathAfter = "replica died after a commit"
    case lostBefore = "connection lost before a commit"
    case lostAfter = "connection lost after a commit"

    var kills: Bool { self == .deathBefore || self == .deathAfter }
    var interruption: Interruption { self == .deathBefore || self == .lostBefore ? .before : .after }
  }

  private struct State {
    var planes: [ControlPlane?] = []
    var restartAt: [Int?]
    var commitTrouble = 0.0
    /// Agents have reported since the lease writer ran.
    var reported: Set<Int> = []
  }

  let trace: Trace
  private let laboratory: Laboratory
  private let clock: VirtualClock
  private let dice: Dice
  private let databases: [Database]
  private let fates: [Lock<Fate>]
  private let environments: [Environment]
  private let state: Lock<State>

  init(_ laboratory: Laboratory, url: String, clock: VirtualClock, seed: UInt64, trace: Trace) throws {
    self.laboratory = laboratory
    self.clock = clock
    self.trace = trace
    dice = Dice(seed: seed)
    let fates = (0..<Self.size).map { _ in Lock(Fate()) }
    self.fates = fates
    databases = try fates.map { fate in
      try Database(
        configuration: DatabaseConfiguration(
          url: url, poolSize: 1, poolTimeout: .seconds(60), preparedStatements: 256, idleCheckAfter: .seconds(3600),
          interruption: { commits in fate.withLock { $0.interrupt(commits: commits) } }),
        logger: Laboratory.silent)
    }
    environments = (0..<Self.size).map { index in
      let random = Dice(seed: seed &+ 100 &+ UInt64(index))
      return Environment(
        now: { Date(timeIntervalSince1970: Double(clock.now().wall) / 1000) }, random: { random.next() },
        sleep: { _ in throw CancellationError() })
    }
    state = Lock(State(restartAt: Array(repeating: nil, count: Self.size)))
    let planes = try (0..<Self.size).map { try makePlane($0) }
    state.withLock { $0.planes = planes }
  }

  private func makePlane(_ replica: Int) throws -> ControlPlane {
    try ControlPlane(
      contract: laboratory.contract, database: databases[replica], images: laboratory.images,
      authority: laboratory.authority,
      settings: Settings(
        leaseSeconds: World.leaseSeconds, advertisedURL: "https://127.0.0.1:1", validateResponses: true),
      environment: environments[replica], logger: Laboratory.silent)
  }

  func shutDown() async {
    for database in databases { await database.shutdown() }
  }

  // MARK: Life and death

  /// The probability that a commit of a step comes to grief.
  func setCommitTrouble(_ probability: Double) { state.withLock { $0.commitTrouble = probability } }

  func isUp(_ replica: Int) -> Bool { state.withLock { $0.planes[replica] != nil } }

  /// When the replica comes back; nil while it is up.
  func restartAt(_ replica: Int) -> Int? { state.withLock { $0.restartAt[replica] } }

  func kill(_ replica: Int, down: Int) {
    fates[replica].withLock { $0.isDead = true }
    state.withLock { state in
      state.planes[replica] = nil
      state.restartAt[replica] = clock.now().uptime + down
    }
  }

  /// Whether agents have reported to a replica since the last call.
  func takeReported(_ replica: Int) -> Bool { state.withLock { $0.reported.remove(replica) != nil } }

  /// A new process takes the replica's place: with nothing in memory.
  func restart(_ replica: Int) throws {
    fates[replica].withLock { $0 = Fate() }
    let plane = try makePlane(replica)
    state.withLock { state in
      state.planes[replica] = plane
      state.restartAt[replica] = nil
    }
    trace.note("replica \(replica) is up")
  }

  // MARK: Steps

  /// Lets a replica do one thing. Nil when it is down, or died over it.
  func step<Value: Sendable>(
    _ replica: Int, _ body: (ControlPlane) async throws -> Value
  ) async throws -> (result: Result<Value, any Error>, committed: Bool, troubled: Bool)? {
    let (plane, trouble) = state.withLock { ($0.planes[replica], $0.commitTrouble) }
    guard let plane else { return nil }
    try await setClock(replica)
    let armed = dice.happens(trouble) ? (dice.number(in: 1...2), CommitTrouble.allCases[dice.number(in: 0...3)]) : nil
    fates[replica].withLock { $0 = Fate(armed: armed) }
    let result: Result<Value, any Error>
    do { result = .success(try await body(plane)) } catch { result = .failure(error) }
    let fate = fates[replica].withLock { fate in
      fate.armed = nil
      return fate
    }
    if let hit = fate.hit {
      trace.count(hit.rawValue)
      trace.note("replica \(replica): \(hit.rawValue)")
      if hit.kills { kill(replica, down: dice.number(in: 50...30_000)) }
    }
    lastCommitted.withLock { $0 = fate.carriedOut > 0 }
    if fate.isDead { return nil }
    return (result, fate.carriedOut > 0, fate.hit != nil)
  }

  /// Whether the step at which a replica died had committed something.
  private let lastCommitted = Lock(false)

  private func setClock(_ replica: Int) async throws {
    let seconds = Double(clock.now().wall) / 1000
    try await databases[replica].run { session in
      _ = try session.query("SELECT set_config('aloft.now', to_timestamp(\(seconds)::float8)::text, false)")
    }
  }

  /// Sends one request.
  func call(
    _ replica: Int, _ method: HTTPRequest.Method, _ target: String, headers: [String: String] = [:],
    bytes: [UInt8] = [], peer: Peer = Peer(address: "127.0.0.1")
  ) async throws -> CallOutcome {
    guard isUp(replica) else { return .refused }
    if target.hasPrefix("/agent/v1/"), method != .get { state.withLock { _ = $0.reported.insert(replica) } }
    var fields = HTTPFields()
    for (name, value) in headers { if let name = HTTPField.Name(name) { fields[name] = value } }
    let parts = target.split(separator: "?", maxSplits: 1).map(String.init)
    let request = Request(
      head: HTTPRequest(method: method, scheme: "https", authority: "aloft", path: target, headerFields: fields),
      path: parts[0], query: parts.count == 2 ? parts[1] : nil, peer: peer, body: RequestBody(bytes))
    guard let done = try await step(replica, { await $0.respond(request) }) else {
      return .lost(committed: lastCommitted.withLock { $0 })
    }
    let response = try done.result.get()
    var body: [UInt8] = []
    if case .bytes(let bytes) = response.body { body = bytes }
    let answer = Answer(status: Int(response.status.code), headers: response.headers, bytes: body)
    return .answered(answer, committed: done.committed, troubled: done.troubled)
  }
}

extension Cluster.Fate {
  mutating func interrupt(commits: Bool) -> Interruption? {
    if isDead { return .before }
    guard commits else { return nil }
    reached += 1
    guard let (commit, trouble) = armed, commit == reached else {
      carriedOut += 1
      return nil
    }
    armed = nil
    hit = trouble
    isDead = trouble.kills
    if trouble.interruption == .after { carriedOut += 1 }
    return trouble.interruption
  }
}
