import AloftModel
import ArgumentParser
import JSON

/// `aloft operation`
struct OperationCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "operation", abstract: "The record of each accepted change.",
    subcommands: [List.self, Show.self, Wait.self])

  /// `aloft operation list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List operations, newest first.")

    @Option(help: ArgumentHelp("Keep the operations on this resource.", valueName: "id"))
    var resource: String?

    @Option(help: "Keep the operations in this status.")
    var status: OperationStatus?

    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var query = session.query(project)
      if let resource { query.append(("resource", resource)) }
      if let status { query.append(("status", status.rawValue)) }
      let items = try await session.api.items(APIPath.path("operations"), query: query, limit: list.limit)
      try await session.printer.list(items, as: .operation)
    }
  }

  /// `aloft operation show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show an operation.")

    @Argument(help: "The operation's id.")
    var id: String

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, APIPath.path("operations", id)))
      try await session.printer.details(answer.json, as: .operation)
    }
  }

  /// `aloft operation wait`
  struct Wait: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Wait until operations have ended.", discussion: "Fails when one of them failed.")

    @Argument(help: "The operations' ids.")
    var ids: [String]

    @Option(help: ArgumentHelp("How long to wait: 90s, 10m, 1h.", valueName: "time"))
    var timeout = TimeSpan(seconds: 600)

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let waiting = OperationWait(api: session.api, timeout: timeout.duration)
      var batch = Batch()
      var ended: [JSONValue] = []
      for id in ids {
        let operation = try await batch.attempt(id, several: ids.count > 1, session.surroundings) {
          () async throws(CommandFailure) in
          let operation = try await session.api.send(APICall(.get, APIPath.path("operations", id))).json
          return try await waiting.end(of: operation, of: id)
        }
        if let operation { ended.append(operation) }
      }
      try await session.printer.changed(ended, as: .operation)
      if let failure = batch.firstFailure { throw .alreadyTold(failure.status) }
    }
  }
}
