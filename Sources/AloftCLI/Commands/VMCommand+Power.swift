import ArgumentParser
import JSON

extension VMCommand {
  /// The names that a command works on.
  struct Names: ParsableArguments {
    @Argument(help: "The virtual machines, by id or name.")
    var names: [String]
  }

  /// What all commands take that start an operation on machines that exist.
  struct ChangeOptions: ParsableArguments {
    @OptionGroup var wait: WaitOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func changes(_ session: Session, deletes: Bool = false) -> WaitedChanges {
      WaitedChanges(
        session: session, wait: wait, isDryRun: dryRun.dryRun, query: session.query(project), deletes: deletes)
    }

    /// Asks for `verb` of each machine.
    func post(
      _ verb: String, _ names: [String], key: KeyOption, body: JSONValue? = nil, _ session: Session
    ) async throws(CommandFailure) {
      let query = session.query(project, dryRun: dryRun)
      try await changes(session).run(names) { name in
        APICall(
          .post, APIPath.path("vms", name, verb), query: query, body: body,
          key: session.key(key, for: names.count > 1 ? name : nil))
      }
    }
  }

  /// `aloft vm start`
  struct Start: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Start virtual machines.")

    @OptionGroup var targets: Names
    @OptionGroup var key: KeyOption
    @OptionGroup var options: ChangeOptions
    var common: CommonOptions { options.common }

    func perform(_ session: Session) async throws(CommandFailure) {
      try await options.post("start", targets.names, key: key, session)
    }
  }

  /// `aloft vm stop`
  struct Stop: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Stop virtual machines.",
      discussion: "Presses the power button; the power is cut when the guest has not stopped within the grace time.")

    @OptionGroup var targets: Names

    @Option(help: ArgumentHelp("How long the guest may take: 60s, 5m; 0 cuts the power at once.", valueName: "time"))
    var grace: TimeSpan?

    @OptionGroup var key: KeyOption
    @OptionGroup var options: ChangeOptions
    var common: CommonOptions { options.common }

    func perform(_ session: Session) async throws(CommandFailure) {
      let body: JSONValue? = grace.map { ["grace_seconds": .integer(Int64($0.seconds))] }
      try await options.post("stop", targets.names, key: key, body: body, session)
    }
  }

  /// `aloft vm reboot`
  struct Reboot: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Reboot virtual machines.")

    @OptionGroup var targets: Names

    @Flag(help: "Reset them instead of asking the guests.")
    var force = false

    @OptionGroup var key: KeyOption
    @OptionGroup var options: ChangeOptions
    var common: CommonOptions { options.common }

    func perform(_ session: Session) async throws(CommandFailure) {
      let body: JSONValue? = force ? ["force": true] : nil
      try await options.post("reboot", targets.names, key: key, body: body, session)
    }
  }

  /// `aloft vm delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Delete virtual machines.", discussion: "Their disks go with them.")

    @OptionGroup var targets: Names
    @OptionGroup var options: ChangeOptions
    var common: CommonOptions { options.common }

    func perform(_ session: Session) async throws(CommandFailure) {
      let query = session.query(options.project, dryRun: options.dryRun)
      try await options.changes(session, deletes: true).run(targets.names) { name in
        APICall(.delete, APIPath.path("vms", name), query: query)
      }
    }
  }
}
