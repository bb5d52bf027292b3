import FoundationEssentials
import Logging

/// Brings a database's schema up to date from a directory of `NNNN_what.sql` files.
///
/// Invariants:
/// - Forward only, in the order of the numbers, each in a transaction of its own together with its entry in
///   `schema_migrations`.
/// - Each of those transactions first takes one advisory lock, then looks at what is applied: any number of replicas may
///   start at once, and each migration is applied once.
/// - The SHA-256 of an applied file is kept and compared: a file that changed later is refused.
public struct Migrator: Sendable {
  /// A file, and when it was applied.
  public struct Entry: Sendable, Hashable {
    public let number: Int
    public let name: String
    /// nil while it is not.
    public let appliedAt: Date?
  }

  private let directory: String
  /// ASCII "aloft": all that has to be is that nobody else uses it.
  private static let lock = 0x61_6c_6f_66_74

  /// `directory` holds the migration files.
  public init(directory: String) { self.directory = directory }

  /// Applies what is missing; gives what this call applied, in order.
  public func apply(to database: Database, logger: Logger) async throws -> [Entry] {
    let files = try MigrationFile.read(directory: directory)
    var applied: [Entry] = []
    while let entry = try await applyNext(of: files, to: database) {
      logger.info("migration applied", metadata: ["file": "\(entry.name)"])
      applied.append(entry)
    }
    return applied
  }

  /// All migrations with the time they were applied; checks the files like ``apply(to:logger:)``.
  public func status(of database: Database) async throws -> [Entry] {
    let files = try MigrationFile.read(directory: directory)
    return try await database.transaction(Self.options) { session in
      try Self.prepare(session)
      let applied = try Self.applied(session, files)
      return files.map { Entry(number: $0.number, name: $0.name, appliedAt: applied[$0.number]) }
    }
  }

  /// No timeout: a migration takes as long as it takes, and so may the wait for another replica's.
  private static let options = TransactionOptions(statementTimeout: .zero)

  private func applyNext(of files: [MigrationFile], to database: Database) async throws -> Entry? {
    try await database.transaction(Self.options) { session in
      try Self.prepare(session)
      let applied = try Self.applied(session, files)
      guard let file = files.first(where: { applied[$0.number] == nil }) else { return nil }
      if let latest = applied.keys.max(), latest > file.number {
        throw MigrationError.outOfOrder(file: file.name, applied: latest)
      }
      let transaction: String? = try session.one("SELECT pg_current_xact_id()::text")?.get(0)
      do throws(PostgresError) { try session.script(file.text) } catch {
        if case .server(let state) = error.kind {
          throw MigrationError.failed(file: file.name, sqlState: state, problem: error.serverMessage ?? error.message)
        }
        throw error
      }
      let after: String? = try session.one("SELECT pg_current_xact_id()::text")?.get(0)
      guard session.connection.isInTransaction, transaction == after else {
        throw MigrationError.endsTransaction(file: file.name)
      }
      let row = try session.one(
        """
        INSERT INTO schema_migrations (number, name, sha256)
        VALUES (\(file.number), \(file.name), encode(sha256(convert_to(\(file.text), 'UTF8')), 'hex'))
        RETURNING applied_at
        """)
      return Entry(number: file.number, name: file.name, appliedAt: try row?.get(0))
    }
  }

  /// Waits for its turn and makes the table if it is not there.
  private static func prepare(_ session: Session) throws {
    _ = try session.pipeline([
      "SELECT pg_advisory_xact_lock(\(lock))",
      """
      CREATE TABLE IF NOT EXISTS schema_migrations (
        number int PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp())
      """,
    ])
  }

  /// What is applied, by number, each compared with its file.
  private static func applied(_ session: Session, _ files: [MigrationFile]) throws -> [Int: Date] {
    let rows = try session.query(
      """
      SELECT a.number, a.name, a.applied_at, a.sha256 = encode(sha256(convert_to(f.text, 'UTF8')), 'hex')
      FROM schema_migrations a
      LEFT JOIN unnest(\(files.map(\.number))::int[], \(files.map(\.text))::text[]) AS f (number, text)
        ON f.number = a.number
      ORDER BY a.number
      """)
    var applied: [Int: Date] = [:]
    for row in rows {
      let (number, name): (Int, String) = (try row.get(0), try row.get(1))
      guard let same: Bool = try row.get(3) else { throw MigrationError.missing(number: number, name: name) }
      guard same else { throw MigrationError.changed(file: name) }
      applied[number] = try row.get(2, as: Date.self)
    }
    return applied
  }
}

/// One file of the directory.
struct MigrationFile: Sendable {
  let number: Int
  let name: String
  let text: String

  /// All migrations in `directory`, by number. Files that do not end in `.sql` are none of ours.
  static func read(directory: String) throws(MigrationError) -> [MigrationFile] {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory) else {
      throw MigrationError.unreadable(path: directory)
    }
    var files: [MigrationFile] = []
    for name in names.sorted() where name.hasSuffix(".sql") {
      guard let number = number(ofFile: name) else { throw MigrationError.badName(name) }
      let path = directory + "/" + name
      guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
        throw MigrationError.unreadable(path: path)
      }
      if let twin = files.first(where: { $0.number == number }) {
        throw MigrationError.duplicate(number: number, files: [twin.name, name])
      }
      files.append(MigrationFile(number: number, name: name, text: text))
    }
    return files
  }

  /// `0042` of `0042_what.sql`.
  static func number(ofFile name: String) -> Int? {
    let bytes = name.utf8
    guard bytes.count > 9, bytes.dropFirst(4).first == UInt8(ascii: "_") else { return nil }
    return Int(ascii: bytes.prefix(4))
  }
}
