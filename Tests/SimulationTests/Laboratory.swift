import class Contract.Contract
import ControlPlane
import Crypto
import DiskImages
import Foundation
import HTTP
import HTTPTypes
import JSON
import Logging
import Postgres
import PostgresTestSupport
import SimulatedHypervisor
import TestSupport

/// What all histories share: a PostgreSQL server, a database with schema, token and images to copy, the image store, and
/// the sealing key of its authority.
struct Laboratory: Sendable {
  let server: PostgresServer
  /// The name of the database that each history gets a copy of.
  let template: String
  let images: ImageContents
  let contract: Contract
  let sealing: SealingKey
  let token: String

  /// What every image holds.
  static let imageContent = [UInt8](repeating: 7, count: 1024)
  static let imageNames = ["tiny", "other"]
  static let silent = TestLogs.logger("simulation")
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

  /// Runs `body` with a laboratory, and clears it away.
  static func with<Value: Sendable>(_ body: (Laboratory) async throws -> Value) async throws -> Value {
    let server = try await PostgresServer.start()
    let directory = NSTemporaryDirectory() + "aloft-simulation-\(UUID().uuidString)"
    let result: Result<Value, any Error>
    do {
      result = .success(try await body(try await Laboratory(server, imageDirectory: directory)))
    } catch {
      result = .failure(error)
    }
    await server.stop()
    try? FileManager.default.removeItem(atPath: directory)
    return try result.get()
  }

  private init(_ server: PostgresServer, imageDirectory: String) async throws {
    self.server = server
    let url = try await server.createDatabase()
    template = String(url.dropFirst("postgresql:///".count).prefix { $0 != "?" })
    images = try ImageContents(
      directory: imageDirectory, inspector: ConfinedInspector(program: TestPrograms.path("aloft-inspect")))
    contract = try Contract.load(file: Self.root + "/openapi/aloft.yaml")
    let start = Date(timeIntervalSince1970: Double(VirtualClock().now().wall) / 1000)
    sealing = try SealingKey(SealingKey.generate())

    let setup = ["SET aloft.now = '\(start.formatted(.iso8601))'"]
    let database = try Database(
      configuration: DatabaseConfiguration(url: url, poolSize: 1, sessionSetup: setup), logger: Self.silent)
    _ = try await Migrator(directory: Self.root + "/migrations").apply(to: database, logger: Self.silent)
    let random = Dice(seed: 1)
    let environment = Environment(
      now: { start }, random: { random.next() }, sleep: { _ in throw CancellationError() })
    token = try await APITokens.create(
      description: "simulation", expiresAfter: nil, in: database, environment: environment)
    _ = try await AuthorityCommands(database: database, sealing: sealing, environment: environment)
      .prepare()
    let plane = try ControlPlane(
      contract: contract, database: database, images: images, sealing: sealing,
      settings: Settings(advertisedURL: "https://127.0.0.1:1"), environment: environment, logger: Self.silent)
    for name in Self.imageNames { try await Self.makeImage(name, plane, token: token) }
    for (number, name) in History.networks.enumerated() {
      try await Self.makeNetwork(name, "10.\(number).0.0/24", plane, token: token)
    }
    await database.shutdown()
  }

  private typealias Wish = (HTTPRequest.Method, String, String, [UInt8])

  private static func makeImage(_ name: String, _ plane: ControlPlane, token: String) async throws {
    let content = imageContent + Array(name.utf8)
    try await carryOut(
      [
        (.post, "/v1/images", "application/json", JSONValue.object(["name": .string(name)]).bytes),
        (.put, "/v1/images/\(name)/content", "application/octet-stream", content),
      ], plane, token: token)
  }

  private static func makeNetwork(_ name: String, _ block: String, _ plane: ControlPlane, token: String) async throws {
    let subnet: JSONObject = ["name": .string(name), "network": .string(name), "cidr": .string(block)]
    try await carryOut(
      [
        (.post, "/v1/networks", "application/json", JSONValue.object(["name": .string(name)]).bytes),
        (.post, "/v1/subnets", "application/json", JSONValue.object(subnet).bytes),
      ], plane, token: token)
  }

  private static func carryOut(_ wishes: [Wish], _ plane: ControlPlane, token: String) async throws {
    for (method, path, type, bytes) in wishes {
      let fields: HTTPFields = [.contentType: type, .authorization: "Bearer \(token)"]
      let head = HTTPRequest(method: method, scheme: "https", authority: "aloft", path: path, headerFields: fields)
      let answer = await plane.respond(
        Request(head: head, path: path, peer: Peer(address: "127.0.0.1"), body: RequestBody(bytes)))
      guard answer.status.kind == .successful else { throw SimulationFailure("\(path) was answered \(answer.status)") }
    }
  }

  /// A database of its own for one history.
  func makeDatabase() async throws -> String { try await server.createDatabase(template: template) }

  func drop(_ url: String) async throws {
    let name = String(url.dropFirst("postgresql:///".count).prefix { $0 != "?" })
    try await server.administer("DROP DATABASE \"\(name)\" WITH (FORCE)")
  }
}

/// Why a history cannot go on.
struct SimulationFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
