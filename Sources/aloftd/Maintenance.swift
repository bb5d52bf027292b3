import ArgumentParser
import ControlPlane
import Foundation
import Postgres
import ProgramSettings

/// Brings the database's tables up to date.
struct Migrate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Bring the database up to date. Harmless to repeat; several may run at once.",
    discussion: """
      Runs as the owner of the tables. aloftd serve may connect as another role, named here once, which can then use them; of \
      the audit it can neither change nor remove anything.
      """)

  @OptionGroup var common: CommonOptions
  @Option(name: PlaneSetting.runtimeRole.flag, help: PlaneSetting.runtimeRole.help)
  var runtimeRole: String?
  @Option(name: PlaneSetting.keepAuditDays.flag, help: PlaneSetting.keepAuditDays.help)
  var keepAuditDays: Int?

  func run() async throws {
    let source = try common.source()
    let logger = try common.logger(source)
    let database = try common.database(source, logger: logger)
    let applied = try await Migrator(directory: try common.shareDirectory(source) + "/migrations")
      .apply(to: database, logger: logger)
    for entry in applied { print("applied \(entry.name)") }
    if applied.isEmpty { print("nothing to do") }
    if let role = try source.text(PlaneSetting.runtimeRole, runtimeRole) {
      try await DatabaseRoles.allow(role, in: database)
    }
    if let days = try source.integer(PlaneSetting.keepAuditDays, keepAuditDays, 1...36_500) {
      try await DatabaseRoles.keepAudit(days: days, in: database)
    }
    await database.shutdown()
  }
}

/// Recomputes what is kept.
struct Check: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Recompute from scratch what the database keeps, and print every difference.",
    discussion: "Changes nothing. Exits with 1 when there is a difference.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var imageStore: ImageStoreOptions
  @OptionGroup var northbound: NorthboundOptions

  func run() async throws {
    let source = try common.source()
    let logger = try common.logger(source)
    let database = try common.database(source, logger: logger)
    let images = try imageStore.contentsIfSet(source, isNew: false, logger: logger)
    let check = ConsistencyCheck(
      database: database, images: images, networking: try northbound.settings(source), logger: logger)
    let findings = try await check.findings()
    for finding in findings { print(finding) }
    await database.shutdown()
    if !findings.isEmpty { throw ExitCode(1) }
    print("no difference")
  }
}

/// Makes the first person.
struct Bootstrap: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make the first person, with the cloud role admin, and print a token for it.",
    discussion: "Works once: a cloud that has such a person is left alone. Exits with 1 then.")

  @OptionGroup var common: CommonOptions
  @Option(help: "The person's name: lower-case letters, digits and dashes.")
  var name: String

  func run() async throws {
    let source = try common.source()
    let database = try common.database(source, logger: try common.logger(source))
    print(try await APITokens.bootstrap(name: name, in: database))
    await database.shutdown()
  }
}

/// Makes API tokens.
struct Token: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "API tokens.", subcommands: [Create.self])

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a token of the user root and print it. It is kept nowhere else, only its hash is.",
      discussion: "The way back in for whoever has the database. People have tokens of their own: see aloftd bootstrap."
    )

    @OptionGroup var common: CommonOptions
    @Option(help: "What it is for.")
    var description = "made by aloftd token create"
    @Option(help: "For how many seconds it is good; without end when not given.")
    var ttlSeconds: Int?
    @Flag(help: "Make root an enabled admin again if it is not.")
    var restoreRoot = false

    func run() async throws {
      let source = try common.source()
      let database = try common.database(source, logger: try common.logger(source))
      print(
        try await APITokens.create(
          description: description, expiresAfter: ttlSeconds.map { .seconds($0) }, restoring: restoreRoot, in: database)
      )
      await database.shutdown()
    }
  }
}
