import AloftModel
import class Contract.Contract
import ControlPlane
import DiskImages
import Execution
import Foundation
import HTTP
import HTTPTypes
import JSON
import Logging
import Postgres
import PostgresTestSupport
import TestSupport

/// A control plane on a database of its own, called without a server in between. Everything but the sockets is real.
///
/// The plane runs as the role `aloftd`, as it should in production.
final class TestPlane: Sendable {
  /// The test's own way into the database: as its owner.
  let database: Database
  /// The plane's.
  let runtime: Database
  let databaseURL: String
  let plane: ControlPlane
  let files: ImageContents
  let imageDirectory: String
  /// An admin's token.
  let token: String
  let authority: CertificateAuthority
  /// The authority's certificate.
  let authorityPEM: String
  /// The sealing key of all planes.
  static let sealing = Result {
    let key = SealingKey.generate()
    TestSecrets.register(key)
    return try SealingKey(key)
  }
  private let settings: Settings

  private init(
    database: Database, runtime: Database, databaseURL: String, plane: ControlPlane, files: ImageContents,
    imageDirectory: String,
    token: String,
    authority: CertificateAuthority, authorityPEM: String, settings: Settings
  ) {
    self.database = database
    self.runtime = runtime
    self.databaseURL = databaseURL
    self.plane = plane
    self.files = files
    self.imageDirectory = imageDirectory
    self.token = token
    self.authority = authority
    self.authorityPEM = authorityPEM
    self.settings = settings
  }

  /// Runs `body` with a fresh plane. With `background` the plane does by itself what it does in production; without, the test
  /// steps it with ``settle()``. Its database is on the server that all tests share, or on `server`.
  static func with(
    background: Bool = false, poolSize: Int = 2, leaseSeconds: Int = 3600, bodyLimit: Int = 64 << 10,
    rateLimit: RateLimit? = nil, server: PostgresServer? = nil, configure: (inout Settings) -> Void = { _ in },
    images: ImageContents? = nil, _ body: (TestPlane) async throws -> Void
  ) async throws {
    try await Gate.shared.enter()
    defer { Task { await Gate.shared.leave() } }
    let test = try await make(
      poolSize: poolSize, leaseSeconds: leaseSeconds, bodyLimit: bodyLimit, rateLimit: rateLimit, server: server,
      configure: configure, images: images)
    let running = background ? Task { await test.plane.run() } : nil
    let outcome: Result<Void, any Error>
    do {
      try await body(test)
      outcome = .success(())
    } catch {
      outcome = .failure(error)
    }
    running?.cancel()
    await running?.value
    await test.runtime.shutdown()
    await test.database.shutdown()
    try? FileManager.default.removeItem(atPath: test.imageDirectory)
    try outcome.get()
  }

  private static func make(
    poolSize: Int, leaseSeconds: Int, bodyLimit: Int, rateLimit: RateLimit?, server: PostgresServer?,
    configure: (inout Settings) -> Void, images: ImageContents?
  ) async throws -> TestPlane {
    let url =
      if let server {
        try await migratedDatabase(on: server)
      } else { try await PostgresServer.shared.createDatabase(template: try await template.value) }
    func open(_ url: String, _ size: Int) throws -> Database {
      try Database(
        configuration: DatabaseConfiguration(url: url, poolSize: size, poolTimeout: .seconds(60)), logger: quiet)
    }
    let database = try open(url, 3)
    let runtime = try open(url.replacing("user=postgres", with: "user=aloftd"), poolSize)
    let directory = NSTemporaryDirectory() + "aloft-images-\(UUID().uuidString)"
    let files = try images ?? ImageContents(directory: directory, inspector: Programs.inspector)
    let (certificate, key) = try CertificateAuthority.create(name: "test", now: Date())
    TestSecrets.register(key)
    let authority = try CertificateAuthority(certificatePEM: certificate, privateKeyPEM: key)
    var settings = Settings(
      leaseSeconds: leaseSeconds, bodyLimit: bodyLimit, advertisedURL: "https://127.0.0.1:1", validateResponses: true)
    settings.rateLimit = rateLimit
    settings.passwordCost = PasswordCost(cost: 16, blockSize: 8, parallelism: 1)
    configure(&settings)
    _ = try await AuthorityCommands(database: database, sealing: try Self.sealing.get())
      .prepare(importing: (certificate, key))
    try await database.execute("DELETE FROM audit")
    let plane = try ControlPlane(
      contract: try Repository.contract.get(), database: runtime, images: files,
      sealing: try Self.sealing.get(), settings: settings, logger: quiet)
    let token = try await APITokens.create(description: "test", expiresAfter: nil, in: database)
    // A test's events and audit records are its own.
    try await database.execute("TRUNCATE events, audit RESTART IDENTITY")
    return TestPlane(
      database: database, runtime: runtime, databaseURL: url, plane: plane, files: files, imageDirectory: directory,
      token: token,
      authority: authority,
      authorityPEM: certificate, settings: settings)
  }

  /// A database with the schema and nothing else, which all others are copied from.
  private static let template = Task {
    let url = try await migratedDatabase(on: try await PostgresServer.shared)
    return String(url.dropFirst("postgresql:///".count).prefix { $0 != "?" })
  }

  /// The first one of a server.
  private static func migratedDatabase(on server: PostgresServer) async throws -> String {
    let url = try await server.createDatabase()
    let database = try Database(configuration: DatabaseConfiguration(url: url, poolSize: 1), logger: quiet)
    _ = try await Migrator(directory: Repository.root + "/migrations").apply(to: database, logger: quiet)
    try await server.administer("CREATE ROLE aloftd LOGIN")
    try await DatabaseRoles.allow("aloftd", in: database)
    await database.shutdown()
    return url
  }

  /// Another replica on the same database and image store.
  func replica(
    sealing: SealingKey? = nil, environment: Environment = .live, logger: Logger = quiet,
    _ change: (inout Settings) -> Void = { _ in }
  ) throws -> ControlPlane {
    var settings = settings
    change(&settings)
    return try ControlPlane(
      contract: try Repository.contract.get(), database: runtime, images: files,
      sealing: try sealing ?? Self.sealing.get(), settings: settings, environment: environment, logger: logger)
  }

  /// What `aloftd ca` does.
  var authorities: AuthorityCommands {
    get throws { AuthorityCommands(database: database, sealing: try Self.sealing.get()) }
  }

  /// Runs the reconcilers until nothing is due.
  func settle() async throws {
    while try await plane.stepWorker() > 0 {}
  }

  /// What the consistency check says; it must be nothing.
  func findings() async throws -> [String] {
    try await ConsistencyCheck(database: database, images: files).findings().map(\.description)
  }

  /// How many rows there are of everything that a change may write.
  func rowCounts() async throws -> [String: Int] {
    let tables: [(String, SQL)] = [
      ("vms", "SELECT count(*) FROM vms"), ("operations", "SELECT count(*) FROM operations"),
      ("claims", "SELECT count(*) FROM claims"), ("events", "SELECT count(*) FROM events"),
      ("work", "SELECT count(*) FROM work"), ("audit", "SELECT count(*) FROM audit WHERE refusal IS NULL"),
      ("idempotency_keys", "SELECT count(*) FROM idempotency_keys"), ("images", "SELECT count(*) FROM images"),
      ("projects", "SELECT count(*) FROM projects"), ("project_members", "SELECT count(*) FROM project_members"),
      ("users", "SELECT count(*) FROM users"), ("api_tokens", "SELECT count(*) FROM api_tokens"),
      ("node_tokens", "SELECT count(*) FROM node_tokens"), ("vm_requests", "SELECT count(*) FROM vm_requests"),
    ]
    var counts: [String: Int] = [:]
    for (table, sql) in tables { counts[table] = try await count(sql) }
    return counts
  }

  func count(_ sql: SQL) async throws -> Int { try await database.one(sql)?.get(0) ?? -1 }

  /// The kinds of the events about a resource, oldest first.
  func eventKinds(_ resource: UUID) async throws -> [String] {
    try await database.query("SELECT kind FROM events WHERE resource_id = \(resource) ORDER BY xid, seq").map {
      try $0.get(0)
    }
  }
}

/// Lets a few planes be open at once, so that the tests do not run out of the server's connections.
private actor Gate {
  static let shared = Gate()
  private var free = 8
  private var waiting: [CheckedContinuation<Void, Never>] = []

  func enter() async throws {
    if free > 0 {
      free -= 1
    } else {
      await withCheckedContinuation { waiting.append($0) }
    }
    try Task.checkCancellation()
  }

  func leave() {
    if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
  }
}

/// Where the files of this checkout are.
enum Repository {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path
  static let contract = Result { try Contract.load(file: root + "/openapi/aloft.yaml") }
}

/// What was built beside the tests.
enum Programs {
  static let inspector = ConfinedInspector(program: TestPrograms.path("aloft-inspect"))
}

let quiet = TestLogs.logger("control-plane")
