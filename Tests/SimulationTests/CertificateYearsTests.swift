import AloftModel
import ControlPlane
import Foundation
import HTTPTypes
import JSON
import NodeAgent
import Postgres
import SimulatedHypervisor
import Testing

/// Ten years of a cloud's certificates, in virtual time, on hosts whose clocks are minutes apart: the real control plane on a real database, real keys and signatures.
@Suite("Ten years of certificates", .serialized)
struct CertificateYearsTests {
  private static let day = 86_400_000
  private static let years = 3650

  @Test("certificates of seven days are renewed for ten years and two new authorities; no guest notices")
  func tenYears() async throws {
    try await Laboratory.with { laboratory in
      let clock = VirtualClock()
      let database = try Database(
        configuration: DatabaseConfiguration(
          url: try await laboratory.makeDatabase(), poolSize: 1, poolTimeout: .seconds(60)), logger: Laboratory.silent)
      let random = Dice(seed: 10)
      let environment = Environment(
        now: { Date(timeIntervalSince1970: Double(clock.now().wall) / 1000) },
        uptime: { Double(clock.now().uptime) / 1000 }, random: { random.next() },
        sleep: { _ in throw CancellationError() })
      // Agents report every quarter of a lease.
      let plane = try ControlPlane(
        contract: laboratory.contract, database: database, images: laboratory.images, sealing: laboratory.sealing,
        settings: Settings(leaseSeconds: 6 * 86_400, advertisedURL: "https://127.0.0.1:1"), environment: environment,
        logger: Laboratory.silent)
      let commands = AuthorityCommands(database: database, sealing: laboratory.sealing, environment: environment)
      var cloud = Years(clock: clock, database: database, plane: plane, commands: commands, token: laboratory.token)
      try await cloud.begin()

      try await cloud.run(until: 3 * 365)
      let first = cloud.nodes[0].link.former.last ?? []
      try await commands.rotate()
      // One node is away for some days: everybody waits for it.
      cloud.nodes[1].offlineUntil = (3 * 365 + 2) * Self.day
      try await cloud.run(until: 3 * 365 + 1)
      #expect(try await cloud.states() == ["active", "next"])
      try await cloud.run(until: 3 * 365 + 20)
      #expect(try await cloud.states() == ["active", "retired"])
      #expect(try await cloud.nodes[0].link.status(showing: first).code == "certificate_untrusted")

      try await cloud.run(until: 7 * 365)
      try await commands.rotate()
      // One node is away for longer than its certificate is good: nobody waits for it for ever, and it joins again.
      cloud.nodes[2].offlineUntil = (7 * 365 + 30) * Self.day
      try await cloud.run(until: 7 * 365 + 29)
      #expect(try await cloud.states() == ["active", "retired", "retired"])
      let stale = try await cloud.nodes[2].link.status(showing: cloud.nodes[2].link.former.last ?? [])
      #expect(stale.status == 401)
      try await cloud.rejoin(2)
      try await cloud.run(until: Self.years)

      #expect(try await cloud.states() == ["active", "retired", "retired"])
      for node in cloud.nodes {
        #expect(node.link.complaints.isEmpty, "\(node.link.complaints)")
        #expect(node.link.validity.notAfter > clock.now().wall)
        // Ten years of 4⅔ days each, and once more for each new authority.
        #expect((600...900).contains(node.link.renewals), "\(node.name): \(node.link.renewals)")
        #expect(node.host.vms.count == 1)
        for vm in node.host.vms {
          let record = node.host.record(vm)
          #expect(record.starts == 1 && record.stops == 0 && node.host.domain(vm)?.power == .running, "\(record)")
        }
      }
      await database.shutdown()
    }
  }
}

/// The nodes, and the loop: whoever is next to do something does it, and time jumps there.
private struct Years {
  let clock: VirtualClock
  let database: Database
  let plane: ControlPlane
  let commands: AuthorityCommands
  let token: String
  var nodes: [CertificateNode] = []
  private var nextStep = 0
  private static let hour = 3_600_000

  init(
    clock: VirtualClock, database: Database, plane: ControlPlane, commands: AuthorityCommands, token: String
  ) {
    (self.clock, self.database, self.plane, self.commands, self.token) = (clock, database, plane, commands, token)
  }

  /// Three nodes with a running guest on each.
  mutating func begin() async throws {
    for index in 0..<3 {
      try await setClock()
      // One host's clock is right, one's is five minutes fast, one's as much slow.
      let now = clock.now()
      let hostClock = VirtualClock(AgentTime(uptime: now.uptime, wall: now.wall + [0, 300_000, -300_000][index]))
      let link = CertificateLink(name: "node-\(index)", plane: plane, clock: hostClock)
      try await link.join(token: try await joinToken())
      nodes.append(CertificateNode(seed: UInt64(index), link: link))
      try await plane.stepLeases()
      try await call(
        "/v1/vms", ["name": .string("vm-\(index)"), "image": "tiny", "vcpus": 8, "memory_mib": 8192, "disk_gib": 10])
      clock.advance(to: clock.now().uptime + 1000)
    }
  }

  mutating func rejoin(_ index: Int) async throws {
    try await setClock()
    nodes[index].link.clock.advance(to: clock.now().uptime)
    try await nodes[index].link.join(token: try await joinToken())
    nodes[index].offlineUntil = 0
    nodes[index].restart(seed: 77)
  }

  mutating func run(until day: Int) async throws {
    let end = day * 24 * Self.hour
    while true {
      let at = min(nodes.map(\.nextAt).min() ?? .max, nextStep)
      if at > end { break }
      clock.advance(to: at)
      try await setClock()
      if at >= nextStep {
        try await plane.stepAuthorities()
        let isRotating = try await commands.status().rotation != .rest
        nextStep = at + (isRotating ? 1 : 48) * Self.hour
      }
      for index in nodes.indices where nodes[index].nextAt <= at { await nodes[index].step(at: at) }
    }
    clock.advance(to: end)
    try await setClock()
    nextStep = end
  }

  func states() async throws -> [String] {
    try await commands.status().authorities.map(\.state.rawValue).sorted()
  }

  private func setClock() async throws {
    let seconds = Double(clock.now().wall) / 1000
    _ = try await database.query("SELECT set_config('aloft.now', to_timestamp(\(seconds)::float8)::text, false)")
  }

  private func joinToken() async throws -> String {
    try await call("/v1/node-tokens", ["description": "years"])["secret"]?.stringValue ?? ""
  }

  @discardableResult
  private func call(_ path: String, _ body: JSONValue) async throws -> JSONValue {
    let response = await plane.respond(
      Cluster.request(
        .post, path, headers: ["Authorization": "Bearer \(token)", "Content-Type": "application/json"],
        bytes: body.bytes))
    guard case .bytes(let bytes) = response.body, response.status.kind == .successful else {
      throw SimulationFailure("\(path) was answered \(response.status)")
    }
    return try JSONValue.parse(bytes)
  }
}
