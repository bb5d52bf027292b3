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
  struct Fate: Sendable {
    /// Its process is dead: nothing that it still sends is carried out.
    var isDead = false
    /// Commits of this step that were reached.
    var reached = 0
    /// Commits of this step that the database has carried out.
    var carriedOut = 0
    var armed: (commit: Int, trouble: CommitTrouble)?
    var hit: CommitTrouble?
  }

  enum CommitTrouble: String, CaseIterable, Sendable {
    case deathBefore = "replica died before a commit"
    case deathAfter = "replica died after a commit"
    case lostBefore = "connection lost before a commit"
    case lostAfter = "connection lost after a commit"

    var kills: Bool { self == .deathBefore || self == .deathAfter }
    var interruption: Interruption { self == .deathBefore || self == .lostBefore ? .before : .after }
  }

  /// A step that waits between two of its transactions.
  struct Held: Sendable {
    fileprivate var step: Step
    fileprivate var fate: Fate
    let replica: Int
    /// The process that the step belongs to.
    fileprivate var life: Int
  }

  /// How far a step is.
  enum Progress: Sendable {
    /// The replica is down.
    case down
    case held(Held)
    case ended(Ended)
  }

  struct Ended: Sendable {
    var result: Result<Step.Value, any Error>
    var committed: Bool
    /// A fault was injected.
    var troubled: Bool
    /// Its replica died over it: nobody hears the result.
    var died: Bool
  }

  private struct State {
    var holdUp = 0.0
    /// Counts the processes of each replica.
    var lives: [Int]
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
          interruption: { commits in fate.withLock { $0.interrupt(commits: commits) } },
          interlude: { await CurrentStep.value?.interlude() }),
        logger: Laboratory.silent)
    }
    environments = (0..<Self.size).map { index in
      let random = Dice(seed: seed &+ 100 &+ UInt64(index))
      return Environment(
        now: { Date(timeIntervalSince1970: Double(clock.now().wall) / 1000) }, random: { random.next() },
        sleep: { _ in throw CancellationError() })
    }
    state = Lock(
      State(lives: Array(repeating: 0, count: Self.size), restartAt: Array(repeating: nil, count: Self.size)))
    let planes = try (0..<Self.size).map { try makePlane($0) }
    state.withLock { $0.planes = planes }
  }

  private func makePlane(_ replica: Int) throws -> ControlPlane {
    try ControlPlane(
      contract: laboratory.contract, database: databases[replica], images: laboratory.images,
      sealing: laboratory.sealing,
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

  /// The probability that a step is held up before a transaction.
  func setHoldUp(_ probability: Double) { state.withLock { $0.holdUp = probability } }

  func isUp(_ replica: Int) -> Bool { state.withLock { $0.planes[replica] != nil } }

  /// When the replica comes back; nil while it is up.
  func restartAt(_ replica: Int) -> Int? { state.withLock { $0.restartAt[replica] } }

  func kill(_ replica: Int, down: Int) {
    fates[replica].withLock { $0.isDead = true }
    state.withLock { state in
      state.planes[replica] = nil
      state.lives[replica] += 1
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

  /// Lets a replica do one thing.
  func begin(
    _ replica: Int, mayHold: Bool, _ body: @escaping @Sendable (ControlPlane) async throws -> Step.Value
  ) async throws -> Progress {
    let (plane, trouble, life) = state.withLock { ($0.planes[replica], $0.commitTrouble, $0.lives[replica]) }
    guard let plane else { return .down }
    try await setClock(replica)
    let armed = dice.happens(trouble) ? (dice.number(in: 1...2), CommitTrouble.allCases[dice.number(in: 0...3)]) : nil
    fates[replica].withLock { $0 = Fate(armed: armed) }
    let step = Step(mayHold: { mayHold && self.dice.happens(self.state.withLock { $0.holdUp }) }) {
      try await body(plane)
    }
    return await follow(step, replica, life)
  }

  /// Lets a step go on that was held up. If its process died meanwhile, it has no more effect.
  func goOn(_ held: Held) async throws -> Progress {
    let replica = held.replica
    if isUp(replica) { try await setClock(replica) }
    let isDead = state.withLock { $0.lives[replica] != held.life }
    fates[replica].withLock { fate in
      fate = held.fate
      fate.isDead = isDead
    }
    held.step.goOn()
    return await follow(held.step, replica, held.life)
  }

  private func follow(_ step: Step, _ replica: Int, _ life: Int) async -> Progress {
    let event = await step.next()
    let isUp = isUp(replica)
    var fate = fates[replica].withLock { fate in
      defer { fate = Fate(isDead: !isUp) }
      return fate
    }
    guard case .ended(let result) = event else {
      trace.count("step held up")
      return .held(Held(step: step, fate: fate, replica: replica, life: life))
    }
    fate.armed = nil
    if let hit = fate.hit {
      trace.count(hit.rawValue)
      trace.note("replica \(replica): \(hit.rawValue)")
      if hit.kills, isUp { kill(replica, down: dice.number(in: 50...30_000)) }
    }
    return .ended(
      Ended(result: result, committed: fate.carriedOut > 0, troubled: fate.hit != nil, died: fate.isDead))
  }

  private func setClock(_ replica: Int) async throws {
    let seconds = Double(clock.now().wall) / 1000
    try await databases[replica].run { session in
      _ = try session.query("SELECT set_config('aloft.now', to_timestamp(\(seconds)::float8)::text, false)")
    }
  }

  /// Sends one request and waits for its end.
  func call(
    _ replica: Int, _ method: HTTPRequest.Method, _ target: String, headers: [String: String] = [:],
    bytes: [UInt8] = [], peer: Peer = Peer(address: "127.0.0.1")
  ) async throws -> CallOutcome {
    if isUp(replica), target.hasPrefix("/agent/v1/"), method != .get {
      state.withLock { _ = $0.reported.insert(replica) }
    }
    let request = Self.request(method, target, headers: headers, bytes: bytes, peer: peer)
    switch try await begin(replica, mayHold: false, { .response(await $0.respond(request)) }) {
    case .down, .held: return .refused
    case .ended(let ended): return try CallOutcome(ended)
    }
  }

  static func request(
    _ method: HTTPRequest.Method, _ target: String, headers: [String: String], bytes: [UInt8],
    peer: Peer = Peer(address: "127.0.0.1")
  ) -> Request {
    var fields = HTTPFields()
    for (name, value) in headers { if let name = HTTPField.Name(name) { fields[name] = value } }
    let parts = target.split(separator: "?", maxSplits: 1).map(String.init)
    return Request(
      head: HTTPRequest(method: method, scheme: "https", authority: "aloft", path: target, headerFields: fields),
      path: parts[0], query: parts.count == 2 ? parts[1] : nil, peer: peer, body: RequestBody(bytes))
  }
}

extension CallOutcome {
  /// What the caller of a step gets.
  init(_ ended: Cluster.Ended) throws {
    guard case .response(let response) = try ended.result.get(), !ended.died else {
      self = .lost(committed: ended.committed)
      return
    }
    var body: [UInt8] = []
    if case .bytes(let bytes) = response.body { body = bytes }
    let answer = Answer(status: Int(response.status.code), headers: response.headers, bytes: body)
    self = .answered(answer, committed: ended.committed, troubled: ended.troubled)
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
