import ArgumentParser
import JSON

/// `aloft node`
struct NodeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "node", abstract: "Hypervisor hosts.",
    subcommands: [List.self, Show.self, Cordon.self, Uncordon.self, Label.self, Move.self, Delete.self])

  /// `aloft node list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List nodes.")

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let items = try await session.api.items(APIPath.path("nodes"), query: labels.query, limit: list.limit)
      try await session.printer.list(items, as: .node)
    }
  }

  /// `aloft node show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show a node.")

    @Argument(help: "The node, by id or name.")
    var name: String

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, APIPath.path("nodes", name)))
      try await session.printer.details(answer.json, as: .node)
    }
  }

  /// What a change of several nodes takes.
  struct ChangeOptions: ParsableArguments {
    @Argument(help: "The nodes, by id or name.")
    var names: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    /// Changes each node by the same body.
    func patch(_ body: JSONValue, _ session: Session) async throws(CommandFailure) {
      var batch = Batch()
      var nodes: [JSONValue] = []
      for name in names {
        let call = APICall(.patch, APIPath.path("nodes", name), query: Session.query(dryRun), body: body)
        let answer = try await batch.attempt(name, several: names.count > 1, session.surroundings) {
          () async throws(CommandFailure) in try await session.api.send(call)
        }
        if let answer { nodes.append(answer.json) }
      }
      try await session.printer.changed(nodes, as: .node)
      if let failure = batch.firstFailure { throw .alreadyTold(failure.status) }
    }
  }

  /// `aloft node cordon`
  struct Cordon: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Keep new virtual machines away from nodes.", discussion: "Those that are there stay.")

    @OptionGroup var options: ChangeOptions
    var common: CommonOptions { options.common }

    func perform(_ session: Session) async throws(CommandFailure) {
      try await options.patch(["schedulable": false], session)
    }
  }

  /// `aloft node uncordon`
  struct Uncordon: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Let nodes take new virtual machines again.")

    @OptionGroup var options: ChangeOptions
    var common: CommonOptions { options.common }

    func perform(_ session: Session) async throws(CommandFailure) {
      try await options.patch(["schedulable": true], session)
    }
  }

  /// `aloft node move`
  struct Move: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Put nodes into another pool.")

    @Option(help: "The pool, by id or name.")
    var pool: String

    @OptionGroup var options: ChangeOptions
    var common: CommonOptions { options.common }

    func perform(_ session: Session) async throws(CommandFailure) {
      try await options.patch(["pool": .string(pool)], session)
    }
  }

  /// `aloft node label`
  struct Label: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Set or remove labels of a node.")

    @Argument(help: "The node, by id or name.")
    var name: String

    @Argument(help: ArgumentHelp("key=value sets a label, key- removes it.", valueName: "edit"))
    var edits: [LabelEdit]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let item = try await session.api.editLabels(
        APIPath.path("nodes", name), query: [], edits: edits, dryRun: dryRun.dryRun)
      try await session.printer.changed([item], as: .node)
    }
  }

  /// `aloft node delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove nodes.", discussion: "Their certificates are refused from then on.")

    @Argument(help: "The nodes, by id or name.")
    var names: [String]

    @Flag(help: "They are gone for good and write nothing any more: their virtual machines fail.")
    var force = false

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let query = Session.query(dryRun) + (force ? [("force", "true")] : [])
      try await session.delete("node", names, query: query, dryRun: dryRun.dryRun) { APIPath.path("nodes", $0) }
    }
  }
}
