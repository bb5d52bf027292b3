import AloftModel
import ArgumentParser
import JSON

/// `aloft pool`: storage pools belong to the cloud and to no project.
struct StoragePoolCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pool", abstract: "Storage pools, which keep volumes.",
    subcommands: [List.self, Show.self, Create.self, Update.self, Delete.self])

  static let nameHelp: ArgumentHelp = "The storage pool, by id or name."

  /// `aloft pool list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List storage pools.")

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let items = try await session.api.items(APIPath.path("storage-pools"), query: labels.query, limit: list.limit)
      try await session.printer.list(items, as: .storagePool)
    }
  }

  /// `aloft pool show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show a storage pool.")

    @Argument(help: StoragePoolCommand.nameHelp)
    var name: String

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, APIPath.path("storage-pools", name)))
      try await session.printer.details(answer.json, as: .storagePool)
    }
  }

  /// How full it may get.
  struct LimitOptions: ParsableArguments {
    @Option(help: ArgumentHelp("GiB promised for each GiB there is.", valueName: "ratio"))
    var overcommit: Double?

    @Option(help: ArgumentHelp("From how full on events tell of it.", valueName: "percent"))
    var warning: Int?

    @Option(help: ArgumentHelp("The same for a place that is about to be full.", valueName: "percent"))
    var critical: Int?

    func validate() throws {
      if let overcommit, !overcommit.isFinite { throw ValidationError("a ratio is a number such as 1.5") }
    }

    func say(in body: inout JSONObject) {
      body["overcommit"] = overcommit.map { .number($0) }
      body.say("warning_percent", warning)
      body.say("critical_percent", critical)
    }
  }

  /// `aloft pool create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Create a storage pool.",
      discussion: """
        Nodes take part in it whose agents are told where it is: aloft-agent --pool name=directory for the kind dir, \
        --pool name=rbd:… for the kind rbd, which those nodes share.
        """)

    @Argument(help: "Its name, which never changes.")
    var name: String

    @Option(help: "How it keeps volumes [dir].")
    var kind = StoragePoolKind.directory

    @OptionGroup var limits: LimitOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["name": .string(name), "kind": .string(kind.rawValue)]
      limits.say(in: &body)
      let call = APICall(
        .post, APIPath.path("storage-pools"), query: Session.query(dryRun), body: .object(body), key: session.key(key))
      try await session.printer.changed([try await session.api.send(call).json], as: .storagePool)
    }
  }

  /// `aloft pool update`
  struct Update: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Change a storage pool. What is not said stays.")

    @Argument(help: StoragePoolCommand.nameHelp)
    var name: String

    @OptionGroup var limits: LimitOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      var body = JSONObject()
      limits.say(in: &body)
      if body.isEmpty { throw ValidationError("say what to change: --overcommit, --warning or --critical") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      var body = JSONObject()
      limits.say(in: &body)
      let call = APICall(
        .patch, APIPath.path("storage-pools", name), query: Session.query(dryRun), body: .object(body))
      try await session.printer.changed([try await session.api.send(call).json], as: .storagePool)
    }
  }

  /// `aloft pool delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Delete storage pools.")

    @Argument(help: "The storage pools, by id or name.")
    var names: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.delete("storage pool", names, query: Session.query(dryRun), dryRun: dryRun.dryRun) {
        APIPath.path("storage-pools", $0)
      }
    }
  }
}

extension StoragePoolKind: ExpressibleByArgument {}

extension Presentation {
  static let storagePool = Presentation(
    columns: [
      .member("NAME", "name"), .member("KIND", "kind"), .member("VOLUMES", "volumes"),
      Column("NODES") { item, _ in Table.Cell(item["places"]?.arrayValue.map { "\($0.count)" } ?? "-") },
      Column("CLAIMED-GIB") { item, _ in
        if let shared = item["shared"], shared != .null {
          return Table.Cell("\(shared["claimed_gib"]?.intValue ?? 0)/\(shared["limit_gib"]?.intValue ?? 0)")
        }
        guard let places = item["places"]?.arrayValue else { return "-" }
        func sum(_ name: String) -> Int { places.reduce(0) { $0 + ($1[name]?.intValue ?? 0) } }
        return Table.Cell("\(sum("claimed_gib"))/\(sum("limit_gib"))")
      },
      Column("FULLEST") { item, _ in
        let percents = (item["places"]?.arrayValue ?? []).compactMap { place -> Int? in
          guard let total = place["total_bytes"]?.doubleValue, let free = place["free_bytes"]?.doubleValue, total > 0
          else { return nil }
          return Int((total - free) / total * 100)
        }
        return Table.Cell(percents.max().map { "\($0) %" } ?? "-")
      },
    ], nameMember: "name")
}
