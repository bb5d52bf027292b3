import ArgumentParser
import JSON

enum SnapshotNoun: ProjectNoun {
  static let collection = "snapshots"
  static let word = "snapshot"
  static let oneWord = "a snapshot"
  static var presentation: Presentation { .snapshot }
}

/// `aloft snapshot`
struct SnapshotCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "snapshot", abstract: "What volumes held at one instant.",
    subcommands: [
      List.self, ShowCommand<SnapshotNoun>.self, Create.self, Revert.self, Delete.self,
      RenameCommand<SnapshotNoun>.self, LabelCommand<SnapshotNoun>.self,
    ])

  /// `aloft snapshot list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List snapshots.")

    @Option(help: "Keep those of all volumes of this virtual machine.")
    var vm: String?

    @Option(help: "Keep those of this volume.")
    var volume: String?

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let filter = [("vm", vm), ("volume", volume)].compactMap { name, value in value.map { (name, $0) } }
      let items = try await session.api.items(
        APIPath.path("snapshots"), query: session.query(project) + labels.query + filter, limit: list.limit)
      try await session.printer.list(items, as: .snapshot)
    }
  }

  /// What all commands take that nodes carry out.
  struct ChangeOptions: ParsableArguments {
    @OptionGroup var wait: WaitOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption

    func changes(_ session: Session, deletes: Bool = false) -> WaitedChanges {
      WaitedChanges(
        session: session, wait: wait, isDryRun: dryRun.dryRun, query: session.query(project), deletes: deletes,
        collection: "snapshots", word: SnapshotNoun.word, presentation: .snapshot)
    }
  }

  /// `aloft snapshot create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Take a snapshot.",
      discussion: "Of one volume, or of all volumes of a virtual machine at one instant. The guest may run.")

    @Argument(help: "Its name.")
    var name: String

    @Option(help: "The volume.")
    var volume: String?

    @Option(help: "The virtual machine whose volumes are meant.")
    var vm: String?

    @Flag(inversion: .prefixedNo, help: "Whether the guest is to bring its file systems to rest first, if it can.")
    var quiesce = true

    @Flag(help: "With what the virtual machine's memory holds. It must run.")
    var memory = false

    @Option(name: .shortAndLong, help: ArgumentHelp("A label. Can be repeated.", valueName: "key=value"))
    var label: [LabelPair] = []

    @OptionGroup var key: KeyOption
    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if (volume == nil) == (vm == nil) { throw ValidationError("say of what: either --volume or --vm") }
      if memory && vm == nil { throw ValidationError("--memory is of a whole virtual machine: say --vm") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["name": .string(name)]
      body.say("volume", volume)
      body.say("vm", vm)
      if !quiesce { body["quiesce"] = .bool(false) }
      if memory { body["memory"] = .bool(true) }
      if !label.isEmpty { body["labels"] = LabelPair.object(label) }
      let call = APICall(
        .post, APIPath.path("snapshots"), query: session.query(options.project, dryRun: options.dryRun),
        body: .object(body), key: session.key(key))
      try await options.changes(session).run([name]) { _ in call }
    }
  }

  /// `aloft snapshot revert`
  struct Revert: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Put volumes back to what they held.",
      discussion: "What was written since is gone. Virtual machines that have the volumes must be stopped.")

    @Argument(help: SnapshotNoun.nameHelp)
    var name: String

    @Flag(help: "The virtual machine goes on from the snapshot's memory when it is started, instead of booting.")
    var memory = false

    @OptionGroup var key: KeyOption
    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let query = session.query(options.project, dryRun: options.dryRun)
      let body: JSONValue? = memory ? ["memory": true] : nil
      try await options.changes(session).run([name]) { name in
        APICall(.post, APIPath.path("snapshots", name, "revert"), query: query, body: body, key: session.key(key))
      }
    }
  }

  /// `aloft snapshot delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Delete snapshots.")

    @Argument(help: "The snapshots, by id or name.")
    var names: [String]

    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let query = session.query(options.project, dryRun: options.dryRun)
      try await options.changes(session, deletes: true).run(names) {
        APICall(.delete, SnapshotNoun.path($0), query: query)
      }
    }
  }
}

extension Presentation {
  static let snapshot = Presentation(
    columns: [
      .member("NAME", "name"), .state("STATE", "state"),
      Column("VOLUMES") { item, _ in
        let names = (item["volumes"]?.arrayValue ?? []).map { plain($0["name"]) }
        return Table.Cell(names.isEmpty ? "-" : names.joined(separator: ", "))
      },
      .member("QUIESCED", "quiesced"), .member("MEMORY", "memory"), .age("AGE", "created_at"),
      .member("REASON", "reason"),
    ], nameMember: "name")
}
