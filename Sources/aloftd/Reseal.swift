import ArgumentParser
import ControlPlane
import Postgres

extension SealingKeys {
  /// Prepares an old key's end.
  struct Reseal: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Seal anew with the newest key what the database holds under older ones, which can go then.",
      discussion: "Run it when every replica has the newest key. Exits with 1 when something cannot be read.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var sealing: SealingOptions

    func run() async throws {
      let source = try common.source()
      let key = try sealing.key(source)
      let database = try common.database(source, logger: try common.logger(source))
      var outcome = try await Resealing.webhooks(with: key, in: database)
      let volumes = try await Resealing.volumes(with: key, in: database)
      let backups = try await Resealing.backups(with: key, in: database)
      let authorities = try await AuthorityCommands(database: database, sealing: key).reseal()
      await database.shutdown()
      outcome.resealed += authorities.resealed + volumes.resealed + backups.resealed
      outcome.unreadable += authorities.unreadable + volumes.unreadable + backups.unreadable
      print("\(outcome.resealed) sealed anew, \(outcome.unreadable) cannot be read")
      if outcome.unreadable > 0 { throw ExitCode(1) }
    }
  }
}
