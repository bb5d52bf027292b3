import AloftModel
@testable import ControlPlane
import Crypto
import Foundation
import JSON
import NodeAgent
import Postgres
import SimulatedHypervisor
import SwiftASN1
import X509

// One history: users, two replicas, a few nodes, and what goes wrong, in virtual time.
//
// Invariants
// - One thing happens at a time: the loop waits for the end of each step before it chooses the next.
// - Who is next is the one whose time has come first; the seed decides between those of one moment.
// - Nothing sleeps. Only PostgreSQL takes real time, and nothing depends on how much.

/// One simulated host with its agent.
struct SimulatedNode {
  var host: SimulatedHost
  var clock: VirtualClock
  var link: ClusterLink
  var lossy: LossyLink<ClusterLink>
  var agent: SimulatedAgent
  /// The agent does not run before this uptime.
  var downUntil = 0
}

final class World {
  static let leaseSeconds = 20
  /// Within this time after the last fault everything must have come to rest, in milliseconds.
  static let patience = 420_000
  /// More steps than any history needs: a loop that does not let time pass.
  private static let mostSteps = 60_000

  /// What is done when a step has ended; nil: the replica was down.
  typealias Finish = (World, Cluster.Ended?) throws -> Void

  let history: History
  let trace: Trace
  let clock: VirtualClock
  let cluster: Cluster
  let observer: Observer
  let laboratory: Laboratory
  var nodes: [SimulatedNode] = []
  var ledger = Ledger()
  var random: SplitMix
  var failures: [String] = []
  var steps = 0

  var calls: [UserCall] = []
  /// The operations that users were told of.
  var operations: Set<OperationID> = []
  /// Changes that have committed.
  var changes = 0
  var turn = 0
  /// Steps that are held up, and what is done at their end.
  var held: [(at: Int, step: Cluster.Held, finish: Finish)] = []
  /// Ends of bad times.
  var heals: [(at: Int, what: String, heal: (World) -> Void)] = []
  var nextMoment = 0
  var momentAt: Int
  /// When each replica's worker, lease writer and node watch are due.
  var due: [[Int]]
  var isHealed = false
  /// What a reader of the event stream has got so far.
  var heardEvents: [EventStore.Record] = []

  init(_ history: History, _ laboratory: Laboratory, url: String, isLoud: Bool) throws {
    self.history = history
    self.laboratory = laboratory
    let clock = VirtualClock(AgentTime(uptime: 1_000, wall: VirtualClock().now().wall + 1_000))
    self.clock = clock
    trace = Trace(isLoud: isLoud) { clock.now().uptime }
    cluster = try Cluster(laboratory, url: url, clock: clock, seed: history.seed &+ 7, trace: trace)
    observer = try Observer(url: url, clock: clock, images: laboratory.images)
    random = SplitMix(seed: history.seed &+ 13)
    due = Array(repeating: [1_000, 1_300, 1_700], count: Cluster.size)
    momentAt = 1_500 + (history.moments.first?.after ?? 0)
  }

  func shutDown() async {
    await cluster.shutDown()
    await observer.shutDown()
  }

  func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

  func happens(_ probability: Double) -> Bool {
    probability > 0 && Double(random.next() >> 11) / Double(1 << 53) < probability
  }

  func fail(_ text: String) {
    trace.note("FAILED: \(text)")
    failures.append("\(clock.now().uptime) \(text)")
  }

  // MARK: The beginning

  /// Nodes join while all is well; then the weather sets in.
  func setUp() async throws {
    for (index, node) in history.nodes.enumerated() { nodes.append(try await join(index, node)) }
    for index in nodes.indices { set(history.weather, on: index) }
    cluster.setCommitTrouble(history.weather.commitTrouble)
    cluster.setHoldUp(history.weather.holdUp)
  }

  private func join(_ index: Int, _ node: History.Node) async throws -> SimulatedNode {
    let headers = ["Authorization": "Bearer \(laboratory.token)", "Content-Type": "application/json"]
    let asked = try await cluster.call(
      0, .post, "/v1/node-tokens", headers: headers,
      bytes: JSONValue.object(["description": .string("node-\(index)")]).bytes)
    guard case .answered(let token, _, _) = asked, let secret = token.json["secret"]?.stringValue else {
      throw SimulationFailure("no join token: \(asked)")
    }
    let key = P256.Signing.PrivateKey()
    let csr = try CertificateSigningRequest(
      version: .v1, subject: try DistinguishedName { CommonName("agent") }, privateKey: Certificate.PrivateKey(key),
      attributes: CertificateSigningRequest.Attributes(), signatureAlgorithm: .ecdsaWithSHA256)
    var report = NodeReport(
      architecture: "x86_64", accelerator: .kvm, vcpus: node.vcpus, memoryMib: node.memoryMiB, diskGib: node.diskGiB,
      facts: [:])
    report.networking = SimulatedNetworks.sound
    let request = JoinRequest(
      token: secret, name: "node-\(index)", certificateRequest: try csr.serializeAsPEM().pemString, report: report)
    let joined = try await cluster.call(0, .post, "/agent/v1/join", bytes: try JSONCoder.encode(request))
    guard case .answered(let answer, _, _) = joined, answer.status == 200 else {
      throw SimulationFailure("no node: \(joined)")
    }
    var serializer = DER.Serializer()
    try serializer.serialize(
      try Certificate(pemEncoded: try JSONCoder.decode(JoinAnswer.self, from: answer.bytes).certificate))
    return makeNode(index, node, report, certificate: serializer.serializedBytes)
  }

  private func makeNode(
    _ index: Int, _ node: History.Node, _ report: NodeReport, certificate: [UInt8]
  ) -> SimulatedNode {
    let seed = history.seed &* 31 &+ UInt64(index) &* 1_000_003
    let host = SimulatedHost(seed: seed)
    let now = clock.now()
    let hostClock = VirtualClock(AgentTime(uptime: now.uptime, wall: now.wall + node.clockOffset))
    let link = ClusterLink(cluster, clock: clock, node: index, certificate: certificate, seed: seed &+ 1)
    let lossy = LossyLink(link, faults: .init(), seed: seed &+ 2)
    var agent = SimulatedAgent(host: host, clock: hostClock, seed: seed &+ 3, report: report) { lossy }
    agent.holdsPolls = true
    return SimulatedNode(host: host, clock: hostClock, link: link, lossy: lossy, agent: agent)
  }

  func set(_ weather: Weather, on index: Int) {
    var faults = LossyLink<ClusterLink>.Faults()
    (faults.lostRequest, faults.lostAnswer) = (weather.lostRequest, weather.lostAnswer)
    (faults.doubled, faults.late) = (weather.doubled, weather.late)
    nodes[index].lossy.set(faults)
    nodes[index].link.setDelay(weather.delayed)
    let host = nodes[index].host
    host.faults.refusal = weather.refusal
    host.faults.agentCrash = weather.agentCrash
    host.faults.lostEvent = weather.lostEvent
  }

  // MARK: The loop

  private enum Turn {
    case moment
    case call(Int)
    case replica(Int, task: Int)
    case restart(Int)
    case agent(Int)
    case delivery(Int)
    case heal(Int)
    case held(Int)
  }

  /// Lets everything happen until `end`, or until `isDone`, which is asked every few seconds.
  func run(until end: Int, isDone: (() async throws -> Bool)? = nil) async throws -> Bool {
    var askAt = clock.now().uptime
    while failures.isEmpty {
      let (at, turn) = next()
      if let isDone, at >= askAt {
        if try await isDone() { return true }
        askAt = max(at, askAt + 5_000)
      }
      guard at <= end else {
        advance(to: end)
        return isDone == nil
      }
      advance(to: at)
      try await take(turn)
      steps += 1
      if steps > Self.mostSteps { fail("does not come to rest: \(steps) steps") }
    }
    return false
  }

  func advance(to uptime: Int) {
    clock.advance(to: uptime)
    for node in nodes {
      node.clock.advance(to: uptime)
      if node.downUntil > uptime { node.host.advance(to: uptime) }
    }
  }

  private func next() -> (at: Int, turn: Turn) {
    let now = clock.now().uptime
    var turns: [(at: Int, turn: Turn)] = []
    if nextMoment < history.moments.count { turns.append((momentAt, .moment)) }
    for (index, call) in calls.enumerated() { turns.append((call.retryAt, .call(index))) }
    for replica in 0..<Cluster.size {
      if let at = cluster.restartAt(replica) {
        turns.append((at, .restart(replica)))
      } else {
        for task in 0..<3 { turns.append((due[replica][task], .replica(replica, task: task))) }
      }
    }
    for (index, node) in nodes.enumerated() {
      turns.append((max(node.downUntil, node.agent.nextAt), .agent(index)))
      if let at = node.link.nextDelivery { turns.append((at, .delivery(index))) }
    }
    for (index, heal) in heals.enumerated() { turns.append((heal.at, .heal(index))) }
    for (index, step) in held.enumerated() { turns.append((step.at, .held(index))) }
    let first = max(now, turns.map(\.at).min() ?? now)
    let ready = turns.filter { $0.at <= first }
    return (first, ready[number(0...(ready.count - 1))].turn)
  }

  private func take(_ turn: Turn) async throws {
    switch turn {
    case .moment: try await takeMoment()
    case .call(let index): try await tryCall(calls.remove(at: index))
    case .replica(let replica, let task): try await work(replica, task)
    case .restart(let replica):
      try cluster.restart(replica)
      for task in 0..<3 { due[replica][task] = clock.now().uptime + number(0...2_000) }
    case .agent(let index): await stepAgent(index)
    case .delivery(let index):
      await nodes[index].link.deliver(clock.now().uptime)
      hear(index)
    case .heal(let index):
      let heal = heals.remove(at: index)
      trace.note("over: \(heal.what)")
      heal.heal(self)
    case .held(let index):
      let step = held.remove(at: index)
      try follow(try await cluster.goOn(step.step), step.finish)
    }
  }

  /// Does what is to be done at the end of a step, now or when it comes.
  func follow(_ progress: Cluster.Progress, _ finish: @escaping Finish) throws {
    switch progress {
    case .down: try finish(self, nil)
    case .ended(let ended): try finish(self, ended)
    case .held(let step):
      trace.note("replica \(step.replica) is held up")
      // Now and then for longer than a worker may take for a row.
      let pause = happens(0.15) ? number(3_000...45_000) : number(1...2_000)
      held.append((clock.now().uptime + pause, step, finish))
    }
  }

  private func takeMoment() async throws {
    let moment = history.moments[nextMoment]
    nextMoment += 1
    if nextMoment < history.moments.count { momentAt = clock.now().uptime + history.moments[nextMoment].after }
    switch moment.action {
    case .mishap(let mishap): try await take(mishap)
    case .user(let action): try await begin(action)
    }
    try await checkClaims()
    if nextMoment % 8 == 0 { try await readEvents() }
  }

  /// 0: the worker, 1: the lease writer, 2: the node watch.
  private func work(_ replica: Int, _ task: Int) async throws {
    let pause = [number(1_500...2_500), number(900...1_300), number(1_800...5_000)][task]
    due[replica][task] = clock.now().uptime + pause
    // Nothing was reported to this replica: its lease writer would not even ask the database.
    if task == 1, !cluster.takeReported(replica) { return }
    let progress = try await cluster.begin(replica, mayHold: true) { plane in
      switch task {
      case 0: return .rows(try await plane.stepWorker())
      case 1: try await plane.stepLeases()
      default: try await plane.stepNodeWatch()
      }
      return .rows(0)
    }
    // Each runs in one loop: it does not begin anew while it is held up.
    if case .held = progress { due[replica][task] = .max }
    try follow(progress) { world, ended in
      if world.due[replica][task] == .max { world.due[replica][task] = world.clock.now().uptime + pause }
      guard let ended, !ended.died else { return }
      switch ended.result {
      case .success(.rows(let rows)) where rows > 0:
        world.trace.note("replica \(replica) works on \(rows)")
        world.wakeWorkers()
        world.wakePolls()
      case .success: break
      case .failure(let error):
        if !ended.troubled { world.fail("replica \(replica), task \(task): \(error)") }
      }
    }
  }

  private func stepAgent(_ index: Int) async {
    var agent = nodes[index].agent
    let epoch = nodes[index].host.epoch
    await agent.step()
    nodes[index].agent = agent
    if nodes[index].host.epoch != epoch {
      trace.note("node \(index): the agent died over an effect")
      nodes[index].downUntil = clock.now().uptime + number(10...8_000)
    }
    hear(index)
    checkHosts()
  }

  private func hear(_ index: Int) {
    if nodes[index].link.takeHeard() { wakeWorkers() }
    for failure in nodes[index].link.takeFailures() { fail(failure) }
  }

  /// A wake-up of the workers, which may get lost.
  func wakeWorkers() {
    let now = clock.now().uptime
    for replica in 0..<Cluster.size where !isLost() && due[replica][0] != .max {
      due[replica][0] = min(due[replica][0], now + number(0...30))
    }
  }

  /// A wake-up of the agents' polls.
  func wakePolls() {
    for index in nodes.indices where !isLost() { nodes[index].agent.wakePoll() }
  }

  private func isLost() -> Bool {
    guard !isHealed, happens(history.weather.lostWakeup) else { return false }
    trace.count("wake-up lost")
    return true
  }
}
