import ArgumentParser
import ControlPlane
import Foundation
import Logging
import Postgres
import ProgramSettings

/// An authority of a cloud from before authorities lay in the database.
struct ImportOptions: ParsableArguments {
  @Option(name: PlaneSetting.caCert.flag, help: PlaneSetting.caCert.help)
  var caCert: String?
  @Option(name: PlaneSetting.caKey.flag, help: PlaneSetting.caKey.help)
  var caKey: String?

  /// Sees to it that the cloud has an authority, and says what was done.
  func prepare(_ authority: AuthorityCommands, _ source: SettingsReader, logger: Logger) async throws {
    let certificate = try source.text(PlaneSetting.caCert, caCert)
    let key = try source.text(PlaneSetting.caKey, caKey)
    var old: (certificatePEM: String, privateKeyPEM: String)?
    // Files that are gone were taken over before; if not, the cloud gets a new authority only where none was named.
    if let certificate, let key, try await !authority.isPrepared() {
      old = (
        try String(contentsOfFile: certificate, encoding: .utf8), try String(contentsOfFile: key, encoding: .utf8)
      )
    }
    switch try await authority.prepare(importing: old) {
    case .made: logger.notice("made the cloud's certificate authority; aloftd ca export prints its certificate")
    case .imported:
      logger.notice(
        "the certificate authority lies in the database now, sealed: delete its key file, it is not read any more",
        metadata: ["file": "\(key ?? "")"])
    case .there:
      if let key, FileManager.default.fileExists(atPath: key) {
        logger.warning(
          "the authority's key file is not read any more and should be deleted", metadata: ["file": "\(key)"])
      }
    }
  }
}

/// The certificate authority, which all replicas share by the database.
struct Authority: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ca", abstract: "Aloft's own certificate authority.",
    subcommands: [Initialize.self, List.self, Export.self, Rotate.self])

  /// What every one of its commands takes.
  struct Access: ParsableArguments {
    @OptionGroup var common: CommonOptions
    @OptionGroup var sealing: SealingOptions

    func run(
      _ body: (AuthorityCommands, SettingsReader, Logger) async throws -> Void
    ) async throws {
      let source = try common.source()
      let logger = try common.logger(source)
      let key = try sealing.key(source)
      let database = try common.database(source, logger: logger)
      try await body(AuthorityCommands(database: database, sealing: key), source, logger)
      await database.shutdown()
    }
  }

  struct Initialize: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "init",
      abstract:
        "Make the cloud's authority if it has none, or take over that of the files. Replicas do so at their start.")

    @OptionGroup var access: Access
    @OptionGroup var importing: ImportOptions

    func run() async throws {
      try await access.run { authority, source, logger in
        try await importing.prepare(authority, source, logger: logger)
      }
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show the authorities, and what a rotation waits for.")

    @OptionGroup var access: Access

    func run() async throws {
      try await access.run { authority, _, _ in
        let status = try await authority.status()
        for record in status.authorities {
          print(
            "\(record.fingerprint)  \(record.state.rawValue)  since \(record.since.formatted(.iso8601))"
              + "  ends \(record.notAfter.formatted(.iso8601))")
        }
        print(status.rotation)
      }
    }
  }

  struct Export: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the certificates that clients and agents are to trust, in PEM.",
      discussion: "In a rotation that is the next authority too: give the file to clients before it becomes active.")

    @OptionGroup var access: Access
    @Option(help: "Write them to this file, in one step.")
    var out: String?

    func run() async throws {
      try await access.run { authority, _, _ in
        let anchors = try await authority.anchors()
        guard let out else { return print(anchors, terminator: "") }
        try Data(anchors.utf8).write(to: URL(fileURLWithPath: out), options: .atomic)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: out)
      }
    }
  }

  struct Rotate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Replace the authority by a new one, step by step, while everything runs.",
      discussion: """
        Publishes a new authority; replicas do the rest: when all nodes trust it, it becomes active, and when all nodes have \
        a certificate of it, the old one is retired. aloftd ca list shows what is waited for.
        """)

    @OptionGroup var access: Access
    @Flag(help: "Take the next step of a rotation whatever nodes are waited for; those must join again.")
    var force = false

    func run() async throws {
      try await access.run { authority, _, _ in
        if force { _ = try await authority.force() } else { try await authority.rotate() }
        print(try await authority.status().rotation)
      }
    }
  }
}
