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
    subcommands: [Initialize.self, List.self, Export.self, Issue.self, Rotate.self])

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

  struct Issue: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a key and a certificate for a server beside Aloft, such as OVN's southbound database.",
      discussion: "It cannot be used as a node's. Make another in time: nobody does it by himself.")

    @OptionGroup var access: Access
    @Option(name: .customLong("name"), help: "A DNS name or an address of the server. Repeat it for several.")
    var names: [String] = []
    @Option(help: "For how many days it is good.")
    var days = 365
    @Option(help: "The folder to write certificate.pem and key.pem to. It is made if it is not there.")
    var out: String

    func validate() throws {
      if names.isEmpty { throw ValidationError("--name is missing: what is the server called?") }
      if !(1...3650).contains(days) { throw ValidationError("--days \(days): a number from 1 to 3650 is expected") }
    }

    func run() async throws {
      try await access.run { authority, _, _ in
        let made = try await authority.issueServer(names: names, lifetime: TimeInterval(days) * 24 * 3600)
        try FileManager.default.createDirectory(atPath: out, withIntermediateDirectories: true)
        let folder = URL(fileURLWithPath: out)
        let key = folder.appending(path: "key.pem").path
        if FileManager.default.fileExists(atPath: key) {
          try PrivateFile.replace(made.privateKeyPEM, at: key)
        } else {
          try PrivateFile.create(made.privateKeyPEM, at: key)
        }
        // Behind the key: OVS reads both again when the certificate has changed.
        try Data(made.certificatePEM.utf8).write(to: folder.appending(path: "certificate.pem"), options: .atomic)
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
